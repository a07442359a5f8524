//! The metrics server: routes and manners.

use crate::support::{exporter::Setup, fake_plex::FakePlex, payloads::movie, samples::Samples};

#[test]
fn every_route_answers_as_promised() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).start();
    let metrics = exporter.get("/metrics?ignored=1");
    assert_eq!(metrics.status, 200);
    assert_eq!(
        metrics.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(
        metrics.header("Content-Length"),
        Some(metrics.body.len().to_string().as_str())
    );
    let health = exporter.get("/health");
    assert_eq!((health.status, health.text().trim()), (200, "ok"));
    let index = exporter.get("/");
    assert_eq!(index.status, 200);
    assert!(
        index
            .header("Content-Type")
            .unwrap()
            .starts_with("text/html")
    );
    for text in ["plex-exporter", env!("CARGO_PKG_VERSION"), "metrics"] {
        assert!(index.text().contains(text));
    }
    assert_eq!(exporter.get("/metricsx").status, 404);
    assert_eq!(exporter.get("/favicon.ico").status, 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = exporter.send(&format!(
            "{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("Allow"), Some("GET, HEAD"));
    }
    for path in ["/metrics", "/health", "/"] {
        let head = exporter.send(&format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert!(
            head.header("Content-Length")
                .unwrap()
                .parse::<usize>()
                .unwrap()
                > 0
        );
    }
    assert!(exporter.send("GET /health HTTP/1.0\r\n\r\n").status == 200);
}

#[test]
fn gzip_is_used_where_it_is_accepted_and_pays() {
    let plex = FakePlex::default();
    plex.world().sessions = (1..=20).map(|key| movie(key, 101, "Alien")).collect();
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_active_sessions", &[], 20.0);
    let ask = |path: &str, accept: &str| {
        exporter.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {accept}\r\n\r\n"
        ))
    };
    let packed = ask("/metrics", "deflate, gzip;q=0.8");
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    assert_eq!(
        packed.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(&packed.body[..]),
        &mut text,
    )
    .unwrap();
    assert_eq!(
        Samples::parse(&text).value("plex_active_sessions", &[]),
        Some(20.0)
    );
    assert!(packed.body.len() * 4 < text.len());
    assert_eq!(ask("/metrics", "gzip;q=0").header("Content-Encoding"), None);
    assert_eq!(ask("/metrics", "identity").header("Content-Encoding"), None);
    assert_eq!(ask("/health", "gzip").header("Content-Encoding"), None);
}

#[test]
#[ignore = "needs promtool (Debian: apt-get install prometheus)"]
fn promtool_accepts_the_page_but_for_one_unit() {
    let plex = FakePlex::default();
    plex.world().sessions = vec![crate::support::payloads::transcoded(
        movie(1, 101, "Alien"),
        "t",
    )];
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_plays_total", &[("session", "1")], 1.0);
    let page = exporter.page();
    let mut child = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let remarks =
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    for remark in remarks.lines() {
        assert!(
            remark.starts_with("plex_library_duration_milliseconds "),
            "{remarks}"
        );
    }
}

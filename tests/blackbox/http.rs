//! The metrics server: its routes and its HTTP.

use crate::support::{
    exporter::{Response, Setup},
    fake_plex::FakePlex,
    payloads::movie,
    samples::Samples,
};

#[test]
fn every_route_responds_as_documented() {
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
        let response = exporter.send(&format!(
            "{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("Allow"), Some("GET, HEAD"));
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
fn a_connection_gets_one_response_and_is_closed() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).start();
    for text in [
        "GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let response = exporter.send(text);
        assert_eq!(
            (response.status, response.text()),
            (200, "ok\n"),
            "{text:?}"
        );
        assert_eq!(response.header("Connection"), Some("close"), "{text:?}");
        assert_eq!(response.header("Content-Length"), Some("3"), "{text:?}");
        assert_eq!(response.header("Transfer-Encoding"), None, "{text:?}");
    }
    for (text, status) in [
        ("GET /metricsx HTTP/1.1\r\n\r\n", 404),
        ("DELETE / HTTP/1.1\r\n\r\n", 405),
        ("GET\r\n\r\n", 400),
    ] {
        let response = exporter.send(text);
        assert_eq!(response.status, status);
        assert_eq!(response.header("Connection"), Some("close"), "{text:?}");
    }
}

#[test]
fn a_head_has_the_headers_of_a_get() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).start();
    // `/health` says in a header whether Plex has responded.
    exporter.until_value("plex_up", &[], 1.0);
    for path in ["/health", "/", "/nowhere"] {
        let headers = |method: &str| {
            let response = exporter.send(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let lines = response.head.lines();
            let fixed = lines.filter(|line| !line.starts_with("Date:"));
            fixed.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(headers("HEAD"), headers("GET"), "{path}");
    }
    let head = exporter.send(
        "HEAD /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("Content-Encoding"), Some("gzip"));
}

#[test]
fn unusual_requests_get_the_usual_response() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).start();
    let long = "x".repeat(2_000);
    for text in [
        "GET http://nas:9594/health HTTP/1.1\r\nHost: nas:9594\r\n\r\n".to_owned(),
        "GET /health?probe=1 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /health HTTP/1.1\r\n\r\n".to_owned(),
        "GET /health HTTP/1.1\nHost: x\n\n".to_owned(),
        "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        format!("GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n{long}"),
        "GET /health HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello".to_owned(),
        "GET /health HTTP/1.1\r\nContent-Length: -1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            .to_owned(),
        "GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
            .to_owned(),
        "GET /health HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n".to_owned(),
        "GET /health HTTP/1.1\r\nExpect: something\r\n\r\n".to_owned(),
        "GET /health HTTP/1.1\r\nTE: chunked, trailers\r\n\r\n".to_owned(),
        "GET /health HTTP/1.1\r\nX-Name: \u{e9}\u{1f600}\r\n\r\n".to_owned(),
        "\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ] {
        let response = exporter.send(&text);
        assert_eq!(
            (response.status, response.text()),
            (200, "ok\n"),
            "{text:?}"
        );
    }
    for (text, status) in [
        ("GET /health HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        ("GET /health HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        ("GET /health HTTP/1.1\r\nX: a\0b\r\n\r\n", 400),
        ("GET  /health HTTP/1.1\r\n\r\n", 400),
        ("GET /health HTTP/2.0\r\n\r\n", 400),
        ("GET //health HTTP/1.1\r\n\r\n", 404),
        ("GET /HEALTH HTTP/1.1\r\n\r\n", 404),
        ("get /health HTTP/1.1\r\n\r\n", 405),
    ] {
        assert_eq!(exporter.send(text).status, status, "{text:?}");
    }
}

#[test]
fn a_client_that_half_closes_after_its_request_gets_the_response() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).start();
    let mut stream = std::net::TcpStream::connect(exporter.address).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut bytes).unwrap();
    let response = Response::parse(&bytes);
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("Content-Length"),
        Some(response.body.len().to_string().as_str())
    );
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
    let problems =
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    for problem in problems.lines() {
        assert!(
            problem.starts_with("plex_library_duration_milliseconds "),
            "{problems}"
        );
    }
}

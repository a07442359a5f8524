//! Standard error that is full, closed or gone.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{
    exporter::{Setup, TOKEN, binary, wait},
    fake_plex::FakePlex,
    payloads::playing,
    samples::Samples,
};

/// An exporter at level trace whose standard error is `stderr`, and its address once it serves.
fn start(plex: &FakePlex, stderr: Stdio) -> (std::process::Child, String) {
    // Nobody reads where it listens, so the port is chosen here.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let child = Command::new(binary())
        .env_clear()
        .env("PLEX_SERVER", plex.url())
        .env("PLEX_TOKEN", TOKEN)
        .env("LISTEN_ADDRESS", port.to_string())
        .env("HEALTH_FILE", "/proc/self/no/marker")
        .env("LOG_LEVEL", "trace")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    (child, port.to_string())
}

fn page(address: &str) -> Option<Samples> {
    let request = b"GET /metrics HTTP/1.1\r\n\r\n";
    let bytes = crate::support::exporter::request(address.parse().unwrap(), request).ok()?;
    let text = String::from_utf8(bytes).unwrap();
    text.starts_with("HTTP/1.1 200")
        .then(|| Samples::parse(text.split_once("\r\n\r\n").unwrap().1))
}

fn until(address: &str, condition: impl Fn(&Samples) -> bool) -> Samples {
    wait(
        Duration::from_secs(30),
        || page(address).filter(&condition),
        || format!("{:?}", page(address).is_some()),
    )
}

fn end(mut child: std::process::Child) {
    let begun = Instant::now();
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

const DROPPED: &str = "plex_exporter_dropped_total";

#[test]
fn with_an_unread_log_it_serves_counts_dropped_lines_and_ends() {
    let plex = FakePlex::default();
    let (mut child, address) = start(&plex, Stdio::piped());
    until(&address, |samples| {
        samples.value("plex_websocket_connected", &[]) == Some(1.0)
    });
    // Some 2 MB of log lines at level debug.
    let frame = playing(1, 101, "playing", 0).to_string();
    let samples = wait(
        Duration::from_secs(60),
        || {
            for _ in 0..500 {
                plex.push_text("nonsense".to_owned());
                plex.push_text(frame.clone());
            }
            page(&address).filter(|page| page.value(DROPPED, &[("kind", "log")]) > Some(0.0))
        },
        || "nothing was dropped".to_owned(),
    );
    assert_eq!(samples.value("plex_up", &[]), Some(1.0));
    // The reader comes back: what was queued is read, and how much was not.
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("lines were dropped") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "no such line");
        assert!(line.ends_with('\n') && line.starts_with('2'), "{line}");
    }
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    end(child);
    let text = reader.join().unwrap();
    assert!(text.contains("SIGTERM") && text.ends_with('\n'), "{text}");
}

#[test]
fn with_its_log_stuck_it_ends_within_a_second_and_without_a_reader_it_serves() {
    let plex = FakePlex::default();
    let (child, address) = start(&plex, Stdio::piped());
    until(&address, |samples| {
        samples.value("plex_up", &[]) == Some(1.0)
    });
    for _ in 0..3_000 {
        plex.push_text("nonsense".to_owned());
    }
    until(&address, |samples| {
        samples
            .value("plex_exporter_notifications_total", &[("type", "other")])
            .is_some()
    });
    end(child);
    for closed in [false, true] {
        let (child, address) = if closed {
            let (mut child, address) = start(&plex, Stdio::piped());
            drop(child.stderr.take());
            (child, address)
        } else {
            start(&plex, Stdio::null())
        };
        until(&address, |samples| {
            samples.value("plex_up", &[]) == Some(1.0)
        });
        end(child);
    }
}

#[test]
fn it_starts_with_standard_error_closed() {
    let plex = FakePlex::default();
    let exit = Command::new("sh")
        .args([
            "-c",
            &format!("exec '{}' --version 2>&-", binary().display()),
        ])
        .stdout(Stdio::null())
        .status();
    assert!(exit.unwrap().success());
    let (status, ..) = Setup::new(&plex.url())
        .under(
            "sh",
            &[
                "-c",
                &format!("exec '{}' nonsense 2>&-", binary().display()),
            ],
        )
        .run(&[]);
    assert_eq!(status, Some(2));
}

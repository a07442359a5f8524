//! Arguments, environment, health, signals.

use std::{fs, net::TcpListener, process::Command, time::Duration};

use serde_json::json;

use crate::support::{
    exporter::{Setup, TOKEN, binary, own_path, wait},
    fake_plex::{FakePlex, Fault, html},
    payloads::{frame, movie},
};

const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn help_and_version_go_to_standard_output() {
    let (status, out, err) = Setup::new(NOWHERE).run(&["--help"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    for name in [
        "PLEX_SERVER",
        "PLEX_TOKEN",
        "PLEX_TOKEN_FILE",
        "LISTEN_ADDRESS",
        "SKIP_TLS_VERIFICATION",
        "PLEX_CA_FILE",
        "PLEX_TLS_SERVER_NAME",
        "LOG_LEVEL",
        "TZ",
        "HEALTH_FILE",
        "HIDE_LABELS",
        "health",
    ] {
        assert!(out.contains(name), "{name}");
    }
    let (status, out, _) = Setup::new(NOWHERE).run(&["--version"]);
    assert_eq!(status, Some(0));
    assert!(
        out.starts_with(&format!("plex-exporter {} (", env!("CARGO_PKG_VERSION"))),
        "{out}"
    );
}

#[test]
fn output_that_cannot_be_written_is_an_error_unless_its_reader_has_gone() {
    for arguments in [&["print", "dashboard"][..], &["--help"], &["--version"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(binary())
            .args(arguments)
            .stdout(full)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(error.contains("No space left on device"), "{error}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(binary())
            .args(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_unknown_argument_gets_the_usage_and_status_2() {
    for arguments in [&["--nonsense"][..], &["health", "now"]] {
        let (status, out, err) = Setup::new(NOWHERE).run(arguments);
        assert_eq!((status, out.as_str()), (Some(2), ""));
        assert!(err.contains("Usage") && err.contains(arguments[0]), "{err}");
    }
}

#[test]
fn all_errors_in_the_environment_are_reported_at_once_with_status_2() {
    let (status, out, err) = Setup::new("plex.example/web")
        .env("PLEX_TOKEN", "tok en")
        .env("LISTEN_ADDRESS", "nine")
        .env("LOG_LEVEL", "loud")
        .env("SKIP_TLS_VERIFICATION", "perhaps")
        .env("PLEX_CA_FILE", "/no/such/file")
        .env("HIDE_LABELS", "shoe")
        .env("PLEX_TLS_SERVER_NAME", "no name")
        .run(&[]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    for name in [
        "PLEX_SERVER",
        "PLEX_TOKEN",
        "LISTEN_ADDRESS",
        "LOG_LEVEL",
        "SKIP_TLS_VERIFICATION",
        "PLEX_CA_FILE",
        "HIDE_LABELS",
        "PLEX_TLS_SERVER_NAME",
    ] {
        assert!(
            err.lines()
                .any(|line| line.starts_with(&format!("{name}: "))),
            "{name} in\n{err}"
        );
    }
    assert!(!err.contains("tok en"));
    let (status, _, err) = Setup::new(NOWHERE).without("PLEX_TOKEN").run(&[]);
    assert_eq!(status, Some(2));
    assert!(err.contains("PLEX_TOKEN"), "{err}");
}

#[test]
fn the_token_may_come_from_a_file_or_a_systemd_credential() {
    let plex = FakePlex::default();
    let file = own_path("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let by_file = Setup::new(&plex.url())
        .env("PLEX_TOKEN", "wrong")
        .env("PLEX_TOKEN_FILE", &file)
        .start();
    by_file.until_value("plex_up", &[], 1.0);
    let folder = own_path("credentials");
    fs::create_dir(&folder).unwrap();
    fs::rename(&file, folder.join("plex-token")).unwrap();
    let by_credential = Setup::new(&plex.url())
        .without("PLEX_TOKEN")
        .env("CREDENTIALS_DIRECTORY", &folder)
        .start();
    by_credential.until_value("plex_up", &[], 1.0);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_base_path_is_kept_for_http_and_websocket_and_a_trailing_slash_does_no_harm() {
    let plex = FakePlex::default();
    plex.world().base_path = "/plex".into();
    for ending in ["/plex", "/plex/"] {
        let exporter = Setup::new(&format!("{}{ending}", plex.url())).start();
        exporter.until_value("plex_up", &[], 1.0);
        exporter.until_value("plex_websocket_connected", &[], 1.0);
    }
    assert!(
        plex.requests()
            .iter()
            .all(|seen| seen.target.starts_with("/plex/"))
    );
}

#[test]
fn an_ipv6_literal_works_for_http_and_websocket() {
    let plex = FakePlex::start_at("[::1]:0".parse().unwrap(), None);
    let exporter = Setup::new(&plex.url())
        .env("LISTEN_ADDRESS", "[::1]:0")
        .start();
    exporter.until_value("plex_up", &[], 1.0);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
}

#[test]
fn all_interfaces_means_both_ip_versions() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).env("LISTEN_ADDRESS", ":0").start();
    let port = exporter.address.port();
    for host in ["127.0.0.1", "[::1]"] {
        let address = format!("{host}:{port}").parse().unwrap();
        let response =
            crate::support::exporter::request(address, b"GET /health HTTP/1.1\r\n\r\n").unwrap();
        assert!(response.starts_with(b"HTTP/1.1 200"), "{host}");
    }
}

#[test]
fn signals_end_it_with_status_0_within_a_second_even_while_a_request_hangs() {
    for (signal, stalled) in [
        ("TERM", ""),
        ("INT", ""),
        ("TERM", "/"),
        ("TERM", "/status/sessions"),
    ] {
        let plex = FakePlex::default();
        if !stalled.is_empty() {
            plex.world().fault(stalled, Fault::Stall);
        }
        let mut exporter = Setup::new(&plex.url()).start();
        plex.wait_for(
            if stalled.is_empty() {
                "/status/sessions"
            } else {
                stalled
            },
            1,
            Duration::from_secs(5),
        );
        let marker = exporter.health_file.clone();
        let (status, took) = exporter.stop_with(signal);
        assert_eq!(status.code(), Some(0), "{signal} {stalled}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(!marker.exists());
    }
}

#[test]
fn a_taken_port_ends_with_status_1_and_the_other_exporter_stays_healthy() {
    let plex = FakePlex::default();
    let first = Setup::new(&plex.url()).start();
    wait(
        Duration::from_secs(5),
        || (first.health().0 == Some(0)).then_some(()),
        String::new,
    );
    let (status, _, err) = Setup::new(&plex.url())
        .env("LISTEN_ADDRESS", first.address.to_string())
        .env("HEALTH_FILE", &first.health_file)
        .run(&[]);
    assert_eq!(status, Some(1));
    assert!(
        err.contains("LISTEN_ADDRESS") && err.contains(&first.address.to_string()),
        "{err}"
    );
    assert_eq!(first.health().0, Some(0), "its marker was touched");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, ..) = Setup::new(&plex.url())
        .env("LISTEN_ADDRESS", &address)
        .run(&[]);
    assert_eq!(status, Some(1));
}

#[test]
fn healthy_means_that_plex_has_responded_and_stays_true_without_plex() {
    let mut plex = FakePlex::default();
    plex.world().token = "another".into();
    let mut exporter = Setup::new(&plex.url()).start();
    exporter.wait_for_log("refuses the token");
    let (status, why) = exporter.health();
    assert_eq!(status, Some(1));
    assert_eq!(why.lines().count(), 1, "{why}");
    plex.world().token = TOKEN.into();
    wait(
        Duration::from_secs(20),
        || (exporter.health().0 == Some(0)).then_some(()),
        || exporter.health().1,
    );
    let marker = fs::read_to_string(&exporter.health_file).unwrap();
    assert!(marker.contains(&exporter.child.id().to_string()));
    plex.stop();
    exporter.until_value("plex_up", &[], 0.0);
    assert_eq!(exporter.health().0, Some(0));
    // Killed, it leaves its marker behind, and that counts for nothing.
    exporter.child.kill().unwrap();
    exporter.child.wait().unwrap();
    assert!(exporter.health_file.exists());
    let (status, why) = exporter.health();
    assert_eq!((status, why.lines().count()), (Some(1), 1), "{why}");
    // The next one removes it before Plex has responded.
    let next = Setup::new(&plex.url())
        .env("HEALTH_FILE", &exporter.health_file)
        .start();
    assert!(!exporter.health_file.exists());
    drop(next);
}

#[test]
fn two_exporters_with_their_own_markers_do_not_disturb_each_other() {
    let plex = FakePlex::default();
    let first = Setup::new(&plex.url()).start();
    let mut second = Setup::new(&plex.url()).start();
    for exporter in [&first, &second] {
        wait(
            Duration::from_secs(5),
            || (exporter.health().0 == Some(0)).then_some(()),
            String::new,
        );
    }
    second.stop_with("TERM");
    assert_eq!(second.health().0, Some(1));
    assert_eq!(first.health().0, Some(0));
}

#[test]
fn where_the_marker_cannot_be_written_the_probe_asks_the_server() {
    let plex = FakePlex::default();
    // No directory: nothing can be written there, not even by root.
    let mut exporter = Setup::new(&plex.url())
        .env("HEALTH_FILE", "/proc/self/no/marker")
        .start();
    exporter.health_file = "/proc/self/no/marker".into();
    exporter.wait_for_log("cannot write the health marker");
    assert_eq!(exporter.health().0, Some(0));
    exporter.until("time", Duration::from_secs(3), |_| true);
    assert_eq!(
        exporter
            .log()
            .iter()
            .filter(|line| line.contains("health marker"))
            .count(),
        1
    );
    exporter.stop_with("TERM");
    let (status, why) = exporter.health();
    assert_eq!((status, why.lines().count()), (Some(1), 1), "{why}");
}

#[test]
fn log_lines_have_a_time_with_the_zone_s_offset_and_levels_are_kept() {
    let mut plex = FakePlex::default();
    plex.stop();
    for (zone, offset) in [("", "Z"), ("CET-1", "+01:00"), ("No/Such_Zone", "Z")] {
        let exporter = Setup::new(&plex.url())
            .env("TZ", zone)
            .env("LOG_LEVEL", "info")
            .start();
        let line = exporter.wait_for_log("metrics on");
        let time = line.split(' ').next().unwrap();
        assert!(time.len() >= 20 && time.ends_with(offset), "{zone}: {line}");
        exporter.wait_for_log("[WARN]");
        assert!(exporter.log().iter().all(|line| !line.contains("[DEBUG]")));
    }
    let quiet = Setup::new("nonsense://").env("LOG_LEVEL", "error");
    assert_eq!(quiet.run(&[]).0, Some(2));
}

#[test]
fn failures_are_logged_once_per_change() {
    let mut plex = FakePlex::default();
    plex.stop();
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.wait_for_log("Plex: cannot connect");
    plex.restart();
    exporter.wait_for_log("Plex: recovered");
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    plex.world().fault("/", html(503, "Maintenance"));
    // Any reason to poll will do.
    plex.push(&frame(
        "reachability",
        "ReachabilityNotification",
        json!({"reachability": true}),
    ));
    exporter.wait_for_log("maintenance (503)");
    exporter.until("several failures", Duration::from_secs(20), |samples| {
        let labels = [("endpoint", "/"), ("reason", "status")];
        samples.value("plex_exporter_plex_request_errors_total", &labels) >= Some(3.0)
    });
    let told = |text: &str| {
        exporter
            .log()
            .iter()
            .filter(|line| line.contains(text))
            .count()
    };
    assert_eq!(told("maintenance (503)"), 1);
    assert_eq!(told("Plex: cannot connect"), 1, "{:#?}", exporter.log());
}

#[test]
fn the_token_is_nowhere_to_be_seen() {
    let plex = FakePlex::default();
    plex.world().play(movie(
        1,
        101,
        "Alien\n2026-01-01T00:00:00Z [ERROR] forged \u{1b}[2J",
    ));
    // A Plex, or a person, that puts it where it becomes a label value, escaped or cut in two.
    let echoes = [
        format!("Echo {TOKEN}"),
        format!("\"{TOKEN}\""),
        "x".repeat(250) + TOKEN,
    ];
    for (key, title) in (2..).zip(&echoes) {
        plex.world().play(movie(key, 100 + key, title));
    }
    plex.world().fault(
        "/activities",
        Fault::Redirect("http://127.0.0.1:9/stolen".into()),
    );
    plex.world().fault("/statistics/bandwidth", Fault::Truncate);
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "trace").start();
    exporter.until_value("plex_plays_total", &[("session", "1")], 1.0);
    exporter.wait_for_log("redirect");
    plex.world().token = "changed".into();
    plex.drop_sockets();
    exporter.wait_for_log("refuses the token");
    let told = exporter.log().join("\n") + &exporter.page() + exporter.get("/").text();
    assert!(!told.contains(TOKEN), "{told}");
    assert!(!told.contains(&TOKEN[..5]), "a piece of it: {told}");
    assert!(
        exporter
            .log()
            .iter()
            .all(|line| line.starts_with("2") && !line.contains('\u{1b}')),
        "{told}"
    );
    assert!(
        exporter
            .log()
            .iter()
            .any(|line| line.contains("\\u{a}2026-01-01")),
        "the title is escaped"
    );
    // It travels in the header, never in a URL.
    assert!(
        plex.requests()
            .iter()
            .all(|seen| !seen.target.contains("s3cret"))
    );
    assert!(plex.requests().iter().any(|seen| seen.head.contains(TOKEN)));
    let command_line = fs::read(format!("/proc/{}/cmdline", exporter.child.id())).unwrap();
    assert!(!String::from_utf8_lossy(&command_line).contains(TOKEN));
}

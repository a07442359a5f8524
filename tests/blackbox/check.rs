//! `plex-exporter check`: what works, what does not, and the fix.

use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use crate::support::{
    exporter::{Setup, TOKEN, own_path},
    fake_plex::{FakePlex, Fault, html, unauthorized},
    payloads::movie,
    tls::{self_signed, signed_by_ca},
};

/// Exit status and report of a check; shown by `cargo test -- --nocapture`.
fn check(situation: &str, setup: Setup) -> (Option<i32>, String) {
    let (status, out, err) = setup.run(&["check"]);
    println!("--- {situation}\n{out}{err}");
    assert_eq!(err, "", "the report goes to standard output");
    assert!(!out.contains(TOKEN), "{out}");
    (status, out)
}

/// The text of the one line of a step, which must have this verdict.
fn line<'a>(report: &'a str, verdict: &str, step: &str) -> &'a str {
    let found: Vec<&str> = report
        .lines()
        .filter_map(|line| {
            let text = line.strip_prefix(verdict)?.trim_start();
            text.strip_prefix(step)?.strip_prefix(' ')
        })
        .collect();
    assert_eq!(found.len(), 1, "{verdict} {step} in\n{report}");
    found[0].trim_start()
}

/// Checks that the report fails at `step` with a line that has all of `words`, and at no other
/// step.
fn fails(situation: &str, setup: Setup, step: &str, words: &[&str]) {
    let (status, report) = check(situation, setup);
    assert_eq!(status, Some(1), "{report}");
    let text = line(&report, "FAIL", step);
    for word in words {
        assert!(text.contains(word), "{situation}: `{word}` in {text}");
    }
    assert_eq!(report.matches("FAIL").count(), 1, "{report}");
}

fn failing(path: &str, fault: Fault) -> FakePlex {
    let plex = FakePlex::default();
    plex.world().fault(path, fault);
    plex
}

#[test]
fn everything_that_works_is_a_line_of_its_own() {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let (status, report) = check("all is well", Setup::new(&plex.url()));
    assert_eq!(status, Some(0), "{report}");
    for (step, text) in [
        ("PLEX_SERVER", plex.url().as_str()),
        ("name resolution", "127.0.0.1"),
        ("TCP", "accepts connections"),
        ("HTTP", "Plex responds"),
        ("token", "accepted"),
        ("version", "1.43.4"),
        ("Plex Pass", "yes"),
        ("administrator", "live sessions"),
        ("sessions", "1 live"),
        ("libraries", "4: Movies, TV Shows, Music, Photos"),
        ("host load", "supplied"),
        ("bytes sent", "supplied"),
        ("users", "3 with access"),
        ("updates", "no newer version"),
        ("notifications", "connected"),
        ("ping", "answered within"),
    ] {
        let line = line(&report, "ok", step);
        assert!(line.contains(text), "{step}: {report}");
    }
    assert!(line(&report, "info", "TLS").contains("clear text"));
    assert_eq!(report.lines().count(), 17, "{report}");
    plex.world().releases = vec![json!({"version": "1.44", "state": "notify"})];
    let (status, report) = check("an update waits", Setup::new(&plex.url()));
    assert_eq!(status, Some(0));
    assert!(line(&report, "ok", "updates").contains("a newer version"));
}

#[test]
fn the_names_of_the_certificate_are_shown_whether_they_match_or_not() {
    let identity = signed_by_ca("nas.example");
    let plex = FakePlex::start(Some(identity.config.clone()));
    let ca = own_path("check-ca.pem");
    std::fs::write(&ca, &identity.trust).unwrap();
    let url = format!("https://localhost:{}", plex.address.port());
    fails(
        "another name",
        Setup::new(&url).env("PLEX_CA_FILE", &ca),
        "TLS",
        &[
            "(it is for nas.example)",
            "localhost",
            "PLEX_TLS_SERVER_NAME",
        ],
    );
    let named = Setup::new(&url)
        .env("PLEX_CA_FILE", &ca)
        .env("PLEX_TLS_SERVER_NAME", "nas.example");
    let (status, report) = check("the name of the certificate", named);
    assert_eq!(status, Some(0), "{report}");
    assert_eq!(
        line(&report, "ok", "TLS"),
        "the certificate is valid, for nas.example"
    );
    let unverified = Setup::new(&url).env("SKIP_TLS_VERIFICATION", "true");
    let (status, report) = check("not verified", unverified);
    assert_eq!(status, Some(0), "{report}");
    let info = line(&report, "info", "TLS");
    assert!(info.contains("NOT VERIFIED") && info.contains("nas.example"));
    std::fs::remove_file(ca).unwrap();

    let plex = FakePlex::start(Some(self_signed("localhost", false).config));
    let url = format!("https://localhost:{}", plex.address.port());
    fails(
        "self-signed",
        Setup::new(&url),
        "TLS",
        &["PLEX_CA_FILE", "self-signed", "for localhost"],
    );
}

#[test]
fn what_is_absent_without_plex_pass_is_named_and_no_failure() {
    // Without a Pass, some servers respond with 404, and some with an empty container.
    for empty in [false, true] {
        let plex = FakePlex::default();
        plex.world().server["myPlexSubscription"] = json!(false);
        if empty {
            let body = r#"{"MediaContainer":{"size":0}}"#.to_owned();
            plex.world().fault(
                "/statistics",
                Fault::Response(200, "application/json", body),
            );
        }
        let (status, report) = check("no Plex Pass", Setup::new(&plex.url()));
        assert_eq!(status, Some(0), "{report}");
        assert!(line(&report, "info", "Plex Pass").starts_with("no"));
        assert!(line(&report, "info", "host load").contains("plex_host_"));
        let bytes = line(&report, "info", "bytes sent");
        assert!(bytes.contains("plex_transmit_bytes_total"), "{bytes}");
    }
}

#[test]
fn what_the_server_does_not_offer_is_named_and_no_failure() {
    for status in [403, 404] {
        let plex = FakePlex::default();
        for path in ["/accounts", "/updater"] {
            plex.world().fault(path, html(status, "No"));
        }
        let (exit, report) = check("no accounts, no updates", Setup::new(&plex.url()));
        assert_eq!(exit, Some(0), "{report}");
        assert!(line(&report, "info", "users").contains("plex_user_play_starts_total"));
        assert!(line(&report, "info", "updates").contains("plex_update_available"));
    }
}

#[test]
fn an_address_that_does_not_lead_to_plex_names_the_fix() {
    let closed_port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    fails(
        "the wrong port",
        Setup::new(&format!("http://{closed_port}")),
        "TCP",
        &["refused", "32400"],
    );
    fails(
        "the address of the web app",
        Setup::new("http://plex.example:32400/web/index.html"),
        "configuration",
        &["PLEX_SERVER", "/web"],
    );
    fails(
        "a name that nobody knows",
        Setup::new("http://no-such-host.invalid:32400"),
        "name resolution",
        &["no-such-host.invalid", "IP address"],
    );
    let plex = FakePlex::default();
    fails(
        "TLS to a port that speaks plain HTTP",
        Setup::new(&format!("https://{}", plex.address)),
        "TLS",
        &["http://"],
    );
    let plex = FakePlex::start(Some(signed_by_ca("localhost").config));
    fails(
        "plain HTTP to a port that speaks TLS",
        Setup::new(&format!("http://{}", plex.address)),
        "HTTP",
        &["https://"],
    );
    let page = "<html><title>My NAS</title></html>".to_owned();
    let plex = failing("/", Fault::Response(200, "text/html", page));
    fails(
        "another program",
        Setup::new(&plex.url()),
        "HTTP",
        &["text/html", "PLEX_SERVER"],
    );
    let json = r#"{"MediaContainer":{}}"#.to_owned();
    let plex = failing("/", Fault::Response(200, "application/json", json));
    fails(
        "another program with JSON",
        Setup::new(&plex.url()),
        "HTTP",
        &["names no Plex server"],
    );
    let plex = failing("/", html(404, "Not Found"));
    fails(
        "a proxy without the base path",
        Setup::new(&plex.url()),
        "HTTP",
        &["404", "base path"],
    );
    let plex = failing("/", Fault::Redirect("https://elsewhere.example/".into()));
    fails(
        "a redirect",
        Setup::new(&plex.url()),
        "HTTP",
        &["302", "final address"],
    );
    let starting = r#"{"code":503,"title":"Maintenance"}"#.to_owned();
    let plex = failing("/", Fault::Response(503, "application/json", starting));
    fails(
        "Plex is starting",
        Setup::new(&plex.url()),
        "HTTP",
        &["starting", "503", "wait"],
    );
}

#[test]
fn a_token_without_the_rights_names_the_fix() {
    let plex = FakePlex::default();
    plex.world().token = "another".into();
    fails(
        "the wrong token",
        Setup::new(&plex.url()),
        "token",
        &["401", "PLEX_TOKEN", "administrator"],
    );
    for refusal in [html(403, "Forbidden"), unauthorized()] {
        let plex = FakePlex::default();
        // What Plex shows to the owner only.
        for path in ["/status/sessions", "/statistics", "/accounts", "/updater"] {
            plex.world().fault(path, refusal.clone());
        }
        fails(
            "a shared user's token",
            Setup::new(&plex.url()),
            "administrator",
            &[
                "shared or managed user",
                "token of the server's administrator",
            ],
        );
    }
}

#[test]
fn notifications_that_do_not_get_through_name_the_fix() {
    for status in [400, 404, 426] {
        let plex = failing("/:/websockets", html(status, "No"));
        fails(
            "a proxy without WebSocket",
            Setup::new(&plex.url()),
            "notifications",
            &[&status.to_string(), "Upgrade", "polled"],
        );
    }
    let plex = FakePlex::default();
    plex.world().pongs = false;
    fails(
        "a proxy that swallows frames",
        Setup::new(&plex.url()),
        "ping",
        &["not answered", "proxy"],
    );
}

/// Whatever fails, and wherever: the step says how to fix it, and optional ones what is absent.
#[test]
fn every_failed_request_names_a_fix() {
    let oversize = Fault::Oversize {
        bytes: 12_000_000,
        gzip: true,
    };
    for (fault, fix) in [
        (html(400, "Bad Request"), "reverse proxy"),
        (html(429, "Too Many Requests"), "exempt the exporter"),
        (html(500, "Oops"), "restart it"),
        (html(502, "Bad Gateway"), "does the proxy lead to it"),
        (html(503, "Maintenance"), "wait a minute"),
        (html(504, "Gateway Timeout"), "does the proxy lead to it"),
        (html(200, "Log in"), "PLEX_SERVER"),
        (Fault::Truncate, "if this persists"),
        (oversize, "sends"),
    ] {
        for (path, step) in [
            ("/", "HTTP"),
            ("/status/sessions", "sessions"),
            ("/media/providers", "libraries"),
        ] {
            let plex = failing(path, fault.clone());
            fails(path, Setup::new(&plex.url()), step, &[fix]);
        }
        let plex = FakePlex::default();
        for path in ["/statistics", "/accounts", "/updater"] {
            plex.world().fault(path, fault.clone());
        }
        let (status, report) = check("nothing optional", Setup::new(&plex.url()));
        assert_eq!(status, Some(0), "{report}");
        for (step, metric) in [
            ("host load", "plex_host_"),
            ("bytes sent", "plex_transmit_bytes_total"),
            ("users", "plex_user_play_starts_total"),
            ("updates", "plex_update_available"),
        ] {
            let text = line(&report, "info", step);
            assert!(text.contains(metric) && text.contains(fix), "{text}");
        }
    }
}

#[test]
fn what_has_responded_is_not_suspected_any_more() {
    for (fault, fix) in [
        (html(404, "Not Found"), "update Plex"),
        (Fault::Redirect("/login".into()), "must pass on every path"),
        (Fault::Reset, "restarting"),
    ] {
        let plex = failing("/status/sessions", fault);
        let (_, report) = check("one endpoint", Setup::new(&plex.url()));
        let text = line(&report, "FAIL", "sessions");
        assert!(
            text.contains(fix) && !text.contains("PLEX_SERVER"),
            "{text}"
        );
    }
}

#[test]
fn with_plex_pass_nothing_is_said_to_need_one() {
    for path in ["/statistics/resources", "/statistics/bandwidth"] {
        let plex = failing(path, html(404, "Not Found"));
        let (status, report) = check(
            "no statistics in spite of Plex Pass",
            Setup::new(&plex.url()),
        );
        assert_eq!(status, Some(0), "{report}");
        assert_eq!(line(&report, "ok", "Plex Pass"), "yes");
        assert!(
            report.contains("not offered by this server (404)"),
            "{report}"
        );
        assert!(!report.contains("need Plex Pass"), "{report}");
    }
}

#[test]
fn a_plex_that_hangs_is_not_waited_for_again_and_again() {
    let plex = FakePlex::default();
    plex.world().fault_everywhere(&Fault::Stall);
    plex.world().clear_fault("/");
    let begun = Instant::now();
    let (status, report) = check("only `/` responds", Setup::new(&plex.url()));
    assert_eq!(status, Some(1), "{report}");
    for step in ["sessions", "libraries"] {
        assert!(line(&report, "FAIL", step).contains("within 10 s"));
    }
    for step in ["host load", "bytes sent", "users", "updates"] {
        assert!(line(&report, "info", step).contains("skipped"));
    }
    line(&report, "ok", "ping");
    assert!(begun.elapsed() < Duration::from_secs(30), "{report}");
}

/// Passes connections on to the Plex at `plex`, and closes notification sockets with this frame.
fn closing_front(plex: SocketAddr, frame: Option<CloseFrame>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move |mut client: TcpStream, frame: Option<CloseFrame>| -> std::io::Result<()> {
        let mut head = [0; 16];
        let length = client.peek(&mut head)?;
        if head[..length].starts_with(b"GET /:/websocket") {
            let mut socket = tungstenite::accept(client).map_err(std::io::Error::other)?;
            let _ = socket.close(frame);
            while socket.read().is_ok() {}
            return Ok(());
        }
        let mut server = TcpStream::connect(plex)?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        });
        std::io::copy(&mut server, &mut client)?;
        client.shutdown(Shutdown::Write)
    };
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let frame = frame.clone();
            thread::spawn(move || serve(client, frame));
        }
    });
    address
}

#[test]
fn a_socket_that_is_closed_is_not_said_to_be_silent() {
    let plex = FakePlex::default();
    let said = CloseFrame {
        code: CloseCode::Policy,
        reason: "one socket each".into(),
    };
    let bare = CloseFrame {
        code: CloseCode::Away,
        reason: "".into(),
    };
    for (frame, words) in [
        (Some(said), &["closed", "1008", "`one socket each`"] as &[_]),
        (Some(bare), &["closed", "code 1001 "]),
        (None, &["closed the connection (it"]),
    ] {
        let front = closing_front(plex.address, frame);
        let setup = Setup::new(&format!("http://{front}"));
        let begun = Instant::now();
        fails("closed at once", setup, "ping", words);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

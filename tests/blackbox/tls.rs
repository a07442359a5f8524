//! TLS to Plex: every way of trusting, and every failure with its fix.

use std::{fs, net::TcpListener, path::PathBuf, time::Duration};

use crate::support::{
    exporter::{Setup, own_path},
    fake_plex::FakePlex,
    tls::{Identity, expired, self_signed, signed_by_ca, signed_by_no_ca},
};

fn trust(identity: &Identity) -> PathBuf {
    let path = own_path("ca.pem");
    fs::write(&path, &identity.trust).unwrap();
    path
}

/// The URL by name: certificates in these tests are for names, not addresses.
fn by_name(plex: &FakePlex) -> String {
    format!("https://localhost:{}", plex.address.port())
}

fn works(setup: Setup) {
    let exporter = setup.start();
    exporter.until_value("plex_up", &[], 1.0);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
}

fn fails(setup: Setup, clear_fault: &str, reason: &str) {
    let exporter = setup.start();
    let line = exporter.wait_for_log(clear_fault);
    assert!(line.contains("[WARN]"), "{line}");
    let samples = exporter.until(reason, Duration::from_secs(15), |samples| {
        samples
            .of(
                "plex_exporter_plex_request_errors_total",
                &[("endpoint", "/"), ("reason", reason)],
            )
            .len()
            == 1
    });
    assert_eq!(samples.value("plex_up", &[]), Some(0.0));
}

#[test]
fn a_ca_a_self_signed_certificate_a_name_or_no_verification_all_work() {
    for identity in [
        signed_by_ca("localhost"),
        self_signed("localhost", false),
        self_signed("localhost", true),
    ] {
        let plex = FakePlex::start(Some(identity.config.clone()));
        works(Setup::new(&by_name(&plex)).env("PLEX_CA_FILE", trust(&identity)));
    }
    let identity = signed_by_ca("1-2-3-4.hash.plex.direct");
    let plex = FakePlex::start(Some(identity.config.clone()));
    let named = Setup::new(&plex.url())
        .env("PLEX_CA_FILE", trust(&identity))
        .env("PLEX_TLS_SERVER_NAME", "1-2-3-4.hash.plex.direct");
    works(named);
    for yes in ["1", "true"] {
        let exporter = Setup::new(&plex.url())
            .env("SKIP_TLS_VERIFICATION", yes)
            .start();
        exporter.wait_for_log("ANY certificate is accepted");
        exporter.until_value("plex_websocket_connected", &[], 1.0);
    }
}

#[test]
fn a_certificate_that_is_no_ca_vouches_for_itself_and_for_no_other() {
    let own = self_signed("localhost", false);
    let plex = FakePlex::start(Some(own.config.clone()));
    works(Setup::new(&by_name(&plex)).env("PLEX_CA_FILE", trust(&own)));
    let other = signed_by_no_ca("localhost");
    let plex = FakePlex::start(Some(other.config.clone()));
    let setup = Setup::new(&by_name(&plex)).env("PLEX_CA_FILE", trust(&other));
    fails(setup, "PLEX_CA_FILE", "tls");
}

#[test]
fn every_failure_names_the_variable_that_fixes_it() {
    let good = signed_by_ca("localhost");
    let other = signed_by_ca("elsewhere.example");
    let old = expired("localhost");
    let serve = |identity: &Identity| FakePlex::start(Some(identity.config.clone()));
    let plex = serve(&good);
    fails(Setup::new(&by_name(&plex)), "PLEX_CA_FILE", "tls");
    let plex = serve(&other);
    fails(
        Setup::new(&by_name(&plex)).env("PLEX_CA_FILE", trust(&other)),
        "PLEX_TLS_SERVER_NAME",
        "tls",
    );
    let pinned = self_signed("elsewhere.example", true);
    let plex = serve(&pinned);
    fails(
        Setup::new(&by_name(&plex)).env("PLEX_CA_FILE", trust(&pinned)),
        "PLEX_TLS_SERVER_NAME",
        "tls",
    );
    let plex = serve(&old);
    fails(
        Setup::new(&by_name(&plex)).env("PLEX_CA_FILE", trust(&old)),
        "has expired",
        "tls",
    );
    // TLS spoken to a plain port, and the reverse.
    let plain = FakePlex::default();
    fails(
        Setup::new(&by_name(&plain)),
        "begin PLEX_SERVER with http://",
        "tls",
    );
    let plex = serve(&good);
    let exporter = Setup::new(&plex.url().replace("https", "http")).start();
    exporter.wait_for_log("https://");
}

#[test]
fn a_name_that_does_not_resolve_is_explained() {
    let exporter = Setup::new("https://1-2-3-4.hash.plex.direct:32400").start();
    let line = exporter.wait_for_log("cannot resolve");
    assert!(
        line.contains("rebinding") && line.contains("PLEX_TLS_SERVER_NAME"),
        "{line}"
    );
}

#[test]
fn a_handshake_that_stalls_ends_in_ten_seconds() {
    // It accepts (the kernel does) and sends nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let exporter = Setup::new(&format!(
        "https://localhost:{}",
        deaf.local_addr().unwrap().port()
    ))
    .start();
    exporter.until("time-outs", Duration::from_secs(14), |samples| {
        let timeouts = |endpoint: &str| {
            let labels = [("endpoint", endpoint), ("reason", "timeout")];
            samples.value("plex_exporter_plex_request_errors_total", &labels)
        };
        timeouts("/").is_some() && timeouts("/:/websockets/notifications").is_some()
    });
}

#[test]
fn a_file_without_a_certificate_is_a_configuration_error() {
    let path = own_path("not-a-ca");
    fs::write(&path, "hello").unwrap();
    let (status, _, err) = Setup::new("https://localhost:1")
        .env("PLEX_CA_FILE", &path)
        .run(&[]);
    assert_eq!(status, Some(2));
    assert!(err.contains("PLEX_CA_FILE"), "{err}");
}

#[test]
fn proxy_variables_are_ignored_for_both_connections() {
    let plex = FakePlex::default();
    let setup = [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ]
    .into_iter()
    .fold(Setup::new(&plex.url()), |setup, name| {
        setup.env(name, "http://127.0.0.1:9")
    });
    works(setup);
}

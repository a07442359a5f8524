//! `plex-exporter check`: what works, what does not, and the mend.

use std::net::TcpListener;

use serde_json::json;

use crate::support::{
    exporter::{Setup, TOKEN, own_path},
    fake_plex::{FakePlex, html, unauthorized},
    payloads::movie,
    tls::signed_by_ca,
};

fn check(setup: Setup) -> (Option<i32>, String) {
    let (status, out, err) = setup.run(&["check"]);
    let told = out + &err;
    assert!(!told.contains(TOKEN), "{told}");
    (status, told)
}

fn line<'a>(told: &'a str, verdict: &str, step: &str) -> &'a str {
    told.lines()
        .find(|line| {
            let rest = line.strip_prefix(verdict).map(str::trim_start);
            rest.is_some_and(|rest| rest.starts_with(step) || rest.starts_with("configuration"))
        })
        .unwrap_or_else(|| panic!("no {verdict} {step} in\n{told}"))
}

#[test]
fn everything_that_works_is_a_line_of_its_own() {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let (status, told) = check(Setup::new(&plex.url()));
    assert_eq!(status, Some(0), "{told}");
    for (step, text) in [
        ("PLEX_SERVER", plex.url().as_str()),
        ("name", "127.0.0.1"),
        ("TCP", "accepts"),
        ("token", "accepted"),
        ("version", "1.43.4"),
        ("Plex Pass", "yes"),
        ("administrator", ""),
        ("sessions", "1 live"),
        ("libraries", "4: Movies, TV Shows, Music, Photos"),
        ("host load", ""),
        ("bytes sent", ""),
        ("notifications", ""),
        ("ping", "answered"),
    ] {
        assert!(line(&told, "ok", step).contains(text), "{step}: {told}");
    }
    assert!(!told.contains("WRONG"));
}

#[test]
fn the_names_of_the_certificate_are_told_whether_it_fits_or_not() {
    let identity = signed_by_ca("nas.example");
    let plex = FakePlex::start(Some(identity.config.clone()));
    let ca = own_path("check-ca.pem");
    std::fs::write(&ca, &identity.trust).unwrap();
    let by_name = format!("https://localhost:{}", plex.address.port());
    let (status, told) = check(Setup::new(&by_name).env("PLEX_CA_FILE", &ca));
    assert_eq!(status, Some(1));
    let wrong = line(&told, "WRONG", "TLS");
    assert!(
        wrong.contains("nas.example") && wrong.contains("PLEX_TLS_SERVER_NAME"),
        "{told}"
    );
    let named = Setup::new(&by_name)
        .env("PLEX_CA_FILE", &ca)
        .env("PLEX_TLS_SERVER_NAME", "nas.example");
    let (status, told) = check(named);
    assert_eq!(status, Some(0), "{told}");
    assert!(line(&told, "ok", "TLS").contains("nas.example"));
}

#[test]
fn no_plex_pass_is_a_remark_and_no_failure() {
    let plex = FakePlex::default();
    plex.world().server["myPlexSubscription"] = json!(false);
    let (status, told) = check(Setup::new(&plex.url()));
    assert_eq!(status, Some(0), "{told}");
    line(&told, "remark", "Plex Pass");
    line(&told, "remark", "host load");
}

#[test]
fn each_failing_step_names_cause_and_mend() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (status, told) = check(Setup::new(&format!("http://{nobody}")));
    assert_eq!(status, Some(1));
    assert!(line(&told, "WRONG", "TCP").contains("32400"), "{told}");

    let (status, told) = check(Setup::new("http://plex.example:32400/web/index.html"));
    assert_eq!(status, Some(1));
    assert!(
        line(&told, "WRONG", "PLEX_SERVER").contains("/web"),
        "{told}"
    );

    let (_, told) = check(Setup::new("http://no-such-host.invalid:32400"));
    assert!(
        line(&told, "WRONG", "name").contains("cannot resolve"),
        "{told}"
    );

    let plex = FakePlex::default();
    plex.world().token = "another".into();
    let (status, told) = check(Setup::new(&plex.url()));
    assert_eq!(status, Some(1));
    assert!(
        line(&told, "WRONG", "token").contains("PLEX_TOKEN"),
        "{told}"
    );

    for refusal in [html(403, "Forbidden"), unauthorized()] {
        let plex = FakePlex::default();
        plex.world().fault("/status/sessions", refusal);
        let (status, told) = check(Setup::new(&plex.url()));
        assert_eq!(status, Some(1));
        assert!(
            line(&told, "WRONG", "administrator").contains("shared or managed"),
            "{told}"
        );
    }

    let plex = FakePlex::default();
    plex.world()
        .fault("/:/websockets", html(400, "Bad Request"));
    let (status, told) = check(Setup::new(&plex.url()));
    assert_eq!(status, Some(1));
    assert!(
        line(&told, "WRONG", "notifications").contains("Upgrade"),
        "{told}"
    );
}

//! Whatever Plex does, the exporter survives, logs it, and recovers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    exporter::{SOON, Setup},
    fake_plex::{FakePlex, Fault, html, unauthorized},
    payloads::{movie, playing},
    samples::Samples,
};

/// Longer than the longest pause between polls of a Plex that is down.
const RECOVERY: Duration = Duration::from_secs(20);

fn error_count(samples: &Samples, endpoint: &str, reason: &str) -> f64 {
    let labels = [("endpoint", endpoint), ("reason", reason)];
    samples
        .value("plex_exporter_plex_request_errors_total", &labels)
        .unwrap_or(0.0)
}

#[test]
fn every_fault_of_the_server_is_logged_survived_and_recovered_from() {
    let faults = [
        (unauthorized(), "unauthorized"),
        (html(403, "Forbidden"), "forbidden"),
        (html(404, "Not Found"), "not_found"),
        (html(500, "Internal Server Error"), "status"),
        (
            Fault::Response(
                503,
                "application/json",
                r#"{"code":503,"title":"Maintenance"}"#.into(),
            ),
            "status",
        ),
        (
            Fault::Response(
                503,
                "text/xml",
                r#"<Response code="503" title="Maintenance"/>"#.into(),
            ),
            "status",
        ),
        (
            Fault::Response(200, "text/html", "<html>login</html>".into()),
            "decode",
        ),
        (
            Fault::Response(200, "application/json", "{}".into()),
            "decode",
        ),
        (
            Fault::Response(200, "application/json", "<xml/>".into()),
            "decode",
        ),
        (Fault::Redirect("http://127.0.0.1:9/".into()), "status"),
        (Fault::Reset, "connect"),
        (Fault::Truncate, "connect"),
        (
            Fault::Oversize {
                bytes: 12_000_000,
                gzip: false,
            },
            "too_large",
        ),
        (
            Fault::Oversize {
                bytes: 24_000_000,
                gzip: true,
            },
            "too_large",
        ),
    ];
    // Side by side, to be quick.
    std::thread::scope(|scope| {
        for (fault, reason) in faults {
            scope.spawn(move || {
                let plex = FakePlex::default();
                plex.world().fault("/", fault);
                let exporter = Setup::new(&plex.url()).start();
                let samples = exporter.until(reason, RECOVERY, |samples| {
                    error_count(samples, "/", reason) >= 1.0
                });
                assert_eq!(samples.value("plex_up", &[]), Some(0.0));
                assert!(
                    exporter.proc_status("VmHWM") < 64_000,
                    "grew to {} kB",
                    exporter.proc_status("VmHWM")
                );
                plex.world().clear_fault("/");
                exporter.until(reason, RECOVERY, |samples| {
                    samples.value("plex_up", &[]) == Some(1.0)
                });
            });
        }
    });
}

#[test]
fn chunked_and_slow_responses_are_read() {
    let plex = FakePlex::default();
    plex.world().fault("/", Fault::Chunked);
    plex.world()
        .fault("/status/sessions", Fault::Trickle(Duration::from_millis(1)));
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_up", &[], 1.0);
    exporter.until_value("plex_plays_total", &[("session", "1")], 1.0);
}

#[test]
fn a_stalled_request_ends_in_ten_seconds_and_delays_no_other_kind() {
    let plex = FakePlex::default();
    plex.world().fault("/library/sections", Fault::Stall);
    plex.world().fault("/statistics", Fault::Stall);
    plex.world()
        .fault("/activities", Fault::Trickle(Duration::from_millis(800)));
    let exporter = Setup::new(&plex.url()).start();
    plex.world().play(movie(1, 101, "Alien"));
    plex.push(&playing(1, 101, "playing", 0));
    exporter.until_value("plex_plays_total", &[("session", "1")], 1.0);
    let begun = Instant::now();
    exporter.until("time-outs", Duration::from_secs(24), |samples| {
        error_count(samples, "/statistics/resources", "timeout") >= 1.0
            && error_count(samples, "/activities", "timeout") >= 1.0
    });
    assert!(
        begun.elapsed() > Duration::from_secs(7),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(exporter.scrape().value("plex_up", &[]), Some(1.0));
}

#[test]
fn a_restart_of_plex_is_survived_and_the_socket_comes_back() {
    let mut plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_plays_total", &[("session", "1")], 1.0);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until("counts", RECOVERY, |samples| {
        samples.of("plex_library_items", &[]).len() == 4
    });
    plex.stop();
    exporter.until_value("plex_websocket_connected", &[], 0.0);
    let samples = exporter.until_value("plex_up", &[], 0.0);
    // What is still true stays.
    assert_eq!(samples.of("plex_library_items", &[]).len(), 4);
    assert_eq!(samples.of("plex_server_info", &[]).len(), 1);
    plex.world().sessions.clear();
    plex.world().server["version"] = json!("1.44.0");
    plex.restart();
    exporter.until("Plex", RECOVERY, |samples| {
        samples.value("plex_up", &[]) == Some(1.0)
            && samples.value("plex_active_sessions", &[]) == Some(0.0)
            && samples.value("plex_websocket_connected", &[]) == Some(1.0)
            && samples.value("plex_exporter_websocket_reconnects_total", &[]) == Some(1.0)
            && samples.value("plex_server_info", &[("version", "1.44.0")]) == Some(1.0)
    });
}

#[test]
fn while_plex_is_down_no_session_stays_live_for_a_minute() {
    let mut plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_plays_total", &[("session", "1")], 1.0);
    plex.stop();
    let ended = exporter.until("the end", Duration::from_secs(60), |samples| {
        samples.value("plex_active_sessions", &[]) == Some(0.0)
    });
    assert!(
        ended
            .value("plex_play_seconds_total", &[("session", "1")])
            .unwrap()
            < 16.0
    );
}

#[test]
fn a_token_that_is_no_administrator_s_costs_only_what_it_must() {
    for refusal in [html(403, "Forbidden"), unauthorized()] {
        let plex = FakePlex::default();
        plex.world().fault("/status/sessions", refusal.clone());
        plex.world().fault("/statistics", refusal);
        let exporter = Setup::new(&plex.url()).start();
        exporter.wait_for_log("live sessions");
        exporter.wait_for_log("administrator");
        let samples = exporter.until("libraries", Duration::from_secs(5), |samples| {
            samples.of("plex_library_items", &[]).len() == 4
        });
        assert_eq!(samples.value("plex_up", &[]), Some(1.0));
        plex.world().faults.clear();
        plex.world().play(movie(1, 101, "Alien"));
        exporter.until("sessions", RECOVERY, |samples| {
            samples.value("plex_active_sessions", &[]) == Some(1.0)
        });
    }
}

#[test]
fn a_half_open_socket_is_found_out_and_one_without_pongs_is_not_while_it_speaks() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    plex.freeze_sockets();
    let silent = FakePlex::default();
    silent.world().pongs = false;
    let talking = Setup::new(&silent.url()).start();
    talking.until_value("plex_websocket_connected", &[], 1.0);
    let begun = Instant::now();
    exporter.until("death", Duration::from_secs(45), |samples| {
        silent.push(&playing(1, 1, "stopped", 0));
        samples.value("plex_websocket_connected", &[]) == Some(0.0)
    });
    assert!(
        begun.elapsed() > Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    exporter.until("another socket", RECOVERY, |samples| {
        samples.value("plex_websocket_connected", &[]) == Some(1.0)
    });
    assert_eq!(plex.sockets_opened(), 2);
    assert_eq!(silent.sockets_opened(), 1);
    assert_eq!(
        talking.scrape().value("plex_websocket_connected", &[]),
        Some(1.0)
    );
}

/// A proxy that accepts the upgrade and leads nowhere.
#[test]
fn a_socket_that_never_answers_is_connected_once_and_then_only_when_a_frame_arrives() {
    let plex = FakePlex::default();
    plex.world().pongs = false;
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    let dead = |samples: &Samples| samples.value("plex_websocket_connected", &[]) == Some(0.0);
    exporter.until("death", Duration::from_secs(45), dead);
    let begun = Instant::now();
    while plex.sockets_opened() < 2 || begun.elapsed() < Duration::from_secs(5) {
        exporter.until("the same", SOON, dead);
    }
    plex.push(&playing(1, 1, "stopped", 0));
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    assert_eq!(
        exporter.wait_for_logs("notifications: connected", 2).len(),
        2
    );
}

#[test]
fn undecodable_and_oversized_frames_do_no_harm() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    for text in [
        "",
        "{",
        "[1]",
        "null",
        r#"{"NotificationContainer":{"type":"playing","PlaySessionStateNotification":"x"}}"#,
    ] {
        plex.push_text(text.to_owned());
    }
    plex.push_text(format!(r#"{{"x":"{}"}}"#, "a".repeat(900_000)));
    plex.world().play(movie(1, 101, "Alien"));
    plex.push(&playing(1, 101, "playing", 0));
    exporter.until_value("plex_plays_total", &[("session", "1")], 1.0);
    assert_eq!(plex.sockets_opened(), 1);
    plex.push_text("a".repeat(1_100_000));
    exporter.until("a new socket", RECOVERY, |_| plex.sockets_opened() == 2);
}

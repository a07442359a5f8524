//! The log: one line per change, and no viewing history.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    exporter::{Setup, binary, wait},
    fake_plex::{FakePlex, Fault, World, html, unauthorized},
    payloads::{frame, movie, playing},
    pure::Pure,
};

fn lines<'a>(pure: &'a Pure, level: &str, text: &str) -> Vec<&'a String> {
    pure.log
        .iter()
        .filter(|line| line.starts_with(level) && line.contains(text))
        .collect()
}

/// Row 7: one endpoint fails for an hour.
#[test]
fn an_endpoint_that_fails_for_hours_is_one_line_and_its_recovery_another() {
    for (path, subject) in [
        ("/statistics/resources", "/statistics/resources"),
        ("/statistics/bandwidth", "/statistics/bandwidth"),
        ("/status/sessions", "/status/sessions"),
        ("/media/providers", "/media/providers"),
        ("/accounts", "/accounts"),
        ("/updater", "/updater/status"),
        ("/activities", "/activities"),
        ("/library/sections/2", "TV Shows"),
        ("/", "Plex"),
    ] {
        for fault in [
            html(500, "Oops"),
            html(503, "Busy"),
            unauthorized(),
            Fault::Stall,
        ] {
            let mut pure = Pure::connected(World::default());
            pure.wait(60.0);
            let before = pure.log.len();
            pure.world.fault(path, fault.clone());
            pure.wait(7_200.0);
            let warnings = lines(&pure, "WARN", subject);
            assert_eq!(warnings.len(), 1, "{path} {fault:?}: {:#?}", pure.log);
            assert_eq!(
                pure.log.len(),
                before + 1,
                "{path} {fault:?}: {:#?}",
                pure.log
            );
            pure.world.faults.clear();
            pure.wait(7_200.0);
            assert_eq!(
                lines(&pure, "INFO", "recovered").len(),
                1,
                "{path} {fault:?}: {:#?}",
                pure.log
            );
            assert_eq!(
                pure.log.len(),
                before + 2,
                "{path} {fault:?}: {:#?}",
                pure.log
            );
        }
    }
}

#[test]
fn a_removed_library_is_not_logged_as_a_failure() {
    let mut pure = Pure::connected(World::default());
    pure.wait(3_600.0);
    let before = pure.log.len();
    // Plex notifies of the change and answers the count with 404; the list comes later.
    let id = pure.world.libraries.remove(1)["id"].clone();
    pure.world.fault("/media/providers", Fault::Stall);
    pure.push(&frame(
        "timeline",
        "TimelineEntry",
        json!({"identifier": "com.plexapp.plugins.library", "sectionID": id, "itemID": 9, "type": 1, "state": 9}),
    ));
    pure.wait(20.0);
    pure.world.faults.clear();
    pure.wait(3_600.0);
    assert_eq!(pure.page().of("plex_library_items", &[]).len(), 3);
    let counts: Vec<_> = pure.log[before..]
        .iter()
        .filter(|line| line.contains("item count"))
        .collect();
    assert!(counts.is_empty(), "{counts:?}");
}

/// Row 7: one library of four fails its count, the others continue.
#[test]
fn a_library_that_cannot_be_counted_is_not_said_to_recover_by_the_others() {
    let plex = FakePlex::default();
    plex.world()
        .fault("/library/sections/2/all", html(500, "Oops"));
    let exporter = Setup::new(&plex.url()).start();
    exporter.until("the others", Duration::from_secs(5), |page| {
        page.of("plex_library_items", &[]).len() == 3
    });
    let line = exporter.wait_for_log("item count of library");
    assert!(line.contains("TV Shows"), "{line}");
    // A library that is not there any more does not fail, nor recover.
    assert!(!exporter.log().iter().any(|line| line.contains("recovered")));
    let mut pure = Pure::connected(World::default());
    pure.world
        .fault("/library/sections/2/all", html(500, "Oops"));
    pure.wait(1_200.0);
    assert_eq!(lines(&pure, "WARN", "TV Shows").len(), 1);
    pure.world.libraries.remove(1);
    pure.wait(120.0);
    pure.world.faults.clear();
    pure.world.libraries.push(crate::support::payloads::library(
        2, "show", "TV Shows", 1, 1,
    ));
    pure.wait(1_200.0);
    assert!(
        lines(&pure, "INFO", "recovered").is_empty(),
        "{:#?}",
        pure.log
    );
}

/// Row 7: the listener is gone while kept connections work.
#[test]
fn a_refusing_listener_beside_kept_connections_is_one_line() {
    let mut pure = Pure::connected(World::default());
    pure.wait(60.0);
    let before = pure.log.len();
    pure.world.fault("/statistics", Fault::Reset);
    pure.world.fault("/status/sessions", Fault::Reset);
    pure.wait(3_600.0);
    assert_eq!(pure.log.len(), before + 1, "{:#?}", &pure.log[before..]);
    pure.world.faults.clear();
    pure.wait(3_600.0);
    assert_eq!(pure.log.len(), before + 2, "{:#?}", &pure.log[before..]);
}

#[test]
fn a_whole_outage_is_logged_in_two_lines_and_the_socket_in_two() {
    let mut pure = Pure::connected(World::default());
    pure.wait(60.0);
    let before = pure.log.len();
    pure.world.fault_everywhere(&Fault::Reset);
    for _ in 0..60 {
        pure.socket_down();
        pure.wait(30.0);
    }
    pure.world.faults.clear();
    pure.wait(20.0);
    pure.apply(plex_exporter::internals::Event::SocketUp);
    pure.wait(3_600.0);
    let lines = &pure.log[before..];
    assert!(lines.len() <= 4, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("recovered")),
        "{lines:#?}"
    );
}

/// Row 18.
#[test]
fn who_watches_what_is_not_in_the_log_by_default() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until("libraries", Duration::from_secs(5), |page| {
        page.of("plex_library_items", &[]).len() == 4
    });
    let before = exporter.log();
    for key in 1..=5 {
        plex.world().play(movie(key, 100 + key, "A secret film"));
        plex.push(&playing(key, 100 + key, "playing", 0));
        exporter.until_value("plex_active_sessions", &[], 1.0);
        plex.world().stop(&json!(key.to_string()));
        plex.push(&playing(key, 100 + key, "stopped", 0));
        exporter.until_value("plex_active_sessions", &[], 0.0);
    }
    assert_eq!(exporter.log(), before);
    assert!(
        !before
            .iter()
            .any(|line| line.contains("alice") || line.contains("secret film"))
    );
}

/// Row 18: an optional endpoint that this Plex does not offer.
#[test]
fn what_plex_does_not_offer_is_one_line_that_says_what_is_missing() {
    let plex = FakePlex::default();
    for path in ["/activities", "/statistics", "/accounts", "/updater"] {
        plex.world().fault(path, html(404, "Not Found"));
    }
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    for (subject, missing) in [
        ("activities", "plex_activities"),
        ("host load", "absent"),
        ("bytes sent", "plex_transmit_bytes_total"),
        ("users", "unknown"),
        ("updates", "plex_update_available"),
    ] {
        let line = exporter.wait_for_log(subject);
        assert!(line.contains("INFO") && line.contains(missing), "{line}");
        assert!(!line.contains("PLEX_SERVER"), "{line}");
    }
    let mut world = World::default();
    for path in ["/activities", "/statistics", "/accounts", "/updater"] {
        world.fault(path, html(404, "Not Found"));
    }
    let mut pure = Pure::connected(world);
    pure.wait(10.0);
    let before = pure.log.clone();
    pure.wait(7_200.0);
    assert_eq!(pure.log, before);
}

#[test]
fn the_log_of_an_outage_on_the_wire_is_short() {
    let mut plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until("libraries", Duration::from_secs(5), |page| {
        page.of("plex_library_items", &[]).len() == 4
    });
    let before = exporter.log().len();
    plex.stop();
    exporter.until_value("plex_up", &[], 0.0);
    let begun = Instant::now();
    exporter.until("a while", Duration::from_secs(12), |_| {
        begun.elapsed() > Duration::from_secs(8)
    });
    plex.restart();
    exporter.until("all", Duration::from_secs(40), |page| {
        page.value("plex_up", &[]) == Some(1.0)
            && page.value("plex_websocket_connected", &[]) == Some(1.0)
    });
    let lines = exporter.log()[before..].to_vec();
    assert!(lines.len() <= 6, "{lines:#?}");
    let warnings = lines.iter().filter(|line| line.contains("WARN"));
    assert!(warnings.count() <= 3, "{lines:#?}");
}

/// Each connection that is given up lets another one be accepted, and the shortage goes on.
#[test]
fn connections_that_cannot_be_accepted_for_a_while_are_one_line() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url())
        .env("LOG_LEVEL", "info")
        .under("prlimit", &["--nofile=40", binary().to_str().unwrap()])
        .start();
    exporter.until_value("plex_up", &[], 1.0);
    let begun = Instant::now();
    let crowd: Vec<_> = (0..200)
        .filter_map(|_| TcpStream::connect_timeout(&exporter.address, Duration::from_secs(1)).ok())
        .collect();
    exporter.wait_for_log("cannot accept connections");
    // A head may take 5 s; then the next of the crowd get their turn.
    wait(
        Duration::from_secs(30),
        || (begun.elapsed() > Duration::from_secs(12)).then_some(()),
        String::new,
    );
    drop(crowd);
    exporter.until_value("plex_up", &[], 1.0);
    let log = exporter.log();
    let lines = log.iter().filter(|line| line.contains("metrics server"));
    assert_eq!(lines.count(), 1, "{log:#?}");
}

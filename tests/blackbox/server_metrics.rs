//! The metrics of the server: what it is, its load, its state at plex.tv.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    exporter::{Exporter, SOON, Setup},
    fake_plex::{FakePlex, html},
    payloads::{self, with},
    samples::SERVER,
};

#[test]
fn every_server_metric_has_its_labels_type_and_value() {
    let plex = FakePlex::default();
    plex.world().server["transcoderActiveVideoSessions"] = json!(3);
    let exporter = Exporter::with_libraries(&plex);
    let samples = exporter.until_value("plex_websocket_connected", &SERVER, 1.0);
    for (name, value) in [
        ("plex_up", 1.0),
        ("plex_host_cpu_utilization_ratio", 0.125),
        ("plex_host_memory_utilization_ratio", 0.5),
        ("plex_process_cpu_utilization_ratio", 0.025),
        ("plex_process_memory_utilization_ratio", 0.0125),
        ("plex_transmit_bytes_total", 0.0),
        ("plex_estimated_transmit_bytes_total", 0.0),
        ("plex_active_transcode_sessions", 3.0),
        ("plex_active_sessions", 0.0),
    ] {
        assert_eq!(samples.value(name, &SERVER), Some(value), "{name}");
        let kind = if name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        assert_eq!(samples.types[name], kind);
    }
    let info = samples.one("plex_server_info", &SERVER).unwrap();
    assert_eq!(info.value, 1.0);
    assert_eq!(info.labels["version"], "1.43.4.10903-e5521bd8c");
    assert_eq!(info.labels["platform"], "Linux");
    assert_eq!(info.labels["platform_version"], "6.1.0 (Debian)");
    assert_eq!(info.labels["plex_pass"], "true");
    // Nobody plays: no series of plays.
    for name in [
        "plex_plays_total",
        "plex_play_seconds_total",
        "plex_session_bandwidth_kbps",
        "plex_sessions",
    ] {
        assert!(samples.of(name, &[]).is_empty(), "{name}");
    }
    let page = exporter.page();
    assert!(
        !page.contains("owner@example.org"),
        "the owner's e-mail address is in {page}"
    );
}

#[test]
fn remote_access_and_sign_in_are_absent_until_plex_says_so_and_follow_its_notifications() {
    let plex = FakePlex::default();
    let exporter = Exporter::with_libraries(&plex);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    let samples = exporter.until_value("plex_up", &[], 1.0);
    for name in ["plex_remote_access", "plex_signed_in"] {
        assert!(samples.of(name, &[]).is_empty(), "{name}");
    }
    for (mapping, sign_in, remote_access, signed_in) in [
        ("mapped", "ok", &["1"][..], &["1"][..]),
        ("waiting", "ok", &["0"], &["1"]),
        ("unknown", "none", &["0"], &["0"]),
        ("failed", "(absent)", &["0"], &[]),
        ("(absent)", "invalid", &[], &["0"]),
        ("mapped", "ok", &["1"], &["1"]),
    ] {
        let mut world = plex.world();
        let server = world.server.take();
        world.server = with(
            server,
            json!({"myPlexMappingState": mapping, "myPlexSigninState": sign_in}),
        );
        drop(world);
        // What the notification claims is not believed: it only triggers a poll of `/`.
        plex.push(&payloads::frame(
            "reachability",
            "ReachabilityNotification",
            json!({"reachability": mapping != "mapped"}),
        ));
        // At the latest with the regular poll.
        let limit = Duration::from_secs(20);
        let samples = exporter.until(&format!("{mapping}, {sign_in}"), limit, |samples| {
            samples.series("plex_remote_access") == remote_access
                && samples.series("plex_signed_in") == signed_in
        });
        if !remote_access.is_empty() {
            assert_eq!(samples.types["plex_remote_access"], "gauge");
        }
    }
}

#[test]
fn an_update_is_available_while_a_release_is_neither_done_nor_skipped() {
    let plex = FakePlex::default();
    let exporter = Exporter::with_libraries(&plex);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until_value("plex_update_available", &SERVER, 0.0);
    let changed = || {
        plex.push(&payloads::frame(
            "update.statechange",
            "AutoUpdateNotification",
            json!({"key": "", "version": "", "state": "x"}),
        ));
    };
    for (states, available) in [
        (&["notify"][..], 1.0),
        (&["skipped"], 0.0),
        (&["done", "available"], 1.0),
        (&["done", "skipped"], 0.0),
    ] {
        plex.world().releases = states
            .iter()
            .map(|state| json!({"key": "k", "version": "1.44", "state": state}))
            .collect();
        changed();
        exporter.until_value("plex_update_available", &SERVER, available);
    }
}

#[test]
fn a_failure_leaves_the_update_as_it_was_and_a_refusal_makes_it_unknown() {
    let plex = FakePlex::default();
    plex.world().releases = vec![json!({"version": "1.44", "state": "notify"})];
    let exporter = Exporter::with_libraries(&plex);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until_value("plex_update_available", &SERVER, 1.0);
    let changed = || {
        plex.push(&payloads::frame(
            "update.statechange",
            "AutoUpdateNotification",
            json!({"state": "x"}),
        ));
    };
    plex.world()
        .fault("/updater/status", html(500, "Internal Server Error"));
    let requests = plex.count("/updater/status");
    changed();
    plex.wait_for("/updater/status", requests + 1, Duration::from_secs(10));
    let failed = |reason| {
        exporter.until(reason, Duration::from_secs(15), |samples| {
            let labels = [("endpoint", "/updater/status"), ("reason", reason)];
            samples
                .of("plex_exporter_plex_request_errors_total", &labels)
                .len()
                == 1
        })
    };
    assert_eq!(failed("status").series("plex_update_available"), ["1"]);
    for (status, reason) in [(403, "forbidden"), (404, "not_found")] {
        plex.world().fault("/updater/status", html(status, "No"));
        changed();
        let samples = failed(reason);
        assert!(
            samples.series("plex_update_available").is_empty(),
            "{status}"
        );
        // The log has a writer of its own, so its lines come a moment after the page.
        exporter.wait_for_log("plex_update_available is absent");
        let lines: Vec<_> = exporter
            .log()
            .into_iter()
            .filter(|line| line.contains("plex_update_available is absent"))
            .collect();
        assert!(
            lines.len() == 1 && lines[0].contains("INFO"),
            "{status}: {lines:?}"
        );
    }
}

#[test]
fn activities_come_from_the_list_and_from_notifications() {
    let plex = FakePlex::default();
    let loading = json!({"uuid": "a", "type": "provider.epg.load", "progress": 7});
    let kind = "media.generate.credits";
    let generating = |uuid: &str| json!({"uuid": uuid, "type": kind, "progress": -1});
    plex.world().activities = vec![loading.clone()];
    let exporter = Exporter::with_libraries(&plex);
    exporter.until_value("plex_activities", &[("type", "provider.epg.load")], 1.0);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    let change = |event: &str, uuid: &str| {
        let activity = generating(uuid);
        let change = json!({"event": event, "uuid": uuid, "Activity": activity});
        plex.push(&payloads::frame("activity", "ActivityNotification", change));
    };
    // A list that was requested before may arrive after these.
    plex.world()
        .activities
        .extend([generating("b"), generating("c")]);
    change("started", "b");
    change("started", "c");
    exporter.until_value("plex_activities", &[("type", kind)], 2.0);
    plex.world().activities = vec![loading];
    change("ended", "b");
    change("ended", "c");
    exporter.until("the end", SOON, |samples| {
        samples.of("plex_activities", &[]).len() == 1
    });
}

#[test]
fn before_plex_ever_responds_the_page_says_so() {
    let mut plex = FakePlex::default();
    plex.stop();
    let exporter = Setup::new(&plex.url()).start();
    let samples = exporter.scrape();
    for name in ["plex_up", "plex_websocket_connected"] {
        let sample = samples.one(name, &[]).unwrap();
        assert_eq!(sample.value, 0.0, "{name}");
        assert!(sample.labels.contains_key("server") && sample.labels.contains_key("server_id"));
    }
    for name in ["plex_server_info", "plex_active_sessions", "plex_sessions"] {
        assert!(samples.of(name, &[]).is_empty(), "{name} is not known");
    }
    plex.restart();
    exporter.until("Plex", Duration::from_secs(12), |samples| {
        samples.value("plex_up", &SERVER) == Some(1.0)
    });
}

#[test]
fn names_with_every_special_character_survive_the_text_format() {
    let plex = FakePlex::default();
    let name = "A \"quoted\" \\ back\nbreak é {x=\"y\"} 1";
    plex.world().server["friendlyName"] = json!(name);
    plex.world().libraries[0]["title"] = json!(name);
    let exporter = Exporter::with_libraries(&plex);
    let samples = exporter.scrape();
    assert_eq!(samples.value("plex_up", &[("server", name)]), Some(1.0));
    assert!(
        samples
            .value("plex_library_items", &[("library", name)])
            .is_some()
    );
}

//! The server's and the libraries' metrics, row by row of the contract.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    exporter::{Exporter, Setup},
    fake_plex::{FakePlex, Fault, html},
    payloads::{self, epoch},
};

const SERVER: [(&str, &str); 2] = [
    ("server", "Attic"),
    ("server_id", "c997cf82c4158cb986ccc0e8f829a6f5d5086a63"),
];
const SOON: Duration = Duration::from_secs(5);
/// Longer than the slowest regular poll of the statistics.
const NEXT_POLL: Duration = Duration::from_secs(35);

fn started(plex: &FakePlex) -> Exporter {
    let exporter = Setup::new(&plex.url()).start();
    exporter.until("libraries counted", SOON, |samples| {
        samples.of("plex_library_items", &[]).len() == plex.world().libraries.len()
    });
    exporter
}

#[test]
fn every_server_metric_has_its_labels_type_and_value() {
    let plex = FakePlex::default();
    plex.world().server["transcoderActiveVideoSessions"] = json!(3);
    let exporter = started(&plex);
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
fn every_library_metric_has_its_labels_and_value() {
    let plex = FakePlex::default();
    plex.world()
        .libraries
        .push(payloads::library(5, "homevideo", "Us", 1_000, 9));
    plex.world()
        .libraries
        .push(payloads::library(6, "clip", "No library", 1, 1));
    plex.world()
        .libraries
        .push(json!({"id": "7", "type": "movie", "title": "No sums"}));
    plex.world().counts.insert((5, 0), 0);
    plex.world().counts.insert((7, 0), 2);
    let exporter = Setup::new(&plex.url()).start();
    let samples = exporter.until("libraries counted", SOON, |samples| {
        samples.of("plex_library_items", &[]).len() == 6
    });
    for (id, kind, title, content, items, duration, storage) in [
        (
            "1",
            "movie",
            "Movies",
            "movies",
            357.0,
            3_600_000.0,
            5_000.0,
        ),
        (
            "2",
            "show",
            "TV Shows",
            "episodes",
            1_234.0,
            7_200_000.0,
            6_000.0,
        ),
        (
            "3",
            "artist",
            "Music",
            "tracks",
            9_876.0,
            1_800_500.0,
            7_000.0,
        ),
        ("4", "photo", "Photos", "photos", 55.0, 0.0, 8_000.0),
        ("5", "homevideo", "Us", "items", 0.0, 1_000.0, 9.0),
    ] {
        let labels = [
            SERVER[0],
            SERVER[1],
            ("library_type", kind),
            ("library", title),
            ("library_id", id),
        ];
        assert_eq!(
            samples.value("plex_library_duration_milliseconds", &labels),
            Some(duration)
        );
        assert_eq!(
            samples.value("plex_library_duration_seconds", &labels),
            Some(duration / 1000.0)
        );
        assert_eq!(
            samples.value("plex_library_storage_bytes", &labels),
            Some(storage)
        );
        assert_eq!(samples.value("plex_play_starts_total", &labels), Some(0.0));
        let counted = samples.one("plex_library_items", &labels).unwrap();
        assert_eq!(
            (counted.value, counted.labels["content_type"].as_str()),
            (items, content)
        );
    }
    // What Plex did not supply is absent, not 0.
    assert!(
        samples
            .of("plex_library_storage_bytes", &[("library_id", "7")])
            .is_empty()
    );
    assert!(
        samples
            .of("plex_library_items", &[("library", "No library")])
            .is_empty()
    );
    assert!(
        samples
            .of("plex_library_items", &[("library", "Live TV")])
            .is_empty()
    );
    let counts: Vec<_> = plex
        .seen()
        .into_iter()
        .filter(|seen| seen.target.contains("/all"))
        .collect();
    for seen in counts {
        for place in [&seen.target, &seen.head] {
            assert!(place.contains("X-Plex-Container-Start"), "{place}");
            assert!(place.contains("X-Plex-Container-Size"), "{place}");
        }
    }
}

#[test]
fn music_is_counted_by_type_7_and_then_plainly_where_type_10_fails() {
    let plex = FakePlex::default();
    plex.world().libraries = vec![
        payloads::library(3, "artist", "Seven", 0, 0),
        payloads::library(8, "artist", "Plain", 0, 0),
    ];
    plex.world().counts = [((3, 10), 0), ((3, 7), 70), ((8, 7), 0), ((8, 0), 8)].into();
    plex.world().fault(
        "/library/sections/8/all?type=10",
        html(500, "Internal Server Error"),
    );
    let exporter = started(&plex);
    let samples = exporter.scrape();
    assert_eq!(
        samples.value("plex_library_items", &[("library", "Seven")]),
        Some(70.0)
    );
    assert_eq!(
        samples.value("plex_library_items", &[("library", "Plain")]),
        Some(8.0)
    );
}

#[test]
fn libraries_come_go_and_change_their_names_soon_after_plex_says_so() {
    let plex = FakePlex::default();
    let exporter = started(&plex);
    plex.world().libraries.remove(3);
    plex.world().libraries[0]["title"] = json!("Films");
    plex.world()
        .libraries
        .push(payloads::library(9, "movie", "Kids", 1, 1));
    plex.world().counts.insert((9, 0), 12);
    plex.world().counts.insert((1, 0), 358);
    plex.push(&payloads::frame(
        "activity",
        "ActivityNotification",
        json!({
        "event": "ended", "uuid": "u", "Activity": {"uuid": "u", "type": "library.update.section",
        "Context": {"librarySectionID": "1"}}}),
    ));
    let samples = exporter.until("new counts", Duration::from_secs(40), |samples| {
        samples.value("plex_library_items", &[("library", "Kids")]) == Some(12.0)
            && samples.value("plex_library_items", &[("library", "Films")]) == Some(358.0)
    });
    for gone in ["Movies", "Photos"] {
        assert!(
            samples
                .all
                .iter()
                .all(|sample| sample.labels.get("library").is_none_or(|name| name != gone))
        );
    }
    assert_eq!(samples.of("plex_library_items", &[]).len(), 4);
}

#[test]
fn bandwidth_rows_count_once_and_fully_and_never_from_before_the_start() {
    let plex = FakePlex::default();
    let long_ago = epoch() - 60;
    plex.world().bandwidth = vec![payloads::bandwidth_row(long_ago, 1, true, 1_000_000)];
    let exporter = started(&plex);
    exporter.until_value("plex_transmit_bytes_total", &[], 0.0);
    let now = epoch();
    plex.world().bandwidth.extend([
        payloads::bandwidth_row(now, 2, false, 30),
        payloads::bandwidth_row(now, 1, true, 500),
    ]);
    let moved = |total: f64| {
        exporter.until("bytes", NEXT_POLL, |samples| {
            samples.value("plex_transmit_bytes_total", &[]) == Some(total)
        })
    };
    let samples = moved(530.0);
    assert_eq!(
        samples.value("plex_network_transmit_bytes_total", &[("location", "lan")]),
        Some(500.0)
    );
    assert_eq!(
        samples.value("plex_network_transmit_bytes_total", &[("location", "wan")]),
        Some(30.0)
    );
    // The newest row grows; a late one appears between.
    plex.world().bandwidth[1] = payloads::bandwidth_row(now, 2, false, 70);
    plex.world()
        .bandwidth
        .insert(0, payloads::bandwidth_row(now, 3, true, 400));
    moved(970.0);
}

#[test]
fn without_plex_pass_its_metrics_are_absent_and_come_when_a_pass_does() {
    let plex = FakePlex::default();
    plex.world().server["myPlexSubscription"] = json!(false);
    let exporter = started(&plex);
    plex.wait_for("/statistics/bandwidth", 1, SOON);
    let samples = exporter.until("server info", SOON, |samples| {
        samples
            .of(
                "plex_exporter_plex_request_errors_total",
                &[("reason", "not_found")],
            )
            .len()
            == 2
    });
    for name in [
        "plex_host_cpu_utilization_ratio",
        "plex_host_memory_utilization_ratio",
        "plex_process_cpu_utilization_ratio",
        "plex_transmit_bytes_total",
        "plex_network_transmit_bytes_total",
    ] {
        assert!(samples.of(name, &[]).is_empty(), "{name}");
    }
    assert_eq!(
        samples.one("plex_server_info", &[]).unwrap().labels["plex_pass"],
        "false"
    );
    assert_eq!(
        samples.value("plex_active_transcode_sessions", &[]),
        Some(0.0)
    );
    plex.world().server["myPlexSubscription"] = json!(true);
    exporter.until("the Pass", NEXT_POLL, |samples| {
        samples.value("plex_host_cpu_utilization_ratio", &[]) == Some(0.125)
            && samples.value("plex_transmit_bytes_total", &[]) == Some(0.0)
    });
}

#[test]
fn activities_come_from_the_list_and_from_notifications() {
    let plex = FakePlex::default();
    plex.world().activities =
        vec![json!({"uuid": "a", "type": "provider.epg.load", "progress": 7})];
    let exporter = started(&plex);
    exporter.until_value("plex_activities", &[("type", "provider.epg.load")], 1.0);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    let change = |event: &str, uuid: &str| {
        payloads::frame(
            "activity",
            "ActivityNotification",
            json!({
            "event": event, "uuid": uuid,
            "Activity": {"uuid": uuid, "type": "media.generate.credits", "progress": -1}}),
        )
    };
    plex.push(&change("started", "b"));
    plex.push(&change("started", "c"));
    exporter.until_value(
        "plex_activities",
        &[("type", "media.generate.credits")],
        2.0,
    );
    plex.push(&change("ended", "b"));
    plex.push(&change("ended", "c"));
    exporter.until("the end", SOON, |samples| {
        samples.of("plex_activities", &[]).len() == 1
    });
}

#[test]
fn the_exporter_counts_what_it_does() {
    let plex = FakePlex::default();
    plex.world()
        .fault("/status/sessions", html(403, "Forbidden"));
    let exporter = started(&plex);
    let labels = [("endpoint", "/status/sessions"), ("reason", "forbidden")];
    let samples = exporter.until("the error", SOON, |samples| {
        samples
            .value("plex_exporter_plex_request_errors_total", &labels)
            .is_some()
            && samples.of("plex_library_contents", &[]).len() == 4
    });
    assert_eq!(
        samples.value(
            "plex_exporter_plex_requests_total",
            &[("endpoint", "/library/sections/{id}/all")]
        ),
        Some(8.0),
        "four libraries, shows and seasons, artists and albums"
    );
    assert!(
        samples
            .of("plex_exporter_last_success_timestamp_seconds", &[labels[0]])
            .is_empty()
    );
    let root = samples.value(
        "plex_exporter_last_success_timestamp_seconds",
        &[("endpoint", "/")],
    );
    assert!((root.unwrap() - epoch() as f64).abs() < 60.0);
    plex.push(&payloads::frame("brand.new", "X", json!({})));
    exporter.until_value(
        "plex_exporter_notifications_total",
        &[("type", "other")],
        1.0,
    );
    let info = samples.one("plex_exporter_build_info", &[]).unwrap();
    assert_eq!(info.labels["version"], env!("CARGO_PKG_VERSION"));
    for name in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(
            samples.value(name, &[]).unwrap() > 0.0 || name == "process_cpu_seconds_total",
            "{name}"
        );
    }
}

#[test]
fn before_plex_ever_answers_the_page_says_so() {
    let mut plex = FakePlex::default();
    plex.stop();
    let exporter = Setup::new(&plex.url()).start();
    let samples = exporter.scrape();
    for name in [
        "plex_up",
        "plex_websocket_connected",
        "plex_active_sessions",
    ] {
        let sample = samples.one(name, &[]).unwrap();
        assert_eq!(sample.value, 0.0, "{name}");
        assert!(sample.labels.contains_key("server") && sample.labels.contains_key("server_id"));
    }
    assert!(samples.of("plex_server_info", &[]).is_empty());
    plex.start_again();
    exporter.until("Plex", Duration::from_secs(12), |samples| {
        samples.value("plex_up", &SERVER) == Some(1.0)
    });
}

#[test]
fn a_section_answer_without_a_total_is_counted_by_its_size() {
    let plex = FakePlex::default();
    plex.world().libraries.truncate(1);
    plex.world().fault(
        "/library/sections/1/all",
        Fault::Answer(
            200,
            "application/json",
            r#"{"MediaContainer":{"size":2,"Metadata":[{"ratingKey":"1"},{"ratingKey":"2"}]}}"#
                .into(),
        ),
    );
    let exporter = started(&plex);
    assert_eq!(
        exporter.scrape().value("plex_library_items", &[]),
        Some(2.0)
    );
}

#[test]
fn names_with_every_special_character_survive_the_text_format() {
    let plex = FakePlex::default();
    let name = "A \"quoted\" \\ back\nbreak é {x=\"y\"} 1";
    plex.world().server["friendlyName"] = json!(name);
    plex.world().libraries[0]["title"] = json!(name);
    let exporter = started(&plex);
    let samples = exporter.scrape();
    assert_eq!(samples.value("plex_up", &[("server", name)]), Some(1.0));
    assert!(
        samples
            .value("plex_library_items", &[("library", name)])
            .is_some()
    );
}

//! The metrics of the exporter itself.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    exporter::{Exporter, SOON, Setup},
    fake_plex::{FakePlex, Fault, html},
    payloads::{self, epoch, playing},
};

#[test]
fn the_exporter_counts_its_requests_and_notifications() {
    let plex = FakePlex::default();
    plex.world()
        .fault("/status/sessions", html(403, "Forbidden"));
    let exporter = Exporter::with_libraries(&plex);
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
fn every_kind_of_dropped_data_is_counted_from_0() {
    let mut plex = FakePlex::default();
    plex.stop();
    let exporter = Setup::new(&plex.url()).start();
    let samples = exporter.scrape();
    let mut kinds: Vec<_> = samples
        .of("plex_exporter_dropped_total", &[])
        .iter()
        .map(|sample| (sample.labels["kind"].as_str(), sample.value))
        .collect();
    kinds.sort_by_key(|(kind, _)| *kind);
    assert_eq!(
        kinds,
        [
            "activities",
            "entries",
            "libraries",
            "log",
            "plays",
            "series",
            "sessions"
        ]
        .map(|kind| (kind, 0.0))
    );
    assert_eq!(
        samples.value("plex_exporter_websocket_reconnects_total", &[]),
        Some(0.0)
    );
}

#[test]
fn request_durations_are_a_histogram_for_every_endpoint_that_has_responded() {
    let plex = FakePlex::default();
    plex.world()
        .fault("/media/providers", Fault::Delay(Duration::from_millis(300)));
    let exporter = Exporter::with_libraries(&plex);
    let name = "plex_exporter_plex_request_duration_seconds";
    let samples = exporter.scrape();
    assert_eq!(samples.types[name], "histogram");
    let endpoint = ("endpoint", "/media/providers");
    let bucket = format!("{name}_bucket");
    let bounds = [
        "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
    ];
    let buckets = samples.of(&bucket, &[endpoint]);
    let found: Vec<_> = buckets.iter().map(|s| s.labels["le"].as_str()).collect();
    assert_eq!(found, bounds, "in ascending order");
    for sample in buckets {
        assert_eq!(sample.labels.len(), 2, "{sample:?}");
        let slow = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25"];
        let expected = if slow.contains(&&*sample.labels["le"]) {
            0.0
        } else {
            1.0
        };
        assert_eq!(sample.value, expected, "{sample:?}");
    }
    let sum = samples.value(&format!("{name}_sum"), &[endpoint]).unwrap();
    assert!((0.3..0.5).contains(&sum), "{sum}");
    assert_eq!(
        samples.value(&format!("{name}_count"), &[endpoint]),
        Some(1.0)
    );
    // As many durations as requests, where every request has a response.
    for seen in samples.of(&format!("{name}_count"), &[]) {
        let endpoint = ("endpoint", seen.labels["endpoint"].as_str());
        assert_eq!(
            samples.value("plex_exporter_plex_requests_total", &[endpoint]),
            Some(seen.value),
            "{endpoint:?}"
        );
    }
}

#[test]
fn failures_are_counted_by_endpoint_and_reason_and_leave_the_last_success_behind() {
    let plex = FakePlex::default();
    let exporter = Exporter::connected(&plex);
    let endpoint = [("endpoint", "/status/sessions")];
    let name = "plex_exporter_last_success_timestamp_seconds";
    exporter.until("a listing", SOON, |s| s.value(name, &endpoint).is_some());
    plex.world()
        .fault("/status/sessions", html(500, "Internal Server Error"));
    // A session that is not listed yet.
    plex.push(&playing(1, 101, "playing", 0));
    let labels = [endpoint[0], ("reason", "status")];
    let failures = |count| {
        exporter.until("a failure", SOON, |samples| {
            samples.value("plex_exporter_plex_request_errors_total", &labels) >= Some(count)
        })
    };
    let last = failures(1.0).value(name, &endpoint);
    assert!(last.is_some());
    assert_eq!(failures(2.0).value(name, &endpoint), last);
}

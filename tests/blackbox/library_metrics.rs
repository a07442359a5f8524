//! The metrics of libraries: what is in them, how large they are, and when they changed.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    exporter::{Exporter, SOON, Setup},
    fake_plex::{FakePlex, Fault, html},
    payloads,
    samples::SERVER,
};

/// Longer than from a change to the next count.
const NEXT_COUNT: Duration = Duration::from_secs(40);

fn scan(plex: &FakePlex, event: &str, library: &str) {
    plex.push(&payloads::frame(
        "activity",
        "ActivityNotification",
        json!({
        "event": event, "uuid": "u", "Activity": {"uuid": "u", "type": "library.update.section",
        "Context": {"librarySectionID": library}}}),
    ));
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
        .requests()
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
fn shows_seasons_artists_and_albums_are_counted_beside_the_items() {
    let plex = FakePlex::default();
    plex.world()
        .counts
        .extend([((2, 2), 40), ((2, 3), 160), ((3, 8), 0), ((3, 9), 700)]);
    // A show library that cannot be counted by show keeps its episodes.
    plex.world()
        .libraries
        .push(payloads::library(5, "show", "Anime", 0, 0));
    plex.world().counts.extend([((5, 4), 12), ((5, 3), 2)]);
    plex.world()
        .fault("/library/sections/5/all?type=2", html(404, "Not Found"));
    let exporter = Exporter::with_libraries(&plex);
    let samples = exporter.until("contents", SOON, |samples| {
        samples.of("plex_library_contents", &[]).len() == 5
    });
    assert_eq!(
        samples.series("plex_library_contents"),
        [
            r#"content_type="albums",library="Music",library_id="3",library_type="artist" 700"#,
            r#"content_type="artists",library="Music",library_id="3",library_type="artist" 0"#,
            r#"content_type="seasons",library="Anime",library_id="5",library_type="show" 2"#,
            r#"content_type="seasons",library="TV Shows",library_id="2",library_type="show" 160"#,
            r#"content_type="shows",library="TV Shows",library_id="2",library_type="show" 40"#,
        ]
    );
    assert_eq!(
        samples.value("plex_library_items", &[("library", "Anime")]),
        Some(12.0)
    );
    assert_eq!(samples.types["plex_library_contents"], "gauge");
}

#[test]
fn scans_and_the_newest_item_are_shown_where_plex_reports_them() {
    let plex = FakePlex::default();
    plex.world().libraries.truncate(2);
    plex.world().libraries[0]["refreshing"] = json!(true);
    let silent = plex.world().libraries[1]
        .as_object_mut()
        .map(|fields| (fields.remove("refreshing"), fields.remove("scannedAt")));
    assert!(silent.is_some());
    plex.world().newest.remove(&2);
    let exporter = Exporter::with_libraries(&plex);
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    let movies = r#"library="Movies",library_id="1",library_type="movie" "#;
    let samples = exporter.scrape();
    for (name, value) in [
        ("plex_library_refreshing", "1"),
        ("plex_library_last_scan_timestamp_seconds", "1785805331"),
        ("plex_library_newest_item_timestamp_seconds", "1785000001"),
    ] {
        assert_eq!(samples.series(name), [format!("{movies}{value}")], "{name}");
        assert_eq!(samples.types[name], "gauge", "{name}");
    }
    // The scan ends, and has found something.
    plex.world().libraries[0]["refreshing"] = json!(false);
    plex.world().libraries[0]["scannedAt"] = json!("1785805999");
    plex.world().newest.insert(1, 1_785_805_990);
    scan(&plex, "ended", "1");
    let samples = exporter.until("the end of the scan", NEXT_COUNT, |samples| {
        samples.series("plex_library_refreshing") == [format!("{movies}0")]
            && samples.series("plex_library_newest_item_timestamp_seconds")
                == [format!("{movies}1785805990")]
    });
    assert_eq!(
        samples.series("plex_library_last_scan_timestamp_seconds"),
        [format!("{movies}1785805999")]
    );
    // The newest item comes with the count: no request of its own, and only one item of it.
    let counts = plex.count("/library/sections/1/all");
    assert_eq!(counts, 2, "one count for each change");
    for seen in plex.requests() {
        if seen.target.contains("/all") {
            assert!(seen.target.contains("sort=addedAt:desc"), "{}", seen.target);
            assert!(seen.target.contains("Container-Size=1"), "{}", seen.target);
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
    let exporter = Exporter::with_libraries(&plex);
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
    let exporter = Exporter::with_libraries(&plex);
    plex.world().libraries.remove(3);
    plex.world().libraries[0]["title"] = json!("Films");
    plex.world()
        .libraries
        .push(payloads::library(9, "movie", "Kids", 1, 1));
    plex.world().counts.insert((9, 0), 12);
    plex.world().counts.insert((1, 0), 358);
    scan(&plex, "ended", "1");
    let samples = exporter.until("new counts", NEXT_COUNT, |samples| {
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
fn a_section_response_without_a_total_is_counted_by_its_size() {
    let plex = FakePlex::default();
    plex.world().libraries.truncate(1);
    plex.world().fault(
        "/library/sections/1/all",
        Fault::Response(
            200,
            "application/json",
            r#"{"MediaContainer":{"size":2,"Metadata":[{"ratingKey":"1"},{"ratingKey":"2"}]}}"#
                .into(),
        ),
    );
    let exporter = Exporter::with_libraries(&plex);
    assert_eq!(
        exporter.scrape().value("plex_library_items", &[]),
        Some(2.0)
    );
}

//! Which libraries there are, how they are counted, and plays in libraries that are not listed yet.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    exporter::{SOON, Setup},
    fake_plex::{FakePlex, Fault, World, html},
    payloads::{library, movie, playing, with},
    pure::Pure,
    samples::Samples,
};

fn in_library(key: u64, id: &str) -> Value {
    with(movie(key, 101, "Alien"), json!({"librarySectionID": id}))
}

fn starts(page: &Samples, library: &str) -> Option<f64> {
    page.value("plex_play_starts_total", &[("library", library)])
}

/// Row 10.
#[test]
fn a_play_in_a_library_that_is_not_listed_yet_is_counted_where_it_belongs() {
    let plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until("libraries", SOON, |page| {
        page.of("plex_library_items", &[]).len() == 4
    });
    plex.world()
        .libraries
        .push(library(9, "movie", "New films", 1, 1));
    plex.world().play(in_library(1, "9"));
    let begun = Instant::now();
    plex.push(&playing(1, 101, "playing", 0));
    let page = exporter.until("the play", SOON, |page| {
        page.value("plex_plays_total", &[("library", "New films")]) == Some(1.0)
    });
    assert!(begun.elapsed() < Duration::from_millis(1_500));
    assert_eq!(page.of("plex_plays_total", &[]).len(), 1);
    assert_eq!(starts(&page, "New films"), Some(1.0));
    assert_eq!(starts(&page, "unknown"), None);
}

/// Row 10: the list takes nine seconds at the start.
#[test]
fn plays_wait_for_a_list_of_libraries_that_is_slow_at_the_start() {
    let plex = FakePlex::default();
    plex.world()
        .fault("/media/providers", Fault::Delay(Duration::from_secs(4)));
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    plex.wait_for("/status/sessions", 2, SOON);
    plex.world().play(in_library(1, "1"));
    plex.push(&playing(1, 101, "playing", 0));
    let page = exporter.until_value("plex_active_sessions", &[], 1.0);
    assert!(page.of("plex_plays_total", &[]).is_empty());
    assert!(
        page.one("plex_session_info", &[("library", "unknown")])
            .is_some()
    );
    let page = exporter.until_value("plex_plays_total", &[("library", "Movies")], 1.0);
    assert_eq!(page.of("plex_plays_total", &[]).len(), 1);
    assert_eq!(starts(&page, "Movies"), Some(1.0));
    assert!(page.value("plex_play_seconds_total", &[]).unwrap() > 2.0);
    assert_eq!(starts(&page, "unknown"), None);
}

#[test]
fn a_library_that_never_comes_is_unknown_after_a_minute_and_none_is_unknown_at_once() {
    for id in ["-2", "-3", "", "99999999999999999999999", "abc"] {
        let mut pure = Pure::connected(World::default());
        pure.world.play(in_library(1, id));
        pure.push(&playing(1, 101, "playing", 0));
        pure.wait(0.2);
        let page = pure.page();
        let unknown = [
            ("library", "unknown"),
            ("library_id", "0"),
            ("library_type", "unknown"),
        ];
        assert_eq!(page.value("plex_plays_total", &unknown), Some(1.0), "{id}");
        assert_eq!(
            page.value("plex_play_starts_total", &unknown),
            Some(1.0),
            "{id}"
        );
        assert!(pure.requested("/media/providers", 1.0) == 0, "{id}");
    }
    for stops in [false, true] {
        let mut pure = Pure::connected(World::default());
        pure.world.play(in_library(1, "9"));
        pure.push(&playing(1, 101, "playing", 0));
        pure.wait(1.0);
        assert!(pure.requested("/media/providers", 1.0) >= 1);
        if stops {
            pure.world.stop(&json!("1"));
            pure.push(&playing(1, 101, "stopped", 1_000));
        }
        for second in 0..57 {
            pure.wait(1.0);
            assert!(
                pure.page().of("plex_plays_total", &[]).is_empty(),
                "{second}"
            );
        }
        pure.wait(2.1);
        let page = pure.page();
        assert_eq!(
            page.value("plex_plays_total", &[("library", "unknown")]),
            Some(1.0)
        );
        assert_eq!(starts(&page, "unknown"), Some(1.0));
        assert!(pure.requested("/media/providers", 60.0) <= 10);
        // What comes later changes nothing any more.
        pure.world.libraries.push(library(9, "movie", "Late", 1, 1));
        pure.wait(61.0);
        assert_eq!(pure.page().sum("plex_play_starts_total", &[]), 1.0);
    }
}

#[test]
fn a_library_that_comes_after_the_play_has_ended_still_counts_it() {
    let mut pure = Pure::connected(World::default());
    pure.world.play(in_library(1, "9"));
    pure.push(&playing(1, 101, "playing", 0));
    pure.wait(5.0);
    pure.world.stop(&json!("1"));
    pure.push(&playing(1, 101, "stopped", 5_000));
    pure.world
        .libraries
        .push(library(9, "movie", "New films", 1, 1));
    pure.wait(15.0);
    let page = pure.page();
    assert_eq!(starts(&page, "New films"), Some(1.0));
    assert_eq!(
        page.value("plex_play_seconds_total", &[("library", "New films")]),
        Some(5.0)
    );
}

#[test]
fn every_library_s_starts_exist_at_zero_and_a_gone_library_loses_its_series() {
    let mut pure = Pure::connected(World::default());
    let page = pure.page();
    for name in ["Movies", "TV Shows", "Music", "Photos"] {
        assert_eq!(starts(&page, name), Some(0.0));
    }
    pure.wait(60.0);
    pure.world.libraries.remove(0);
    pure.wait(61.0);
    let page = pure.page();
    assert!(page.all.iter().all(|sample| {
        !sample.name.starts_with("plex_library") || sample.labels["library"] != "Movies"
    }));
    assert_eq!(starts(&page, "Movies"), None);
}

/// Row 17.
#[test]
fn a_list_without_any_provider_empties_the_libraries_and_a_starting_server_does_not() {
    for (body, left) in [
        (r#"{"MediaContainer":{"size":0}}"#, 0),
        (r#"{"MediaContainer":{"MediaProvider":[]}}"#, 0),
        (
            r#"{"MediaContainer":{"MediaProvider":[{"identifier":"com.plexapp.plugins.library"}]}}"#,
            0,
        ),
        (r#"{"MediaContainer":{"startState":"startingPlugins"}}"#, 4),
    ] {
        let mut pure = Pure::connected(World::default());
        pure.world.fault(
            "/media/providers",
            Fault::Response(200, "application/json", body.into()),
        );
        pure.wait(61.0);
        assert_eq!(
            pure.page().of("plex_library_storage_bytes", &[]).len(),
            left,
            "{body}"
        );
    }
}

/// Rows 13 and 17: after any failure of `type=10`, `type=7` is tried, and then the plain count.
#[test]
fn music_falls_back_after_any_failure_and_a_total_may_be_in_a_header() {
    let plex = FakePlex::default();
    plex.world().counts.remove(&(3, 10));
    plex.world().counts.insert((3, 7), 777);
    plex.world()
        .fault("/library/sections/3/all?type=10", html(503, "Busy"));
    plex.world().fault(
        "/library/sections/1/all",
        Fault::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Plex-Container-Total-Size: 4321\r\n\
              Content-Length: 29\r\nConnection: close\r\n\r\n{\"MediaContainer\":{\"size\":1}}\n".to_vec(),
        ),
    );
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_library_items", &[("content_type", "tracks")], 777.0);
    exporter.until_value("plex_library_items", &[("library", "Movies")], 4_321.0);
    for (first, second, expected) in [
        (Fault::Stall, None, 777.0),
        (html(404, "Not Found"), None, 777.0),
        (Fault::Stall, Some(Fault::Stall), 42.0),
        (html(500, "Oops"), Some(html(503, "Busy")), 42.0),
    ] {
        let mut world = World::default();
        world.counts.insert((3, 7), 777);
        world.counts.insert((3, 0), 42);
        world.fault("/library/sections/3/all?type=10", first);
        if let Some(second) = second {
            world.fault("/library/sections/3/all?type=7", second);
        }
        let mut pure = Pure::connected(world);
        pure.wait(40.0);
        let page = pure.page();
        assert_eq!(
            page.value("plex_library_items", &[("content_type", "tracks")]),
            Some(expected)
        );
    }
}

#[test]
fn a_count_without_a_number_is_not_0_and_the_last_one_stays() {
    let bodies = [
        json!({}),
        json!({"size": 0, "totalSize": -1}),
        json!({"size": 1, "totalSize": 5e12}),
        json!({"size": "many"}),
    ];
    for body in bodies {
        let body = json!({"MediaContainer": body}).to_string();
        let no_number = Fault::Response(200, "application/json", body.clone());
        let mut world = World::default();
        world.fault("/library/sections/1/all", no_number.clone());
        let mut pure = Pure::connected(world);
        let movies = |page: &Samples| page.value("plex_library_items", &[("library", "Movies")]);
        assert_eq!(movies(&pure.page()), None, "{body}");
        let errors = [
            ("endpoint", "/library/sections/{id}/all"),
            ("reason", "decode"),
        ];
        let page = pure.page();
        assert!(
            page.value("plex_exporter_plex_request_errors_total", &errors)
                .is_some()
        );
        pure.world.faults.clear();
        pure.wait(130.0);
        let counted = movies(&pure.page());
        assert!(counted.is_some(), "{body}");
        pure.world.fault("/library/sections/1/all", no_number);
        pure.wait(1_000.0);
        assert_eq!(movies(&pure.page()), counted, "{body}");
    }
}

#[test]
fn a_library_listed_twice_is_one_library() {
    let mut world = World::default();
    world
        .libraries
        .push(library(1, "movie", "Movies again", 1, 1));
    let mut pure = Pure::connected(world);
    pure.wait(600.0);
    let page = pure.page();
    assert_eq!(
        page.of("plex_library_items", &[("library_id", "1")]).len(),
        1
    );
    assert_eq!(
        page.value("plex_library_items", &[("library", "Movies")]),
        Some(357.0)
    );
    assert!(pure.requested("/library/sections/1/", 590.0) <= 1);
}

#[test]
fn a_changed_library_is_counted_soon_and_others_of_its_kind_only_where_none_is_named() {
    let mut world = World::default();
    world.libraries.push(library(5, "movie", "More", 1, 1));
    let mut pure = Pure::connected(world);
    pure.wait(100.0);
    let entry = |section: Value, kind: u64| {
        crate::support::payloads::frame(
            "timeline",
            "TimelineEntry",
            json!({"identifier": "com.plexapp.plugins.library", "sectionID": section, "type": kind, "state": 5}),
        )
    };
    pure.world.counts.insert((1, 0), 358);
    pure.push(&entry(json!("1"), 1));
    pure.wait(6.0);
    assert_eq!(
        pure.page()
            .value("plex_library_items", &[("library", "Movies")]),
        Some(358.0)
    );
    assert_eq!(pure.requested("/library/sections/", 6.0), 1);
    pure.wait(100.0);
    pure.push(&entry(json!(-1), 1));
    pure.wait(6.0);
    assert_eq!(pure.requested("/library/sections/1/", 6.0), 1);
    assert_eq!(pure.requested("/library/sections/5/", 6.0), 1);
    assert_eq!(pure.requested("/library/sections/", 6.0), 2);
}

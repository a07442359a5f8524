//! Several items under one session key, and stops that come late, under another key or for another
//! item: whatever the order, the time of each is right.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    exporter::{Exporter, Setup, wait},
    fake_plex::{FakePlex, World},
    payloads::{frame, playing, track, with},
    pure::Pure,
    samples::Samples,
};

/// A track under key 7, `offset` seconds into it.
fn song(item: u64, offset: f64) -> serde_json::Value {
    let session = track(7, item, "Pink Floyd", "The Wall", &format!("track {item}"));
    with(session, json!({"viewOffset": (offset * 1_000.0) as u64}))
}

fn seconds(page: &Samples, item: u64) -> f64 {
    let title = format!("track {item}");
    page.value("plex_play_seconds_total", &[("grandchild_title", &title)])
        .unwrap_or_else(|| panic!("{title} has no series"))
}

fn assert_near(actual: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (actual - expected).abs() <= tolerance,
        "{what}: {actual} instead of {expected}"
    );
}

/// The only live session plays this item.
fn assert_live(page: &Samples, item: u64) {
    assert_eq!(page.value("plex_active_sessions", &[]), Some(1.0));
    let title = format!("track {item}");
    assert!(
        page.one("plex_session_info", &[("grandchild_title", &title)])
            .is_some(),
        "{title}"
    );
}

fn playing_one() -> Pure {
    let mut pure = Pure::connected(World::default());
    pure.world.play(song(1, 0.0));
    pure.push(&playing(7, 1, "playing", 0));
    pure.wait(10.0);
    pure
}

#[test]
fn the_next_item_takes_over_in_any_order_of_stop_playing_and_listing() {
    // (seconds after the change, what comes): p the notification of the second, s the stop of the
    // first, 0 one that names no item, a a late notification of the first, l the listing shows the
    // second, g the listing shows neither.
    let orders: &[&[(f64, char)]] = &[
        &[(0.0, 'p'), (0.2, 's'), (0.5, 'l')],
        &[(0.0, 'p'), (0.1, 'l'), (0.5, 's')],
        &[(0.0, 'p'), (0.0, 'g'), (0.3, 's'), (2.0, 'l')],
        &[(0.0, 'p'), (0.3, 's'), (4.6, 'l')],
        &[(0.0, 'p'), (4.6, 'l'), (5.0, 's')],
        &[(0.0, 'l'), (0.0, 'p'), (6.0, 's')],
        &[(0.0, 's'), (0.0, 'p'), (3.3, 'l')],
        &[(0.0, 's'), (0.0, 'g'), (0.0, 'p'), (3.3, 'l')],
        &[(0.0, 'p'), (0.0, 'l')],
        &[(0.0, 'p'), (6.4, 'l'), (6.4, 's')],
        &[(0.0, 'p'), (0.5, 'a'), (1.0, 'l'), (1.5, 'p')],
        &[(0.0, 'p'), (0.5, 'a'), (1.0, 'p'), (1.5, 'l')],
        &[(0.0, 'p'), (0.5, '0'), (1.0, 'l'), (1.5, 'p')],
        &[(0.0, '0'), (0.0, 'l')],
        &[(0.0, 'l'), (0.0, '0')],
    ];
    for order in orders {
        let mut pure = playing_one();
        let mut elapsed = 0.0;
        for (at, what) in *order {
            pure.wait(at - elapsed);
            elapsed = *at;
            match what {
                'p' => pure.push(&playing(7, 2, "playing", 0)),
                'a' => pure.push(&playing(7, 1, "playing", 10_500)),
                '0' => {
                    let bare = json!({"sessionKey": "7", "ratingKey": "", "state": "stopped"});
                    pure.push(&frame("playing", "PlaySessionStateNotification", bare));
                }
                's' => pure.push(&playing(7, 1, "stopped", 10_000)),
                'g' => pure.world.stop(&json!("7")),
                _ => pure.world.play(song(2, elapsed)),
            }
        }
        let listed = order.iter().find(|(_, what)| *what == 'l').unwrap().0;
        pure.wait((listed + 1.0 - elapsed).max(0.0));
        let page = pure.page();
        let what = format!("{order:?}");
        assert_live(&page, 2);
        assert_near(seconds(&page, 1), 10.0, 0.05, &what);
        let since = elapsed.max(listed + 1.0);
        assert_near(seconds(&page, 2), since, 0.05, &what);
        assert_eq!(page.sum("plex_plays_total", &[]), 2.0, "{what}");
        assert_eq!(page.sum("plex_play_starts_total", &[]), 2.0, "{what}");
        // And it continues.
        pure.world.play(song(2, since + 9.0));
        pure.push(&playing(7, 2, "playing", 0));
        pure.wait(60.0);
        let page = pure.page();
        assert_live(&page, 2);
        assert!(seconds(&page, 2) > 30.0, "{what}");
    }
}

#[test]
fn an_item_without_notifications_begins_when_it_is_listed() {
    let mut pure = playing_one();
    pure.world.play(song(2, 0.0));
    let before = pure.requests.len();
    // Something else causes the listing.
    pure.push(&playing(9, 900, "playing", 0));
    pure.wait(1.0);
    assert!(pure.requests.len() > before);
    let page = pure.page();
    assert_live(&page, 2);
    assert_near(seconds(&page, 1), 10.0, 0.05, "the first");
    assert_near(seconds(&page, 2), 1.0, 0.05, "the second");
}

#[test]
fn gapless_tracks_with_one_frame_each_keep_their_times_however_slowly_plex_responds() {
    for delay in [0.001, 1.0, 4.0] {
        let mut pure = Pure::connected(World::default());
        pure.delay = Duration::from_secs_f64(delay);
        for item in 1..=6 {
            pure.world.play(song(item, 0.0));
            pure.push(&playing(7, item, "playing", 0));
            pure.wait(9.5);
        }
        pure.world.stop(&json!("7"));
        pure.push(&playing(7, 6, "stopped", 9_500));
        pure.wait(delay + 0.1);
        let page = pure.page();
        for item in 1..=6 {
            assert_near(
                seconds(&page, item),
                9.5,
                0.05,
                &format!("{item} at {delay}"),
            );
        }
        assert_eq!(page.sum("plex_play_starts_total", &[]), 6.0);
        assert_eq!(page.value("plex_active_sessions", &[]), Some(0.0));
    }
}

#[test]
fn the_same_item_under_another_rating_key_continues() {
    let mut pure = playing_one();
    // Notifications keep naming another rating key, while the listing stays with the first.
    for second in 10..60 {
        pure.world.play(song(1, f64::from(second)));
        pure.push(&playing(
            7,
            4_711,
            "playing",
            u64::from(second as u32) * 1_000,
        ));
        pure.wait(1.0);
    }
    let page = pure.page();
    assert_live(&page, 1);
    assert_near(seconds(&page, 1), 60.0, 1.1, "the one item");
    assert_eq!(page.sum("plex_plays_total", &[]), 1.0);
    // The reports alone cause one every three seconds.
    assert!(pure.requested("/status/sessions", 50.0) <= 17 + 7);
}

#[test]
fn a_stop_for_another_item_or_key_ends_no_other_session() {
    let mut pure = playing_one();
    for (key, item) in [(7, 99), (8, 1), (8, 99)] {
        pure.push(&playing(key, item, "stopped", 0));
        pure.wait(0.5);
        assert_live(&pure.page(), 1);
    }
    pure.wait(20.0);
    assert_live(&pure.page(), 1);
    assert_eq!(pure.page().sum("plex_play_starts_total", &[]), 1.0);
}

#[test]
fn a_stop_under_another_key_is_found_within_three_seconds_of_leaving_the_listing() {
    for listed_for in [0.0, 4.0, 9.0] {
        let mut pure = playing_one();
        pure.push(&playing(8, 1, "stopped", 10_000));
        pure.wait(listed_for);
        pure.world.stop(&json!("7"));
        pure.wait(3.0);
        assert_eq!(
            pure.page().value("plex_active_sessions", &[]),
            Some(0.0),
            "{listed_for}"
        );
    }
}

#[test]
fn a_session_that_is_listed_after_its_stop_does_not_come_back_to_life() {
    for listed_for in [0.0, 4.0, 8.0, 25.0] {
        let mut pure = playing_one();
        pure.push(&playing(7, 1, "stopped", 10_000));
        let end = pure.now() + Duration::from_secs_f64(listed_for);
        while pure.now() < end {
            pure.wait(0.5);
            let page = pure.page();
            assert_near(seconds(&page, 1), 10.0, 0.05, "after the stop");
        }
        pure.world.stop(&json!("7"));
        pure.wait(3.0);
        let page = pure.page();
        assert_eq!(page.value("plex_active_sessions", &[]), Some(0.0));
        assert_near(seconds(&page, 1), 10.0, 0.05, "after the listing");
        assert_eq!(page.sum("plex_plays_total", &[]), 1.0);
        pure.wait(61.0);
        assert!(pure.page().of("plex_plays_total", &[]).is_empty());
    }
}

#[test]
fn a_stop_during_the_listing_that_shows_the_session_is_not_forgotten() {
    let mut pure = Pure::connected(World::default());
    pure.delay = Duration::from_secs(2);
    pure.world.play(song(1, 0.0));
    pure.push(&playing(7, 1, "playing", 0));
    pure.wait(1.5);
    pure.push(&playing(7, 1, "stopped", 1_500));
    pure.wait(0.6);
    let page = pure.page();
    assert_eq!(page.value("plex_active_sessions", &[]), Some(0.0));
    assert_near(seconds(&page, 1), 1.5, 0.05, "a short play");
    assert_eq!(page.sum("plex_play_starts_total", &[]), 1.0);
}

#[test]
fn a_stop_just_after_a_listing_without_the_session_tells_how_long_it_played() {
    for late in [0.01, 2.0] {
        let mut pure = playing_one();
        pure.wait(9.0);
        pure.world.stop(&json!("7"));
        // Another session causes the listing.
        pure.world
            .play(track(8, 9, "Pink Floyd", "The Wall", "track 9"));
        pure.push(&playing(8, 9, "playing", 0));
        pure.wait(late);
        pure.push(&playing(7, 1, "stopped", 19_000));
        assert_near(seconds(&pure.page(), 1), 19.0, 0.05, "the first");
        pure.wait(30.0);
        assert_near(seconds(&pure.page(), 1), 19.0, 0.05, "the first, later");
    }
}

#[test]
fn a_jump_that_a_listing_shows_before_its_notification_loses_no_time() {
    let mut pure = playing_one();
    pure.wait(9.0);
    pure.world.change(
        7,
        json!({"viewOffset": 1_000, "Player": {"state": "buffering"}}),
    );
    // Another session causes the listing.
    pure.world
        .play(track(8, 9, "Pink Floyd", "The Wall", "track 9"));
    pure.push(&playing(8, 9, "playing", 0));
    pure.wait(0.01);
    pure.push(&playing(7, 1, "buffering", 1_000));
    pure.wait(0.01);
    assert_near(seconds(&pure.page(), 1), 19.0, 0.05, "before the jump");
}

#[test]
fn a_film_that_is_stopped_and_resumed_under_its_key_counts_twice_in_one_series() {
    let mut pure = playing_one();
    pure.world.stop(&json!("7"));
    pure.push(&playing(7, 1, "stopped", 10_000));
    pure.wait(5.0);
    pure.world.play(song(1, 10.0));
    pure.push(&playing(7, 1, "playing", 10_000));
    pure.wait(5.0);
    let page = pure.page();
    let series = page.of("plex_plays_total", &[]);
    assert_eq!((series.len(), series[0].value), (1, 2.0));
    assert_near(seconds(&page, 1), 15.0, 0.05, "both together");
    assert_eq!(page.sum("plex_play_starts_total", &[]), 2.0);
}

fn until_title(exporter: &Exporter, title: &str, limit: Duration) -> Duration {
    let begun = Instant::now();
    wait(
        limit,
        || {
            let page = exporter.scrape();
            page.one("plex_session_info", &[("grandchild_title", title)])
                .map(|_| ())
        },
        || exporter.page(),
    );
    begun.elapsed()
}

/// Row 3 against the real program: `playing B`, then a late `stopped A`, then the listing shows B.
#[test]
fn the_next_item_shows_within_a_second_of_being_listed() {
    for gone in [false, true] {
        let plex = FakePlex::default();
        plex.world().play(song(1, 0.0));
        let exporter = Setup::new(&plex.url()).start();
        exporter.until_value("plex_websocket_connected", &[], 1.0);
        exporter.until_value("plex_active_sessions", &[], 1.0);
        plex.push(&playing(7, 2, "playing", 0));
        plex.wait_for("/status/sessions", 3, Duration::from_secs(5));
        if gone {
            plex.world().stop(&json!("7"));
        }
        plex.push(&playing(7, 1, "stopped", 5_000));
        exporter.until_value(
            "plex_exporter_notifications_total",
            &[("type", "playing")],
            2.0,
        );
        plex.world().play(song(2, 1.0));
        let took = until_title(&exporter, "track 2", Duration::from_secs(5));
        assert!(took < Duration::from_millis(1_200), "{took:?}");
        let page = exporter.scrape();
        assert_live(&page, 2);
    }
}

/// Plex goes on listing what has stopped, and then lists the next item, of which no notification comes.
#[test]
fn the_next_item_after_a_stop_shows_within_a_second_of_being_listed_without_a_notification() {
    let plex = FakePlex::default();
    plex.world().play(song(1, 0.0));
    let exporter = Setup::new(&plex.url()).start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until_value("plex_active_sessions", &[], 1.0);
    let listings = plex.count("/status/sessions");
    plex.push(&playing(7, 1, "stopped", 5_000));
    exporter.until_value("plex_active_sessions", &[], 0.0);
    // It is still listed for three seconds and a little.
    plex.wait_for("/status/sessions", listings + 4, Duration::from_secs(5));
    assert!(exporter.scrape().of("plex_session_info", &[]).is_empty());
    plex.world().play(song(2, 1.0));
    let took = until_title(&exporter, "track 2", Duration::from_secs(5));
    assert!(took < Duration::from_millis(1_200), "{took:?}");
}

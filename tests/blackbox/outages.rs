//! Outages of Plex, of its socket and of the network, restarts, and another server in its place.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    exporter::Setup,
    fake_plex::{FakePlex, Fault, World, html},
    payloads::{movie, playing, with},
    pure::Pure,
    samples::Samples,
};

fn film(key: u64, offset: f64) -> serde_json::Value {
    with(
        movie(key, 101, "Alien"),
        json!({"viewOffset": (offset * 1_000.0) as u64}),
    )
}

fn seconds(page: &Samples) -> f64 {
    page.sum("plex_play_seconds_total", &[])
}

fn watching() -> Pure {
    let mut pure = Pure::connected(World::default());
    pure.world.play(film(3, 0.0));
    pure.push(&playing(3, 101, "playing", 0));
    pure.wait(15.0);
    pure
}

fn begin_outage(pure: &mut Pure) {
    pure.world.fault("/", Fault::Reset);
    pure.world.fault("/status", Fault::Reset);
    pure.socket_down();
}

fn end_outage(pure: &mut Pure) {
    pure.world.faults.clear();
    pure.apply(plex_exporter::internals::Event::SocketUp);
}

#[test]
fn a_play_resumes_after_an_outage_of_any_length_up_to_an_hour() {
    // Under the same key and Session.id; with another Session.id; under another key.
    for (key, info) in [(3, "link-3"), (3, "new"), (1, "link-3")] {
        for outage in [1.0, 8.0, 50.0, 125.0, 1_800.0, 3_500.0] {
            let mut pure = watching();
            begin_outage(&mut pure);
            pure.wait(outage);
            pure.page();
            pure.world.sessions.clear();
            let session = with(
                film(key, 15.0 + outage),
                json!({"Session": {"id": info},
                "Player": {"machineIdentifier": "player-3"}}),
            );
            pure.world.play(session);
            end_outage(&mut pure);
            pure.wait(11.0);
            let page = pure.page();
            let what = format!("{key} {info} {outage}");
            assert_eq!(page.value("plex_active_sessions", &[]), Some(1.0), "{what}");
            assert_eq!(page.sum("plex_play_starts_total", &[]), 1.0, "{what}");
            assert_eq!(page.sum("plex_plays_total", &[]), 1.0, "{what}");
            let expected = 15.0 + outage + 11.0;
            assert!(
                (seconds(&page) - expected).abs() < 3.0,
                "{what}: {}",
                seconds(&page)
            );
        }
    }
}

#[test]
fn what_plays_after_a_restart_under_the_old_keys_is_new_when_anything_differs() {
    let changes = [
        json!({"ratingKey": "102", "key": "/library/metadata/102", "title": "Aliens"}),
        json!({"User": {"id": "77", "title": "zoe"}}),
        json!({"Player": {"machineIdentifier": "another"}}),
        // The same film again, from its beginning.
        json!({"viewOffset": 0, "Session": {"id": "fresh"}}),
        // The same Session.id for another item.
        json!({"ratingKey": "102", "key": "/library/metadata/102", "title": "Aliens", "Session": {"id": "link-3"}}),
    ];
    for change in changes {
        for outage in [2.0, 60.0, 600.0] {
            let mut pure = watching();
            // Far enough to distinguish a start from 0.
            pure.world.play(film(3, 600.0));
            pure.push(&playing(3, 101, "playing", 600_000));
            pure.wait(5.0);
            begin_outage(&mut pure);
            pure.wait(outage);
            let session = with(film(3, 606.0), json!({"Session": {"id": "other"}}));
            pure.world.play(with(session, change.clone()));
            end_outage(&mut pure);
            pure.wait(5.0);
            let page = pure.page();
            assert_eq!(
                page.sum("plex_play_starts_total", &[]),
                2.0,
                "{change} {outage}"
            );
            assert_eq!(page.value("plex_active_sessions", &[]), Some(1.0));
        }
    }
}

#[test]
fn viewers_who_swap_keys_over_a_restart_keep_their_plays() {
    let viewer = |key: u64, user: u64, offset: f64| {
        with(
            film(key, offset),
            json!({"ratingKey": (100 + user).to_string(),
            "key": format!("/library/metadata/{}", 100 + user), "title": format!("film {user}"),
            "User": {"id": user.to_string(), "title": format!("user {user}")},
            "Player": {"machineIdentifier": format!("p{user}")}, "Session": {"id": format!("s{user}")}}),
        )
    };
    let mut pure = Pure::connected(World::default());
    for (key, user) in [(1, 1), (2, 2)] {
        pure.world.play(viewer(key, user, 0.0));
        pure.push(&playing(key, 100 + user, "playing", 0));
    }
    pure.wait(20.0);
    begin_outage(&mut pure);
    pure.wait(5.0);
    pure.world.sessions = vec![viewer(2, 1, 25.0), viewer(1, 2, 25.0)];
    pure.world.faults.clear();
    pure.apply(plex_exporter::internals::Event::SocketUp);
    // Notifications come before the listing.
    pure.push(&playing(1, 102, "playing", 25_000));
    pure.push(&playing(2, 101, "playing", 25_000));
    pure.wait(5.0);
    let page = pure.page();
    assert_eq!(page.sum("plex_play_starts_total", &[]), 2.0);
    assert_eq!(page.sum("plex_plays_total", &[]), 2.0);
    for user in ["user 1", "user 2"] {
        let played = page.sum("plex_play_seconds_total", &[("user", user)]);
        assert!((played - 30.0).abs() < 2.0, "{user}: {played}");
    }
}

#[test]
fn live_tv_is_one_play_however_its_number_comes_and_goes() {
    for (before, after) in [
        (
            json!({"ratingKey": "(absent)"}),
            json!({"ratingKey": "555"}),
        ),
        (
            json!({"ratingKey": "(absent)", "key": "(absent)"}),
            json!({"ratingKey": "555", "key": "(absent)"}),
        ),
        (
            json!({"ratingKey": "com.gracenote.onconnect://episode/7"}),
            json!({"ratingKey": "555"}),
        ),
    ] {
        let live = json!({"live": "1", "key": "/livetv/sessions/u", "title": "News", "type": "clip",
            "librarySectionID": "(absent)"});
        let mut pure = Pure::connected(World::default());
        pure.world
            .play(with(with(film(4, 0.0), live.clone()), before.clone()));
        pure.push(&playing(4, 0, "playing", 0));
        pure.wait(10.0);
        pure.world
            .play(with(with(film(4, 0.0), live), after.clone()));
        for _ in 0..4 {
            let item = after["ratingKey"].as_str().unwrap().parse().unwrap();
            pure.push(&playing(4, item, "playing", 0));
            pure.wait(10.0);
        }
        let page = pure.page();
        assert_eq!(
            page.sum("plex_play_starts_total", &[]),
            1.0,
            "{before} {after}"
        );
        assert_eq!(page.sum("plex_plays_total", &[]), 1.0, "{before} {after}");
        assert!((seconds(&page) - 50.0).abs() < 1.0, "{}", seconds(&page));
    }
}

#[test]
fn the_next_programme_of_a_channel_is_the_next_play() {
    let mut pure = Pure::connected(World::default());
    let programme = |number: u64, title: &str| {
        with(
            film(4, 0.0),
            json!({"live": "1", "key": "/livetv/sessions/u", "ratingKey": number.to_string(),
                "title": title, "type": "episode", "librarySectionID": "(absent)"}),
        )
    };
    pure.world.play(programme(555, "News"));
    pure.push(&playing(4, 555, "playing", 0));
    pure.wait(10.0);
    pure.world.play(programme(556, "Weather"));
    pure.push(&playing(4, 556, "playing", 0));
    pure.wait(20.0);
    let page = pure.page();
    assert_eq!(page.sum("plex_play_starts_total", &[]), 2.0);
    for (title, expected) in [("News", 10.0), ("Weather", 20.0)] {
        let seconds = page.value("plex_play_seconds_total", &[("title", title)]);
        assert!(
            (seconds.unwrap() - expected).abs() < 0.3,
            "{title} {seconds:?}"
        );
    }
}

#[test]
fn another_server_in_its_place_starts_everything_afresh() {
    let mut pure = watching();
    pure.world.activities = vec![json!({"uuid": "a", "type": "library.update.section"})];
    pure.wait(700.0);
    let old = pure.page();
    assert!(old.of("plex_library_items", &[]).len() >= 4);
    // Requests are in flight when the other server responds.
    pure.delay = Duration::from_secs(2);
    let mut world = World::default();
    world.server["machineIdentifier"] = json!("another");
    world.server["friendlyName"] = json!("Cellar");
    world.libraries.truncate(1);
    world.counts.insert((1, 0), 11);
    pure.wait(15.1);
    pure.world = world;
    pure.wait(40.0);
    let page = pure.page();
    assert!(page.of("plex_up", &[("server_id", "another")])[0].value == 1.0);
    for sample in &page.all {
        if let Some(id) = sample.labels.get("server_id") {
            assert_eq!(id, "another", "{sample:?}");
        }
    }
    assert_eq!(page.sum("plex_play_starts_total", &[]), 0.0);
    assert_eq!(page.sum("plex_library_items", &[]), 11.0);
    assert_eq!(page.sum("plex_play_seconds_total", &[]), 0.0);
    assert_eq!(
        page.value("plex_estimated_transmit_bytes_total", &[]),
        Some(0.0)
    );
    assert!(page.of("plex_activities", &[]).is_empty());
}

#[test]
fn a_plex_that_accepts_and_answers_nothing_is_down_with_the_first_poll_that_times_out() {
    for playing in [false, true] {
        let mut pure = if playing {
            watching()
        } else {
            Pure::connected(World::default())
        };
        pure.wait(42.0);
        pure.world.fault("/", Fault::Stall);
        let from = pure.now();
        while pure.requests.iter().all(|(at, _)| *at < from) {
            pure.wait(0.1);
        }
        pure.wait(9.8);
        assert_eq!(pure.page().value("plex_up", &[]), Some(1.0));
        pure.wait(0.3);
        assert_eq!(pure.page().value("plex_up", &[]), Some(0.0));
        pure.world.faults.clear();
        pure.wait(21.0);
        assert_eq!(pure.page().value("plex_up", &[]), Some(1.0));
    }
}

#[test]
fn an_endpoint_that_hangs_alone_does_not_make_plex_down() {
    let mut pure = watching();
    pure.world.fault("/status", Fault::Stall);
    // Between the moments at which something times out and `/` answers.
    pure.wait(0.5);
    for _ in 0..100 {
        pure.wait(1.0);
        assert_eq!(pure.page().value("plex_up", &[]), Some(1.0));
    }
}

#[test]
fn a_failed_listing_is_retried_after_1_2_4_8_seconds() {
    let mut pure = Pure::connected(World::default());
    pure.wait(100.0);
    pure.world.fault("/status/sessions", html(500, "Oops"));
    pure.push(&playing(3, 101, "playing", 0));
    let begun = pure.now();
    pure.wait(40.0);
    let times: Vec<f64> = pure
        .requests
        .iter()
        .filter(|(at, target)| *at >= begun && target == "/status/sessions")
        .map(|(at, _)| (*at - begun).as_secs_f64())
        .collect();
    for (actual, expected) in times.iter().zip([0.0, 1.0, 3.0, 7.0, 15.0]) {
        assert!((actual - expected).abs() < 0.1, "{times:?}");
    }
}

#[test]
fn a_title_that_fails_for_minutes_is_fetched_in_the_end() {
    let mut pure = Pure::connected(World::default());
    pure.world.fault("/library/metadata", html(503, "Busy"));
    pure.world
        .play(crate::support::payloads::transcoded(film(3, 0.0), "t"));
    pure.push(&playing(3, 101, "playing", 0));
    for second in 0..120 {
        pure.world.play(crate::support::payloads::transcoded(
            film(3, f64::from(second)),
            "t",
        ));
        pure.wait(1.0);
    }
    assert_eq!(
        pure.page()
            .value("plex_session_media_info", &[("video_codec", "unknown")]),
        Some(1.0)
    );
    pure.world.faults.clear();
    pure.wait(70.0);
    let page = pure.page();
    assert!(
        page.one("plex_plays_total", &[("stream_file_resolution", "4k")])
            .is_some()
    );
    assert!(pure.requested("/library/metadata", 200.0) < 10);
}

/// Row 1 against the real program.
#[test]
fn a_film_resumed_over_a_restart_has_one_series_on_every_page() {
    let mut plex = FakePlex::default();
    plex.world().play(film(1, 100.0));
    let exporter = Setup::new(&plex.url()).start();
    exporter.until("a second", Duration::from_secs(5), |page| {
        seconds(page) > 1.0
    });
    plex.stop();
    exporter.until_value("plex_websocket_connected", &[], 0.0);
    plex.world().play(with(
        film(1, 101.0),
        json!({"Session": {"id": "new"},
        "Player": {"state": "buffering"}}),
    ));
    plex.restart();
    // The exporter's own reader of pages refuses duplicates and counters that fall.
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until_value("plex_sessions", &[("state", "buffering")], 1.0);
    plex.world()
        .change(1, json!({"Player": {"state": "playing"}}));
    plex.push(&playing(1, 101, "playing", 101_000));
    let page = exporter.until_value("plex_sessions", &[("state", "playing")], 1.0);
    assert_eq!(page.of("plex_plays_total", &[]).len(), 1);
    let before = seconds(&page);
    exporter.until("it goes on", Duration::from_secs(5), |page| {
        seconds(page) > before + 1.0
    });
}

#[test]
fn tracks_in_a_row_share_a_series_where_titles_are_hidden() {
    let plex = FakePlex::default();
    let song =
        |item: u64| crate::support::payloads::track(1, item, "A", "B", &format!("song {item}"));
    plex.world().play(song(1));
    let exporter = Setup::new(&plex.url()).env("HIDE_LABELS", "title").start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until("some time", Duration::from_secs(5), |page| {
        seconds(page) > 0.5
    });
    for item in 2..=4 {
        plex.world().play(song(item));
        plex.push(&playing(1, item, "playing", 0));
        let plays = item as f64;
        let page = exporter.until_value("plex_plays_total", &[("title", "hidden")], plays);
        assert_eq!(page.of("plex_plays_total", &[]).len(), 1);
        assert_eq!(
            page.of("plex_session_info", &[("grandchild_title", "hidden")])
                .len(),
            1
        );
    }
}

/// Row 12 against the real program.
#[test]
fn another_server_on_the_same_port_leaves_nothing_of_the_first() {
    let mut plex = FakePlex::default();
    plex.world().play(film(1, 100.0));
    let exporter = Setup::new(&plex.url()).start();
    exporter.until("all", Duration::from_secs(5), |page| {
        page.of("plex_library_items", &[]).len() == 4 && seconds(page) > 0.5
    });
    plex.stop();
    exporter.until_value("plex_up", &[], 0.0);
    {
        let mut world = plex.world();
        *world = World::default();
        world.server["machineIdentifier"] = json!("another");
        world.libraries.truncate(1);
    }
    plex.restart();
    let begun = Instant::now();
    let page = exporter.until("the other", Duration::from_secs(20), |page| {
        page.value("plex_up", &[("server_id", "another")]) == Some(1.0)
            && page.of("plex_library_items", &[]).len() == 1
    });
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(page.all.iter().all(|sample| {
        sample
            .labels
            .get("server_id")
            .is_none_or(|id| id == "another")
    }));
    assert!(page.of("plex_plays_total", &[]).is_empty());
}

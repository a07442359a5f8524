use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::RepeatedText;
use crate::state::{
    driver::{Driver, Reply, session},
    phase::Phase,
    play::Play,
};

/// Plays and whole seconds of every visible series, by session key.
fn series(driver: &mut Driver) -> BTreeMap<String, (u64, f64)> {
    let now = driver.timestamp();
    driver.state.prepare_scrape(now);
    let series = driver.state.sessions.series.visible(now.monotonic);
    series
        .map(|series| {
            let key = series.labels().split("session=\"").nth(1).unwrap();
            let key = key.split('"').next().unwrap().to_owned();
            let tenths = (series.played().as_secs_f64() * 10.0).round() / 10.0;
            (key, (series.plays(), tenths))
        })
        .collect()
}

fn keys(driver: &Driver) -> Vec<&str> {
    driver
        .state
        .sessions
        .live()
        .map(|play| &*play.session)
        .collect()
}

/// A driver with session 1 playing item 101 since second 5.
fn playing() -> Driver {
    let mut driver = Driver::connected();
    driver.list(&[session("1", "101", 0)]);
    driver.playing("1", "101", "playing");
    driver.run(0.1);
    driver
}

/// Ten-second steps in which the client reports `state`.
fn report(driver: &mut Driver, steps: u32, state: &str) {
    for _ in 0..steps {
        driver.run(10.0);
        driver.playing("1", "101", state);
    }
}

fn with_state(mut session: Value, state: &str) -> Value {
    session["Player"]["state"] = json!(state);
    session
}

#[test]
fn a_play_counts_from_its_first_notification_to_its_stop() {
    let mut driver = Driver::connected();
    driver.playing("1", "101", "playing");
    // Plex lists it three seconds later.
    driver.run(3.0);
    assert!(keys(&driver).is_empty());
    driver.list(&[session("1", "101", 3_000)]);
    driver.run(7.0);
    assert_eq!(keys(&driver), ["1"]);
    assert_eq!(series(&mut driver)["1"], (1, 10.0));
    driver.run(2.5);
    driver.list(&[]);
    driver.playing("1", "101", "stopped");
    assert!(keys(&driver).is_empty());
    assert_eq!(series(&mut driver)["1"], (1, 12.5));
    driver.run(59.0);
    assert_eq!(series(&mut driver)["1"], (1, 12.5), "for a minute");
    driver.run(2.0);
    assert!(series(&mut driver).is_empty());
    assert_eq!(driver.state.sessions.kept(), (0, 0));
    assert_eq!(driver.state.sessions.series.count(), 0);
}

#[test]
fn pauses_and_buffering_count_no_playing_time_and_buffering_its_own() {
    let mut driver = playing();
    report(&mut driver, 1, "paused");
    driver.list(&[with_state(session("1", "101", 10_000), "paused")]);
    report(&mut driver, 3, "paused");
    assert_eq!(series(&mut driver)["1"], (1, 10.1));
    driver.list(&[session("1", "101", 10_000)]);
    driver.playing("1", "101", "playing");
    driver.run(4.0);
    driver.list(&[with_state(session("1", "101", 14_000), "buffering")]);
    driver.playing("1", "101", "buffering");
    driver.run(3.0);
    driver.list(&[session("1", "101", 14_000)]);
    driver.playing("1", "101", "playing");
    driver.run(1.0);
    assert_eq!(series(&mut driver)["1"], (1, 15.1));
    let buffering = driver.state.sessions.lasting.buffering;
    let buffering = buffering[&("lan".into(), "direct play".into())];
    assert_eq!((buffering.interruptions, buffering.time.as_secs()), (1, 3));
}

#[test]
fn estimated_bytes_are_the_bitrate_times_the_time_played() {
    let mut driver = playing();
    report(&mut driver, 2, "playing");
    series(&mut driver);
    // 2,000 kbit/s for 20.1 s.
    let expected = 2_000_000.0 / 8.0 * 20.1;
    let bytes = driver.state.sessions.estimated_bytes;
    assert!((bytes - expected).abs() < 0.01 * expected, "{bytes}");
    let table = &driver.state.sessions.lasting.user_play;
    let user: Vec<_> = table.iter().map(|(_, time)| time.as_secs()).collect();
    assert_eq!(user, [20]);
}

#[test]
fn a_session_that_is_listed_no_longer_has_ended() {
    let mut driver = playing();
    report(&mut driver, 1, "playing");
    driver.list(&[]);
    driver.run(40.0);
    assert!(keys(&driver).is_empty());
    let (plays, seconds) = series(&mut driver)["1"];
    assert!(plays == 1 && (10.0..=23.1).contains(&seconds), "{seconds}");
}

#[test]
fn the_next_item_under_a_key_is_another_play() {
    let mut driver = playing();
    report(&mut driver, 2, "playing");
    driver.list(&[session("1", "102", 0)]);
    driver.playing("1", "102", "playing");
    driver.run(5.0);
    assert_eq!(keys(&driver), ["1"]);
    let now = driver.timestamp();
    driver.state.prepare_scrape(now);
    let titles: BTreeMap<_, _> = driver
        .state
        .sessions
        .series
        .visible(now.monotonic)
        .map(|series| {
            (
                series.labels().contains("Film 102"),
                series.played().as_secs(),
            )
        })
        .collect();
    assert_eq!(titles, BTreeMap::from([(false, 20), (true, 5)]));
    assert_eq!(driver.state.starts.values().sum::<u64>(), 2);
}

#[test]
fn a_play_resumes_its_series_after_an_outage() {
    let mut driver = playing();
    report(&mut driver, 2, "playing");
    driver.socket_down();
    driver.replies.insert("/status/sessions", Reply::Refused);
    driver.replies.insert("/", Reply::Refused);
    driver.run(60.0);
    assert!(keys(&driver).is_empty(), "orphaned after 45 s");
    assert_eq!(driver.state.sessions.kept().0, 1);
    let server = json!({"machineIdentifier": "m1", "version": "1", "myPlexSubscription": true});
    driver.replies.insert("/", Reply::Container(server));
    driver.list(&[session("1", "101", 80_000)]);
    driver.apply(crate::event::Event::SocketUp);
    driver.run(1.0);
    assert_eq!(keys(&driver), ["1"]);
    let (plays, seconds) = series(&mut driver)["1"];
    assert!(plays == 1 && seconds >= 20.0, "{plays} {seconds}");
    assert_eq!(
        driver.state.starts.values().sum::<u64>(),
        1,
        "not counted again"
    );
}

#[test]
fn after_a_restart_of_plex_another_item_under_the_same_key_is_another_play() {
    let mut driver = playing();
    report(&mut driver, 2, "playing");
    driver.socket_down();
    driver.list(&[session("1", "555", 0)]);
    driver.run(10.0);
    let items: Vec<_> = driver
        .state
        .sessions
        .live()
        .map(|play| play.rating_key)
        .collect();
    assert_eq!(items, [crate::plex::id::Id::parse("555")]);
    assert_eq!(driver.state.sessions.kept().0, 1);
}

#[test]
fn a_transcode_notification_changes_the_session_that_carries_it_and_no_other() {
    let mut driver = Driver::connected();
    let transcoded = |key: &str, id: &str| {
        let mut session = session(key, "101", 0);
        session["TranscodeSession"] = json!({"key": format!("/transcode/sessions/{id}"),
            "videoDecision": "transcode", "audioDecision": "copy", "progress": 1.0, "speed": 2.0});
        session
    };
    driver.list(&[transcoded("1", "a"), transcoded("2", "b")]);
    driver.run(60.0);
    assert_eq!(driver.state.sessions.video_transcodes(), 2);
    let update = json!({"key": "/transcode/sessions/b", "speed": 5.5, "throttled": true,
        "videoDecision": "copy"});
    driver.notify("transcodeSession.update", "TranscodeSession", &update);
    let speeds: Vec<_> = driver
        .state
        .sessions
        .live()
        .map(|play| play.transcode.as_ref().unwrap().speed.get())
        .collect();
    assert_eq!(speeds, [Some(2.0), Some(5.5)]);
    assert_eq!(driver.state.sessions.video_transcodes(), 1);
    // The end of a transcode is not the end of the session.
    driver.notify("transcodeSession.end", "TranscodeSession", &update);
    driver.run(1.4);
    assert!(driver.requests("/status/sessions", 1.4).is_empty());
    driver.run(0.2);
    assert_eq!(
        driver.requests("/status/sessions", 0.2).len(),
        1,
        "after 1.5 s"
    );
    assert_eq!(keys(&driver).len(), 2);
}

#[test]
fn an_unknown_transcode_causes_a_few_listings_and_no_more() {
    let mut driver = Driver::connected();
    driver.run(2.0);
    let before = driver.requests("/status/sessions", 60.0).len();
    for _ in 0..20 {
        driver.notify(
            "transcodeSession.update",
            "TranscodeSession",
            &json!({"key": "x"}),
        );
        driver.run(1.0);
    }
    assert_eq!(driver.requests("/status/sessions", 60.0).len() - before, 3);
}

#[test]
fn a_stop_without_a_key_is_looked_for_in_several_listings() {
    let mut driver = playing();
    report(&mut driver, 1, "playing");
    driver.run(1.0);
    let stopped = json!({"ratingKey": "101", "state": "stopped"});
    driver.notify("playing", "PlaySessionStateNotification", &stopped);
    driver.run(5.0);
    assert_eq!(keys(&driver), ["1"], "still listed");
    assert!(driver.requests("/status/sessions", 5.0).len() >= 2);
    driver.list(&[]);
    driver.run(3.0);
    assert!(keys(&driver).is_empty());
}

#[test]
fn a_session_without_a_key_of_its_own_is_shown_under_another_field() {
    let mut driver = Driver::connected();
    let mut without = session("1", "101", 0);
    without.as_object_mut().unwrap().remove("sessionKey");
    let mut second = session("1", "102", 0);
    second["Session"]["id"] = json!("other");
    driver.list(&[session("1", "100", 0), without, second]);
    driver.run(60.0);
    assert_eq!(keys(&driver), ["1", "other", "s1"]);
}

#[test]
fn listed_sessions_in_a_final_state_are_not_live_and_unknown_states_do_not_play() {
    let mut driver = Driver::connected();
    driver.list(&[
        with_state(session("1", "101", 0), "stopped"),
        with_state(session("2", "102", 0), "reticulating"),
        with_state(session("3", "103", 0), "Paused "),
    ]);
    driver.run(60.0);
    let phases: Vec<_> = driver
        .state
        .sessions
        .live()
        .map(|play| (&*play.session, play.phase()))
        .collect();
    assert_eq!(phases, [("2", Phase::Buffering), ("3", Phase::Paused)]);
    assert!(series(&mut driver).is_empty(), "none has played");
}

#[test]
fn sessions_with_more_text_than_fits_are_dropped_and_counted() {
    let mut driver = Driver::connected();
    let long = "x".repeat(250);
    let sessions: Vec<_> = (0..3_500)
        .map(|key| {
            json!({"sessionKey": key.to_string(), "title": long, "parentTitle": long,
            "grandparentTitle": long, "User": {"title": long}})
        })
        .collect();
    driver.list(&sessions);
    driver.run(55.5);
    let live = driver.state.sessions.live().len();
    // 2.6 million bytes of text and overhead.
    assert!((2_000..2_500).contains(&live), "{live}");
    let listings = driver.requests("/status/sessions", 55.0).len() as u64;
    let dropped = driver.state.sessions.dropped_sessions;
    assert_eq!(dropped, (3_500 - live as u64) * listings);
}

#[test]
fn ended_plays_with_more_text_than_fits_are_dropped_and_counted() {
    let mut driver = Driver::start();
    // Every eight seconds other sessions.
    for generation in 0..10 {
        let sessions: Vec<Value> = (0..1_000)
            .map(|key| {
                let mut session = session(&format!("{generation}-{key}"), "101", 0);
                session["title"] = json!("t".repeat(250));
                session["User"]["title"] = json!("u".repeat(250));
                session["Player"]["device"] = json!("d".repeat(250));
                session["Player"]["product"] = json!("p".repeat(250));
                session
            })
            .collect();
        driver.list(&sessions);
        driver.run(8.1);
    }
    let sessions = &driver.state.sessions;
    let (ended, _) = sessions.kept();
    assert!(sessions.load() <= super::MAX_LOAD, "{}", sessions.load());
    assert!((4_500..8_000).contains(&ended), "{ended}");
    assert!(sessions.dropped_plays > 0);
}

#[test]
fn a_title_without_metadata_leaves_the_file_unknown() {
    let mut driver = playing();
    driver.run(5.0);
    let play = driver.state.sessions.live().next().unwrap();
    let media = play.encoded.as_ref().unwrap().media.as_deref().unwrap();
    assert!(media.contains("video_codec=\"unknown\""), "{media}");
    let libraries = play.library_labels.all();
    assert_eq!(libraries, ["Films", "1", "movie"]);
}

#[test]
fn a_stop_that_a_listing_overtook_tells_how_long_the_session_played() {
    for (late, expected) in [(0.5, 19.1), (4.5, 19.1), (6.0, 10.1)] {
        let mut driver = playing();
        report(&mut driver, 1, "playing");
        driver.run(9.0);
        // Another session causes the listing.
        driver.list(&[session("2", "102", 0)]);
        driver.playing("2", "102", "playing");
        driver.run(late);
        assert_eq!(keys(&driver), ["2"]);
        driver.playing("1", "101", "stopped");
        let (plays, seconds) = series(&mut driver)["1"];
        assert_eq!((plays, seconds), (1, expected), "{late}");
    }
}

#[test]
fn a_stop_of_an_unknown_session_causes_no_listing() {
    let mut driver = playing();
    driver.run(1.0);
    let before = driver.requests("/status/sessions", 60.0).len();
    driver.playing("8", "999", "stopped");
    driver.playing("9", "", "stopped");
    assert_eq!(driver.requests("/status/sessions", 60.0).len(), before);
    // The item of a live session, under a key of its own.
    driver.playing("8", "101", "stopped");
    assert_eq!(driver.requests("/status/sessions", 60.0).len(), before + 1);
}

#[test]
fn a_session_that_goes_on_for_half_a_minute_after_its_stop_was_not_stopped() {
    for (moved, revived) in [(40_000, true), (3_000, false)] {
        let mut driver = playing();
        report(&mut driver, 1, "playing");
        driver.playing("1", "101", "stopped");
        driver.run(25.0);
        assert!(keys(&driver).is_empty(), "still listed, but stopped");
        assert_eq!(series(&mut driver)["1"], (1, 10.1));
        driver.list(&[session("1", "101", moved)]);
        driver.run(40.0);
        assert_eq!(!keys(&driver).is_empty(), revived, "{moved}");
        if revived {
            assert_eq!(series(&mut driver)["1"].0, 1, "the same play");
        }
    }
}

#[test]
fn a_play_that_begins_after_a_stop_that_plex_listed_for_a_while_is_another() {
    for lingers in [0.5, 2.0, 15.0] {
        for gap in [0.1, 1.0, 8.0] {
            for (id, offset) in [("s1", 0), ("other", 0), ("other", 10_000)] {
                let mut driver = playing();
                driver.list(&[session("1", "101", 10_000)]);
                report(&mut driver, 1, "playing");
                driver.run(1.0);
                driver.playing("1", "101", "stopped");
                driver.run(lingers);
                driver.list(&[]);
                driver.run(gap);
                let mut next = session("1", "101", offset);
                next["Session"]["id"] = json!(id);
                driver.list(&[next]);
                driver.playing("1", "101", "playing");
                driver.run(2.0);
                let what = format!("{id} {offset} {gap} s after {lingers} s");
                assert_eq!(driver.state.starts.values().sum::<u64>(), 2, "{what}");
                assert_eq!(series(&mut driver)["1"], (2, 13.1), "{what}");
            }
        }
    }
}

#[test]
fn a_session_that_one_listing_omits_is_the_same_play_unless_it_starts_again() {
    for (offset, plays) in [(75_000, 1), (1_000, 2)] {
        let mut driver = playing();
        report(&mut driver, 6, "playing");
        driver.list(&[session("1", "101", 60_000)]);
        driver.run(31.0);
        driver.list(&[session("2", "102", 0)]);
        driver.playing("2", "102", "playing");
        driver.run(1.0);
        assert_eq!(keys(&driver), ["2"]);
        driver.list(&[session("1", "101", offset), session("2", "102", 0)]);
        driver.playing("1", "101", "playing");
        driver.run(1.0);
        assert_eq!(keys(&driver), ["1", "2"]);
        assert_eq!(series(&mut driver)["1"].0, plays, "{offset}");
        let starts = driver.state.starts.values().sum::<u64>();
        assert_eq!(starts, plays + 1, "{offset}");
    }
}

#[test]
fn after_an_outage_the_position_tells_the_same_play_from_a_new_start() {
    for (info, offset, plays) in [("", 90_000, 1), ("", 1_000, 2), ("s1", 1_000, 1)] {
        let listed = |offset: u64| {
            let mut listed = session("1", "101", offset);
            listed["Session"]["id"] = json!(info);
            listed
        };
        let mut driver = Driver::connected();
        driver.list(&[listed(0)]);
        driver.playing("1", "101", "playing");
        report(&mut driver, 6, "playing");
        driver.list(&[listed(60_000)]);
        driver.run(31.0);
        driver.socket_down();
        driver.replies.insert("/status/sessions", Reply::Refused);
        driver.run(5.0);
        driver.list(&[listed(offset)]);
        driver.apply(crate::event::Event::SocketUp);
        driver.run(5.0);
        assert_eq!(series(&mut driver)["1"].0, plays, "{info} {offset}");
        assert_eq!(driver.state.starts.values().sum::<u64>(), plays);
    }
}

#[test]
fn after_a_restart_of_plex_a_play_continues_under_another_key() {
    let mut driver = playing();
    report(&mut driver, 2, "playing");
    driver.socket_down();
    let mut moved = session("5", "101", 25_000);
    moved["Session"]["id"] = json!("s1");
    driver.list(&[moved]);
    driver.apply(crate::event::Event::SocketUp);
    driver.run(5.0);
    assert_eq!(keys(&driver), ["5"]);
    let series = series(&mut driver);
    assert_eq!(series.len(), 1, "{series:?}");
    assert_eq!(series["5"].0, 1);
    assert!(series["5"].1 > 20.0, "{series:?}");
    assert_eq!(driver.state.starts.values().sum::<u64>(), 1);
}

#[test]
fn a_film_begun_again_after_a_restart_is_another_play_though_its_notification_comes_first() {
    let mut driver = playing();
    driver.list(&[session("1", "101", 600_000)]);
    driver.run(60.0);
    driver.socket_down();
    let mut again = session("1", "101", 100);
    again["Session"]["id"] = json!("another");
    driver.list(&[again]);
    driver.apply(crate::event::Event::SocketUp);
    let playing = json!({"sessionKey": "1", "ratingKey": "101", "state": "playing",
        "viewOffset": 0});
    driver.notify("playing", "PlaySessionStateNotification", &playing);
    driver.run(1.0);
    assert_eq!(driver.state.starts.values().sum::<u64>(), 2);
    // The loss of the socket may be noticed after the first listing of what plays now.
    let mut third = session("1", "101", 0);
    third["Session"]["id"] = json!("third");
    driver.list(&[session("1", "101", 600_000)]);
    driver.run(30.0);
    driver.list(&[third]);
    driver.run(60.0);
    assert_eq!(driver.state.starts.values().sum::<u64>(), 3);
}

#[test]
fn a_listing_that_contradicts_the_notification_before_it_is_repeated_until_it_does_not() {
    let listed = |state: &str| [with_state(session("1", "101", 20_000), state)];
    // The last is never up to date: in the end the listing is the truth.
    for (behind, listings, phase) in [
        (0.5, 2, Phase::Paused),
        (2.5, 4, Phase::Paused),
        (20.0, 6, Phase::Playing),
    ] {
        let mut driver = playing();
        driver.run(20.0);
        let before = driver.requests("/status/sessions", 100.0).len();
        driver.list(&listed("playing"));
        driver.playing("1", "101", "paused");
        driver.run(behind);
        let shown = |driver: &Driver| driver.state.sessions.live().next().map(Play::phase);
        assert_eq!(shown(&driver), Some(phase), "{behind}");
        driver.list(&listed("paused"));
        driver.run(3.0);
        assert_eq!(shown(&driver), Some(phase), "{behind}");
        let asked = driver.requests("/status/sessions", 100.0);
        assert_eq!(asked.len() - before, listings, "{behind}: {asked:?}");
    }
}

#[test]
fn a_stopped_play_that_is_listed_over_a_loss_of_the_socket_is_not_begun_again() {
    let mut driver = playing();
    driver.run(20.0);
    driver.list(&[session("1", "101", 20_000)]);
    driver.playing("1", "101", "stopped");
    driver.run(0.5);
    driver.socket_down();
    driver.run(1.0);
    driver.apply(crate::event::Event::SocketUp);
    driver.run(1.0);
    assert!(keys(&driver).is_empty());
    assert_eq!(driver.state.starts.values().sum::<u64>(), 1);
    // Another one under the same key is.
    let mut another = session("1", "101", 20_000);
    another["Session"]["id"] = json!("another");
    driver.list(&[another]);
    driver.playing("1", "101", "playing");
    driver.run(1.0);
    assert_eq!(keys(&driver), ["1"]);
    assert_eq!(driver.state.starts.values().sum::<u64>(), 2);
}

#[test]
fn a_new_transcode_in_a_report_causes_one_listing() {
    let mut driver = playing();
    report(&mut driver, 1, "playing");
    driver.run(3.0);
    let report = |driver: &mut Driver, transcode: &str| {
        let before = driver.requests("/status/sessions", 100.0).len();
        let playing = json!({"sessionKey": "1", "ratingKey": "101", "state": "x",
            "transcodeSession": transcode});
        driver.notify("playing", "PlaySessionStateNotification", &playing);
        driver.run(1.0);
        driver.requests("/status/sessions", 100.0).len() - before
    };
    assert_eq!(report(&mut driver, "t1"), 1);
    assert_eq!(report(&mut driver, "t1"), 0, "no listing shows it");
    assert_eq!(report(&mut driver, "t2"), 1);
}

#[test]
fn a_session_that_changes_to_a_transcode_and_back_is_listed_each_time() {
    let mut driver = playing();
    for _ in 0..8 {
        driver.run(5.0);
        let mut transcoded = session("1", "101", 20_000);
        transcoded["TranscodeSession"] = json!({"key": "/transcode/sessions/t1",
            "videoDecision": "transcode", "audioDecision": "copy"});
        driver.list(&[transcoded]);
        driver.notify(
            "transcodeSession.start",
            "TranscodeSession",
            &json!({"key": "t1"}),
        );
        driver.run(0.2);
        let live = |driver: &Driver| driver.state.sessions.live().next().unwrap().labels.clone();
        assert_eq!(live(&driver).transcode_type, "video");
        driver.run(5.0);
        driver.list(&[session("1", "101", 20_000)]);
        driver.notify(
            "transcodeSession.end",
            "TranscodeSession",
            &json!({"key": "t1"}),
        );
        driver.run(2.0);
        assert_eq!(live(&driver).transcode_type, "none");
    }
}

#[test]
fn longer_names_of_server_and_libraries_are_a_reason_for_another_listing() {
    let mut driver = playing();
    driver.run(1.0);
    let sessions = &driver.state.sessions;
    let repeated = |per_session, libraries| RepeatedText {
        per_session,
        libraries,
    };
    assert!(!sessions.outgrown_by(repeated(1_200_000, 0)));
    assert!(sessions.outgrown_by(repeated(1_300_000, 0)));
    assert!(sessions.outgrown_by(repeated(1_200_000, 201_000)));
    assert!(!sessions.outgrown_by(repeated(0, 2_700_000)), "not theirs");
}

#[test]
fn repeated_text_is_counted_beyond_the_usual_length_of_names() {
    let mut driver = Driver::connected();
    driver.set("/", "friendlyName", json!("x".repeat(198)));
    driver.run(16.0);
    let repeated = RepeatedText::of(driver.state.server.as_ref(), &driver.state.libraries);
    // 198 + "m1" + "Films", of which 100 are usual; in a dozen samples and in eight.
    assert_eq!((repeated.per_session, repeated.libraries), (52, 68));
}

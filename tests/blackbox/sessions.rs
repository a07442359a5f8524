//! Sessions: how they begin, change and end, and the time they play.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    exporter::{Exporter, SOON, Setup},
    fake_plex::{FakePlex, Fault, html},
    payloads::{episode, frame, movie, playing, transcode, transcoded, with},
    samples::Samples,
};

pub(crate) fn plays(exporter: &Exporter, session: &str) -> Samples {
    exporter.until(&format!("play {session}"), SOON, |samples| {
        samples
            .of("plex_plays_total", &[("session", session)])
            .len()
            == 1
    })
}

/// Whether the play of `session` has these labels.
fn has(samples: &Samples, session: &str, labels: &[(&str, &str)]) -> bool {
    let all = [&[("session", session)], labels].concat();
    samples.of("plex_plays_total", &all).len() == 1
        && samples.of("plex_play_seconds_total", &all).len() == 1
}

pub(crate) fn until_labels(exporter: &Exporter, session: &str, labels: &[(&str, &str)]) -> Samples {
    exporter.until(&format!("session {session} {labels:?}"), SOON, |samples| {
        has(samples, session, labels)
    })
}

fn seconds(samples: &Samples, session: &str) -> f64 {
    samples
        .value("plex_play_seconds_total", &[("session", session)])
        .unwrap_or(f64::NAN)
}

#[test]
fn time_runs_while_playing_and_stops_while_paused_or_buffering() {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = Exporter::connected(&plex);
    let begun = Instant::now();
    let first = exporter.until("a second", SOON, |samples| seconds(samples, "1") > 0.8);
    assert!(seconds(&first, "1") <= begun.elapsed().as_secs_f64() + 1.0);
    for (state, offset) in [("paused", 61_000), ("buffering", 61_000)] {
        plex.world().change(1, json!({"Player": {"state": state}}));
        plex.push(&playing(1, 101, state, offset));
        let stopped = exporter.until_value("plex_sessions", &[("state", state)], 1.0);
        let at = seconds(&stopped, "1");
        let sent = stopped.value("plex_estimated_transmit_bytes_total", &[]);
        let later = Instant::now();
        let still = exporter.until("time", SOON, |_| {
            later.elapsed() > Duration::from_millis(400)
        });
        assert_eq!(seconds(&still, "1"), at, "{state}");
        assert_eq!(
            still.value("plex_estimated_transmit_bytes_total", &[]),
            sent
        );
    }
    plex.world()
        .change(1, json!({"Player": {"state": "playing"}}));
    plex.push(&playing(1, 101, "playing", 61_000));
    let resumed = exporter.until_value("plex_sessions", &[("state", "playing")], 1.0);
    let goes_on = exporter.until("time", SOON, |samples| {
        seconds(samples, "1") > seconds(&resumed, "1") + 0.3
    });
    // 2,000 kbit/s are 250,000 bytes a second.
    let sent = goes_on
        .value("plex_estimated_transmit_bytes_total", &[])
        .unwrap();
    assert!(
        (sent - seconds(&goes_on, "1") * 250_000.0).abs() < 2_000.0,
        "{sent}"
    );
    assert_eq!(
        goes_on.value("plex_plays_total", &[("session", "1")]),
        Some(1.0)
    );
}

#[test]
fn a_new_play_shows_within_a_quarter_second_and_counts_as_begun() {
    let plex = FakePlex::default();
    let exporter = Exporter::connected(&plex);
    exporter.until("libraries", SOON, |samples| {
        samples.of("plex_library_items", &[]).len() == 4
    });
    // The best of three: other tests keep the processors busy.
    let took = (7..10).map(|key| {
        plex.world().play(movie(key, 101, "Alien"));
        let begun = Instant::now();
        plex.push(&playing(key, 101, "playing", 0));
        plays(&exporter, &key.to_string());
        begun.elapsed()
    });
    let took = took.min().unwrap();
    assert!(took < Duration::from_millis(250), "{took:?}");
    exporter.until_value("plex_play_starts_total", &[("library", "Movies")], 3.0);
}

#[test]
fn a_stop_ends_the_session_and_its_series_stay_for_a_minute() {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = Exporter::connected(&plex);
    exporter.until("some time", SOON, |samples| seconds(samples, "1") > 0.3);
    plex.world().stop(&json!("1"));
    plex.push(&playing(1, 101, "stopped", 62_000));
    let ended = exporter.until_value("plex_active_sessions", &[], 0.0);
    let at = Instant::now();
    assert!(ended.of("plex_session_bandwidth_kbps", &[]).is_empty());
    assert!(ended.of("plex_session_progress_ratio", &[]).is_empty());
    let last = seconds(&ended, "1");
    let gone = exporter.until("removal", Duration::from_secs(65), |samples| {
        let series = samples.of("plex_plays_total", &[("session", "1")]);
        assert!(series.is_empty() || seconds(samples, "1") == last);
        series.is_empty()
    });
    let stayed = at.elapsed().as_secs_f64();
    assert!((58.0..63.0).contains(&stayed), "{stayed}");
    assert!(gone.of("plex_play_seconds_total", &[]).is_empty());
}

#[test]
fn a_session_paused_from_the_start_has_series_of_plays_once_it_plays() {
    let plex = FakePlex::default();
    plex.world().play(with(
        movie(1, 101, "Alien"),
        json!({"Player": {"state": "paused"}}),
    ));
    let exporter = Exporter::connected(&plex);
    let paused = exporter.until_value("plex_sessions", &[("state", "paused")], 1.0);
    assert!(paused.of("plex_plays_total", &[]).is_empty());
    plex.world()
        .change(1, json!({"Player": {"state": "playing"}}));
    plex.push(&playing(1, 101, "playing", 60_000));
    plays(&exporter, "1");
}

#[test]
fn a_burst_of_notifications_costs_one_fetch() {
    let plex = FakePlex::default();
    let exporter = Exporter::connected(&plex);
    exporter.until_value("plex_active_sessions", &[], 0.0);
    let before = plex.count("/status/sessions");
    plex.world().play(movie(1, 101, "Alien"));
    for offset in 0..50 {
        plex.push(&playing(1, 101, "playing", offset));
    }
    until_labels(&exporter, "1", &[("stream_file_resolution", "4k")]);
    let more = plex.count("/status/sessions") - before;
    assert!((1..=2).contains(&more), "{more} requests");
    assert_eq!(plex.count("/library/metadata/101"), 1);
}

#[test]
fn a_notified_session_that_is_not_listed_yet_is_polled_for_again() {
    let plex = FakePlex::default();
    let exporter = Exporter::connected(&plex);
    let before = plex.count("/status/sessions");
    plex.push(&playing(1, 101, "playing", 0));
    plex.wait_for("/status/sessions", before + 1, SOON);
    plex.world().play(movie(1, 101, "Alien"));
    let begun = Instant::now();
    plays(&exporter, "1");
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_stop_without_a_notification_is_found_and_time_stops_where_it_was_known() {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = Exporter::connected(&plex);
    exporter.until("some time", SOON, |samples| seconds(samples, "1") > 0.3);
    let stopped = Instant::now();
    plex.world().stop(&json!("1"));
    let ended = exporter.until("the end", Duration::from_secs(45), |samples| {
        samples.value("plex_active_sessions", &[]) == Some(0.0)
    });
    assert!(stopped.elapsed() < Duration::from_secs(45));
    // Scraped all the while, it may have run ahead of what is known by a client's usual silence.
    assert!(seconds(&ended, "1") < 15.0, "{}", seconds(&ended, "1"));
}

#[test]
fn without_the_socket_sessions_are_polled() {
    let plex = FakePlex::default();
    plex.world().fault("/:/websockets", html(404, "Not Found"));
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = Setup::new(&plex.url()).start();
    plays(&exporter, "1");
    assert_eq!(
        exporter.scrape().value("plex_websocket_connected", &[]),
        Some(0.0)
    );
    exporter.wait_for_log("Upgrade");
    let begun = Instant::now();
    plex.world().stop(&json!("1"));
    exporter.until("the end", Duration::from_secs(10), |samples| {
        samples.value("plex_active_sessions", &[]) == Some(0.0)
    });
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn two_transcodes_keep_their_own_decisions_and_a_seek_is_no_end() {
    let plex = FakePlex::default();
    let second = with(
        transcode("two"),
        json!({"videoDecision": "copy", "sourceVideoCodec": "h264"}),
    );
    plex.world().sessions = vec![
        transcoded(movie(1, 101, "Alien"), "one"),
        with(
            transcoded(movie(2, 101, "Aliens"), "two"),
            json!({"TranscodeSession": second}),
        ),
    ];
    let exporter = Exporter::connected(&plex);
    until_labels(&exporter, "1", &[("transcode_type", "both")]);
    until_labels(&exporter, "2", &[("transcode_type", "audio")]);
    let update = |kind: &str, id: &str, changes: Value| {
        plex.push(&frame(
            &format!("transcodeSession.{kind}"),
            "TranscodeSession",
            with(transcode(id), changes),
        ));
    };
    // A listing may come at any moment, so it says the same.
    let throttled = json!({"throttled": true, "speed": 0});
    plex.world()
        .change(1, json!({"TranscodeSession": throttled}));
    update("update", "one", throttled);
    let samples = exporter.until_value("plex_transcode_throttled", &[("session", "1")], 1.0);
    assert_eq!(
        samples.value("plex_transcode_throttled", &[("session", "2")]),
        Some(0.0)
    );
    assert_eq!(
        samples.value("plex_transcode_speed_ratio", &[("session", "1")]),
        Some(0.0)
    );
    // A transcode that no session carries changes no session.
    update(
        "update",
        "three",
        json!({"videoDecision": "copy", "audioDecision": "copy", "throttled": true}),
    );
    // A seek: the same key ends and starts; its first second has no hardware.
    let fresh = json!({"progress": 0.0, "transcodeHwDecoding": "(absent)", "transcodeHwEncoding": "(absent)",
        "transcodeHwFullPipeline": false});
    plex.world().change(1, json!({"TranscodeSession": fresh}));
    update("end", "one", json!({}));
    update("start", "one", fresh.clone());
    let samples = exporter.until_value(
        "plex_transcode_session_info",
        &[("session", "1"), ("hw_decoding", "unknown")],
        1.0,
    );
    assert!(has(
        &samples,
        "1",
        &[("transcode_type", "both"), ("stream_type", "transcode")]
    ));
    assert!(has(&samples, "2", &[("transcode_type", "audio")]));
    assert_eq!(
        samples.value("plex_transcode_throttled", &[("session", "2")]),
        Some(0.0)
    );
    plex.world()
        .change(1, json!({"TranscodeSession": {"progress": 2.0}}));
    update("update", "one", with(fresh, json!({"progress": 2.0})));
    exporter.until_value(
        "plex_transcode_session_info",
        &[("session", "1"), ("hw_decoding", "none")],
        1.0,
    );
}

#[test]
fn the_next_episode_under_the_same_key_is_a_new_play() {
    let plex = FakePlex::default();
    let exporter = Exporter::connected(&plex);
    plex.world()
        .play(episode(5, 501, "Fargo", "Season 1", "One"));
    plex.push(&playing(5, 501, "playing", 0));
    exporter.until("some time", SOON, |samples| seconds(samples, "5") > 0.5);
    plex.world()
        .play(episode(5, 502, "Fargo", "Season 1", "Two"));
    plex.push(&playing(5, 502, "playing", 0));
    let samples = exporter.until("the next one", SOON, |samples| {
        samples.value("plex_plays_total", &[("grandchild_title", "Two")]) == Some(1.0)
    });
    let first = samples
        .value("plex_play_seconds_total", &[("grandchild_title", "One")])
        .unwrap();
    let second = samples
        .value("plex_play_seconds_total", &[("grandchild_title", "Two")])
        .unwrap();
    assert!(first > 0.5 && second < first, "{first} {second}");
    assert_eq!(samples.value("plex_active_sessions", &[]), Some(1.0));
    exporter.until_value("plex_play_starts_total", &[("library", "TV Shows")], 2.0);
}

#[test]
fn after_a_restart_of_plex_a_known_key_with_another_start_is_a_new_play() {
    let plex = FakePlex::default();
    plex.world().play(with(
        movie(1, 101, "Alien"),
        json!({"viewOffset": 3_000_000}),
    ));
    let exporter = Exporter::connected(&plex);
    let before = exporter.until("some time", SOON, |samples| seconds(samples, "1") > 1.0);
    // The same user plays the same film on the same player again, from the beginning.
    plex.world()
        .change(1, json!({"viewOffset": 0, "Session": {"id": "another"}}));
    plex.drop_sockets();
    // Its labels are the same in the end, so both plays share the series.
    let samples = exporter.until("the new play", SOON, |samples| {
        let series = samples.of("plex_plays_total", &[("session", "1")]);
        series.len() == 1 && series[0].value == 2.0
    });
    assert!(seconds(&samples, "1") >= seconds(&before, "1"));
}

#[test]
fn a_title_that_hangs_delays_no_others() {
    let plex = FakePlex::default();
    plex.world().fault("/library/metadata/666", Fault::Stall);
    plex.world()
        .fault("/library/metadata/404", html(404, "Not Found"));
    let unplaced = json!({"librarySectionID": "(absent)"});
    plex.world().sessions = vec![
        transcoded(movie(1, 666, "Hangs"), "a"),
        movie(2, 404, "Gone"),
        with(transcoded(movie(3, 101, "Fine"), "b"), unplaced),
    ];
    let begun = Instant::now();
    let exporter = Exporter::connected(&plex);
    plays(&exporter, "1");
    plays(&exporter, "2");
    // Without a section it belongs to no library, at once and for good.
    until_labels(
        &exporter,
        "3",
        &[("stream_file_resolution", "4k"), ("library", "unknown")],
    );
    assert!(begun.elapsed() < SOON);
    assert!(has(
        &exporter.scrape(),
        "1",
        &[("stream_file_resolution", ""), ("library", "Movies")]
    ));
}

#[test]
fn ten_streams_at_plex_s_cadence_stay_within_the_budget_on_plex() {
    let plex = FakePlex::default();
    plex.world().sessions = (1..=10).map(|key| movie(key, 101, "Alien")).collect();
    let exporter = Exporter::connected(&plex);
    exporter.until_value("plex_active_sessions", &[], 10.0);
    // An hour's worth of progress reports in a moment cost no more than a few do.
    let before = plex.count("/status/sessions");
    let begun = Instant::now();
    for report in 0..360 {
        for key in 1..=10 {
            plex.push(&playing(key, 101, "playing", report * 10_000));
        }
    }
    exporter.until_value(
        "plex_exporter_notifications_total",
        &[("type", "playing")],
        3_600.0,
    );
    let more = plex.count("/status/sessions") - before;
    // Two, and one for every 3 s that a busy machine takes.
    let refreshes = begun.elapsed().as_secs() / 3;
    assert!(
        more <= 2 + usize::try_from(refreshes).unwrap(),
        "{more} fetches for plain progress"
    );
}

#[test]
fn a_notification_that_no_listing_confirms_causes_one_listing() {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = Exporter::connected(&plex);
    plays(&exporter, "1");
    // Another item's number, a transcode that the session does not carry, a state nobody knows.
    let odd = |item: u64, state: &str| {
        let mut frame = playing(1, item, state, 1_000);
        frame["NotificationContainer"]["PlaySessionStateNotification"][0]["transcodeSession"] =
            json!("n0t1isted");
        plex.push(&frame);
    };
    let before = plex.count("/status/sessions");
    let mut notified = 0.0;
    for _ in 0..20 {
        odd(999, "playing");
        odd(101, "playing");
        odd(101, "levitating");
        notified += 3.0;
        exporter.until_value(
            "plex_exporter_notifications_total",
            &[("type", "playing")],
            notified,
        );
    }
    let settled = Instant::now();
    exporter.until("time", SOON, |_| {
        settled.elapsed() > Duration::from_millis(1_500)
    });
    let more = plex.count("/status/sessions") - before;
    assert!((1..=4).contains(&more), "{more} fetches");
    assert_eq!(
        exporter.scrape().value("plex_active_sessions", &[]),
        Some(1.0)
    );
}

#[test]
fn a_session_listed_as_stopped_has_ended_and_an_unknown_state_does_not_count_as_playing() {
    let plex = FakePlex::default();
    plex.world().sessions = vec![
        with(
            movie(1, 101, "Over"),
            json!({"Player": {"state": "stopped"}}),
        ),
        with(
            movie(2, 101, "Odd"),
            json!({"Player": {"state": "levitating"}}),
        ),
        movie(3, 101, "Alien"),
    ];
    let exporter = Exporter::connected(&plex);
    let samples = plays(&exporter, "3");
    assert_eq!(samples.value("plex_active_sessions", &[]), Some(2.0));
    assert_eq!(samples.of("plex_plays_total", &[]).len(), 1);
}

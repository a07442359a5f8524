//! The counters that stay when sessions and their series go.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    exporter::{Exporter, SOON, wait},
    fake_plex::{FakePlex, html},
    payloads::{episode, frame, metadata, movie, playing, track, transcode, transcoded, with},
    samples::Samples,
};

fn begin(plex: &FakePlex, session: serde_json::Value, state: &str) {
    let number = |name: &str| session[name].as_str().unwrap().parse().unwrap();
    let (key, item) = (number("sessionKey"), number("ratingKey"));
    plex.world()
        .play(with(session, json!({"Player": {"state": state}})));
    plex.push(&playing(key, item, state, 60_000));
}

fn until_state(exporter: &Exporter, session: &str, state: &str) -> Samples {
    exporter.until(&format!("{session} {state}"), SOON, |samples| {
        let labels = [("session", session), ("state", state)];
        samples.of("plex_session_info", &labels).len() == 1
    })
}

#[test]
fn every_account_has_its_plays_counted_from_0_on() {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Running before"));
    let exporter = Exporter::with_libraries(&plex);
    let samples = exporter.until("accounts", SOON, |samples| {
        samples.of("plex_user_play_starts_total", &[]).len() == 3
    });
    // The placeholder with the id 0 is not a user, and a play that was running already does not
    // count as a start.
    assert_eq!(
        samples.series("plex_user_play_starts_total"),
        [r#"user="alice" 0"#, r#"user="bob" 0"#, r#"user="carol" 0"#]
    );
    assert_eq!(samples.types["plex_user_play_starts_total"], "counter");
    begin(&plex, episode(2, 102, "Show", "Season 1", "One"), "playing");
    begin(&plex, track(3, 103, "Artist", "Album", "One"), "playing");
    let guest = json!({"User": {"id": "9001", "title": "guest"}});
    begin(&plex, with(movie(4, 104, "Heat"), guest), "playing");
    let expected = [
        r#"user="alice" 0"#,
        r#"user="bob" 1"#,
        r#"user="carol" 1"#,
        r#"user="guest" 1"#,
    ];
    exporter.until("three plays", SOON, |samples| {
        samples.series("plex_user_play_starts_total") == expected
    });
    // The next episode under the same key is another play; the end of one takes nothing away.
    begin(&plex, episode(2, 105, "Show", "Season 1", "Two"), "playing");
    plex.world().stop(&json!("3"));
    plex.push(&playing(3, 103, "stopped", 5_000));
    let expected = [
        r#"user="alice" 0"#,
        r#"user="bob" 2"#,
        r#"user="carol" 1"#,
        r#"user="guest" 1"#,
    ];
    exporter.until("the next episode", SOON, |samples| {
        samples.series("plex_user_play_starts_total") == expected
            && samples.of("plex_session_info", &[]).len() == 3
    });
}

#[test]
fn without_the_accounts_only_users_who_play_are_counted() {
    for status in [403, 404] {
        let plex = FakePlex::default();
        plex.world().fault("/accounts", html(status, "No"));
        let exporter = Exporter::with_libraries(&plex);
        plex.wait_for("/accounts", 1, SOON);
        let samples = exporter.scrape();
        assert!(samples.of("plex_user_play_starts_total", &[]).is_empty());
        begin(&plex, movie(1, 101, "Alien"), "playing");
        exporter.until("the start", SOON, |samples| {
            samples.series("plex_user_play_starts_total") == [r#"user="alice" 1"#]
        });
    }
}

#[test]
fn seconds_by_user_stay_when_the_session_goes_and_plays_alike_share_them() {
    let plex = FakePlex::default();
    let exporter = Exporter::with_libraries(&plex);
    let name = "plex_user_play_seconds_total";
    assert!(exporter.scrape().of(name, &[]).is_empty());
    let film = |key, item, title| movie(key, item, title);
    begin(&plex, film(1, 101, "Alien"), "playing");
    until_state(&exporter, "1", "playing");
    let begun = Instant::now();
    exporter.until("a second", SOON, |samples| {
        samples.value(name, &[]) >= Some(1.0)
    });
    plex.world()
        .change(1, json!({"Player": {"state": "paused"}}));
    plex.push(&playing(1, 101, "paused", 61_000));
    let samples = until_state(&exporter, "1", "paused");
    let played = samples.value(name, &[]).unwrap();
    assert!(played >= 1.0 && played <= begun.elapsed().as_secs_f64() + 0.3);
    let labels = r#"library="Movies",library_id="1",location="lan",media_type="movie",stream_type="direct play",user="alice""#;
    assert_eq!(samples.series(name), [format!("{labels} {played}")]);
    assert_eq!(samples.types[name], "counter");
    assert_eq!(
        samples.value("plex_play_seconds_total", &[("session", "1")]),
        Some(played)
    );
    // It stays the same while paused and after the end, when nothing of the session is left.
    plex.world().stop(&json!("1"));
    plex.push(&playing(1, 101, "stopped", 61_000));
    let samples = exporter.until("the end", SOON, |samples| {
        samples.of("plex_session_info", &[]).is_empty()
    });
    assert_eq!(samples.series(name), [format!("{labels} {played}")]);
    // Another film of the same user continues the same counter.
    begin(&plex, film(2, 102, "Aliens"), "playing");
    let samples = exporter.until("more", SOON, |samples| {
        samples.of(name, &[]).len() == 1 && samples.value(name, &[]) >= Some(played + 0.5)
    });
    let second = samples.value("plex_play_seconds_total", &[("session", "2")]);
    let total = samples.value(name, &[]).unwrap();
    assert!((total - played - second.unwrap()).abs() < 0.01, "{total}");
    // Another way to play it is another series.
    let remote = json!({"Session": {"location": "wan"}, "Player": {"local": false}});
    begin(&plex, with(film(3, 103, "Heat"), remote), "playing");
    exporter.until("the other location", SOON, |samples| {
        samples.of(name, &[]).len() == 2 && samples.of(name, &[("location", "wan")]).len() == 1
    });
}

#[test]
fn buffering_is_counted_by_location_and_stream_type_from_0_on() {
    let plex = FakePlex::default();
    let exporter = Exporter::with_libraries(&plex);
    let (times, seconds) = (
        "plex_play_buffering_total",
        "plex_play_buffering_seconds_total",
    );
    let combinations = |of: fn(&str, &str) -> u32| {
        let mut all = Vec::new();
        for location in ["lan", "wan"] {
            for stream_type in ["copy", "direct play", "transcode"] {
                let count = of(location, stream_type);
                all.push(format!(
                    "location={location:?},stream_type={stream_type:?} {count}"
                ));
            }
        }
        all
    };
    let samples = exporter.scrape();
    for name in [times, seconds] {
        assert_eq!(samples.series(name), combinations(|_, _| 0), "{name}");
        assert_eq!(samples.types[name], "counter");
    }
    // The wait at the start of a play is no interruption, but it is time.
    begin(&plex, movie(1, 101, "Alien"), "buffering");
    until_state(&exporter, "1", "buffering");
    let lan = [("location", "lan"), ("stream_type", "direct play")];
    exporter.until("half a second", SOON, |samples| {
        samples.value(seconds, &lan) >= Some(0.5)
    });
    let state = |key, item, state: &str| {
        plex.world()
            .change(key, json!({"Player": {"state": state}}));
        plex.push(&playing(key, item, state, 60_000));
    };
    state(1, 101, "playing");
    let samples = until_state(&exporter, "1", "playing");
    assert_eq!(samples.series(times), combinations(|_, _| 0));
    let waited = samples.value(seconds, &lan).unwrap();
    // From a pause to buffering (a seek) is no interruption of what was playing.
    state(1, 101, "paused");
    until_state(&exporter, "1", "paused");
    state(1, 101, "buffering");
    until_state(&exporter, "1", "buffering");
    state(1, 101, "playing");
    until_state(&exporter, "1", "playing");
    let remote = json!({"Session": {"location": "wan"}, "Player": {"local": false}});
    begin(
        &plex,
        transcoded(with(movie(2, 102, "Heat"), remote), "two"),
        "playing",
    );
    until_state(&exporter, "2", "playing");
    for _ in 0..2 {
        state(2, 102, "buffering");
        until_state(&exporter, "2", "buffering");
        state(2, 102, "playing");
        until_state(&exporter, "2", "playing");
    }
    let samples = exporter.scrape();
    assert_eq!(
        samples.series(times),
        combinations(|location, stream_type| {
            if (location, stream_type) == ("wan", "transcode") {
                2
            } else {
                0
            }
        })
    );
    let remote = [("location", "wan"), ("stream_type", "transcode")];
    assert!(samples.value(seconds, &remote).unwrap() > 0.0);
    assert!(samples.value(seconds, &lan).unwrap() >= waited);
    // What is over stays counted.
    plex.world().sessions.clear();
    plex.push(&playing(1, 101, "stopped", 60_000));
    plex.push(&playing(2, 102, "stopped", 60_000));
    let samples = exporter.until("the end", SOON, |samples| {
        samples.of("plex_session_info", &[]).is_empty()
    });
    assert_eq!(samples.value(times, &remote), Some(2.0));
    assert_eq!(samples.of(times, &[]).len(), 6);
}

#[test]
fn transcoded_seconds_are_counted_by_hardware_and_codecs_while_the_session_plays() {
    let plex = FakePlex::default();
    let exporter = Exporter::with_libraries(&plex);
    let name = "plex_transcode_seconds_total";
    // Neither a direct play nor a copy is a transcode.
    begin(&plex, movie(1, 101, "Alien"), "playing");
    let copied = json!({"TranscodeSession": {"videoDecision": "copy", "audioDecision": "copy",
        "sourceVideoCodec": "h264", "sourceAudioCodec": "aac"},
        "Media": [{"selected": true, "Part": [{"selected": true, "decision": "copy"}]}]});
    begin(
        &plex,
        with(transcoded(movie(2, 102, "Heat"), "two"), copied),
        "playing",
    );
    // In its first second a transcode does not know its hardware yet.
    let early = json!({"progress": 0.0, "transcodeHwDecoding": "(absent)", "transcodeHwEncoding": "(absent)"});
    begin(
        &plex,
        with(
            transcoded(movie(3, 103, "Tron"), "three"),
            json!({"TranscodeSession": early}),
        ),
        "playing",
    );
    exporter.until("the first second", SOON, |samples| {
        samples.of(name, &[("hw_decoding", "unknown")]).len() == 1
    });
    plex.world()
        .change(3, json!({"TranscodeSession": transcode("three")}));
    plex.push(&frame(
        "transcodeSession.update",
        "TranscodeSession",
        transcode("three"),
    ));
    let series = |hardware: &str| {
        format!(
            "hw_decoding={hardware:?},hw_encoding={hardware:?},source_video_codec=\"hevc\",\
             video_codec=\"h264\",video_decision=\"transcode\""
        )
    };
    let samples = exporter.until("hardware", SOON, |samples| {
        samples.value(name, &[("hw_decoding", "vaapi")]) >= Some(0.5)
    });
    let labels: Vec<_> = samples
        .series(name)
        .into_iter()
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect();
    assert_eq!(labels, [series("unknown"), series("vaapi")]);
    assert_eq!(samples.types[name], "counter");
    let sum = |samples: &Samples| -> f64 { samples.of(name, &[]).iter().map(|s| s.value).sum() };
    let played = samples
        .value(
            "plex_user_play_seconds_total",
            &[("stream_type", "transcode")],
        )
        .unwrap();
    assert!((sum(&samples) - played).abs() < 0.01);
    // No time passes in a pause, and the end takes nothing away.
    plex.world()
        .change(3, json!({"Player": {"state": "paused"}}));
    plex.push(&playing(3, 103, "paused", 61_000));
    let paused = until_state(&exporter, "3", "paused").series(name);
    plex.world().stop(&json!("3"));
    plex.push(&playing(3, 103, "stopped", 61_000));
    let samples = exporter.until("the end", SOON, |samples| {
        samples.of("plex_session_info", &[]).len() == 2
    });
    assert_eq!(samples.series(name), paused);
}

#[test]
fn a_transcode_that_only_the_streams_show_is_counted_with_the_codec_of_the_file() {
    let plex = FakePlex::default();
    let file = json!({"Metadata": [{"Media": [{"id": 307_448, "videoCodec": "hevc", "videoResolution": "4k"}]}]});
    plex.world()
        .metadata
        .insert(101, with(metadata(101, 1, "4k"), file));
    let streams = json!({"Media": [{"id": "307448", "selected": true, "Part": [{"selected": true,
        "decision": "transcode", "Stream": [{"streamType": 1, "codec": "h264", "decision": "transcode"},
        {"streamType": 2, "codec": "aac", "decision": "copy"}]}]}]});
    plex.world().play(with(movie(1, 101, "Alien"), streams));
    let exporter = Exporter::with_libraries(&plex);
    let labels = [
        ("video_decision", "transcode"),
        ("hw_decoding", "unknown"),
        ("hw_encoding", "unknown"),
        ("source_video_codec", "hevc"),
    ];
    exporter.until("its seconds", SOON, |samples| {
        samples.value("plex_transcode_seconds_total", &labels) > Some(0.5)
    });
}

#[test]
fn beyond_2000_label_sets_new_users_are_counted_as_other_and_that_is_logged_once() {
    let plex = FakePlex::default();
    plex.world().sessions = (1..=2_300)
        .map(|user| {
            let name = json!({"User": {"id": user.to_string(), "title": format!("user {user}")}});
            with(movie(user, 101, "Alien"), name)
        })
        .collect();
    let exporter = Exporter::with_libraries(&plex);
    let name = "plex_user_play_seconds_total";
    let all = |samples: &Samples| {
        samples.value("plex_active_sessions", &[]) == Some(2_300.0)
            && samples.of("plex_plays_total", &[]).len() == 2_300
            && samples.value(name, &[("user", "other")]) > Some(0.0)
    };
    let samples = wait(
        Duration::from_secs(30),
        || {
            // An unoptimized build may take more than a second for the listing: then 503.
            let response = exporter.get("/metrics");
            let samples = (response.status == 200).then(|| Samples::parse(response.text()));
            samples.filter(all)
        },
        || exporter.log().join("\n"),
    );
    assert!(samples.of(name, &[]).len() <= 2_000);
    let sum = |name| -> f64 { samples.of(name, &[]).iter().map(|s| s.value).sum() };
    let (by_user, by_play) = (sum(name), sum("plex_play_seconds_total"));
    assert!((by_user - by_play).abs() < 3.0, "{by_user} {by_play}");
    assert!(samples.value("plex_exporter_dropped_total", &[("kind", "series")]) >= Some(300.0));
    exporter.wait_for_log("limits: too many series");
    let log = exporter.log();
    let limits = log.iter().filter(|line| line.contains("limits: "));
    assert_eq!(limits.count(), 1);
}

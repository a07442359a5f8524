//! The labels of sessions and their plays.

use serde_json::json;

use crate::{
    sessions::{plays, until_labels},
    support::{
        exporter::{Exporter, SOON, Setup},
        fake_plex::FakePlex,
        payloads::{episode, metadata, movie, playing, track, transcoded, with},
    },
};

#[test]
fn a_film_an_episode_and_a_track_have_all_their_labels() {
    let plex = FakePlex::default();
    plex.world().metadata.insert(202, metadata(202, 2, "720"));
    plex.world().sessions = vec![
        movie(1, 101, "Alien"),
        episode(2, 202, "Fargo", "Season 1", "The Rooster Prince"),
        track(3, 303, "Green Day", "Saviors", "Bobby Sox"),
    ];
    let exporter = Exporter::connected(&plex);
    until_labels(
        &exporter,
        "1",
        &[
            ("server", "Attic"),
            ("library", "Movies"),
            ("library_id", "1"),
            ("library_type", "movie"),
            ("media_type", "movie"),
            ("title", "Alien"),
            ("child_title", ""),
            ("grandchild_title", ""),
            ("stream_type", "direct play"),
            ("stream_resolution", "1080"),
            ("stream_file_resolution", "4k"),
            ("stream_bitrate", "2000"),
            ("device", "SHIELD Android TV"),
            ("device_type", "Plex for Android (TV)"),
            ("user", "alice"),
            ("transcode_type", "none"),
            ("subtitle_action", "none"),
            ("location", "lan"),
            ("local", "true"),
        ],
    );
    until_labels(
        &exporter,
        "2",
        &[
            ("library", "TV Shows"),
            ("library_type", "show"),
            ("media_type", "episode"),
            ("title", "Fargo"),
            ("child_title", "Season 1"),
            ("grandchild_title", "The Rooster Prince"),
            ("user", "bob"),
            ("stream_file_resolution", "720"),
        ],
    );
    let samples = until_labels(
        &exporter,
        "3",
        &[
            ("library", "Music"),
            ("library_type", "artist"),
            ("media_type", "track"),
            ("title", "Green Day"),
            ("child_title", "Saviors"),
            ("grandchild_title", "Bobby Sox"),
            ("device", "iPhone"),
            ("stream_resolution", ""),
            ("stream_bitrate", "1014"),
            ("user", "carol"),
        ],
    );
    let link = [("session", "3"), ("user", "carol"), ("location", "lan")];
    assert_eq!(
        samples.value("plex_session_bandwidth_kbps", &link),
        Some(1_050.0)
    );
    assert_eq!(
        samples.value("plex_session_bitrate_kbps", &link),
        Some(1_014.0)
    );
    let progress = samples
        .value("plex_session_progress_ratio", &link[..2])
        .unwrap();
    assert!((progress - 1_000.0 / 186_240.0).abs() < 1e-3);
    assert_eq!(samples.value("plex_active_sessions", &[]), Some(3.0));
    assert_eq!(
        samples.value(
            "plex_sessions",
            &[("state", "playing"), ("media_type", "track")]
        ),
        Some(1.0)
    );
    // Running already when the exporter started: not begun since.
    assert!(
        samples
            .of("plex_play_starts_total", &[])
            .iter()
            .all(|sample| sample.value == 0.0)
    );
}

#[test]
fn direct_stream_and_transcode_are_distinguished() {
    let plex = FakePlex::default();
    let copy = json!({"TranscodeSession": {
        "key": "/transcode/sessions/c0py", "videoDecision": "copy", "audioDecision": "copy", "container": "mkv,srt",
        "protocol": "hls"}, "Media": [{"id": "307448", "bitrate": 1, "Part": [{"selected": true}]}]});
    let audio = json!({"TranscodeSession": {
        "key": "/transcode/sessions/aud", "videoDecision": "copy", "audioDecision": "transcode",
        "sourceVideoCodec": "h264", "videoCodec": "H264", "subtitleDecision": "burn-in"}});
    let offered =
        json!({"TranscodeSession": {"key": "x", "videoDecision": "copy", "audioDecision": "copy"}});
    plex.world().sessions = vec![
        transcoded(movie(1, 101, "Alien"), "t1"),
        with(movie(2, 101, "Alien"), copy),
        with(movie(3, 101, "Alien"), audio),
        with(movie(4, 101, "Alien"), offered),
    ];
    let exporter = Exporter::connected(&plex);
    until_labels(
        &exporter,
        "1",
        &[
            ("stream_type", "transcode"),
            ("transcode_type", "both"),
            ("stream_resolution", "720"),
            ("stream_file_resolution", "4k"),
            ("stream_bitrate", "2664"),
            ("subtitle_action", "none"),
        ],
    );
    until_labels(
        &exporter,
        "2",
        &[
            ("stream_type", "copy"),
            ("transcode_type", "none"),
            ("subtitle_action", "copy"),
        ],
    );
    until_labels(
        &exporter,
        "3",
        &[
            ("stream_type", "transcode"),
            ("transcode_type", "audio"),
            ("subtitle_action", "burn"),
        ],
    );
    let samples = until_labels(
        &exporter,
        "4",
        &[("stream_type", "direct play"), ("transcode_type", "none")],
    );
    let info = samples
        .one("plex_transcode_session_info", &[("session", "1")])
        .unwrap();
    for (label, value) in [
        ("video_decision", "transcode"),
        ("audio_decision", "transcode"),
        ("source_video_codec", "hevc"),
        ("video_codec", "h264"),
        ("source_audio_codec", "eac3"),
        ("audio_codec", "aac"),
        ("container", "mp4"),
        ("protocol", "dash"),
        ("hw_decoding", "vaapi"),
        ("hw_encoding", "vaapi"),
        ("hw_full_pipeline", "true"),
    ] {
        assert_eq!(info.labels[label], value, "{label}");
    }
    assert_eq!(
        samples.value("plex_transcode_speed_ratio", &[("session", "1")]),
        Some(4.5)
    );
    assert_eq!(
        samples.value("plex_transcode_throttled", &[("session", "1")]),
        Some(0.0)
    );
}

#[test]
fn incomplete_sessions_show_what_they_have_and_hide_no_others() {
    let plex = FakePlex::default();
    plex.world().sessions = vec![
        json!({"sessionKey": 11, "type": "clip", "title": "Live Session ", "key": "/livetv/sessions/u", "live": "1",
            "Player": {"state": "playing", "local": false}}),
        json!({"sessionKey": "12", "type": "photo", "title": "Beach", "librarySectionID": 4}),
        json!({"sessionKey": "13", "ratingKey": "901", "type": "clip", "title": "Trailer", "librarySectionID": "-2",
            "guid": "analyzed.prerolls://x", "User": [{"title": "dave"}], "Media": "nonsense"}),
        // All strings, as servers before April 2022 sent them; several versions, the second selected.
        json!({"sessionKey": "14", "ratingKey": "101", "type": "movie", "title": "Old", "librarySectionID": "1",
            "duration": "369573", "viewOffset": "1000", "User": {"id": "1", "title": "eve"},
            "Player": {"state": "playing", "local": "1"}, "Session": {"bandwidth": "1617", "location": "lan"},
            "Media": [{"bitrate": "1", "videoResolution": "480"},
                {"bitrate": "1099", "videoResolution": "SD", "selected": "1", "Part": [{"decision": "directplay"}]}]}),
        json!("not a session"),
        json!(null),
        json!({"type": "track", "title": "No key at all"}),
        movie(15, 101, "Alien"),
    ];
    let exporter = Exporter::connected(&plex);
    until_labels(
        &exporter,
        "11",
        &[
            ("media_type", "clip"),
            ("title", "Live Session "),
            ("library", "unknown"),
            ("library_id", "0"),
            ("library_type", "unknown"),
            ("location", "wan"),
            ("local", "false"),
            ("user", ""),
            ("stream_bitrate", "0"),
        ],
    );
    until_labels(
        &exporter,
        "12",
        &[
            ("media_type", "photo"),
            ("library", "Photos"),
            ("location", "unknown"),
        ],
    );
    until_labels(
        &exporter,
        "13",
        &[
            ("library", "unknown"),
            ("user", "dave"),
            ("title", "Trailer"),
        ],
    );
    let samples = until_labels(
        &exporter,
        "14",
        &[
            ("stream_bitrate", "1099"),
            ("stream_resolution", "sd"),
            ("user", "eve"),
            ("local", "true"),
            ("stream_type", "direct play"),
        ],
    );
    assert_eq!(
        samples.value("plex_session_bandwidth_kbps", &[("session", "14")]),
        Some(1_617.0)
    );
    plays(&exporter, "15");
    assert!(
        samples
            .of("plex_session_bandwidth_kbps", &[("session", "11")])
            .is_empty()
    );
    assert!(
        samples
            .of("plex_session_progress_ratio", &[("session", "12")])
            .is_empty()
    );
    // The trailer, and the two of the same film at once.
    exporter.until("both titles requested", SOON, |_| {
        plex.count("/library/metadata/") == 2
    });
}

#[test]
fn the_first_bitrate_names_the_series_however_the_stream_adapts() {
    let plex = FakePlex::default();
    plex.world().play(with(
        movie(1, 101, "Alien"),
        json!({"Media": [{"bitrate": 0, "selected": true}]}),
    ));
    let exporter = Exporter::connected(&plex);
    until_labels(&exporter, "1", &[("stream_bitrate", "0")]);
    for bitrate in [4_000, 800] {
        plex.world().change(
            1,
            json!({"Media": [{"bitrate": bitrate, "selected": true}]}),
        );
        plex.push(&playing(1, 101, "buffering", 1));
        exporter.until_value(
            "plex_session_bitrate_kbps",
            &[("session", "1")],
            f64::from(bitrate),
        );
        until_labels(&exporter, "1", &[("stream_bitrate", "4000")]);
    }
}

#[test]
fn labels_are_bounded_and_can_be_hidden() {
    let plex = FakePlex::default();
    plex.world().play(with(movie(1, 101, &"é".repeat(200)), json!({
        "User": {"title": "secret-user"}, "Player": {"device": "secret-device"},
        "Session": {"location": "the\nmoon"}, "Media": [{"videoResolution": "x".repeat(99), "selected": true,
            "Part": [{"decision": "{sky} writing"}]}]})));
    plex.world().play(with(
        movie(2, 102, "T"),
        json!({"Session": {"location": "cellular"}}),
    ));
    let exporter = Exporter::connected(&plex);
    until_labels(
        &exporter,
        "1",
        &[
            ("title", &"é".repeat(128)),
            ("location", "other"),
            ("stream_resolution", "other"),
            ("stream_type", "other"),
        ],
    );
    until_labels(&exporter, "2", &[("location", "cellular")]);
    let hiding = Setup::new(&plex.url())
        .env("HIDE_LABELS", "user,title, device")
        .start();
    let samples = until_labels(
        &hiding,
        "1",
        &[
            ("user", "hidden"),
            ("device", "hidden"),
            ("title", "hidden"),
            ("child_title", "hidden"),
            ("grandchild_title", "hidden"),
            ("device_type", "Plex for Android (TV)"),
        ],
    );
    assert_eq!(
        samples
            .of("plex_session_bandwidth_kbps", &[("user", "hidden")])
            .len(),
        2
    );
    let text = hiding.page() + &hiding.log().join("\n");
    assert!(!text.contains("secret-") && !text.contains("éé"), "{text}");
}

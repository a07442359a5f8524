//! The metrics of a transcode: what it does, and why there is one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    exporter::{Exporter, SOON},
    fake_plex::{FakePlex, html},
    payloads::{frame, metadata, movie, playing, transcode, transcoded, with},
};

/// A film on disk: 4K HEVC at 24 Mbit/s with EAC3 5.1 in an MKV.
fn film(item: u64) -> Value {
    with(
        metadata(item, 1, "4k"),
        json!({"Metadata": [{"ratingKey": item.to_string(), "Media": [{
            "id": 307_448, "bitrate": 24_000, "container": "mkv", "videoResolution": "4k", "videoCodec": "hevc",
            "audioCodec": "eac3", "audioChannels": 6, "Part": [{"Stream": [
            {"id": 1, "streamType": 1, "codec": "hevc"},
            {"id": 2, "streamType": 2, "codec": "eac3", "channels": 6, "selected": true},
            {"id": 3, "streamType": 3, "codec": "pgs", "selected": true}]}]}]}]}),
    )
}

/// What is sent of it: as it is, but for `changes` of the transcode and `output` of the media.
fn sent(key: u64, item: u64, changes: Value, output: Value) -> Value {
    let unchanged = json!({"videoDecision": "copy", "audioDecision": "copy", "videoCodec": "hevc",
        "audioCodec": "eac3", "audioChannels": 6, "container": "mkv", "width": 3840, "height": 2160});
    let transcode = with(with(transcode(&format!("t{key}")), unchanged), changes);
    let media = json!({"id": "307448", "bitrate": 24_000, "container": "mkv", "videoResolution": "4k",
        "selected": true, "Part": [{"decision": "transcode", "selected": true}]});
    with(
        movie(key, item, "Alien"),
        json!({"TranscodeSession": transcode, "Media": [with(media, output)]}),
    )
}

#[test]
fn every_difference_between_the_file_and_what_is_sent_is_a_cause() {
    let video = |changes: Value| with(json!({"videoDecision": "transcode"}), changes);
    let audio = |changes: Value| with(json!({"audioDecision": "transcode"}), changes);
    let nothing = || json!({});
    let cases = [
        (
            video(json!({"videoCodec": "h264"})),
            nothing(),
            &["video_codec"][..],
        ),
        (
            video(nothing()),
            json!({"videoResolution": "1080p"}),
            &["video_resolution"],
        ),
        (
            video(nothing()),
            json!({"bitrate": 8_000}),
            &["video_bitrate"],
        ),
        (
            video(json!({"videoCodec": "h264"})),
            json!({"videoResolution": "720p", "bitrate": 2_664}),
            &["video_bitrate", "video_codec", "video_resolution"],
        ),
        (
            audio(json!({"audioCodec": "aac"})),
            nothing(),
            &["audio_codec"],
        ),
        (
            audio(json!({"audioChannels": 2})),
            nothing(),
            &["audio_channels"],
        ),
        (
            audio(json!({"audioCodec": "aac", "audioChannels": 2})),
            nothing(),
            &["audio_channels", "audio_codec"],
        ),
        (
            video(json!({"subtitleDecision": "burn"})),
            nothing(),
            &["subtitles"],
        ),
        (
            json!({"container": "mp4"}),
            json!({"container": "mp4", "Part": [{"decision": "copy", "selected": true}]}),
            &["container"],
        ),
        // Nothing differs that is known of: another profile or level of the same codec, perhaps.
        (video(nothing()), nothing(), &["unknown"]),
        // More than the file has is no reason.
        (video(nothing()), json!({"bitrate": 30_000}), &["unknown"]),
    ];
    let plex = FakePlex::default();
    let mut expected = Vec::new();
    for (index, (changes, output, causes)) in cases.into_iter().enumerate() {
        let (key, item) = (10 + index as u64, 200 + index as u64);
        plex.world().metadata.insert(item, film(item));
        plex.world().play(sent(key, item, changes, output));
        for cause in causes {
            expected.push(format!("cause={cause:?},session=\"{key}\" 1"));
        }
    }
    expected.sort();
    let exporter = Exporter::connected(&plex);
    let samples = exporter.until("every cause", SOON, |samples| {
        samples.series("plex_transcode_cause") == expected
    });
    assert_eq!(samples.types["plex_transcode_cause"], "gauge");
}

#[test]
fn a_direct_play_has_no_cause_and_an_unknown_file_only_what_the_transcode_says() {
    let plex = FakePlex::default();
    plex.world().metadata.insert(101, film(101));
    plex.world().play(movie(1, 101, "Direct"));
    // Clients that ask for a decision have a TranscodeSession even when they play directly.
    let asked =
        json!({"TranscodeSession": {"videoDecision": "directplay", "audioDecision": "directplay"}});
    plex.world().play(with(movie(2, 101, "Asked"), asked));
    plex.world()
        .fault("/library/metadata/102", html(404, "Not Found"));
    plex.world()
        .fault("/library/metadata/103", html(404, "Not Found"));
    let codec = json!({"videoDecision": "transcode", "videoCodec": "h264"});
    plex.world().play(sent(3, 102, codec, json!({})));
    let bitrate = json!({"videoDecision": "transcode", "sourceVideoCodec": "(absent)"});
    plex.world()
        .play(sent(4, 103, bitrate, json!({"bitrate": 900})));
    let exporter = Exporter::connected(&plex);
    let expected = [
        r#"cause="unknown",session="4" 1"#,
        r#"cause="video_codec",session="3" 1"#,
    ];
    exporter.until("both causes", SOON, |samples| {
        samples.of("plex_session_media_info", &[]).len() == 4
            && samples.series("plex_transcode_cause") == expected
    });
}

#[test]
fn the_causes_and_the_transcode_change_and_go_with_the_session() {
    let plex = FakePlex::default();
    plex.world().metadata.insert(101, film(101));
    let burn = json!({"videoDecision": "transcode", "subtitleDecision": "burn"});
    plex.world().play(sent(1, 101, burn, json!({})));
    let exporter = Exporter::connected(&plex);
    exporter.until("burnt-in subtitles", SOON, |samples| {
        samples.series("plex_transcode_cause") == [r#"cause="subtitles",session="1" 1"#]
    });
    // The user selects a lower quality: a new run, with other decisions.
    let less = json!({"videoCodec": "h264", "subtitleDecision": "(absent)"});
    plex.world().change(
        1,
        json!({"TranscodeSession": less, "Media": [{"id": "307448", "bitrate": 2_000, "videoResolution": "sd",
            "selected": true, "Part": [{"decision": "transcode", "selected": true}]}]}),
    );
    plex.push(&playing(1, 101, "buffering", 60_000));
    let expected = ["video_bitrate", "video_codec", "video_resolution"]
        .map(|cause| format!("cause={cause:?},session=\"1\" 1"));
    // After a notification the listing is read again within 10 s.
    exporter.until("a lower quality", Duration::from_secs(12), |samples| {
        samples.series("plex_transcode_cause") == expected
    });
    plex.world().stop(&json!("1"));
    plex.push(&playing(1, 101, "stopped", 60_000));
    exporter.until("the end", SOON, |samples| {
        samples.all.iter().all(|sample| {
            !sample.name.starts_with("plex_transcode_")
                || sample.name == "plex_transcode_seconds_total"
        })
    });
}

#[test]
fn a_transcode_is_described_with_its_hardware_speed_and_throttling() {
    let plex = FakePlex::default();
    plex.world().play(transcoded(movie(1, 101, "Alien"), "one"));
    let software = json!({"transcodeHwRequested": false, "transcodeHwDecoding": "(absent)",
        "transcodeHwEncoding": "(absent)", "transcodeHwFullPipeline": "(absent)", "throttled": "1",
        "speed": 0, "protocol": "hls"});
    plex.world().play(with(
        transcoded(movie(2, 102, "Heat"), "two"),
        json!({"TranscodeSession": software}),
    ));
    // Nothing is known of its speed yet.
    let early = json!({"progress": 0.0, "speed": "(absent)", "throttled": "(absent)",
        "transcodeHwRequested": "(absent)"});
    plex.world().play(with(
        transcoded(movie(3, 103, "Tron"), "three"),
        json!({"TranscodeSession": early}),
    ));
    let exporter = Exporter::connected(&plex);
    let samples = exporter.until("all three", SOON, |samples| {
        samples.of("plex_transcode_session_info", &[]).len() == 3
    });
    let describe = |session, protocol, decoding, encoding, full| {
        format!(
            "audio_codec=\"aac\",audio_decision=\"transcode\",container=\"mp4\",hw_decoding={decoding:?},\
             hw_encoding={encoding:?},hw_full_pipeline={full:?},protocol={protocol:?},session={session:?},\
             source_audio_codec=\"eac3\",source_video_codec=\"hevc\",video_codec=\"h264\",\
             video_decision=\"transcode\" 1"
        )
    };
    let mut expected = [
        describe("1", "dash", "vaapi", "vaapi", "true"),
        describe("2", "hls", "none", "none", "none"),
        describe("3", "dash", "unknown", "unknown", "unknown"),
    ];
    expected.sort();
    assert_eq!(samples.series("plex_transcode_session_info"), expected);
    for (name, one, two) in [
        ("plex_transcode_speed_ratio", "4.5", "0"),
        ("plex_transcode_throttled", "0", "1"),
        ("plex_transcode_hardware_requested", "1", "0"),
    ] {
        let expected = [
            format!("session=\"1\" {one}"),
            format!("session=\"2\" {two}"),
        ];
        assert_eq!(samples.series(name), expected, "{name}");
    }
    // A listing may come at any moment, so it says the same.
    let known = json!({"speed": 2.25});
    plex.world().play(with(
        transcoded(movie(3, 103, "Tron"), "three"),
        json!({"TranscodeSession": known}),
    ));
    plex.push(&frame(
        "transcodeSession.update",
        "TranscodeSession",
        with(transcode("three"), known),
    ));
    exporter.until_value("plex_transcode_speed_ratio", &[("session", "3")], 2.25);
}

//! Labels that follow from decisions, streams and absurd numbers, and never contradict each other.

use serde_json::{Value, json};

use crate::support::{
    fake_plex::World,
    payloads::{movie, playing, with},
    pure::Pure,
    samples::Samples,
};

fn page_of(changes: Value) -> Samples {
    let mut pure = Pure::connected(World::default());
    pure.world.play(with(movie(1, 101, "Alien"), changes));
    pure.push(&playing(1, 101, "playing", 60_000));
    pure.wait(2.0);
    pure.page()
}

fn labels(page: &Samples) -> [String; 3] {
    let labels = &page.of("plex_plays_total", &[])[0].labels;
    ["stream_type", "transcode_type", "subtitle_action"].map(|name| labels[name].clone())
}

fn media(part: Value, streams: Value) -> Value {
    json!({"Media": [{"bitrate": 2_000, "selected": true, "Part": [{"selected": true, "decision": part, "Stream": streams}]}]})
}

fn streams(video: &str, audio: &str, subtitle: &str) -> Value {
    let stream = |kind: u64, decision: &str| json!({"streamType": kind, "decision": decision, "selected": true});
    json!([stream(1, video), stream(2, audio), stream(3, subtitle)])
}

/// Row 15.
#[test]
fn stream_transcode_and_subtitle_labels_agree() {
    let transcode = |fields: Value| with(json!({"key": "/transcode/sessions/a"}), fields);
    for (changes, expected) in [
        (
            media(json!("transcode"), streams("transcode", "copy", "")),
            ["transcode", "video", "none"],
        ),
        (
            media(
                json!("transcode"),
                streams("transcode", "transcode", "burn"),
            ),
            ["transcode", "both", "burn"],
        ),
        (
            media(json!("transcode"), streams("copy", "transcode", "")),
            ["transcode", "audio", "none"],
        ),
        (
            media(json!("transcode"), streams("copy", "copy", "")),
            ["copy", "none", "none"],
        ),
        (
            media(json!("transcode"), streams("copy", "copy", "copy")),
            ["copy", "none", "copy"],
        ),
        (
            media(json!("transcode"), streams("copy", "copy", "burn")),
            ["transcode", "video", "burn"],
        ),
        (
            media(json!("directplay"), streams("", "", "")),
            ["direct play", "none", "none"],
        ),
        (
            media(json!(""), streams("", "", "ignore")),
            ["direct play", "none", "none"],
        ),
        (
            json!({"TranscodeSession": transcode(json!({"videoDecision": " Transcode ", "audioDecision": "COPY"}))}),
            ["transcode", "video", "none"],
        ),
        (
            json!({"TranscodeSession": transcode(json!({"videoDecision": "copy", "audioDecision": "copy"}))}),
            ["direct play", "none", "none"],
        ),
        (
            json!({"TranscodeSession": transcode(json!({"sourceVideoCodec": "hevc", "videoCodec": "h264"}))}),
            ["transcode", "video", "none"],
        ),
        (
            json!({"TranscodeSession": transcode(
                json!({"videoDecision": "copy", "sourceVideoCodec": "hevc", "videoCodec": "h264"}))}),
            ["transcode", "video", "none"],
        ),
        (
            with(
                media(json!("transcode"), json!([])),
                json!({"TranscodeSession":
            transcode(json!({"videoDecision": "copy", "audioDecision": "copy"}))}),
            ),
            // By contract, the part's decision comes after the TranscodeSession's `transcode` alone.
            ["transcode", "none", "none"],
        ),
        (
            with(
                media(json!("transcode"), streams("transcode", "copy", "burn")),
                json!({"TranscodeSession": transcode(json!({}))}),
            ),
            ["transcode", "video", "burn"],
        ),
    ] {
        assert_eq!(labels(&page_of(changes.clone())), expected, "{changes}");
    }
}

/// Row 15.
#[test]
fn unlimited_bandwidth_is_absent_and_streams_replace_a_missing_bitrate() {
    let network = [("session", "1"), ("user", "alice"), ("location", "lan")];
    for (bandwidth, expected) in [
        (json!(9_999_999), Some(9_999_999.0)),
        (json!(10_000_000), None),
        (json!("10500000"), None),
        (json!(2_147_483_647), None),
        (json!(0), Some(0.0)),
    ] {
        let page = page_of(json!({"Session": {"bandwidth": bandwidth}}));
        assert_eq!(
            page.value("plex_session_bandwidth_kbps", &network),
            expected,
            "{bandwidth}"
        );
    }
    let streams = json!([
        {"streamType": 1, "bitrate": 300}, {"streamType": 2, "bitrate": 999, "selected": false},
        {"streamType": 2, "bitrate": "20", "selected": true}, {"streamType": 3, "bitrate": 5},
        {"streamType": 2, "bitrate": 2_147_483_647_u64}]);
    for bitrate in [json!("(absent)"), json!(0), json!(2_147_483_647), json!("")] {
        let mut session =
            json!({"Media": [{"selected": true, "Part": [{"selected": true, "Stream": streams}]}]});
        if bitrate != json!("(absent)") {
            session["Media"][0]["bitrate"] = bitrate.clone();
        }
        let page = page_of(session);
        assert_eq!(
            page.of("plex_plays_total", &[("stream_bitrate", "320")])
                .len(),
            1,
            "{bitrate}"
        );
        assert_eq!(
            page.value("plex_session_bitrate_kbps", &network),
            Some(320.0)
        );
        let played = page.value("plex_play_seconds_total", &[]).unwrap();
        let sent = page
            .value("plex_estimated_transmit_bytes_total", &[])
            .unwrap();
        assert!(
            (sent - played * 320.0 * 125.0).abs() < 50.0,
            "{sent} after {played} s"
        );
    }
}

#[test]
fn values_that_plex_makes_up_are_other_and_make_no_series_without_bound() {
    let odd = "much too long a word for a label of this vocabulary";
    let page = page_of(json!({"type": odd, "Session": {"location": "the moon"},
        "TranscodeSession": {"key": "a", "videoDecision": odd, "audioDecision": "{}", "videoCodec": "a b",
            "sourceVideoCodec": odd, "container": "\n", "protocol": "\"", "subtitleDecision": odd, "progress": 5,
            "transcodeHwDecoding": odd},
        "Media": [{"videoResolution": odd, "selected": true, "Part": [{"decision": odd, "selected": true}]}]}));
    for sample in page
        .all
        .iter()
        .filter(|sample| sample.labels.contains_key("server"))
    {
        assert!(
            sample
                .labels
                .values()
                .all(|value| value != odd && value != "the moon"),
            "{sample:?}"
        );
    }
    let mut pure = Pure::connected(World::default());
    for number in 0..3_000 {
        let value = format!("v{number}");
        pure.world.play(with(
            movie(1, 101, "Alien"),
            json!({"User": {"title": value, "id": "1"}, "Session": {"location": value},
            "TranscodeSession": {"key": "a", "videoDecision": "transcode", "videoCodec": value}}),
        ));
        pure.push(&playing(
            1,
            101,
            ["playing", "buffering"][number % 2],
            60_000,
        ));
        pure.wait(9.1);
    }
    let page = pure.page();
    for name in [
        "plex_user_play_seconds_total",
        "plex_user_play_starts_total",
        "plex_transcode_seconds_total",
        "plex_play_buffering_total",
        "plex_play_buffering_seconds_total",
    ] {
        assert!(
            page.of(name, &[]).len() <= 2_000,
            "{name}: {}",
            page.of(name, &[]).len()
        );
    }
    assert_eq!(page.of("plex_plays_total", &[]).len(), 1);
}

#[test]
fn hidden_users_share_their_lasting_series() {
    let hide = plex_exporter::config::HiddenLabels {
        user: true,
        title: true,
        device: true,
    };
    let mut pure = Pure::hiding(World::default(), hide);
    pure.apply(plex_exporter::internals::Event::SocketUp);
    pure.wait(3.0);
    for key in 1..=3_u64 {
        pure.world.play(with(
            movie(key, 101, "Alien"),
            json!({"User": {"id": key.to_string(), "title": format!("user {key}")}}),
        ));
        pure.push(&playing(key, 101, "playing", 0));
    }
    pure.wait(5.0);
    let page = pure.page();
    assert_eq!(
        page.value("plex_user_play_starts_total", &[("user", "hidden")]),
        Some(3.0)
    );
    assert_eq!(page.of("plex_user_play_starts_total", &[]).len(), 1);
    assert_eq!(page.of("plex_user_play_seconds_total", &[]).len(), 1);
    assert!(page.all.iter().all(|sample| {
        sample
            .labels
            .values()
            .all(|value| !value.contains("Alien") && !value.contains("user "))
    }));
}

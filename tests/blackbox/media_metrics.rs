//! The file behind a session: `plex_session_media_info`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    exporter::{Exporter, SOON},
    fake_plex::FakePlex,
    payloads::{metadata, movie, playing, track, transcoded, with},
};

/// A version of a library item, as `/library/metadata` describes it.
fn file(item: u64, media: Value) -> Value {
    with(
        metadata(item, 1, "1080"),
        json!({"Metadata": [{"ratingKey": item.to_string(), "Media": [media]}]}),
    )
}

#[test]
fn the_file_behind_a_session_is_described_as_it_is_on_disk() {
    let plex = FakePlex::default();
    let video = |changes: Value| with(json!({"id": 1, "streamType": 1, "codec": "hevc"}), changes);
    let film = |video: Value| {
        json!({"id": 307_448, "container": "mkv", "videoCodec": "hevc", "videoResolution": "4k",
            "audioCodec": "eac3", "audioChannels": 6, "bitrate": 24_000, "Part": [{"id": 1, "Stream": [
            video,
            {"id": 2, "streamType": 2, "codec": "truehd", "channels": 8, "selected": true},
            {"id": 3, "streamType": 2, "codec": "ac3", "channels": 6},
            {"id": 4, "streamType": 3, "codec": "pgs", "selected": true}]}]})
    };
    let describe = |session: &str, values: [&str; 7]| {
        let [
            container,
            codec,
            resolution,
            range,
            audio,
            channels,
            subtitle,
        ] = values;
        format!(
            "audio_channels={channels:?},audio_codec={audio:?},container={container:?},\
             dynamic_range={range:?},session={session:?},subtitle_codec={subtitle:?},\
             video_codec={codec:?},video_resolution={resolution:?} 1"
        )
    };
    let mut expected = Vec::new();
    for (key, video, range) in [
        (1, video(json!({"colorTrc": "smpte2084"})), "hdr10"),
        (2, video(json!({"colorTrc": "arib-std-b67"})), "hlg"),
        (
            3,
            video(json!({"colorTrc": "smpte2084", "DOVIPresent": true})),
            "dolby_vision",
        ),
        (
            4,
            video(json!({"colorTrc": "bt709", "bitDepth": 10})),
            "sdr",
        ),
        (5, video(json!({})), "sdr"),
    ] {
        let item = 200 + key;
        plex.world().metadata.insert(item, file(item, film(video)));
        // The output of a transcode says nothing about the file.
        let session = with(
            transcoded(movie(key, item, "Film"), &format!("t{key}")),
            json!({"duration": 1}),
        );
        plex.world().play(session);
        expected.push(describe(
            &key.to_string(),
            ["mkv", "hevc", "4k", range, "truehd", "8", "pgs"],
        ));
    }
    // Music has no video, and no subtitle.
    let flac = json!({"id": 130_355, "container": "flac", "audioCodec": "flac", "audioChannels": 2,
        "Part": [{"Stream": [{"id": 9, "streamType": 2, "codec": "flac", "channels": 2}]}]});
    plex.world().metadata.insert(206, file(206, flac));
    plex.world().play(track(6, 206, "Artist", "Album", "One"));
    expected.push(describe(
        "6",
        ["flac", "none", "none", "none", "flac", "2", "none"],
    ));
    // An item that was never analysed, one that is gone, and one that was never one.
    plex.world()
        .metadata
        .insert(207, file(207, json!({"id": 1, "container": "avi"})));
    plex.world().play(movie(7, 207, "Never analysed"));
    let unknown = "unknown";
    expected.push(describe(
        "7",
        ["avi", unknown, unknown, unknown, unknown, unknown, unknown],
    ));
    plex.world().play(movie(8, 208, "Gone"));
    plex.world().play(with(
        movie(9, 209, "Live"),
        json!({"ratingKey": "(absent)", "key": "/livetv/sessions/abc"}),
    ));
    expected.push(describe("8", [unknown; 7]));
    expected.push(describe("9", [unknown; 7]));
    expected.sort();
    let exporter = Exporter::with_libraries(&plex);
    let samples = exporter.until("all files", SOON, |samples| {
        samples.series("plex_session_media_info") == expected
    });
    assert_eq!(samples.types["plex_session_media_info"], "gauge");
    for item in 201..=208 {
        assert_eq!(
            plex.count(&format!("/library/metadata/{item}")),
            1,
            "{item}"
        );
    }
}

#[test]
fn of_several_versions_the_one_that_plays_is_described_with_the_streams_that_play() {
    let plex = FakePlex::default();
    let versions = json!({"Metadata": [{"Media": [
        {"id": 1, "container": "mkv", "videoResolution": "4k", "videoCodec": "hevc", "Part": [{"Stream": [
            {"id": 10, "streamType": 1, "codec": "hevc", "colorTrc": "smpte2084"}]}]},
        {"id": 2, "container": "mp4", "videoResolution": "1080p", "videoCodec": "h264", "Part": [{"Stream": [
            {"id": 20, "streamType": 1, "codec": "h264"},
            {"id": 21, "streamType": 2, "codec": "eac3", "channels": 6, "selected": true},
            {"id": 22, "streamType": 2, "codec": "aac", "channels": 2},
            {"id": 23, "streamType": 3, "codec": "srt"},
            {"id": 24, "streamType": 3, "codec": "ass"}]}]}]}]});
    plex.world()
        .metadata
        .insert(101, with(metadata(101, 1, "4k"), versions));
    let with_streams = |audio: &str, subtitle: Option<&str>| {
        let mut streams = vec![
            json!({"id": "20", "streamType": 1}),
            json!({"id": audio, "streamType": 2, "selected": true}),
        ];
        streams.extend(subtitle.map(|id| json!({"id": id, "streamType": 3, "selected": "1"})));
        json!([
            {"id": "1", "videoResolution": "4k"},
            {"id": "2", "selected": true, "container": "mp4", "Part": [{"selected": true, "Stream": streams}]},
        ])
    };
    let film = movie(1, 101, "Alien");
    plex.world()
        .play(with(film, json!({"Media": with_streams("22", Some("24"))})));
    let exporter = Exporter::with_libraries(&plex);
    let plays = |audio: &'static str, channels: &'static str, subtitle: &'static str| {
        let labels = [
            ("container", "mp4"),
            ("video_codec", "h264"),
            ("video_resolution", "1080"),
            ("dynamic_range", "sdr"),
            ("audio_codec", audio),
            ("audio_channels", channels),
            ("subtitle_codec", subtitle),
        ];
        // After a notification the listing is read again within 10 s.
        let limit = Duration::from_secs(12);
        exporter.until(&format!("{labels:?}"), limit, |samples| {
            samples.of("plex_session_media_info", &labels).len() == 1
                && samples.of("plex_session_media_info", &[]).len() == 1
        })
    };
    plays("aac", "2", "ass");
    // The user switches: what is described follows, and costs no request.
    plex.world()
        .change(1, json!({"Media": with_streams("21", None)}));
    plex.push(&playing(1, 101, "buffering", 60_000));
    plays("eac3", "6", "none");
    assert_eq!(plex.count("/library/metadata/101"), 1);
}

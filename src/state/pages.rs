//! What a scrape shows, as text, after sequences of events.

use serde_json::{Value, json};

use super::driver::{Driver, Reply, session};
use crate::{metrics::process::Process, render::render};

/// The samples of a metric without the labels of the server, sorted.
fn samples(driver: &mut Driver, metric: &str) -> Vec<String> {
    let now = driver.timestamp();
    driver.state.prepare_scrape(now);
    let page = render(&driver.state, &Process::default(), now, String::new());
    let start = format!("{metric}{{");
    let lines = page.lines().filter(|line| line.starts_with(&start));
    let mut samples: Vec<String> = lines
        .map(|line| line.replace("server=\"Attic\",server_id=\"m1\"", ""))
        .map(|line| line[metric.len()..].replace("{,", "{"))
        .collect();
    samples.sort();
    samples
}

fn value(driver: &mut Driver, metric: &str) -> f64 {
    let samples = samples(driver, metric);
    assert_eq!(samples.len(), 1, "{metric}: {samples:?}");
    samples[0].rsplit(' ').next().unwrap().parse().unwrap()
}

fn transcoded(item: &str) -> Value {
    let mut transcoded = session("1", item, 0);
    transcoded["Media"][0]["Part"][0]["decision"] = json!("transcode");
    transcoded["TranscodeSession"] = json!({"key": "/transcode/sessions/t1",
        "videoDecision": "transcode", "audioDecision": "copy", "sourceVideoCodec": "hevc",
        "videoCodec": "h264", "sourceAudioCodec": "aac", "audioCodec": "aac", "container": "mp4",
        "protocol": "hls", "progress": 5.0, "speed": 1.5, "throttled": true,
        "transcodeHwDecoding": "vaapi"});
    transcoded
}

/// A driver whose only session is transcoded, and whose file is known.
fn transcoding() -> Driver {
    let mut driver = Driver::connected();
    let item = json!({"Metadata": [{"Media": [{"id": 9, "videoResolution": "4k",
        "container": "mkv", "videoCodec": "hevc", "Part": [{"Stream": [
            {"id": 1, "streamType": 1, "codec": "hevc", "colorTrc": "arib-std-b67"},
            {"id": 2, "streamType": 2, "codec": "aac", "channels": 2}]}]}]}]});
    driver
        .replies
        .insert("/library/metadata/{id}", Reply::Container(item));
    driver.list(&[transcoded("101")]);
    driver.playing("1", "101", "playing");
    driver.run(1.0);
    driver
}

#[test]
fn until_the_server_says_who_it_is_no_page_has_series_without_its_name() {
    let mut driver = Driver::start();
    driver.list(&[session("1", "101", 0)]);
    driver.respond("/status/sessions");
    driver.respond("/media/providers?includeStorage=1");
    let now = driver.timestamp();
    let page = render(&driver.state, &Process::default(), now, String::new());
    let nameless = page.lines().filter(|line| line.contains("server="));
    let nameless: Vec<&str> = nameless.collect();
    assert_eq!(
        nameless,
        [
            "plex_up{server=\"\",server_id=\"\"} 0",
            "plex_websocket_connected{server=\"\",server_id=\"\"} 0"
        ]
    );
    driver.respond("/");
    assert_eq!(samples(&mut driver, "plex_active_sessions"), ["{} 1"]);
}

#[test]
fn every_metric_of_a_transcoded_session_has_its_own_labels() {
    let mut driver = transcoding();
    for (metric, expected) in [
        (
            "plex_session_bandwidth_kbps",
            r#"{session="1",user="alice",location="lan"} 3000"#,
        ),
        (
            "plex_session_bitrate_kbps",
            r#"{session="1",user="alice",location="lan"} 2000"#,
        ),
        (
            "plex_session_progress_ratio",
            r#"{session="1",user="alice"} 0"#,
        ),
        ("plex_transcode_speed_ratio", r#"{session="1"} 1.5"#),
        ("plex_transcode_throttled", r#"{session="1"} 1"#),
        (
            "plex_transcode_session_info",
            r#"{session="1",video_decision="transcode",audio_decision="copy",source_video_codec="hevc",video_codec="h264",source_audio_codec="aac",audio_codec="aac",container="mp4",protocol="hls",hw_decoding="vaapi",hw_encoding="none",hw_full_pipeline="false"} 1"#,
        ),
        (
            "plex_session_media_info",
            r#"{session="1",container="mkv",video_codec="hevc",video_resolution="4k",dynamic_range="hlg",audio_codec="aac",audio_channels="2",subtitle_codec="none"} 1"#,
        ),
        (
            "plex_plays_total",
            r#"{library="Films",library_id="1",library_type="movie",media_type="movie",title="Film 101",child_title="",grandchild_title="",stream_type="transcode",stream_resolution="1080",stream_file_resolution="4k",stream_bitrate="2000",device="",device_type="",user="alice",session="1",transcode_type="video",subtitle_action="none",location="lan",local="true"} 1"#,
        ),
        (
            "plex_sessions",
            r#"{state="playing",media_type="movie",stream_type="transcode",location="lan"} 1"#,
        ),
    ] {
        assert_eq!(samples(&mut driver, metric), [expected], "{metric}");
    }
}

#[test]
fn only_time_that_plays_and_is_transcoded_counts_as_transcoded() {
    let mut driver = transcoding();
    driver.run(9.0);
    let expected = r#"{video_decision="transcode",hw_decoding="vaapi",hw_encoding="none",source_video_codec="hevc",video_codec="h264"} 10"#;
    let transcode = "plex_transcode_seconds_total";
    assert_eq!(samples(&mut driver, transcode), [expected]);
    // It goes on without a transcode.
    driver.list(&[session("1", "101", 10_000)]);
    driver.playing("1", "101", "playing");
    driver.run(0.1);
    driver.run(9.9);
    let after = value(&mut driver, transcode);
    assert!((10.0..10.2).contains(&after), "{after}");
    let plays = samples(&mut driver, "plex_plays_total");
    assert_eq!(plays.len(), 1, "{plays:?}");
    assert!(
        plays[0].contains(r#"stream_type="direct play""#),
        "{plays:?}"
    );
    assert!(samples(&mut driver, "plex_transcode_session_info").is_empty());
    assert!(samples(&mut driver, "plex_transcode_cause").is_empty());
    let mut without = Driver::connected();
    without.list(&[session("1", "101", 0)]);
    without.playing("1", "101", "playing");
    without.run(10.0);
    assert!(samples(&mut without, transcode).is_empty());
}

#[test]
fn a_change_of_the_transcode_changes_its_labels() {
    let mut driver = transcoding();
    let update = json!({"key": "/transcode/sessions/t1", "videoDecision": "copy",
        "audioDecision": "transcode", "audioCodec": "opus", "progress": 9.0});
    driver.notify("transcodeSession.update", "TranscodeSession", &update);
    driver.run(0.1);
    let info = samples(&mut driver, "plex_transcode_session_info");
    assert!(info[0].contains(r#"video_decision="copy",audio_decision="transcode""#));
    assert!(info[0].contains(r#"audio_codec="opus""#), "{info:?}");
    let plays = samples(&mut driver, "plex_plays_total");
    assert_eq!(plays.len(), 1, "its count moved with it: {plays:?}");
    assert!(plays[0].contains(r#"transcode_type="both""#), "{plays:?}");
}

#[test]
fn the_selected_part_decides_unless_it_contradicts_its_streams() {
    for (part, streams, stream_type, transcode_type) in [
        ("copy", json!([]), "copy", "none"),
        ("transcode", json!([]), "transcode", "none"),
        ("", json!([]), "direct play", "none"),
        (
            "transcode",
            json!([{"streamType": 1, "decision": "copy"}, {"streamType": 2, "decision": "copy"}]),
            "copy",
            "none",
        ),
        (
            "directplay",
            json!([{"streamType": 1, "decision": "transcode"}]),
            "transcode",
            "video",
        ),
    ] {
        let mut driver = Driver::connected();
        let mut listed = session("1", "101", 0);
        listed["Media"][0]["Part"][0]["decision"] = json!(part);
        listed["Media"][0]["Part"][0]["Stream"] = streams;
        driver.list(&[listed]);
        driver.playing("1", "101", "playing");
        driver.run(0.1);
        let plays = samples(&mut driver, "plex_plays_total");
        let expected = format!(r#"stream_type="{stream_type}""#);
        assert!(plays[0].contains(&expected), "{part}: {plays:?}");
        let expected = format!(r#"transcode_type="{transcode_type}""#);
        assert!(plays[0].contains(&expected), "{part}: {plays:?}");
    }
}

#[test]
fn a_play_of_a_library_that_is_not_listed_is_unknown_after_a_minute() {
    let mut driver = Driver::connected();
    let mut listed = session("1", "101", 0);
    listed["librarySectionID"] = json!("5");
    driver.list(&[listed]);
    driver.playing("1", "101", "playing");
    driver.run(59.0);
    assert!(samples(&mut driver, "plex_plays_total").is_empty());
    assert_eq!(samples(&mut driver, "plex_session_info").len(), 1);
    driver.run(1.5);
    let plays = samples(&mut driver, "plex_plays_total");
    assert!(plays[0].starts_with(r#"{library="unknown",library_id="0",library_type="unknown""#));
    let starts = samples(&mut driver, "plex_play_starts_total");
    assert_eq!(
        starts,
        [
            r#"{library="Films",library_id="1",library_type="movie"} 0"#,
            r#"{library="unknown",library_id="0",library_type="unknown"} 1"#
        ]
    );
    let mut driver = Driver::connected();
    driver.list(&[session("1", "101", 0)]);
    driver.playing("1", "101", "playing");
    driver.run(1.0);
    let starts = samples(&mut driver, "plex_play_starts_total");
    assert_eq!(
        starts,
        [r#"{library="Films",library_id="1",library_type="movie"} 1"#]
    );
}

#[test]
fn active_sessions_are_absent_until_plex_lists_them() {
    let mut driver = Driver::start();
    assert!(samples(&mut driver, "plex_active_sessions").is_empty());
    driver.run(1.0);
    assert_eq!(samples(&mut driver, "plex_active_sessions"), ["{} 0"]);
}

#[test]
fn the_metadata_of_one_title_is_not_that_of_another() {
    let mut driver = Driver::connected();
    let listed: Vec<Value> = ["101", "102"]
        .iter()
        .zip(["1", "2"])
        .map(|(item, key)| {
            let mut session = session(key, item, 0);
            session["Media"][0]["id"] = json!(item);
            session
        })
        .collect();
    driver.list(&listed);
    let item = json!({"Metadata": [{"Media": [{"id": 101, "videoResolution": "4k"},
        {"id": 102, "videoResolution": "720"}]}]});
    driver
        .replies
        .insert("/library/metadata/{id}", Reply::Container(item));
    driver.run(60.0);
    let plays = samples(&mut driver, "plex_plays_total");
    assert!(
        plays[0].contains(r#"stream_file_resolution="4k""#),
        "{plays:?}"
    );
    assert!(
        plays[1].contains(r#"stream_file_resolution="720""#),
        "{plays:?}"
    );
}

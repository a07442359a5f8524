//! Classification of streams: the documented rules for labels such as `stream_type`, as pure
//! functions of Plex's values.

use std::borrow::Cow;

use super::sanitize::{normalize_token, plausible_kbps};
use crate::plex::wire::{AUDIO, Media, Part, SUBTITLE, TranscodeSession, VIDEO};

/// Whether `text` is `word`; case and outer white space do not matter.
pub fn is(text: Option<&str>, word: &str) -> bool {
    text.is_some_and(|text| text.trim().eq_ignore_ascii_case(word))
}

/// Whether it has a decision for video or audio.
#[must_use]
pub fn has_decisions(transcode: &TranscodeSession) -> bool {
    transcode.video_decision.get().is_some() || transcode.audio_decision.get().is_some()
}

/// `stream_type`: `direct play`, `copy` or `transcode`.
///
/// A TranscodeSession alone does not mean transcoding (clients that request a decision get one even
/// for direct play), so the selected part's own decision comes before its `copy`.
#[must_use]
pub fn stream_type<'a>(
    transcode: Option<&TranscodeSession>,
    part_decision: Option<&'a str>,
) -> Cow<'a, str> {
    if transcode_type(transcode) != "none" {
        return Cow::Borrowed("transcode");
    }
    if is(part_decision, "directplay") || is(part_decision, "direct play") {
        return Cow::Borrowed("direct play");
    }
    match part_decision.map(normalize_token) {
        Some(decision) if !decision.is_empty() => decision,
        _ => {
            let copies = transcode.is_some_and(|transcode| {
                is(transcode.video_decision.get(), "copy")
                    || is(transcode.audio_decision.get(), "copy")
            });
            Cow::Borrowed(if copies { "copy" } else { "direct play" })
        }
    }
}

/// The bitrate of a version in kbit/s; where Plex omits it, the sum of its selected streams.
#[must_use]
pub fn bitrate(media: &Media) -> Option<f64> {
    let own = plausible_kbps(media.bitrate).filter(|bitrate| *bitrate > 0.0);
    own.or_else(|| {
        let streams = media.part.get()?.streams.as_slice();
        let bitrates = [VIDEO, AUDIO, SUBTITLE].into_iter().filter_map(|kind| {
            let of_kind = || streams.iter().filter(|stream| stream.is(kind));
            let selected = of_kind().find(|stream| stream.selected.is_true());
            // Video streams often carry no `selected`; subtitles are off without it.
            let stream = selected.or_else(|| of_kind().next().filter(|_| kind != SUBTITLE))?;
            plausible_kbps(stream.bitrate)
        });
        Some(bitrates.sum()).filter(|sum| *sum > 0.0)
    })
}

/// The decisions of a part's streams in the form of a TranscodeSession, for sessions without one.
#[must_use]
pub fn stream_decisions(part: &Part) -> Option<TranscodeSession> {
    let decision = |kind| {
        let mut streams = part
            .streams
            .as_slice()
            .iter()
            .filter(|stream| stream.is(kind) && stream.is_decided());
        let first = streams.clone().next();
        let selected = streams.find(|stream| stream.selected.is_true());
        selected.or(first).map(|stream| stream.decision.clone())
    };
    let [mut video, audio, subtitle] = [decision(VIDEO), decision(AUDIO), decision(SUBTITLE)];
    if subtitle
        .as_ref()
        .is_some_and(|subtitle| is(subtitle.get(), "burn"))
    {
        // Burning subtitles into the picture takes a video transcode.
        video = Some("transcode".into());
    }
    if video.is_none() && audio.is_none() && subtitle.is_none() {
        return None;
    }
    Some(TranscodeSession {
        video_decision: video.unwrap_or_default(),
        audio_decision: audio.unwrap_or_default(),
        subtitle_decision: subtitle.unwrap_or_default(),
        ..TranscodeSession::default()
    })
}

/// `transcode_type`: `none`, `video`, `audio` or `both`.
#[must_use]
pub fn transcode_type(transcode: Option<&TranscodeSession>) -> &'static str {
    let Some(transcode) = transcode else {
        return "none";
    };
    let differs = |target: Option<&str>, source: Option<&str>| {
        let (target, source) = (target.map(known_codec), source.map(known_codec));
        match (target.flatten(), source.flatten()) {
            (Some(target), Some(source)) => !target.eq_ignore_ascii_case(source),
            _ => false,
        }
    };
    let video = is(transcode.video_decision.get(), "transcode")
        || differs(
            transcode.video_codec.get(),
            transcode.source_video_codec.get(),
        );
    let audio = is(transcode.audio_decision.get(), "transcode")
        || differs(
            transcode.audio_codec.get(),
            transcode.source_audio_codec.get(),
        );
    match (video, audio) {
        (true, true) => "both",
        (true, false) => "video",
        (false, true) => "audio",
        (false, false) => "none",
    }
}

/// The codec, unless it is a placeholder: live TV sends `""` and `*` until it is known.
fn known_codec(codec: &str) -> Option<&str> {
    let codec = codec.trim();
    (!codec.is_empty() && codec != "*").then_some(codec)
}

/// `subtitle_action`: `none`, `burn`, `copy`, `transcode`, or another value of Plex's.
#[must_use]
pub fn subtitle_action(transcode: Option<&TranscodeSession>) -> Cow<'_, str> {
    let Some(transcode) = transcode else {
        return Cow::Borrowed("none");
    };
    let decision = normalize_token(transcode.subtitle_decision.or_empty());
    match &*decision {
        "burn" | "burn-in" => Cow::Borrowed("burn"),
        "copy" | "copying" => Cow::Borrowed("copy"),
        "transcode" | "transcoding" => Cow::Borrowed("transcode"),
        "" => {
            let srt = transcode
                .container
                .or_empty()
                .to_ascii_lowercase()
                .contains("srt");
            Cow::Borrowed(if srt { "copy" } else { "none" })
        }
        _ => decision,
    }
}

/// `location`: the session's own value, else derived from the player, else `unknown`.
#[must_use]
pub fn location(reported: Option<&str>, local: Option<bool>) -> Cow<'_, str> {
    match reported.map(normalize_token) {
        Some(location) if !location.is_empty() => location,
        _ => Cow::Borrowed(match local {
            Some(true) => "lan",
            Some(false) => "wan",
            None => "unknown",
        }),
    }
}

/// The hardware labels of a transcode: decoding, encoding, full pipeline.
///
/// In its first second a transcode reports no hardware even if it will use some, so the labels are
/// `unknown` until it makes progress. Live TV never reports progress (−1); its hardware counts only
/// when it is named.
#[must_use]
pub fn hardware(transcode: &TranscodeSession) -> [Cow<'_, str>; 3] {
    const UNKNOWN: Cow<'_, str> = Cow::Borrowed("unknown");
    const NONE: Cow<'_, str> = Cow::Borrowed("none");
    let decoding = transcode.transcode_hw_decoding.get().map(normalize_token);
    let encoding = transcode.transcode_hw_encoding.get().map(normalize_token);
    let progress = transcode.progress.get().unwrap_or(0.0);
    let begun = progress > 0.0 || (progress < 0.0 && (decoding.is_some() || encoding.is_some()));
    if !begun {
        return [UNKNOWN, UNKNOWN, UNKNOWN];
    }
    let full = match transcode.transcode_hw_full_pipeline.get() {
        _ if decoding.is_none() && encoding.is_none() => NONE,
        Some(true) => Cow::Borrowed("true"),
        _ => Cow::Borrowed("false"),
    };
    [decoding.unwrap_or(NONE), encoding.unwrap_or(NONE), full]
}

/// Whether two states of a transcode have the same labels. Its progress, speed and throttling
/// change every few seconds, and are not among them.
#[must_use]
pub fn same_transcode_labels(
    one: Option<&TranscodeSession>,
    two: Option<&TranscodeSession>,
) -> bool {
    let labels = |transcode: &TranscodeSession| {
        [
            transcode.video_decision.or_empty().to_owned(),
            transcode.audio_decision.or_empty().to_owned(),
            transcode.source_video_codec.or_empty().to_owned(),
            transcode.video_codec.or_empty().to_owned(),
            transcode.source_audio_codec.or_empty().to_owned(),
            transcode.audio_codec.or_empty().to_owned(),
            transcode.container.or_empty().to_owned(),
            transcode.protocol.or_empty().to_owned(),
        ]
    };
    match (one, two) {
        (None, None) => true,
        (Some(one), Some(two)) => labels(one) == labels(two) && hardware(one) == hardware(two),
        _ => false,
    }
}

/// The bare id of a transcode: `/transcode/sessions/<id>` in sessions and notifications, `<id>`
/// elsewhere.
#[must_use]
pub fn transcode_id(key: &str) -> &str {
    key.trim()
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transcode(json: &str) -> TranscodeSession {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn stream_type_follows_the_documented_rules() {
        let both = transcode(r#"{"videoDecision":" Transcode","audioDecision":"copy"}"#);
        let copy = transcode(r#"{"videoDecision":"copy","audioDecision":"COPY"}"#);
        let direct = transcode(r#"{"videoDecision":"directplay"}"#);
        let codecs = transcode(r#"{"sourceVideoCodec":"hevc","videoCodec":"h264"}"#);
        let bare = transcode(r#"{"key":"/transcode/sessions/a"}"#);
        for (transcode, part, expected) in [
            (None, None, "direct play"),
            (None, Some("directplay"), "direct play"),
            (None, Some("transcode"), "transcode"),
            (None, Some("copy"), "copy"),
            (Some(&both), Some("directplay"), "transcode"),
            (Some(&copy), Some("directplay"), "direct play"),
            (Some(&copy), Some(""), "copy"),
            (Some(&copy), None, "copy"),
            (Some(&copy), Some("transcode"), "transcode"),
            (Some(&codecs), Some("directplay"), "transcode"),
            (Some(&bare), Some("transcode"), "transcode"),
            (Some(&direct), None, "direct play"),
            (Some(&direct), Some("sky\nwriting"), "other"),
        ] {
            assert_eq!(
                stream_type(transcode, part),
                expected,
                "{transcode:?} {part:?}"
            );
        }
    }

    #[test]
    fn transcode_type_follows_decisions_and_codecs() {
        for (json, expected) in [
            ("{}", "none"),
            (
                r#"{"videoDecision":"transcode","audioDecision":"transcode"}"#,
                "both",
            ),
            (
                r#"{"videoDecision":"transcode","audioDecision":"copy"}"#,
                "video",
            ),
            (r#"{"audioDecision":"Transcode "}"#, "audio"),
            (
                r#"{"sourceVideoCodec":"hevc","videoCodec":"h264"}"#,
                "video",
            ),
            (
                r#"{"sourceVideoCodec":"H264","videoCodec":" h264"}"#,
                "none",
            ),
            (r#"{"sourceAudioCodec":"dca","audioCodec":"aac"}"#, "audio"),
            (r#"{"sourceVideoCodec":"hevc","videoCodec":""}"#, "none"),
            (
                r#"{"sourceVideoCodec":"","videoCodec":"*","videoDecision":"copy"}"#,
                "none",
            ),
        ] {
            assert_eq!(transcode_type(Some(&transcode(json))), expected, "{json}");
        }
        assert_eq!(transcode_type(None), "none");
    }

    #[test]
    fn subtitle_action_normalizes_the_values_of_plex() {
        for (json, expected) in [
            (r#"{"subtitleDecision":"burn-in"}"#, "burn"),
            (r#"{"subtitleDecision":" Copying"}"#, "copy"),
            (r#"{"subtitleDecision":"transcoding"}"#, "transcode"),
            (r#"{"subtitleDecision":"ignore"}"#, "ignore"),
            (r#"{"container":"SRT"}"#, "copy"),
            (r#"{"container":"mkv,srt"}"#, "copy"),
            (r#"{"container":"mkv"}"#, "none"),
        ] {
            assert_eq!(subtitle_action(Some(&transcode(json))), expected, "{json}");
        }
        assert_eq!(subtitle_action(None), "none");
    }

    #[test]
    fn location_falls_back_to_the_player() {
        assert_eq!(location(Some("cellular"), Some(true)), "cellular");
        assert_eq!(location(Some(""), Some(true)), "lan");
        assert_eq!(location(None, Some(false)), "wan");
        assert_eq!(location(None, None), "unknown");
    }

    #[test]
    fn hardware_is_unknown_until_the_transcode_makes_progress() {
        for (json, expected) in [
            (
                r#"{"progress":0.0,"transcodeHwDecoding":"vaapi"}"#,
                ["unknown"; 3],
            ),
            (r#"{"progress":1.5}"#, ["none"; 3]),
            (
                r#"{"progress":1.5,"transcodeHwDecoding":"VAAPI","transcodeHwEncoding":"vaapi","transcodeHwFullPipeline":"1"}"#,
                ["vaapi", "vaapi", "true"],
            ),
            (
                r#"{"progress":9,"transcodeHwEncoding":"qsv"}"#,
                ["none", "qsv", "false"],
            ),
            (r#"{"progress":-1}"#, ["unknown"; 3]),
        ] {
            assert_eq!(hardware(&transcode(json)), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn every_label_is_bounded(
            video in "\\PC{0,12}", audio in "\\PC{0,12}", subtitle in "\\PC{0,40}", part in "\\PC{0,40}",
        ) {
            let transcode = transcode(&serde_json::json!({
                "videoDecision": video, "audioDecision": audio, "subtitleDecision": subtitle,
            }).to_string());
            for label in [stream_type(Some(&transcode), Some(&part)), subtitle_action(Some(&transcode))] {
                prop_assert!(!label.is_empty() && label.len() <= 32);
            }
        }
    }

    #[test]
    fn the_selected_stream_of_each_kind_decides_if_it_has_a_decision() {
        let part = |streams: &str| -> Part {
            serde_json::from_str(&format!(r#"{{"Stream":[{streams}]}}"#)).unwrap()
        };
        let decided = stream_decisions(&part(
            r#"{"streamType":1,"decision":"copy"},{"streamType":2},
            {"streamType":2,"decision":"copy"},{"streamType":2,"decision":"transcode","selected":1},
            {"streamType":3,"decision":"ignore","selected":1}"#,
        ))
        .unwrap();
        assert_eq!(decided.video_decision.get(), Some("copy"));
        assert_eq!(decided.audio_decision.get(), Some("transcode"));
        assert_eq!(decided.subtitle_decision.get(), None);
        let burnt = stream_decisions(&part(r#"{"streamType":3,"decision":"burn"}"#)).unwrap();
        assert_eq!(burnt.video_decision.get(), Some("transcode"));
        assert_eq!(
            stream_decisions(&part(r#"{"streamType":1},{"streamType":2}"#)),
            None
        );
    }

    #[test]
    fn a_missing_bitrate_is_the_sum_of_the_selected_streams() {
        let media = |json: &str| -> Media { serde_json::from_str(json).unwrap() };
        let streams = r#""Part":[{"Stream":[{"streamType":1,"bitrate":3000},
            {"streamType":2,"bitrate":100},{"streamType":2,"bitrate":640,"selected":1},
            {"streamType":3,"bitrate":9}]}]"#;
        assert_eq!(bitrate(&media(&format!("{{{streams}}}"))), Some(3_640.0));
        assert_eq!(
            bitrate(&media(&format!(r#"{{"bitrate":5000,{streams}}}"#))),
            Some(5_000.0)
        );
        assert_eq!(bitrate(&media("{}")), None);
    }

    #[test]
    fn the_id_of_a_transcode_is_the_last_part_of_its_key() {
        for key in [
            "/transcode/sessions/abc",
            "abc",
            " /transcode/sessions/abc/ ",
        ] {
            assert_eq!(transcode_id(key), "abc", "{key}");
        }
        assert_eq!(transcode_id(""), "");
    }

    #[test]
    fn a_transcode_has_the_same_labels_until_one_of_them_changes() {
        let base = r#""videoDecision":"transcode","progress":3,"transcodeHwDecoding":"vaapi""#;
        let parse = |rest: &str| {
            let text = format!("{{{base}{rest}}}");
            serde_json::from_str::<TranscodeSession>(&text).unwrap()
        };
        let transcode = parse("");
        let same = |other: &TranscodeSession| same_transcode_labels(Some(&transcode), Some(other));
        assert!(same(&parse(r#","speed":9,"throttled":true"#)));
        for change in [
            r#","audioCodec":"aac""#,
            r#","container":"mp4""#,
            r#","transcodeHwEncoding":"vaapi""#,
        ] {
            assert!(!same(&parse(change)), "{change}");
        }
        assert!(same_transcode_labels(None, None));
        assert!(!same_transcode_labels(Some(&transcode), None));
        assert!(has_decisions(&transcode));
        assert!(!has_decisions(&TranscodeSession::default()));
    }
}

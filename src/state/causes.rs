//! Why a session is not played directly, inferred from the differences between file and output.

use super::{
    classify,
    sanitize::normalize_token,
    source::{NONE, Source, UNKNOWN},
};
use crate::plex::{lenient::Text, wire::TranscodeSession};

/// The output of a session, as compared with its file.
#[derive(Debug)]
pub struct Output<'a> {
    /// The transcode, or the decisions of the streams.
    pub transcode: &'a TranscodeSession,
    /// Of the session's media, where the transcode names none.
    pub container: &'a str,
    /// `stream_resolution`
    pub resolution: &'a str,
    /// kbit/s
    pub bitrate: Option<f64>,
    /// `subtitle_action`
    pub subtitle_action: &'a str,
}

/// Why a session is not played directly, inferred: what differs between the file and the output.
#[must_use]
pub fn causes(source: Option<&Source>, output: &Output<'_>) -> Vec<&'static str> {
    let transcode = output.transcode;
    let is = classify::is;
    let video = is(transcode.video_decision.get(), "transcode");
    let audio = is(transcode.audio_decision.get(), "transcode");
    let known = |text: &str| !text.is_empty() && ![UNKNOWN, NONE, "other"].contains(&text);
    let differs = |from: &str, to: &str| known(from) && known(to) && from != to;
    let codec = |text: &Text| normalize_token(text.or_empty()).into_owned();
    let source_codec = |text: &Text, source: Option<&str>| match text.get() {
        Some(_) => codec(text),
        None => source.unwrap_or_default().to_owned(),
    };
    let mut causes = Vec::new();
    if video {
        let from = source_codec(
            &transcode.source_video_codec,
            source.map(|source| &*source.video_codec),
        );
        if differs(&from, &codec(&transcode.video_codec)) {
            causes.push("video_codec");
        }
        if let Some(source) = source {
            // A wide picture has fewer lines than its name (1080 often has 800), so names come
            // first.
            let to = lines(output.resolution).or(transcode.height.non_negative());
            if lines(&source.video_resolution)
                .zip(to)
                .is_some_and(|(from, to)| to < from)
            {
                causes.push("video_resolution");
            }
            if source
                .bitrate
                .zip(output.bitrate)
                .is_some_and(|(from, to)| to < from)
            {
                causes.push("video_bitrate");
            }
        }
    }
    if audio {
        let from = source_codec(
            &transcode.source_audio_codec,
            source.map(|source| &*source.audio_codec),
        );
        if differs(&from, &codec(&transcode.audio_codec)) {
            causes.push("audio_codec");
        }
        let channels = source.and_then(|source| source.channels);
        if channels
            .zip(transcode.audio_channels.non_negative())
            .is_some_and(|(from, to)| to < from)
        {
            causes.push("audio_channels");
        }
    }
    if matches!(output.subtitle_action, "burn" | "transcode") {
        causes.push("subtitles");
    }
    let container = match transcode.container.get() {
        Some(_) => codec(&transcode.container),
        None => output.container.to_owned(),
    };
    if !video && !audio && source.is_some_and(|source| differs(&source.container, &container)) {
        causes.push("container");
    }
    if causes.is_empty() {
        causes.push(UNKNOWN);
    }
    causes
}

/// The number of lines of a named resolution.
fn lines(resolution: &str) -> Option<f64> {
    match resolution {
        "4k" => Some(2_160.0),
        "2k" => Some(1_440.0),
        "sd" => Some(480.0),
        other => other.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::source::{FILM, SelectedStreams};

    #[test]
    fn every_difference_from_the_file_is_a_cause() {
        let file = Source::of(
            &serde_json::from_str(FILM).unwrap(),
            &SelectedStreams::default(),
        );
        for (transcode, resolution, bitrate, subtitle, expected) in [
            (
                r#"{"videoDecision":"transcode","videoCodec":"h264","audioDecision":"copy"}"#,
                "4k",
                14_590.0,
                "none",
                &["video_codec"][..],
            ),
            (
                r#"{"videoDecision":"transcode","videoCodec":"hevc"}"#,
                "1080",
                20_000.0,
                "none",
                &["video_resolution"],
            ),
            (
                r#"{"videoDecision":"transcode","videoCodec":"hevc"}"#,
                "4k",
                8_000.0,
                "none",
                &["video_bitrate"],
            ),
            (
                r#"{"videoDecision":"copy","audioDecision":"transcode","audioCodec":"aac","audioChannels":2}"#,
                "4k",
                14_590.0,
                "none",
                &["audio_codec", "audio_channels"],
            ),
            (
                r#"{"videoDecision":"transcode","videoCodec":"hevc"}"#,
                "4k",
                14_590.0,
                "burn",
                &["subtitles"],
            ),
            (
                r#"{"videoDecision":"copy","audioDecision":"copy","container":"mp4"}"#,
                "4k",
                14_590.0,
                "none",
                &["container"],
            ),
            (
                r#"{"videoDecision":"copy","audioDecision":"copy","container":"mkv"}"#,
                "4k",
                14_590.0,
                "none",
                &["unknown"],
            ),
        ] {
            let output = Output {
                transcode: &serde_json::from_str(transcode).unwrap(),
                container: "",
                resolution,
                bitrate: Some(bitrate),
                subtitle_action: subtitle,
            };
            assert_eq!(causes(Some(&file), &output), expected, "{transcode}");
        }
    }
}

//! The label texts of a play: built when a value changes, not when somebody scrapes.

use std::borrow::Cow;

use super::{classify, play::Play, sanitize::normalize_token};
use crate::metrics::{catalogue, encode_labels};

/// The text of a play's labels, for every set of labels it appears with.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedLabels {
    /// Of `plex_plays_total` and `plex_play_seconds_total`.
    pub play: Box<str>,
    /// `session`, `user`, `location`.
    pub info: Box<str>,
    /// `session`, `user`.
    pub viewer: Box<str>,
    /// `session`.
    pub session: Box<str>,
    /// Of `plex_transcode_session_info`, for a play that has a transcode.
    pub transcode: Option<Box<str>>,
}

impl EncodedLabels {
    /// The encoded labels of `play`.
    #[must_use]
    pub fn of(play: &Play) -> Self {
        let labels = &play.labels;
        let [library, library_id, library_type] =
            play.library_labels.each_ref().map(|label| &**label);
        let bitrate = play.first_bitrate().to_string();
        let values = [
            library,
            library_id,
            library_type,
            &labels.media_type,
            &labels.title,
            &labels.child_title,
            &labels.grandchild_title,
            &labels.stream_type,
            &labels.stream_resolution,
            play.file_resolution(),
            &bitrate,
            &labels.device,
            &labels.device_type,
            &labels.user,
            &play.session,
            labels.transcode_type,
            &labels.subtitle_action,
            &labels.location,
            if labels.local { "true" } else { "false" },
        ];
        let info = [&*play.session, &labels.user, &labels.location];
        Self {
            play: encode_labels(catalogue::PLAYS.labels.iter().copied().zip(values)),
            info: encode_labels(
                catalogue::SESSION_BANDWIDTH
                    .labels
                    .iter()
                    .copied()
                    .zip(info),
            ),
            viewer: encode_labels(catalogue::SESSION_PROGRESS.labels.iter().copied().zip(info)),
            session: encode_labels([("session", &*play.session)]),
            transcode: transcode(play),
        }
    }
}

fn transcode(play: &Play) -> Option<Box<str>> {
    let transcode = play.transcode.as_deref()?;
    let decision = |text: &crate::plex::lenient::Text| match text.get().map(normalize_token) {
        Some(decision) if !decision.is_empty() => decision.into_owned(),
        _ => "none".to_owned(),
    };
    let codec = |text: &crate::plex::lenient::Text| normalize_token(text.or_empty()).into_owned();
    let [decoding, encoding, full_pipeline] = classify::hardware(transcode).map(Cow::into_owned);
    let values = [
        play.session.clone().into_string(),
        decision(&transcode.video_decision),
        decision(&transcode.audio_decision),
        codec(&transcode.source_video_codec),
        codec(&transcode.video_codec),
        codec(&transcode.source_audio_codec),
        codec(&transcode.audio_codec),
        codec(&transcode.container),
        codec(&transcode.protocol),
        decoding,
        encoding,
        full_pipeline,
    ];
    let labels = catalogue::TRANSCODE_INFO.labels.iter().copied();
    Some(encode_labels(labels.zip(values.iter().map(String::as_str))))
}

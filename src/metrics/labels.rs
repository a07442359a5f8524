//! The label texts of a play: built when a value changes, not when somebody scrapes.

use std::borrow::Cow;

use super::{catalogue, text::block};
use crate::{
    plex::request::Id,
    state::{classify, libraries::Library, play::Play, words::word},
};

/// The text of a play's labels, for every set of labels it appears with.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayLabels {
    /// Of `plex_plays_total` and `plex_play_seconds_total`.
    pub play: Box<str>,
    /// `session`, `user`, `location`.
    pub link: Box<str>,
    /// `session`, `user`.
    pub viewer: Box<str>,
    /// `session`.
    pub session: Box<str>,
    /// Of `plex_transcode_session_info`, for a play that has a transcode.
    pub transcode: Option<Box<str>>,
}

/// `library`, `library_id` and `library_type` of what is in no known library.
pub const UNKNOWN_LIBRARY: [&str; 3] = ["unknown", "0", "unknown"];

impl PlayLabels {
    /// The label texts of `play`; `library` is the one it is in, if it is known.
    #[must_use]
    pub fn of(play: &Play, library: Option<(Id, &Library)>) -> Self {
        let facts = &play.facts;
        let library_id = library.map(|(id, _)| id.to_string());
        let [library, library_id, library_type] = match (library, &library_id) {
            (Some((_, library)), Some(id)) => [&*library.title, id, &library.kind],
            _ => UNKNOWN_LIBRARY,
        };
        let bitrate = play.first_bitrate().to_string();
        let values = [
            library,
            library_id,
            library_type,
            &facts.media_type,
            &facts.title,
            &facts.child_title,
            &facts.grandchild_title,
            &facts.stream_type,
            &facts.stream_resolution,
            play.file_resolution(),
            &bitrate,
            &facts.device,
            &facts.device_type,
            &facts.user,
            &play.session,
            facts.transcode_type,
            &facts.subtitle_action,
            &facts.location,
            if facts.local { "true" } else { "false" },
        ];
        let link = [&*play.session, &facts.user, &facts.location];
        Self {
            play: block(catalogue::PLAYS.labels.iter().copied().zip(values)),
            link: block(
                catalogue::SESSION_BANDWIDTH
                    .labels
                    .iter()
                    .copied()
                    .zip(link),
            ),
            viewer: block(catalogue::SESSION_PROGRESS.labels.iter().copied().zip(link)),
            session: block([("session", &*play.session)]),
            transcode: transcode(play),
        }
    }
}

fn transcode(play: &Play) -> Option<Box<str>> {
    let transcode = play.transcode.as_deref()?;
    let decision = |text: &crate::plex::tolerant::Text| match text.get().map(word) {
        Some(decision) if !decision.is_empty() => decision.into_owned(),
        _ => "none".to_owned(),
    };
    let codec = |text: &crate::plex::tolerant::Text| word(text.or_empty()).into_owned();
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
    Some(block(labels.zip(values.iter().map(String::as_str))))
}

//! Encodes the label sets of a play: when a value changes, not at every scrape.

use std::borrow::Cow;

use super::{
    classify,
    labels::EncodedLabels,
    play::{Play, Title},
    sanitize::normalize_token,
    source::Source,
    texts::Texts,
};
use crate::metrics::{
    catalogue::{self, Desc},
    encode_labels,
};

fn encode<const N: usize>(desc: &Desc, values: [&str; N]) -> Box<str> {
    debug_assert_eq!(desc.labels.len(), N, "{}", desc.name);
    encode_labels(desc.labels.iter().copied().zip(values))
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

impl EncodedLabels {
    /// The encoded labels of `play`.
    #[must_use]
    pub fn of(play: &Play) -> Self {
        let labels = &play.labels;
        let session = &*play.session;
        let [library, library_id, _] = play.library_labels.all();
        Self {
            network: network(session, &labels.user, &labels.location),
            info: encode(
                &catalogue::SESSION_INFO,
                [
                    session,
                    play.phase().label(),
                    &labels.user,
                    &labels.player,
                    &labels.device,
                    &labels.device_type,
                    &labels.media_type,
                    &labels.title,
                    &labels.child_title,
                    &labels.grandchild_title,
                    library,
                    library_id,
                    &labels.stream_type,
                    labels.transcode_type,
                    &labels.location,
                    flag(labels.relayed),
                    flag(labels.secure),
                    flag(labels.live),
                ],
            ),
            media: media(play),
            causes: play
                .causes()
                .into_iter()
                .map(|cause| encode(&catalogue::TRANSCODE_CAUSE, [session, cause]))
                .collect(),
            transcode: transcode(play),
        }
    }
}

/// The labels of `plex_session_bandwidth_kbps`, which begin with those of other metrics.
fn network(session: &str, user: &str, location: &str) -> Texts<3> {
    let text = encode(&catalogue::SESSION_BANDWIDTH, [session, user, location]);
    let viewer = encode(&catalogue::SESSION_PROGRESS, [session, user]).len();
    let session = encode(&catalogue::TRANSCODE_SPEED, [session]).len();
    Texts::of([&text[..session], &text[session..viewer], &text[viewer..]])
}

/// The encoded labels of `plex_plays_total` and `plex_play_seconds_total`. Their series keeps them.
#[must_use]
pub fn play_labels(play: &Play) -> Box<str> {
    let labels = &play.labels;
    let [library, library_id, library_type] = play.library_labels.all();
    encode(
        &catalogue::PLAYS,
        [
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
            &play.first_bitrate().to_string(),
            &labels.device,
            &labels.device_type,
            &labels.user,
            &play.session,
            labels.transcode_type,
            &labels.subtitle_action,
            &labels.location,
            flag(labels.local),
        ],
    )
}

fn media(play: &Play) -> Option<Box<str>> {
    let unknown = Source::default();
    let source = match (play.source.as_deref(), play.title) {
        (Some(source), _) => source,
        (None, Title::Wanted) => return None,
        (None, Title::None | Title::Retried | Title::Done) => &unknown,
    };
    Some(encode(
        &catalogue::SESSION_MEDIA_INFO,
        [
            &play.session,
            &source.container,
            &source.video_codec,
            &source.video_resolution,
            source.dynamic_range,
            &source.audio_codec,
            &source.audio_channels,
            &source.subtitle_codec,
        ],
    ))
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

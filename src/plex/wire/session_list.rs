//! The sessions of a listing: as many as there is memory for.

use serde::Deserialize;

use super::sessions::Session;
use crate::plex::lenient::{Elements, streamed, truncate};

/// At most this many sessions are kept.
const MAX_SESSIONS: usize = 10_000;
/// The [`Session::weight`] of all sessions together is at most this: 5,000 sessions with 200 bytes of label text
/// each, and a transcode. One unit takes up to 22 bytes: a text is in memory about seven times (as a
/// value, in cached label sets and in the page), and several times that while a listing is applied.
pub const MAX_WEIGHT: usize = 2_600_000;
/// The weight of a session in addition to its text.
pub const SESSION_WEIGHT: usize = 175;
/// The weight of its transcode in addition to its text.
const TRANSCODE_WEIGHT: usize = 111;

/// `/status/sessions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sessions {
    /// Absent when nobody plays.
    #[serde(rename = "Metadata", deserialize_with = "streamed")]
    pub sessions: SessionList,
}

/// The first sessions of a listing; of the others only their number.
#[derive(Debug, Default)]
#[expect(
    clippy::vec_box,
    reason = "unboxed, they would be one block of megabytes"
)]
pub struct SessionList {
    sessions: Vec<Box<Session>>,
    weight: usize,
    dropped: u64,
}

impl SessionList {
    /// The sessions.
    #[must_use]
    pub fn as_slice(&self) -> &[Box<Session>] {
        &self.sessions
    }

    /// The sessions, to be completed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.sessions.iter_mut().map(|session| &mut **session)
    }

    /// Sessions that were not decoded.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Elements for SessionList {
    type Element = Box<Session>;
    fn is_full(&self) -> bool {
        self.sessions.len() >= MAX_SESSIONS || self.weight > MAX_WEIGHT
    }
    fn push(&mut self, session: Box<Session>) {
        self.weight += session.weight();
        self.sessions.push(session);
    }
    fn skip(&mut self) {
        self.dropped += 1;
    }
}

impl Session {
    /// Its share in [`MAX_WEIGHT`]: its labels, the other text that is kept of it, and its transcode.
    #[must_use]
    pub fn weight(&self) -> usize {
        let transcode = self.transcode.get();
        SESSION_WEIGHT
            + label_text(self)
            + kept_text(self) / 8
            + transcode.map_or(0, |_| TRANSCODE_WEIGHT)
    }
}

/// The bytes of text of `session` that are kept once or twice.
fn kept_text(session: &Session) -> usize {
    let transcode = session.transcode.get();
    let texts = transcode.map(|transcode| {
        [
            &transcode.key,
            &transcode.video_decision,
            &transcode.audio_decision,
            &transcode.subtitle_decision,
            &transcode.source_video_codec,
            &transcode.video_codec,
            &transcode.source_audio_codec,
            &transcode.audio_codec,
            &transcode.container,
            &transcode.protocol,
            &transcode.transcode_hw_decoding,
            &transcode.transcode_hw_encoding,
        ]
    });
    let player = session.player.get();
    let info = session.session.get();
    texts
        .into_iter()
        .flatten()
        .chain([&session.rating_key, &session.key])
        .chain(player.map(|player| &player.machine_identifier))
        .chain(info.map(|info| &info.id))
        .map(|text| text.or_empty().len())
        .sum()
}

/// The bytes of free text in the labels of `session`. The key counts twice, because every label set
/// has it.
fn label_text(session: &Session) -> usize {
    let player = session.player.get();
    let key = session.session_key.or_empty();
    [
        key,
        key,
        session.title.or_empty(),
        session.parent_title.or_empty(),
        session.grandparent_title.or_empty(),
        session.user.get().map_or("", |user| user.title.or_empty()),
        player.map_or("", |player| player.title.or_empty()),
        player.map_or("", |player| player.device.or_empty()),
        player.map_or("", |player| player.product.or_empty()),
    ]
    .into_iter()
    .map(|text| escaped(truncate(text)))
    .sum()
}

/// The length of `text` as a label value.
#[must_use]
pub fn escaped(text: &str) -> usize {
    let escapes = |byte: &u8| matches!(byte, b'\\' | b'"' | b'\n');
    text.len() + text.as_bytes().iter().filter(|byte| escapes(byte)).count()
}

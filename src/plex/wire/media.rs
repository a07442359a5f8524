//! The versions of an item, their files and streams, in sessions and in the library alike.

use serde::Deserialize;

use crate::plex::lenient::{Flag, LenientVec, Number, Selectable, Selected, Text};

/// One version of an item. In a transcoded session it describes the output.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Media {
    /// The version's number.
    pub id: Text,
    /// kbit/s.
    pub bitrate: Number,
    /// `4k`, `1080`, `720p`, `SD` …
    pub video_resolution: Text,
    /// `mkv`, `mp4`, `flac` …
    pub container: Text,
    /// `hevc`, `h264` …
    pub video_codec: Text,
    /// `eac3`, `aac` …
    pub audio_codec: Text,
    /// 2, 6, 8 …
    pub audio_channels: Number,
    /// Whether this version plays.
    pub selected: Flag,
    /// Of its files: the one that plays.
    #[serde(rename = "Part")]
    pub part: Selected<Part>,
}

impl Selectable for Media {
    fn is_selected(&self) -> bool {
        self.selected.is_true()
    }

    fn trim(&mut self) {
        if let Some(part) = self.part.get_mut() {
            part.streams.retain_firsts(Stream::role);
        }
    }
}

/// One file of a version.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Part {
    /// `directplay`, `copy`, `transcode`; absent in some direct plays.
    pub decision: Text,
    /// Whether this file plays.
    pub selected: Flag,
    /// Video, audio and subtitles.
    #[serde(rename = "Stream")]
    pub streams: LenientVec<Stream>,
}

impl Selectable for Part {
    fn is_selected(&self) -> bool {
        self.selected.is_true()
    }
}

/// `streamType` of video.
pub const VIDEO: u64 = 1;
/// `streamType` of audio.
pub const AUDIO: u64 = 2;
/// `streamType` of subtitles.
pub const SUBTITLE: u64 = 3;

/// One stream of a file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Stream {
    /// Its number, the same in a session and in the library.
    pub id: Text,
    /// [`VIDEO`], [`AUDIO`], [`SUBTITLE`].
    pub stream_type: Number,
    /// `hevc`, `eac3`, `srt` …
    pub codec: Text,
    /// Of audio.
    pub channels: Number,
    /// The transfer function: `smpte2084` is HDR10, `arib-std-b67` HLG.
    pub color_trc: Text,
    /// Whether there is a Dolby Vision layer.
    #[serde(rename = "DOVIPresent")]
    pub dovi_present: Flag,
    /// kbit/s.
    pub bitrate: Number,
    /// `copy`, `transcode`, `burn`, `ignore`; absent when played directly.
    pub decision: Text,
    /// Whether it plays.
    pub selected: Flag,
}

impl Stream {
    /// Whether it is of this `streamType`.
    #[must_use]
    pub fn is(&self, kind: u64) -> bool {
        self.stream_type.whole() == Some(kind)
    }

    /// Whether it has a decision of the transcoder.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.decision.get().is_some() && !self.decision.is("ignore")
    }

    /// Its role among a session's streams. Of each kind only the first, the first selected one, and
    /// the first of either with a decision are used, so the first stream of every role is enough.
    fn role(&self) -> (Option<u64>, bool, bool) {
        let kind = self.stream_type.whole();
        let kind = kind.filter(|kind| [VIDEO, AUDIO, SUBTITLE].contains(kind));
        (kind, self.selected.is_true(), self.is_decided())
    }
}

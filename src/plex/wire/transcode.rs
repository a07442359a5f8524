//! A transcode.

use serde::Deserialize;

use crate::plex::lenient::{Flag, Number, Text};

/// A transcode, in a session, in a notification or in `/transcode/sessions`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TranscodeSession {
    /// Its id, bare or behind `/transcode/sessions/`.
    pub key: Text,
    /// Ahead of the client, so pausing on purpose.
    pub throttled: Flag,
    /// Percent; 0 at the start, −1 live or unknown.
    pub progress: Number,
    /// Multiples of real time.
    pub speed: Number,
    /// `transcode`, `copy`; absent when there is no video.
    pub video_decision: Text,
    /// `transcode`, `copy`; absent when there is no audio.
    pub audio_decision: Text,
    /// `burn`, `copy`, `transcode`, `ignore`; usually absent.
    pub subtitle_decision: Text,
    /// The file's.
    pub source_video_codec: Text,
    /// The output's.
    pub video_codec: Text,
    /// The file's.
    pub source_audio_codec: Text,
    /// The output's.
    pub audio_codec: Text,
    /// The output's.
    pub audio_channels: Number,
    /// Lines of the output.
    pub height: Number,
    /// `mkv`, `mp4`, `mpegts`.
    pub container: Text,
    /// `http`, `hls`, `dash`.
    pub protocol: Text,
    /// Whether hardware was asked for.
    pub transcode_hw_requested: Flag,
    /// `vaapi`, `nvdec` …; absent means software, or not begun yet.
    pub transcode_hw_decoding: Text,
    /// `vaapi`, `nvenc` …; absent means software, or not begun yet.
    pub transcode_hw_encoding: Text,
    /// Decoded frames never leave the hardware.
    pub transcode_hw_full_pipeline: Flag,
}

impl TranscodeSession {
    /// Takes over the fields of `newer` that are present; the others stay.
    pub fn merge(&mut self, newer: Self) {
        let Self {
            key,
            throttled,
            progress,
            speed,
            video_decision,
            audio_decision,
            subtitle_decision,
            source_video_codec,
            video_codec,
            source_audio_codec,
            audio_codec,
            audio_channels,
            height,
            container,
            protocol,
            transcode_hw_requested,
            transcode_hw_decoding,
            transcode_hw_encoding,
            transcode_hw_full_pipeline,
        } = newer;
        self.key.merge(key);
        self.throttled.merge(throttled);
        self.progress.merge(progress);
        self.speed.merge(speed);
        self.video_decision.merge(video_decision);
        self.audio_decision.merge(audio_decision);
        self.subtitle_decision.merge(subtitle_decision);
        self.source_video_codec.merge(source_video_codec);
        self.video_codec.merge(video_codec);
        self.source_audio_codec.merge(source_audio_codec);
        self.audio_codec.merge(audio_codec);
        self.audio_channels.merge(audio_channels);
        self.height.merge(height);
        self.container.merge(container);
        self.protocol.merge(protocol);
        self.transcode_hw_requested.merge(transcode_hw_requested);
        self.transcode_hw_decoding.merge(transcode_hw_decoding);
        self.transcode_hw_encoding.merge(transcode_hw_encoding);
        self.transcode_hw_full_pipeline
            .merge(transcode_hw_full_pipeline);
    }
}

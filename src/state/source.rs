//! The file behind a session, as described by the library item's metadata.

use std::sync::Arc;

use super::{
    classify,
    sanitize::{normalize_resolution, normalize_token, plausible_kbps},
};
use crate::plex::{
    lenient::Number,
    wire::{AUDIO, Media, Metadata, SUBTITLE, Session, Stream, VIDEO},
};

pub(super) const UNKNOWN: &str = "unknown";
pub(super) const NONE: &str = "none";

/// The streams that a session plays, by id; the ids are the same in the library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectedStreams {
    audio: Box<str>,
    subtitle: Box<str>,
    /// Whether the session lists its audio and subtitle streams at all.
    listed: bool,
    /// Whether the transcoder processes subtitles, listed or not.
    subtitled: bool,
}

impl SelectedStreams {
    /// Those of a listed session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let part = session.media.get().and_then(|media| media.part.get());
        let streams = part.map_or(&[][..], |part| part.streams.as_slice());
        let id = |kind| {
            let mut selected = streams
                .iter()
                .filter(|stream| stream.is(kind) && stream.selected.is_true());
            Box::from(selected.next().map_or("", |stream| stream.id.or_empty()))
        };
        let action = classify::subtitle_action(session.transcode.get().map(Box::as_ref));
        Self {
            audio: id(AUDIO),
            subtitle: id(SUBTITLE),
            listed: streams
                .iter()
                .any(|stream| stream.is(AUDIO) || stream.is(SUBTITLE)),
            subtitled: ["burn", "copy", "transcode"].contains(&&*action),
        }
    }
}

/// An audio or subtitle stream of a file.
#[derive(Debug, Clone, PartialEq)]
struct Track {
    id: Box<str>,
    is_audio: bool,
    codec: Box<str>,
    channels: Option<f64>,
    /// Whether the library selects it, for sessions that select none.
    selected: bool,
}

/// The file behind a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub container: Box<str>,
    pub video_codec: Box<str>,
    pub video_resolution: Box<str>,
    pub dynamic_range: &'static str,
    pub audio_codec: Box<str>,
    pub audio_channels: Box<str>,
    pub subtitle_codec: Box<str>,
    pub(super) bitrate: Option<f64>,
    pub(super) channels: Option<f64>,
    /// Shared by all plays of the version.
    tracks: Arc<[Track]>,
    /// Whether the file's streams are known, so that a missing one is known to be missing.
    analysed: bool,
}

/// The versions of a library item: id, the file's resolution, and its description.
#[derive(Debug)]
pub struct Versions(Vec<(Box<str>, Box<str>, Source)>);

impl Versions {
    /// Those in the metadata of an item.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let item = metadata.items.as_slice().first();
        let versions = item.map_or(&[][..], |item| item.media.as_slice());
        let version = |media: &Media| {
            let resolution = normalize_resolution(media.video_resolution.or_empty());
            let source = Source::of(media, &SelectedStreams::default());
            (media.id.or_empty().into(), resolution.into(), source)
        };
        Self(versions.iter().map(version).collect())
    }

    /// The file's resolution and the description of the version with this id, or else of the first.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<(&str, &Source)> {
        let mut versions = self.0.iter();
        let version = versions
            .find(|(own, ..)| !id.is_empty() && **own == *id)
            .or_else(|| self.0.first());
        version.map(|(_, resolution, source)| (&**resolution, source))
    }
}

impl Default for Source {
    /// Nothing is known.
    fn default() -> Self {
        Self {
            container: UNKNOWN.into(),
            video_codec: UNKNOWN.into(),
            video_resolution: UNKNOWN.into(),
            dynamic_range: UNKNOWN,
            audio_codec: UNKNOWN.into(),
            audio_channels: UNKNOWN.into(),
            subtitle_codec: UNKNOWN.into(),
            bitrate: None,
            channels: None,
            tracks: Arc::default(),
            analysed: false,
        }
    }
}

impl Source {
    /// Describes the version `media` of a library item, of which the session plays `selected`.
    #[must_use]
    pub fn of(media: &Media, selected: &SelectedStreams) -> Self {
        let streams = media
            .part
            .get()
            .map_or(&[][..], |part| part.streams.as_slice());
        let video = streams.iter().find(|stream| stream.is(VIDEO));
        let known = |codec: Option<&str>| codec.map(|codec| Box::from(&*normalize_token(codec)));
        let missing = || Box::from(if streams.is_empty() { UNKNOWN } else { NONE });
        let video_codec = known(video.and_then(|video| video.codec.get()))
            .or_else(|| known(media.video_codec.get()))
            .unwrap_or_else(|| video.map_or_else(missing, |_| UNKNOWN.into()));
        let tracks = streams.iter().filter_map(|stream| {
            let is_audio = stream.is(AUDIO);
            // What an audio stream omits, the version may give for its first one.
            let (codec, channels) = if is_audio {
                (media.audio_codec.get(), media.audio_channels)
            } else {
                (None, Number::default())
            };
            (is_audio || stream.is(SUBTITLE)).then(|| Track {
                id: stream.id.or_empty().into(),
                is_audio,
                codec: known(stream.codec.get().or(codec)).unwrap_or_else(|| UNKNOWN.into()),
                channels: stream.channels.non_negative().or(channels.non_negative()),
                selected: stream.selected.is_true(),
            })
        });
        let mut source = Self {
            container: known(media.container.get()).unwrap_or_else(|| UNKNOWN.into()),
            video_resolution: match media.video_resolution.get() {
                Some(resolution) => normalize_resolution(resolution).into(),
                None if &*video_codec == NONE => NONE.into(),
                None => UNKNOWN.into(),
            },
            dynamic_range: match video {
                Some(video) => dynamic_range(video),
                None if &*video_codec == NONE => NONE,
                None => UNKNOWN,
            },
            video_codec,
            audio_codec: known(media.audio_codec.get()).unwrap_or_else(missing),
            bitrate: plausible_kbps(media.bitrate).filter(|bitrate| *bitrate > 0.0),
            channels: media.audio_channels.non_negative(),
            tracks: tracks.collect(),
            analysed: !streams.is_empty(),
            ..Self::default()
        };
        source.select(selected);
        source
    }

    /// Selects the streams that the session plays.
    pub fn select(&mut self, selected: &SelectedStreams) {
        let of_kind = |is_audio: bool| {
            self.tracks
                .iter()
                .filter(move |track| track.is_audio == is_audio)
        };
        let by_id =
            |is_audio, id: &str| of_kind(is_audio).find(|track| !id.is_empty() && *track.id == *id);
        let chosen = |is_audio| of_kind(is_audio).find(|track| track.selected);
        let first = |is_audio| of_kind(is_audio).next();
        let audio = by_id(true, &selected.audio)
            .or_else(|| chosen(true))
            .or_else(|| first(true));
        // A session that lists its streams and selects no subtitle shows none.
        let subtitle = by_id(false, &selected.subtitle)
            .or_else(|| chosen(false).filter(|_| !selected.listed || selected.subtitled))
            .or_else(|| first(false).filter(|_| selected.subtitled));
        let (audio_codec, channels) = match audio {
            Some(audio) => (audio.codec.clone(), audio.channels),
            None => (self.audio_codec.clone(), self.channels),
        };
        let subtitle_codec = match subtitle {
            Some(subtitle) => subtitle.codec.clone(),
            None if self.analysed => NONE.into(),
            None => UNKNOWN.into(),
        };
        self.audio_channels = match channels {
            Some(channels) if channels <= 64.0 => format!("{channels:.0}").into(),
            None if &*audio_codec == NONE => NONE.into(),
            _ => UNKNOWN.into(),
        };
        self.audio_codec = audio_codec;
        self.channels = channels;
        self.subtitle_codec = subtitle_codec;
    }
}

fn dynamic_range(video: &Stream) -> &'static str {
    let transfer = video.color_trc.or_empty().trim().to_ascii_lowercase();
    match &*transfer {
        _ if video.dovi_present.is_true() => "dolby_vision",
        "smpte2084" => "hdr10",
        "arib-std-b67" => "hlg",
        _ => "sdr",
    }
}

/// The file of a film, with a video, two audio and two subtitle streams.
#[cfg(test)]
pub(super) const FILM: &str = r#"{"bitrate":14590,"container":"mkv","videoCodec":"hevc","videoResolution":"4k",
        "audioCodec":"eac3","audioChannels":6,"Part":[{"Stream":[
        {"id":1,"streamType":1,"codec":"hevc","colorTrc":"smpte2084"},
        {"id":2,"streamType":2,"codec":"eac3","channels":6,"selected":true},
        {"id":3,"streamType":2,"codec":"aac","channels":2},
        {"id":4,"streamType":3,"codec":"srt"},{"id":5,"streamType":3,"codec":"pgs"}]}]}"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn media(json: &str) -> Media {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_streams_that_the_session_plays_are_described() {
        let session: Session = serde_json::from_str(
            r#"{"Media":[{"Part":[{"Stream":[{"id":"3","streamType":2,"selected":"1"},
                {"id":"5","streamType":3,"selected":true}]}]}]}"#,
        )
        .unwrap();
        let source = Source::of(&media(FILM), &SelectedStreams::of(&session));
        assert_eq!(&*source.audio_codec, "aac");
        assert_eq!(&*source.audio_channels, "2");
        assert_eq!(&*source.subtitle_codec, "pgs");
        assert_eq!(source.dynamic_range, "hdr10");
        let mut source = Source::of(&media(FILM), &SelectedStreams::default());
        assert_eq!(
            (&*source.audio_codec, &*source.subtitle_codec),
            ("eac3", "none")
        );
        // Burnt-in subtitles that the session does not list are those of the file.
        let session: Session =
            serde_json::from_str(r#"{"TranscodeSession":{"subtitleDecision":"burn"}}"#).unwrap();
        source.select(&SelectedStreams::of(&session));
        assert_eq!(&*source.subtitle_codec, "srt");
    }

    #[test]
    fn omitted_values_are_unknown_and_missing_streams_are_none() {
        let track = Source::of(
            &media(
                r#"{"container":"flac","audioCodec":"flac","audioChannels":2,
                "Part":[{"Stream":[{"streamType":2,"codec":"flac","channels":2}]}]}"#,
            ),
            &SelectedStreams::default(),
        );
        assert_eq!(
            [
                &*track.video_codec,
                &*track.video_resolution,
                track.dynamic_range
            ],
            [NONE; 3]
        );
        assert_eq!(
            Source::of(&media("{}"), &SelectedStreams::default()),
            Source::default()
        );
    }
}

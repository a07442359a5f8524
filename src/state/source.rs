//! The file behind a session, out of the library item's metadata, and what its difference from the
//! output says about why it is transcoded.

use std::sync::Arc;

use super::{
    classify,
    sanitize::{normalize_resolution, normalize_token, plausible_kbps},
};
use crate::plex::{
    lenient::{Number, Text},
    wire::{AUDIO, Media, Metadata, SUBTITLE, Session, Stream, TranscodeSession, VIDEO},
};

const UNKNOWN: &str = "unknown";
const NONE: &str = "none";

/// The streams that a session plays, by number: the same in the library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectedStreams {
    audio: Box<str>,
    subtitle: Box<str>,
    /// Whether the session lists its audio and subtitle streams at all.
    listed: bool,
    /// Whether the transcoder works on subtitles, listed or not.
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
    /// The library's choice, where the session names none.
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
    bitrate: Option<f64>,
    channels: Option<f64>,
    /// Shared by all plays of the version.
    tracks: Arc<[Track]>,
    /// Whether the file's streams are known, so that a missing one is known to be missing.
    analysed: bool,
}

/// The versions of a library item: the number, the file's resolution, and what it is.
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

    /// The version with this number, or else the first: the file's resolution, and what it is.
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
    /// What the library item's version `media` is, of which the session plays `selected`.
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
            // What a stream does not tell, the version does for its first audio stream.
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

    /// The session plays these of its streams now.
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

/// What a session is sent, as far as it is compared with its file.
#[derive(Debug)]
pub struct Output<'a> {
    /// What the transcoder does, or what the streams' decisions say.
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
            // The height of a wide picture is below its name: 1080 is often 800. So names come first.
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

/// The lines that a resolution's name stands for.
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

    fn media(json: &str) -> Media {
        serde_json::from_str(json).unwrap()
    }

    const FILM: &str = r#"{"bitrate":14590,"container":"mkv","videoCodec":"hevc","videoResolution":"4k",
        "audioCodec":"eac3","audioChannels":6,"Part":[{"Stream":[
        {"id":1,"streamType":1,"codec":"hevc","colorTrc":"smpte2084"},
        {"id":2,"streamType":2,"codec":"eac3","channels":6,"selected":true},
        {"id":3,"streamType":2,"codec":"aac","channels":2},
        {"id":4,"streamType":3,"codec":"srt"},{"id":5,"streamType":3,"codec":"pgs"}]}]}"#;

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
        // Burnt-in subtitles that the session does not list are the file's.
        let session: Session =
            serde_json::from_str(r#"{"TranscodeSession":{"subtitleDecision":"burn"}}"#).unwrap();
        source.select(&SelectedStreams::of(&session));
        assert_eq!(&*source.subtitle_codec, "srt");
    }

    #[test]
    fn what_plex_does_not_say_is_unknown_and_what_is_not_there_is_none() {
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

    #[test]
    fn every_difference_from_the_file_is_a_cause() {
        let file = Source::of(&media(FILM), &SelectedStreams::default());
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

//! The shapes of Plex's JSON: only the fields the exporter uses, each lenient, no logic beyond
//! choosing among what a response offers.
//!
//! Field names follow Plex. Units: `duration` and `viewOffset` are milliseconds, `bitrate` and
//! `bandwidth` kbit/s (1000 bits), `bytes` and `storageTotal` bytes, `at` seconds since the epoch,
//! utilisations percent.

use serde::Deserialize;

use super::{
    id::Id,
    lenient::{Flag, LenientVec, MaybeObject, Number, Selectable, Selected, Text},
};

/// Every response is an object with this one key. Without it, something else than Plex has responded.
#[derive(Debug, Deserialize)]
pub struct Envelope<T> {
    /// The response itself.
    #[serde(rename = "MediaContainer")]
    pub container: T,
}

/// `/`, and the same fields again in `/media/providers`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Server {
    /// The name its owner gave it.
    pub friendly_name: Text,
    /// The server's id.
    pub machine_identifier: Text,
    /// Such as `1.43.4.10903-e5521bd8c`.
    pub version: Text,
    /// `Linux`, `MacOSX`, `Windows`.
    pub platform: Text,
    /// Free text.
    pub platform_version: Text,
    /// Whether the owner has Plex Pass.
    pub my_plex_subscription: Flag,
    /// Video transcodes running now; audio-only and direct streams are not counted.
    pub transcoder_active_video_sessions: Number,
    /// Present only while the server starts.
    pub start_state: Text,
    /// `mapped` when plex.tv sees a way to the server from outside.
    pub my_plex_mapping_state: Text,
    /// `ok` when the server is signed in to plex.tv.
    pub my_plex_signin_state: Text,
}

/// `/media/providers?includeStorage=1`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Providers {
    /// Of the local library, live TV and online services: the local library.
    #[serde(rename = "MediaProvider")]
    pub own: Selected<Provider>,
    /// Present only while the server starts.
    #[serde(rename = "startState")]
    pub start_state: Text,
}

impl Providers {
    /// The libraries of Plex's own provider. `None` when the response does not tell: a server that is
    /// starting lists nothing, and that does not mean that everything was deleted.
    #[must_use]
    pub fn libraries(&self) -> Option<Vec<(Id, &Directory)>> {
        const KINDS: [&str; 5] = ["movie", "show", "artist", "photo", "homevideo"];
        let libraries: Vec<_> = self
            .content()
            .into_iter()
            .flat_map(|content| content.directories.as_slice())
            .filter(|directory| KINDS.iter().any(|kind| directory.kind.is(kind)))
            .filter_map(|directory| Some((Id::parse(directory.id.get()?)?, directory)))
            .collect();
        let starting = self.start_state.get().is_some();
        (!starting || !libraries.is_empty()).then_some(libraries)
    }

    /// What Plex's own provider lists.
    #[must_use]
    pub fn content(&self) -> Option<&Feature> {
        let own = self.own.get().filter(|provider| provider.is_selected())?;
        own.content.get().filter(|feature| feature.is_selected())
    }
}

/// One media provider.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// `com.plexapp.plugins.library` is the local library.
    pub identifier: Text,
    /// Of what it offers: its content.
    #[serde(rename = "Feature")]
    pub content: Selected<Feature>,
}

impl Selectable for Provider {
    fn is_selected(&self) -> bool {
        self.identifier.is("com.plexapp.plugins.library")
    }
}

/// One feature of a provider.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// `content` lists the libraries.
    #[serde(rename = "type")]
    pub kind: Text,
    /// Libraries, and other entries such as Home and Playlists.
    #[serde(rename = "Directory")]
    pub directories: LenientVec<Directory, 4_000>,
}

impl Selectable for Feature {
    fn is_selected(&self) -> bool {
        self.kind.is("content")
    }
}

/// One entry of the `content` feature.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Directory {
    /// A number for libraries; `playlists` or absent for other entries.
    pub id: Text,
    /// `movie`, `show`, `artist`, `photo`, `homevideo` are libraries.
    #[serde(rename = "type")]
    pub kind: Text,
    /// The library's name.
    pub title: Text,
    /// Milliseconds of everything in it; only with `includeStorage=1`.
    pub duration_total: Number,
    /// Bytes of everything in it; only with `includeStorage=1`.
    pub storage_total: Number,
    /// When it was last scanned.
    pub scanned_at: Number,
    /// Whether it is being scanned.
    pub refreshing: Flag,
}

/// `/library/sections/{id}/all` with paging, sorted: the count and the newest item.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Items {
    /// Elements in this response.
    pub size: Number,
    /// Elements in the section; only when paging was understood.
    pub total_size: Number,
    /// The newest item.
    #[serde(rename = "Metadata")]
    pub newest: LenientVec<NewestItem, 1>,
}

/// An item of a section.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NewestItem {
    /// When it was added.
    pub added_at: Number,
}

/// `/status/sessions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sessions {
    /// Absent when nobody plays. Boxed: a vector of them would be one block of megabytes.
    #[serde(rename = "Metadata")]
    pub sessions: LenientVec<Box<Session>, 10_000>,
}

/// One live session.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Session {
    /// A counter that starts from 1 with the server.
    pub session_key: Text,
    /// The item's number; absent, empty or a URI for live TV.
    pub rating_key: Text,
    /// The item's path.
    pub key: Text,
    /// `movie`, `episode`, `track`, `clip`, `photo`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// Film, episode or track.
    pub title: Text,
    /// Season or album.
    pub parent_title: Text,
    /// Show or artist.
    pub grandparent_title: Text,
    /// A library's number, or `-2`, `-3` for what is in none.
    #[serde(rename = "librarySectionID")]
    pub library_section_id: Text,
    /// Length of the item.
    pub duration: Number,
    /// Where in it the client is.
    pub view_offset: Number,
    /// Whether it is live TV.
    pub live: Flag,
    /// Who plays.
    #[serde(rename = "User")]
    pub user: MaybeObject<User>,
    /// On what.
    #[serde(rename = "Player")]
    pub player: MaybeObject<Player>,
    /// How it reaches them; absent for DLNA, online providers and old servers.
    #[serde(rename = "Session")]
    pub session: MaybeObject<SessionInfo>,
    /// What the transcoder does for them; its presence alone does not mean transcoding.
    #[serde(rename = "TranscodeSession")]
    pub transcode: MaybeObject<Box<TranscodeSession>>,
    /// Of the versions of the item: the one that plays.
    #[serde(rename = "Media")]
    pub media: Selected<Media>,
}

/// `User` of a session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct User {
    /// `1` is the owner; others have plex.tv ids.
    pub id: Text,
    /// The name.
    pub title: Text,
}

/// `Player` of a session.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Player {
    /// `playing`, `paused` or `buffering`.
    pub state: Text,
    /// Whether the client is in the server's network.
    pub local: Flag,
    /// Such as `SHIELD Android TV`.
    pub device: Text,
    /// The client program.
    pub product: Text,
    /// The name its owner gave the client.
    pub title: Text,
    /// Whether plex.tv relays the connection.
    pub relayed: Flag,
    /// Whether the connection is encrypted.
    pub secure: Flag,
    /// The client's id.
    pub machine_identifier: Text,
}

/// `Session` of a session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SessionInfo {
    /// The client's id, or random.
    pub id: Text,
    /// Reserved kbit/s, above the media's bitrate.
    pub bandwidth: Number,
    /// `lan`, `wan`, `cellular`.
    pub location: Text,
}

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

    /// Whether the transcoder has decided about it.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.decision.get().is_some() && !self.decision.is("ignore")
    }

    /// What of a session's streams may matter: of each kind the first, the first that plays, and the
    /// first of either that is decided about. The first of every role is enough.
    fn role(&self) -> (Option<u64>, bool, bool) {
        let kind = self.stream_type.whole();
        let kind = kind.filter(|kind| [VIDEO, AUDIO, SUBTITLE].contains(kind));
        (kind, self.selected.is_true(), self.is_decided())
    }
}

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
    /// Takes over what `newer` says; what it leaves out stays as it was.
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

/// `/library/metadata/{id}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The section of all of them; absent for what is in none.
    #[serde(rename = "librarySectionID")]
    pub library_section_id: Text,
    /// One item for one id.
    #[serde(rename = "Metadata")]
    pub items: LenientVec<Item, 1>,
}

/// One library item.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Item {
    /// The section's number.
    #[serde(rename = "librarySectionID")]
    pub library_section_id: Text,
    /// Its versions, as they are on disk.
    #[serde(rename = "Media")]
    pub media: LenientVec<Media, 32>,
}

/// `/statistics/resources?timespan=6`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Some two minutes of samples.
    #[serde(rename = "StatisticsResources")]
    pub samples: LenientVec<ResourceSample, 4_000>,
}

/// One sample of the host's load.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceSample {
    /// When.
    pub at: Number,
    /// The machine's (or container host's).
    pub host_cpu_utilization: Number,
    /// The machine's (or container host's).
    pub host_memory_utilization: Number,
    /// Plex's own.
    pub process_cpu_utilization: Number,
    /// Plex's own.
    pub process_memory_utilization: Number,
}

/// `/statistics/bandwidth?timespan=6`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bandwidth {
    /// Absent when nothing was sent.
    #[serde(rename = "StatisticsBandwidth")]
    pub rows: LenientVec<BandwidthRow, 50_000>,
}

/// Bytes sent within one second, to one device of one account, in one kind of network.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub struct BandwidthRow {
    /// To whom.
    #[serde(rename = "accountID")]
    pub account_id: Number,
    /// To what.
    #[serde(rename = "deviceID")]
    pub device_id: Number,
    /// When.
    pub at: Number,
    /// Within the server's network.
    pub lan: Flag,
    /// How much.
    pub bytes: Number,
}

/// `/activities`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Activities {
    /// Absent when idle.
    #[serde(rename = "Activity")]
    pub activities: LenientVec<Activity, 1_000>,
}

/// Something Plex does in the background.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Activity {
    /// Its id.
    pub uuid: Text,
    /// Such as `library.update.section`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// What it works on.
    #[serde(rename = "Context")]
    pub context: MaybeObject<ActivityContext>,
}

/// What an activity works on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ActivityContext {
    /// The library, for a scan.
    #[serde(rename = "librarySectionID")]
    pub library_section_id: Text,
}

/// `/accounts`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Accounts {
    /// The owner, and whoever the server is shared with.
    #[serde(rename = "Account")]
    pub accounts: LenientVec<Account, 4_000>,
}

/// Somebody who may use the server.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Account {
    /// 0 is a placeholder, 1 the owner.
    pub id: Number,
    /// A user name or an e-mail address; empty for the placeholder.
    pub name: Text,
}

/// `/updater/status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Updater {
    /// Releases newer than the one that runs; absent without.
    #[serde(rename = "Release")]
    pub releases: LenientVec<Release>,
}

impl Updater {
    /// Whether a release is neither installed nor declined.
    #[must_use]
    pub fn has_pending_release(&self) -> bool {
        self.releases.as_slice().iter().any(|release| {
            let state = release.state.or_empty().trim();
            !["done", "skipped"]
                .iter()
                .any(|settled| state.eq_ignore_ascii_case(settled))
        })
    }
}

/// A release of Plex Media Server.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Release {
    /// `available`, `notify`, `downloaded`, `skipped`, `done` …
    pub state: Text,
}

//! The shapes of Plex's JSON: only the fields the exporter uses, each lenient, no logic beyond
//! choosing among what a response offers.
//!
//! Field names follow Plex. Units: `duration` and `viewOffset` are milliseconds, `bitrate` and
//! `bandwidth` kbit/s (1000 bits), `bytes` and `storageTotal` bytes, `at` seconds since the epoch,
//! utilisations percent.

mod libraries;
mod media;
mod session_list;
mod sessions;
mod statistics;
mod transcode;

use serde::Deserialize;

use super::lenient::{Flag, LenientVec, MaybeObject, Number, Text, streamed};

pub use libraries::{Items, Metadata, Providers};
pub use media::{AUDIO, Media, Part, SUBTITLE, Stream, VIDEO};
pub use session_list::{MAX_WEIGHT, SESSION_WEIGHT, Sessions, escaped};
pub use sessions::Session;
pub use statistics::{Bandwidth, BandwidthRow, ResourceSample, Resources};
pub use transcode::TranscodeSession;

/// Every response is an object with this one key; without it, the response is not Plex's.
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
    /// `mapped` when plex.tv can reach the server from outside.
    pub my_plex_mapping_state: Text,
    /// `ok` when the server is signed in to plex.tv.
    pub my_plex_signin_state: Text,
}

/// `/activities`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Activities {
    /// Absent when idle.
    #[serde(rename = "Activity", deserialize_with = "streamed")]
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
    #[serde(rename = "Account", deserialize_with = "streamed")]
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
    #[serde(rename = "Release", deserialize_with = "streamed")]
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

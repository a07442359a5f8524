//! Live sessions.

use serde::Deserialize;

use super::{media::Media, transcode::TranscodeSession};
use crate::plex::lenient::{Flag, MaybeObject, Number, Selected, Text};

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

//! Frames of the notification socket, decoded.
//!
//! A frame is `{"NotificationContainer":{"type":T,"size":n,"<Array>":[…]}}`. The array is decoded
//! only for the types that are used; unknown types and fields are harmless.

use std::io::Read as _;

use serde::Deserialize;

use super::{
    clean_json::CleanJson,
    id::Id,
    lenient::{LenientVec, Number, Raw, Text},
    wire::{Activity, TranscodeSession},
};

/// One frame.
#[derive(Debug)]
pub struct Notification {
    /// Its type, out of [`KINDS`].
    pub kind: &'static str,
    /// Its content, as far as it is used.
    pub payload: Payload,
    /// Elements beyond [`MAX_ENTRIES`].
    pub dropped: u64,
}

/// At most this many elements of a frame are taken; Plex sends one.
pub const MAX_ENTRIES: usize = 1_000;

/// Items of a library were added, changed or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LibraryChange {
    /// The library, where the frame names one.
    pub library: Option<Id>,
    /// Plex's metadata type of what changed.
    pub metadata_type: Option<u64>,
}

/// The content of a notification.
#[derive(Debug)]
pub enum Payload {
    /// Sessions reported their state and position.
    Playing(Vec<Playing>),
    /// Transcodes began, progressed or ended.
    Transcode(TranscodeEvent, Vec<TranscodeSession>),
    /// Background activities began, progressed or ended.
    Activity(Vec<ActivityChange>),
    /// Items were added, changed or deleted.
    LibrariesChanged(Vec<LibraryChange>),
    /// The state of an update of Plex changed.
    UpdateChanged,
    /// Whether the server can be reached from outside changed.
    ReachabilityChanged,
    /// A frame that could not be decoded: listings show what it reported.
    Undecodable,
    /// Nothing of interest.
    Nothing,
}

/// What happened to a transcode. `.end` and `.start` of one key within a second is a seek.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TranscodeEvent {
    /// `transcodeSession.start`
    Start,
    /// `transcodeSession.update`, every 5 s or so
    Update,
    /// `transcodeSession.end`
    End,
}

/// The types Plex is known to send, and `other` for all else: a bounded label.
pub const KINDS: [&str; 15] = [
    "playing",
    "transcodeSession.start",
    "transcodeSession.update",
    "transcodeSession.end",
    "timeline",
    "activity",
    "status",
    "progress",
    "reachability",
    "preference",
    "update.statechange",
    "backgroundProcessingQueue",
    "provider.content.change",
    "account",
    OTHER,
];

const OTHER: &str = "other";

/// `PlaySessionStateNotification`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Playing {
    /// The session; may be absent.
    pub session_key: Text,
    /// The item; may be empty, or a URI for live TV.
    pub rating_key: Text,
    /// `playing`, `paused`, `buffering`, `stopped`, `error`.
    pub state: Text,
    /// Milliseconds.
    pub view_offset: Number,
    /// Bare id of the transcode; absent for direct play and in the first frames.
    pub transcode_session: Text,
}

/// `ActivityNotification`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ActivityChange {
    /// `started`, `updated`, `ended`.
    pub event: Text,
    /// The activity's id.
    pub uuid: Text,
    #[serde(rename = "Activity")]
    activity: super::lenient::MaybeObject<Activity>,
}

impl ActivityChange {
    /// The activity itself.
    #[must_use]
    pub fn activity(&self) -> Option<&Activity> {
        self.activity.get()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TimelineEntry {
    identifier: Text,
    #[serde(rename = "sectionID")]
    section_id: Text,
    #[serde(rename = "type")]
    metadata_type: Number,
    state: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContentChange {
    identifier: Text,
    #[serde(rename = "type")]
    metadata_type: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatusNotification {
    notification_name: Text,
}

/// The current format of a frame. Before 1.3 there was no wrapper, and one array name for all
/// types.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wrapped {
    #[serde(rename = "NotificationContainer")]
    container: Raw,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    #[serde(rename = "type")]
    kind: Text,
    #[serde(rename = "PlaySessionStateNotification")]
    playing: Raw,
    #[serde(rename = "TranscodeSession")]
    transcodes: Raw,
    #[serde(rename = "TimelineEntry")]
    timeline: Raw,
    #[serde(rename = "ActivityNotification")]
    activities: Raw,
    #[serde(rename = "MediaProviderContentNotification")]
    content: Raw,
    #[serde(rename = "StatusNotification")]
    status: Raw,
    #[serde(rename = "_children")]
    children: Raw,
}

impl Notification {
    /// A frame that could not be decoded.
    #[must_use]
    pub fn undecodable() -> Self {
        Self {
            kind: OTHER,
            payload: Payload::Undecodable,
            dropped: 0,
        }
    }
}

/// Decodes the text of a frame; `None` when it is not a notification at all.
#[must_use]
pub fn decode(text: &str) -> Option<Notification> {
    let mut clean = String::with_capacity(text.len());
    CleanJson::new(text.as_bytes())
        .read_to_string(&mut clean)
        .ok()?;
    let text = &*clean;
    let container: Container = match serde_json::from_str::<Wrapped>(text).ok()?.container.one() {
        Some(container) => container,
        None => serde_json::from_str(text).ok()?,
    };
    let kind = container.kind.get()?.trim();
    let kind = match kind {
        "transcode.end" => "transcodeSession.end",
        kind => KINDS
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(kind))
            .unwrap_or(OTHER),
    };
    let mut dropped = 0;
    let payload = payload(kind, &container, &mut dropped);
    Some(Notification {
        kind,
        payload,
        dropped,
    })
}

fn payload(kind: &str, container: &Container, dropped: &mut u64) -> Payload {
    let Container {
        playing,
        transcodes,
        timeline,
        activities,
        content,
        status,
        children,
        ..
    } = container;
    match kind {
        "playing" => Payload::Playing(elements(playing, children, dropped)),
        "transcodeSession.start" => Payload::Transcode(
            TranscodeEvent::Start,
            elements(transcodes, children, dropped),
        ),
        "transcodeSession.update" => Payload::Transcode(
            TranscodeEvent::Update,
            elements(transcodes, children, dropped),
        ),
        "transcodeSession.end" => {
            Payload::Transcode(TranscodeEvent::End, elements(transcodes, children, dropped))
        }
        "activity" => Payload::Activity(elements(activities, children, dropped)),
        "timeline" => {
            let entries: Vec<TimelineEntry> = elements(timeline, children, dropped);
            let settled = entries.iter().filter(|entry| entry.is_settled());
            libraries_changed(settled.map(|entry| LibraryChange {
                library: entry.section_id.get().and_then(Id::parse),
                metadata_type: entry.metadata_type.whole(),
            }))
        }
        "provider.content.change" => {
            let entries: Vec<ContentChange> = elements(content, children, dropped);
            let local = entries.iter().filter(|entry| is_local(&entry.identifier));
            libraries_changed(local.map(|entry| LibraryChange {
                library: None,
                metadata_type: entry.metadata_type.whole(),
            }))
        }
        "status" => {
            let entries: Vec<StatusNotification> = elements(status, children, dropped);
            let scans = entries
                .iter()
                .filter(|entry| entry.notification_name.or_empty() == "LIBRARY_UPDATE");
            libraries_changed(scans.map(|_| LibraryChange {
                library: None,
                metadata_type: None,
            }))
        }
        "update.statechange" => Payload::UpdateChanged,
        "reachability" => Payload::ReachabilityChanged,
        _ => Payload::Nothing,
    }
}

fn libraries_changed(changes: impl Iterator<Item = LibraryChange>) -> Payload {
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        Payload::Nothing
    } else {
        Payload::LibrariesChanged(changes)
    }
}

/// Whether a provider is the local library, rather than live TV or an online service.
fn is_local(identifier: &Text) -> bool {
    identifier
        .get()
        .is_none_or(|name| name == "com.plexapp.plugins.library")
}

fn elements<T: serde::de::DeserializeOwned>(own: &Raw, old: &Raw, dropped: &mut u64) -> Vec<T> {
    let list: LenientVec<T, MAX_ENTRIES> = own.list();
    let list = if list.as_slice().is_empty() {
        old.list()
    } else {
        list
    };
    *dropped += list.dropped();
    list.into_inner()
}

impl TimelineEntry {
    /// Whether it is a final change (5 is "processed", 9 "deleted") of a library, rather than an
    /// intermediate step, live TV or another provider.
    fn is_settled(&self) -> bool {
        is_local(&self.identifier) && matches!(self.state.whole(), Some(5 | 9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playing_frame_is_decoded_in_any_order_and_with_any_drift() {
        for text in [
            r#"{"NotificationContainer":{"type":"playing","size":1,"PlaySessionStateNotification":[{"sessionKey":"84","ratingKey":"65787","viewOffset":244000,"state":"paused","transcodeSession":"4avh"}]}}"#,
            r#"{"NotificationContainer":{"PlaySessionStateNotification":[{"viewOffset":"244000","state":"paused","transcodeSession":"4avh","ratingKey":65787,"sessionKey":84}],"size":1,"type":"Playing "}}"#,
            r#"{"_elementType":"NotificationContainer","type":"playing","_children":[{"sessionKey":"84","ratingKey":"65787","viewOffset":244000,"state":"paused","transcodeSession":"4avh"}]}"#,
        ] {
            let notification = decode(text).expect(text);
            assert_eq!(notification.kind, "playing");
            let Payload::Playing(playing) = notification.payload else {
                panic!("{text}")
            };
            assert_eq!(playing[0].session_key.get(), Some("84"));
            assert_eq!(playing[0].rating_key.get(), Some("65787"));
            assert_eq!(playing[0].state.get(), Some("paused"));
            assert_eq!(playing[0].view_offset.whole(), Some(244_000));
            assert_eq!(playing[0].transcode_session.get(), Some("4avh"));
        }
    }

    #[test]
    fn only_settled_entries_of_the_library_are_a_change() {
        let frame = |entry: &str| {
            decode(&format!(
                r#"{{"NotificationContainer":{{"type":"timeline","size":1,"TimelineEntry":[{entry}]}}}}"#
            ))
            .unwrap()
            .payload
        };
        for (entry, section) in [
            (
                r#"{"identifier":"com.plexapp.plugins.library","sectionID":2,"state":5}"#,
                Some("2"),
            ),
            (
                r#"{"identifier":"com.plexapp.plugins.library","sectionID":"2","state":9}"#,
                Some("2"),
            ),
            (r#"{"state":9}"#, None),
        ] {
            let Payload::LibrariesChanged(changed) = frame(entry) else {
                panic!("{entry}")
            };
            assert_eq!(changed[0].library, section.and_then(Id::parse));
        }
        for entry in [
            r#"{"identifier":"com.plexapp.plugins.library","sectionID":2,"state":3}"#,
            r#"{"identifier":"tv.plex.providers.epg.onconnect:4","sectionID":2,"state":9}"#,
        ] {
            assert!(matches!(frame(entry), Payload::Nothing), "{entry}");
        }
    }

    #[test]
    fn unknown_types_are_other_and_invalid_frames_are_none() {
        assert_eq!(
            decode(r#"{"NotificationContainer":{"type":"brand.new","X":[1]}}"#)
                .unwrap()
                .kind,
            OTHER
        );
        for invalid in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"NotificationContainer":3}"#,
            "{\"a\":",
        ] {
            assert!(decode(invalid).is_none(), "{invalid}");
        }
    }
}

//! Frames of the notification socket, decoded.
//!
//! A frame is `{"NotificationContainer":{"type":T,"size":n,"<Array>":[…]}}`. The array is decoded
//! only for the types that are used; unknown types and fields are harmless.

use serde::Deserialize;

use super::{
    lenient::{Number, Raw, Text},
    request::Id,
    wire::{Activity, TranscodeSession},
};

/// MaybeObject frame.
#[derive(Debug)]
pub struct Notification {
    /// Its type, out of [`KINDS`].
    pub kind: &'static str,
    /// What it says, as far as it matters here.
    pub payload: Payload,
}

/// What a notification says.
#[derive(Debug)]
pub enum Payload {
    /// Sessions reported where they are.
    Playing(Vec<Playing>),
    /// Transcodes began, moved on or ended.
    Transcode(TranscodeEvent, Vec<TranscodeSession>),
    /// Background activities began, moved on or ended.
    Activity(Vec<ActivityChange>),
    /// Items were added, changed or deleted; the libraries they are in, where the frame tells.
    LibraryChanged(Vec<Option<Id>>),
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
    state: Number,
}

/// The frame of today. Before 1.3 there was no wrapper, and one array name for all types.
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
    #[serde(rename = "_children")]
    children: Raw,
}

/// Decodes the text of a frame; `None` when it is not a notification at all.
#[must_use]
pub fn decode(text: &str) -> Option<Notification> {
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
    Some(Notification {
        kind,
        payload: payload(kind, &container),
    })
}

fn payload(kind: &str, container: &Container) -> Payload {
    let transcode =
        |event| Payload::Transcode(event, elements(&container.transcodes, &container.children));
    match kind {
        "playing" => Payload::Playing(elements(&container.playing, &container.children)),
        "transcodeSession.start" => transcode(TranscodeEvent::Start),
        "transcodeSession.update" => transcode(TranscodeEvent::Update),
        "transcodeSession.end" => transcode(TranscodeEvent::End),
        "activity" => Payload::Activity(elements(&container.activities, &container.children)),
        "timeline" => {
            let entries: Vec<TimelineEntry> = elements(&container.timeline, &container.children);
            let settled = entries.iter().filter(|entry| entry.is_settled());
            let changed: Vec<_> = settled
                .map(|entry| entry.section_id.get().and_then(Id::parse))
                .collect();
            if changed.is_empty() {
                Payload::Nothing
            } else {
                Payload::LibraryChanged(changed)
            }
        }
        "provider.content.change" => Payload::LibraryChanged(vec![None]),
        _ => Payload::Nothing,
    }
}

fn elements<T: serde::de::DeserializeOwned>(own: &Raw, old: &Raw) -> Vec<T> {
    let elements: Vec<T> = own.list();
    if elements.is_empty() {
        old.list()
    } else {
        elements
    }
}

impl TimelineEntry {
    /// Whether a library changed for good (5 is "processed", 9 "deleted"), rather than is at a step
    /// in between, or is live TV's or another provider's.
    fn is_settled(&self) -> bool {
        let local = self
            .identifier
            .get()
            .is_none_or(|name| name == "com.plexapp.plugins.library");
        local && matches!(self.state.whole(), Some(5 | 9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playing_frame_is_decoded_whatever_its_order_and_drift() {
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
            let Payload::LibraryChanged(changed) = frame(entry) else {
                panic!("{entry}")
            };
            assert_eq!(changed, [section.and_then(Id::parse)]);
        }
        for entry in [
            r#"{"identifier":"com.plexapp.plugins.library","sectionID":2,"state":3}"#,
            r#"{"identifier":"tv.plex.providers.epg.onconnect:4","sectionID":2,"state":9}"#,
        ] {
            assert!(matches!(frame(entry), Payload::Nothing), "{entry}");
        }
    }

    #[test]
    fn unknown_types_are_other_and_rubbish_is_nothing() {
        assert_eq!(
            decode(r#"{"NotificationContainer":{"type":"brand.new","X":[1]}}"#)
                .unwrap()
                .kind,
            OTHER
        );
        for rubbish in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"NotificationContainer":3}"#,
            "{\"a\":",
        ] {
            assert!(decode(rubbish).is_none(), "{rubbish}");
        }
    }
}

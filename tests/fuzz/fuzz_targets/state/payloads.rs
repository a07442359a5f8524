//! What a script's bytes make Plex say: few values, so that they meet each other.

use plex_exporter::internals::PlexError;
use serde_json::{Value, json};

use crate::script::Script;

pub fn error(script: &mut Script) -> PlexError {
    match script.below(8) {
        0 => PlexError::Connect("refused".into()),
        1 => PlexError::Timeout,
        2 => PlexError::Unauthorized,
        3 => PlexError::Forbidden,
        4 => PlexError::NotFound,
        5 => PlexError::Status(503),
        6 => PlexError::TooLarge,
        _ => PlexError::Decode("no JSON".into()),
    }
}

pub fn frame(kind: &str, array: &str, entries: &[Value]) -> String {
    json!({"NotificationContainer": {"type": kind, array: entries}}).to_string()
}

const STATES: [&str; 6] = [
    "playing",
    "paused",
    "buffering",
    "stopped",
    "error",
    "levitating",
];

fn item(script: &mut Script) -> Value {
    match script.below(8) {
        0 => json!(""),
        1 => json!("com.gracenote://episode/1"),
        item => json!(item.to_string()),
    }
}

fn key(script: &mut Script) -> Value {
    match script.below(8) {
        0 => json!("(absent)"),
        1 => json!("no number"),
        key => json!(key % 4),
    }
}

fn without_absent(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| value != "(absent)");
    }
    value
}

pub fn playing(script: &mut Script) -> Value {
    without_absent(json!({
        "sessionKey": key(script), "ratingKey": item(script), "state": script.one_of(&STATES),
        "viewOffset": u64::from(script.byte()) * 30_000,
        "transcodeSession": script.one_of(&["(absent)", "(absent)", "t1", "t2"]),
    }))
}

pub fn transcode(script: &mut Script) -> Value {
    let decisions = ["transcode", "copy", "(absent)"];
    without_absent(json!({
        "key": format!("/transcode/sessions/t{}", script.below(3)),
        "videoDecision": script.one_of(&decisions), "audioDecision": script.one_of(&decisions),
        "progress": script.one_of(&[0.0, -1.0, 12.5]), "speed": 1.5, "throttled": script.below(2) == 1,
        "transcodeHwDecoding": script.one_of(&["(absent)", "vaapi"]),
    }))
}

pub fn session(script: &mut Script) -> Value {
    let mut session = without_absent(json!({
        "sessionKey": key(script), "ratingKey": item(script), "type": script.one_of(&["movie", "episode", "track"]),
        "key": script.one_of(&["(absent)", "/livetv/sessions/1"]),
        "title": script.one_of(&["film", "other film", "(absent)"]),
        "librarySectionID": script.one_of(&["1", "2", "-2", "9", "(absent)"]),
        "viewOffset": u64::from(script.byte()) * 30_000, "duration": 6_000_000,
        "User": {"id": script.below(3).to_string(), "title": script.one_of(&["ann", "bob"])},
        "Player": {"state": script.one_of(&STATES), "machineIdentifier": script.one_of(&["p", "q", ""]),
            "local": script.below(2) == 1},
        "Session": {"id": script.one_of(&["i", "j", "k", ""]), "bandwidth": 10, "location": script.one_of(&["lan", "wan", ""])},
        "Media": [{"bitrate": script.below(4), "videoResolution": script.one_of(&["1080", "720p"]),
            "Part": [{"decision": script.one_of(&["directplay", "transcode", ""])}]}],
    }));
    if script.below(2) == 1 {
        session["TranscodeSession"] = transcode(script);
    }
    session
}

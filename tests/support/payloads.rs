//! Payloads as Plex sends them, written by hand from the protocol's description.

use serde_json::{Value, json};

/// The administrator's token.
pub const TOKEN: &str = "s3cretT0kenOfTheAdmin";

/// Overrides the fields of `base` by those of `changes`, object by object.
pub fn with(mut base: Value, changes: Value) -> Value {
    merge(&mut base, changes);
    base
}

fn merge(base: &mut Value, changes: Value) {
    match (base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (name, change) in changes {
                if change == json!("(absent)") {
                    base.remove(&name);
                } else {
                    merge(base.entry(name).or_insert(Value::Null), change);
                }
            }
        }
        (base, change) => *base = change,
    }
}

/// `/`
pub fn server() -> Value {
    json!({
        "size": 1, "friendlyName": "Attic", "machineIdentifier": "c997cf82c4158cb986ccc0e8f829a6f5d5086a63",
        "version": "1.43.4.10903-e5521bd8c", "platform": "Linux", "platformVersion": "6.1.0 (Debian)",
        "myPlexSubscription": true, "myPlexUsername": "owner@example.org", "livetv": 7,
        "transcoderActiveVideoSessions": 0, "updatedAt": 1_785_805_331, "ownerFeatures": "pass,webhooks",
    })
}

/// One library entry of the content feature.
pub fn library(id: u64, kind: &str, title: &str, duration: u64, storage: u64) -> Value {
    json!({
        "id": id.to_string(), "key": format!("/library/sections/{id}"), "type": kind, "title": title,
        "agent": "tv.plex.agents.x", "refreshing": false, "scannedAt": 1_785_805_331,
        "durationTotal": duration, "storageTotal": storage, "Pivot": [{"id": "recommended"}],
    })
}

/// A direct play of a film, with the shape current servers send.
pub fn movie(session: u64, item: u64, title: &str) -> Value {
    json!({
        "sessionKey": session.to_string(), "ratingKey": item.to_string(),
        "key": format!("/library/metadata/{item}"), "type": "movie", "title": title,
        "librarySectionID": "1", "librarySectionTitle": "Movies", "duration": 6_118_122, "viewOffset": 60_000,
        "User": {"id": "1", "title": "alice", "thumb": "https://plex.tv/users/x/avatar"},
        "Player": {
            "address": "192.168.1.20", "device": "SHIELD Android TV", "machineIdentifier": format!("player-{session}"),
            "product": "Plex for Android (TV)", "state": "playing", "title": "Living room", "local": true,
            "relayed": false, "secure": true, "userID": 1,
        },
        "Session": {"id": format!("link-{session}"), "bandwidth": 2_500, "location": "lan"},
        "Media": [{
            "id": "307448", "bitrate": 2_000, "container": "mp4", "videoResolution": "1080", "videoCodec": "h264",
            "audioCodec": "aac", "selected": true, "optimizedForStreaming": true,
            "UltraBlurColors": [{"topLeft": "000000"}],
            "Part": [{
                "id": "320566", "decision": "directplay", "selected": true, "container": "mp4",
                "Stream": [{"id": "1", "streamType": 1, "codec": "h264", "location": "direct"}],
            }],
        }],
    })
}

/// An episode, directly played.
pub fn episode(session: u64, item: u64, show: &str, season: &str, title: &str) -> Value {
    with(
        movie(session, item, title),
        json!({
            "type": "episode", "grandparentTitle": show, "parentTitle": season, "librarySectionID": "2",
            "librarySectionTitle": "TV Shows", "duration": 1_445_695,
            "User": {"id": "2001", "title": "bob"},
        }),
    )
}

/// A track, directly played.
pub fn track(session: u64, item: u64, artist: &str, album: &str, title: &str) -> Value {
    with(
        movie(session, item, title),
        json!({
            "type": "track", "grandparentTitle": artist, "parentTitle": album, "librarySectionID": "3",
            "librarySectionTitle": "Music", "duration": 186_240, "viewOffset": 1_000,
            "User": {"id": "3001", "title": "carol"},
            "Player": {"device": "iPhone", "product": "Plexamp"},
            "Session": {"bandwidth": 1_050},
            "Media": [{
                "id": "130355", "bitrate": 1_014, "audioCodec": "flac", "container": "flac", "selected": true,
                "Part": [{"id": "130625", "decision": "directplay", "selected": true}],
            }],
        }),
    )
}

/// A transcode, as it appears in a session or a notification.
pub fn transcode(id: &str) -> Value {
    json!({
        "key": format!("/transcode/sessions/{id}"), "throttled": false, "complete": false, "progress": 12.5,
        "size": -22, "speed": 4.5, "error": false, "duration": 6_118_122, "remaining": 900, "context": "streaming",
        "sourceVideoCodec": "hevc", "sourceAudioCodec": "eac3", "videoDecision": "transcode",
        "audioDecision": "transcode", "protocol": "dash", "container": "mp4", "videoCodec": "h264",
        "audioCodec": "aac", "audioChannels": 2, "width": 1280, "height": 720, "transcodeHwRequested": true,
        "transcodeHwDecoding": "vaapi", "transcodeHwEncoding": "vaapi", "transcodeHwDecodingTitle": "Intel (VA API)",
        "transcodeHwFullPipeline": true, "timeStamp": 1_705_895_805.49, "maxOffsetAvailable": 29.53,
    })
}

/// Makes a session one that is transcoded to 720p: its Media then describes the output.
pub fn transcoded(session: Value, id: &str) -> Value {
    with(
        session,
        json!({
            "TranscodeSession": transcode(id),
            "Media": [{
                "id": "307448", "bitrate": 2_664, "container": "mp4", "videoResolution": "720p", "selected": true,
                "Part": [{"decision": "transcode", "selected": true, "bitrate": 2_664}],
            }],
        }),
    )
}

/// `/library/metadata/{id}` of a film in 4K.
pub fn metadata(item: u64, section: u64, resolution: &str) -> Value {
    json!({
        "size": 1, "librarySectionID": section, "librarySectionTitle": "Movies",
        "Metadata": [{
            "ratingKey": item.to_string(), "type": "movie", "librarySectionID": section, "rating": 8,
            "Media": [{
                "id": 307_448, "bitrate": 14_590, "videoResolution": resolution, "optimizedForStreaming": 1,
                "Part": [{"id": 320_566, "optimizedForStreaming": true, "size": 1_615_558_857}],
            }],
        }],
    })
}

/// A `playing` frame.
pub fn playing(session: u64, item: u64, state: &str, offset: u64) -> Value {
    frame(
        "playing",
        "PlaySessionStateNotification",
        json!({
            "sessionKey": session.to_string(), "guid": "", "ratingKey": item.to_string(), "url": "",
            "key": format!("/library/metadata/{item}"), "viewOffset": offset, "playQueueItemID": 22_631,
            "state": state,
        }),
    )
}

/// Any frame with one element.
pub fn frame(kind: &str, array: &str, element: Value) -> Value {
    json!({"NotificationContainer": {"type": kind, "size": 1, array: [element]}})
}

/// One row of `/statistics/bandwidth`.
pub fn bandwidth_row(at: u64, device: u64, lan: bool, bytes: u64) -> Value {
    json!({"accountID": 1, "deviceID": device, "timespan": 6, "at": at, "lan": lan, "bytes": bytes})
}

/// One row of `/statistics/resources`.
pub fn resources_row(at: u64, host_cpu: f64, host_memory: f64) -> Value {
    json!({
        "timespan": 6, "at": at, "hostCpuUtilization": host_cpu, "hostMemoryUtilization": host_memory,
        "processCpuUtilization": 2.5, "processMemoryUtilization": 1.25,
    })
}

/// Seconds since the epoch.
pub fn epoch() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

//! What Plex writes, as text. (See the protocol's description: numbers and strings mixed as there.)

use crate::{
    clients::Client,
    plays::{Kind, Millis, Play},
};

pub fn container(inner: &str) -> String {
    format!(r#"{{"MediaContainer":{{{inner}}}}}"#)
}

pub fn list(name: &str, elements: &[String]) -> String {
    if elements.is_empty() {
        return container(r#""size":0"#);
    }
    container(&format!(
        r#""size":{},"{name}":[{}]"#,
        elements.len(),
        elements.join(",")
    ))
}

/// Where the item is, in listings and notifications alike.
pub fn key_path(play: &Play) -> String {
    match play.item.kind {
        Kind::Live => format!("/livetv/sessions/{}", play.item.number),
        _ => format!("/library/metadata/{}", play.item.number),
    }
}

/// One session of `/status/sessions` at `now`.
pub fn session(play: &Play, client: &Client, now: Millis) -> String {
    let [title, child, grandchild] = play.item.titles();
    let titles = if grandchild.is_empty() {
        format!(r#""title":"{title}""#)
    } else {
        format!(r#""title":"{grandchild}","parentTitle":"{child}","grandparentTitle":"{title}""#)
    };
    let mut rest = match play.item.library() {
        Some(library) => format!(r#""librarySectionID":"{library}","#),
        None => r#""live":"1","#.to_owned(),
    };
    // Live TV has no number at first.
    if play.item.kind != Kind::Live || play.offset(now) > 60_000 {
        rest += &format!(r#""ratingKey":"{}","#, play.item.number);
    }
    let [_, _, resolution] = play.stream();
    let bitrate = play.bitrate();
    let (decision, container) = match play.transcode {
        None => ("directplay", "mkv"),
        Some(_) => ("transcode", "mp4"),
    };
    if let Some(id) = play.transcode {
        rest += &format!(r#""TranscodeSession":{},"#, transcode(id, play));
    }
    format!(
        r#"{{"sessionKey":"{}","key":"{}","type":"{}",{titles},{rest}"duration":{},"viewOffset":{},"User":{{"id":"{}","title":"user {}"}},"Player":{{"device":"{}","title":"player {}","product":"{}","machineIdentifier":"machine-{}","state":"{}","local":{},"relayed":false,"secure":true}},"Session":{{"id":"{}","bandwidth":{},"location":"{}"}},"Media":[{{"id":"{}","bitrate":{bitrate},"container":"{container}","videoResolution":"{resolution}","selected":true,"Part":[{{"id":"1","decision":"{decision}","selected":true}}]}}]}}"#,
        play.key,
        key_path(play),
        play.item.media_type(),
        play.item.length,
        play.offset(now),
        client.user,
        client.user,
        client.device(),
        client.number,
        client.product,
        client.number,
        play.phase.word(),
        client.location == "lan",
        play.session_id,
        bitrate + 500,
        client.location,
        play.item.number,
    )
}

/// A TranscodeSession.
pub fn transcode(id: u64, play: &Play) -> String {
    let video = if play.item.kind == Kind::Track {
        ""
    } else {
        r#""sourceVideoCodec":"hevc","videoCodec":"h264","videoDecision":"transcode","#
    };
    format!(
        r#"{{"key":"/transcode/sessions/t{id}","throttled":false,"complete":false,"progress":12.5,"size":-22,"speed":4.5,{video}"sourceAudioCodec":"eac3","audioCodec":"aac","audioDecision":"transcode","protocol":"dash","container":"mp4"}}"#
    )
}

/// A transcode for a download.
pub fn download(id: u64) -> String {
    format!(
        r#"{{"key":"/transcode/sessions/t{id}","context":"static","offlineTranscode":true,"progress":12.5,"speed":4.5,"videoDecision":"transcode","audioDecision":"copy"}}"#
    )
}

/// An `activity` frame.
pub fn activity(event: &str, number: u64, kind: &str) -> String {
    frame(
        "activity",
        "ActivityNotification",
        &format!(
            r#"{{"event":"{event}","uuid":"a{number}","Activity":{{"uuid":"a{number}","type":"{kind}","cancellable":true,"progress":-1,"Context":{{"librarySectionID":"1"}}}}}}"#
        ),
    )
}

pub fn frame(kind: &str, array: &str, element: &str) -> String {
    format!(r#"{{"NotificationContainer":{{"type":"{kind}","size":1,"{array}":[{element}]}}}}"#)
}

/// A `playing` frame in `state`.
pub fn playing(play: &Play, state: &str, now: Millis) -> String {
    let rating_key = match play.item.kind {
        Kind::Live => String::new(),
        _ => play.item.number.to_string(),
    };
    let transcode = match play.transcode {
        Some(id) => format!(r#","transcodeSession":"t{id}""#),
        None => String::new(),
    };
    frame(
        "playing",
        "PlaySessionStateNotification",
        &format!(
            r#"{{"sessionKey":"{}","guid":"","ratingKey":"{rating_key}","url":"","key":"{}","viewOffset":{},"state":"{state}"{transcode}}}"#,
            play.key,
            key_path(play),
            play.offset(now),
        ),
    )
}

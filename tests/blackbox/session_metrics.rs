//! The metrics of a live session: who plays what on which device.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    exporter::{Exporter, SOON},
    fake_plex::{FakePlex, Fault, html},
    payloads::{episode, movie, playing, track, transcoded, with},
};

#[test]
fn every_live_session_is_shown_from_its_first_listing_on_in_any_state() {
    let plex = FakePlex::default();
    // Paused before the exporter started.
    plex.world().play(with(
        movie(1, 101, "Alien"),
        json!({"Player": {"state": "paused", "title": "Living room"}}),
    ));
    plex.world().play(with(
        transcoded(episode(2, 102, "Show", "Season 1", "One"), "two"),
        json!({"Player": {"state": "buffering", "title": "Bob's iPad", "device": "iPad",
            "product": "Plex for iOS", "relayed": true, "secure": true, "local": false},
            "Session": {"location": "wan"}}),
    ));
    plex.world().play(json!({
        "sessionKey": "3", "key": "/livetv/sessions/abc", "type": "clip", "title": "Live Session ",
        "live": "1", "User": {"id": "1", "title": "alice"},
        "Player": {"state": "playing", "title": "Kitchen", "secure": "0", "relayed": 0},
    }));
    let exporter = Exporter::with_libraries(&plex);
    let info = |session,
                state,
                user,
                player,
                device,
                product,
                media,
                titles: [&str; 3],
                library: [&str; 2],
                stream,
                transcode,
                location,
                flags: [bool; 3]| {
        let [title, child, grandchild] = titles;
        let [library, library_id] = library;
        let [relayed, secure, live] = flags;
        format!(
            "child_title={child:?},device={device:?},device_type={product:?},\
             grandchild_title={grandchild:?},library={library:?},library_id={library_id:?},\
             live=\"{live}\",location={location:?},media_type={media:?},player={player:?},\
             relayed=\"{relayed}\",secure=\"{secure}\",session={session:?},state={state:?},\
             stream_type={stream:?},title={title:?},transcode_type={transcode:?},user={user:?} 1",
            session = session,
            state = state,
            user = user,
            player = player,
            device = device,
            product = product,
            media = media,
            stream = stream,
            transcode = transcode,
            location = location,
        )
    };
    let alien = |state: &'static str| {
        info(
            "1",
            state,
            "alice",
            "Living room",
            "SHIELD Android TV",
            "Plex for Android (TV)",
            "movie",
            ["Alien", "", ""],
            ["Movies", "1"],
            "direct play",
            "none",
            "lan",
            [false, true, false],
        )
    };
    let mut expected = vec![
        alien("paused"),
        info(
            "2",
            "buffering",
            "bob",
            "Bob's iPad",
            "iPad",
            "Plex for iOS",
            "episode",
            ["Show", "Season 1", "One"],
            ["TV Shows", "2"],
            "transcode",
            "both",
            "wan",
            [true, true, false],
        ),
        info(
            "3",
            "playing",
            "alice",
            "Kitchen",
            "",
            "",
            "clip",
            ["Live Session ", "", ""],
            ["unknown", "0"],
            "direct play",
            "none",
            "unknown",
            [false, false, true],
        ),
    ];
    expected.sort();
    let samples = exporter.until("all three", SOON, |samples| {
        samples.series("plex_session_info") == expected
    });
    assert_eq!(samples.types["plex_session_info"], "gauge");
    assert_eq!(samples.value("plex_active_sessions", &[]), Some(3.0));
    // A change of state moves the series instead of adding one.
    plex.world()
        .change(1, json!({"Player": {"state": "playing"}}));
    plex.push(&playing(1, 101, "playing", 60_000));
    exporter.until("playing", SOON, |samples| {
        let series = samples.series("plex_session_info");
        series.len() == 3 && series.contains(&alien("playing"))
    });
    // The end takes every gauge of the session along at once.
    plex.world().stop(&json!("1"));
    plex.push(&playing(1, 101, "stopped", 60_000));
    let samples = exporter.until("the end", SOON, |samples| {
        samples.of("plex_session_info", &[]).len() == 2
    });
    for sample in samples.of("plex_play_seconds_total", &[("session", "1")]) {
        assert!(
            sample.value > 0.0,
            "the series of the play stays for a minute"
        );
    }
    let left: Vec<_> = samples
        .all
        .iter()
        .filter(|sample| sample.labels.get("session").is_some_and(|own| own == "1"))
        .map(|sample| sample.name.as_str())
        .collect();
    assert_eq!(left, ["plex_plays_total", "plex_play_seconds_total"]);
}

#[test]
fn a_session_in_a_library_that_is_not_listed_yet_is_shown_at_once() {
    let plex = FakePlex::default();
    let exporter = Exporter::with_libraries(&plex);
    plex.world()
        .fault("/media/providers", Fault::Delay(Duration::from_secs(3)));
    plex.world().play(with(
        movie(1, 101, "Alien"),
        json!({"librarySectionID": "8"}),
    ));
    plex.push(&playing(1, 101, "playing", 60_000));
    let samples = exporter.until_value("plex_session_info", &[("session", "1")], 1.0);
    let shown = samples.one("plex_session_info", &[]).unwrap();
    assert_eq!(shown.labels["library"], "unknown");
    assert!(samples.of("plex_plays_total", &[]).is_empty());
}

#[test]
fn bandwidth_bitrate_and_progress_are_absent_where_plex_does_not_say() {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    plex.world().play(with(
        movie(2, 102, "Unlimited"),
        json!({"Session": {"bandwidth": 10_000_000}, "duration": "(absent)"}),
    ));
    plex.world().play(with(
        track(3, 103, "Artist", "Album", "One"),
        json!({"Session": "(absent)", "Media": "(absent)", "viewOffset": 46_560}),
    ));
    plex.world()
        .fault("/library/metadata", html(404, "Not Found"));
    let exporter = Exporter::with_libraries(&plex);
    let samples = exporter.until("all three", SOON, |samples| {
        samples.of("plex_session_info", &[]).len() == 3
    });
    assert_eq!(
        samples.series("plex_session_bandwidth_kbps"),
        [r#"location="lan",session="1",user="alice" 2500"#]
    );
    assert_eq!(
        samples.series("plex_session_bitrate_kbps"),
        [
            r#"location="lan",session="1",user="alice" 2000"#,
            r#"location="lan",session="2",user="alice" 2000"#
        ]
    );
    assert_eq!(
        samples.series("plex_session_progress_ratio"),
        [
            r#"session="1",user="alice" 0.0098"#,
            r#"session="3",user="carol" 0.25"#
        ]
    );
}

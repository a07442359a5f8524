//! `HIDE_LABELS`: each word hides every label that names a person, a title or a device, everywhere.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    exporter::{Exporter, SOON, Setup},
    fake_plex::FakePlex,
    payloads::{bandwidth_row, episode, epoch, movie, playing, transcoded, with},
    samples::Samples,
};

const NEXT_POLL: Duration = Duration::from_secs(35);
const USERS: [&str; 4] = ["alice", "bob", "carol", "stranger"];
const TITLES: [&str; 4] = ["Alien", "The Show", "Season One", "The Pilot"];
const DEVICES: [&str; 4] = ["SHIELD", "Living room", "Bob's phone", "Pixel"];

/// Two sessions by two users, bytes sent to three, and a new play by a fourth: every metric that
/// could name somebody or something.
fn exported(hide: &str) -> (FakePlex, Exporter, Samples) {
    let plex = FakePlex::default();
    let now = epoch();
    plex.world().bandwidth = vec![bandwidth_row(now, 1, true, 1)];
    plex.world().play(with(
        movie(1, 101, "Alien"),
        json!({"Player": {"device": "SHIELD", "title": "Living room"}}),
    ));
    plex.world().play(transcoded(
        with(
            episode(2, 102, "The Show", "Season One", "The Pilot"),
            json!({"Player": {"device": "Pixel", "title": "Bob's phone"}}),
        ),
        "two",
    ));
    let exporter = Setup::new(&plex.url()).env("HIDE_LABELS", hide).start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until("both plays", SOON, |samples| {
        samples.of("plex_plays_total", &[]).len() == 2
            && samples.value("plex_transmit_bytes_total", &[]).is_some()
            && !samples.of("plex_user_play_starts_total", &[]).is_empty()
    });
    let row = |account: u64, bytes| {
        with(
            bandwidth_row(now, account, true, bytes),
            json!({"accountID": account}),
        )
    };
    plex.world()
        .bandwidth
        .extend([row(2_001, 10), row(3_001, 5), row(77, 2)]);
    plex.world().play(with(
        movie(3, 103, "Alien"),
        json!({"User": {"id": "77", "title": "stranger"}, "Player": {"device": "SHIELD", "title": "Living room"}}),
    ));
    plex.push(&playing(3, 103, "playing", 1_000));
    let samples = exporter.until("bytes and a third play", NEXT_POLL, |samples| {
        samples.value("plex_transmit_bytes_total", &[]) == Some(17.0)
            && samples.of("plex_plays_total", &[]).len() == 3
    });
    (plex, exporter, samples)
}

/// Whether any of `words` is in the page or in the log at its most verbose level.
fn exposed(exporter: &Exporter, words: &[&str]) -> Vec<String> {
    let all = exporter.page() + &exporter.log().join("\n");
    words
        .iter()
        .filter(|word| all.contains(**word))
        .map(|word| (*word).to_owned())
        .collect()
}

#[test]
fn hidden_users_share_one_series_of_every_metric_by_user() {
    let (_plex, exporter, samples) = exported("user");
    assert_eq!(exposed(&exporter, &USERS), [""; 0]);
    assert_eq!(exposed(&exporter, &TITLES), TITLES);
    assert_eq!(exposed(&exporter, &DEVICES), DEVICES);
    assert_eq!(
        samples.series("plex_user_play_starts_total"),
        [r#"user="hidden" 1"#]
    );
    assert_eq!(
        samples.series("plex_user_transmit_bytes_total"),
        [r#"location="lan",user="hidden" 17"#]
    );
    let seconds = samples.of("plex_user_play_seconds_total", &[("user", "hidden")]);
    assert_eq!(seconds.len(), 2, "films and episodes");
    for name in [
        "plex_session_info",
        "plex_session_bandwidth_kbps",
        "plex_session_bitrate_kbps",
        "plex_session_progress_ratio",
        "plex_plays_total",
    ] {
        assert_eq!(samples.of(name, &[("user", "hidden")]).len(), 3, "{name}");
    }
}

#[test]
fn hidden_titles_are_all_three_title_labels() {
    let (_plex, exporter, samples) = exported("title");
    assert_eq!(exposed(&exporter, &TITLES), [""; 0]);
    assert_eq!(exposed(&exporter, &USERS[..3]), USERS[..3]);
    assert_eq!(exposed(&exporter, &DEVICES), DEVICES);
    let hidden = ["title", "child_title", "grandchild_title"].map(|label| (label, "hidden"));
    for name in [
        "plex_session_info",
        "plex_plays_total",
        "plex_play_seconds_total",
    ] {
        assert_eq!(samples.of(name, &hidden).len(), 3, "{name}");
    }
    assert!(
        !samples
            .of("plex_library_items", &[("library", "Movies")])
            .is_empty()
    );
}

#[test]
fn hidden_devices_are_device_and_player() {
    let (_plex, exporter, samples) = exported("device");
    assert_eq!(exposed(&exporter, &DEVICES), [""; 0]);
    assert_eq!(exposed(&exporter, &USERS), USERS);
    let hidden = [("device", "hidden"), ("player", "hidden")];
    assert_eq!(samples.of("plex_session_info", &hidden).len(), 3);
    let product = [
        ("device", "hidden"),
        ("device_type", "Plex for Android (TV)"),
    ];
    assert_eq!(samples.of("plex_plays_total", &product).len(), 3);
}

//! How many series a household and a large server have: the figures of the README.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    exporter::Setup,
    fake_plex::FakePlex,
    payloads::{
        bandwidth_row, episode, epoch, library, metadata, movie, playing, transcoded, with,
    },
};

/// Series by what they grow with.
#[derive(Debug, PartialEq, Eq)]
struct Series {
    /// With the server: itself, its libraries, the exporter.
    fixed: usize,
    /// With its users, and what each of them has ever played; they stay.
    lasting: usize,
    /// With the live sessions; they go.
    live: usize,
}

/// Everybody has played films and episodes, directly and transcoded, at home; then the first
/// `streams` users play, every third of them transcoded.
fn series(users: u64, libraries: u64, streams: u64) -> Series {
    let plex = FakePlex::default();
    {
        let mut world = plex.world();
        for id in 5..=libraries {
            world
                .libraries
                .push(library(id, "movie", &format!("Library {id}"), 1, 1));
        }
        world.accounts = (1..=users)
            .map(|id| json!({"id": id, "name": format!("user {id}")}))
            .collect();
    }
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until("libraries", Duration::from_secs(10), |samples| {
        samples.of("plex_library_items", &[]).len() == libraries as usize
            && samples.value("plex_transmit_bytes_total", &[]).is_some()
    });
    let mut key = 0;
    let mut play = |user: u64, is_film: bool, transcode: bool| -> Value {
        key += 1;
        let item = 1_000 + key;
        let session = if is_film {
            movie(key, item, "Film")
        } else {
            episode(key, item, "Show", "Season", "Episode")
        };
        let section = if is_film { 1 } else { 2 };
        plex.world()
            .metadata
            .insert(item, metadata(item, section, "1080"));
        let name = format!("user {user}");
        let session = with(
            session,
            json!({"User": {"id": user.to_string(), "title": name}}),
        );
        if transcode {
            transcoded(session, &format!("t{key}"))
        } else {
            session
        }
    };
    let watch = |sessions: Vec<Value>| {
        let count = sessions.len();
        let last = sessions[count - 1]["sessionKey"].as_str().unwrap();
        let (last, number) = (last.to_owned(), last.parse().unwrap());
        plex.world().sessions = sessions;
        plex.push(&playing(number, 1_000 + number, "playing", 0));
        exporter.until("these sessions", Duration::from_secs(60), |samples| {
            samples.value("plex_active_sessions", &[]) == Some(count as f64)
                && !samples
                    .of("plex_plays_total", &[("session", &last)])
                    .is_empty()
        });
    };
    for (is_film, transcode) in [(true, false), (true, true), (false, false), (false, true)] {
        let sessions = (1..=users).map(|user| play(user, is_film, transcode));
        watch(sessions.collect());
    }
    let now = epoch();
    plex.world().bandwidth = (1..=users)
        .map(|user| {
            with(
                bandwidth_row(now, user, true, 1),
                json!({"accountID": user}),
            )
        })
        .collect();
    let live: Vec<Value> = (1..=streams)
        .map(|user| play(user, true, user % 3 == 0))
        .collect();
    let keys: Vec<String> = live
        .iter()
        .map(|session| session["sessionKey"].as_str().unwrap().to_owned())
        .collect();
    watch(live);
    let samples = exporter.until("bytes and files", Duration::from_secs(60), |samples| {
        samples.value("plex_transmit_bytes_total", &[]) == Some(users as f64)
            && samples.of("plex_session_media_info", &[]).len() == streams as usize
    });
    let mut counted = Series {
        fixed: 0,
        lasting: 0,
        live: 0,
    };
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in &samples.all {
        let lasting = [
            "plex_user_",
            "plex_transcode_seconds_total",
            "plex_play_buffering_",
        ];
        let class = match sample.labels.get("session") {
            Some(session) if keys.contains(session) => &mut counted.live,
            // Of a play that ended within the last minute.
            Some(_) => continue,
            None if sample.name == "plex_sessions" => &mut counted.live,
            None if lasting.iter().any(|name| sample.name.starts_with(name)) => {
                &mut counted.lasting
            }
            None => &mut counted.fixed,
        };
        *class += 1;
        *by_name.entry(&sample.name).or_default() += 1;
    }
    println!("{users} users, {libraries} libraries, {streams} streams: {counted:?}\n{by_name:#?}");
    counted
}

#[test]
fn series_grow_with_libraries_users_and_live_sessions_as_the_readme_says() {
    let family = Series {
        fixed: 241,
        lasting: 43,
        live: 31,
    };
    assert_eq!(series(5, 4, 3), family);
    let large = Series {
        fixed: 283,
        lasting: 613,
        live: 292,
    };
    assert_eq!(series(100, 10, 30), large);
}

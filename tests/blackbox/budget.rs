//! The load on Plex and on the processor, whatever notifications arrive: hours of it, simulated.

use std::time::{Duration, Instant};

use plex_exporter::internals::Event;
use serde_json::{Value, json};

use crate::support::{
    exporter::Setup,
    fake_plex::{FakePlex, Fault, World, html, unauthorized},
    payloads::{self, frame, library, movie, playing, transcode, transcoded},
    pure::Pure,
};

const HOUR: u64 = 3_600;

/// Runs `storm`, a call for every second; requests in the worst hour.
fn worst_hour(mut pure: Pure, mut storm: impl FnMut(&mut Pure, u64)) -> usize {
    // The first minutes count libraries for the first time.
    pure.wait(300.0);
    let mut worst = 0;
    for second in 0..=HOUR + 300 {
        storm(&mut pure, second);
        pure.wait(1.0);
        if second >= HOUR && second.is_multiple_of(60) {
            worst = worst.max(pure.requested("/", 3_600.0));
        }
    }
    pure.page();
    worst
}

fn libraries(count: u64) -> World {
    let kinds = ["movie", "show", "artist", "photo"];
    World {
        libraries: (1..=count)
            .map(|id| library(id, kinds[id as usize % 4], &format!("L{id}"), id, id))
            .collect(),
        ..World::default()
    }
}

fn streams(count: u64) -> Pure {
    let mut pure = Pure::connected(World::default());
    for key in 1..=count {
        pure.world.play(movie(key, 100 + key, "film"));
    }
    pure
}

fn reports(pure: &mut Pure, second: u64, count: u64) {
    for key in 1..=count {
        if (second + key).is_multiple_of(10) {
            pure.push(&playing(key, 100 + key, "playing", 60_000 + second * 1_000));
        }
    }
}

fn content_change(kind: u64, identifier: &str) -> Value {
    frame(
        "provider.content.change",
        "MediaProviderContentNotification",
        json!({"type": kind, "identifier": identifier}),
    )
}

fn timeline(section: Value, kind: i64) -> Value {
    frame(
        "timeline",
        "TimelineEntry",
        json!({"identifier": "com.plexapp.plugins.library", "sectionID": section,
        "type": kind, "state": 5, "itemID": 1}),
    )
}

fn activity(event: &str, uuid: u64, kind: &str) -> Value {
    let uuid = uuid.to_string();
    frame(
        "activity",
        "ActivityNotification",
        json!({"event": event, "uuid": uuid,
        "Activity": {"uuid": uuid, "type": kind, "Context": {"librarySectionID": "1"}}}),
    )
}

#[test]
fn an_idle_server_gets_at_most_900_requests_an_hour() {
    for count in [0, 12, 40, 200] {
        let worst = worst_hour(Pure::connected(libraries(count)), |_, _| {});
        assert!(worst <= 900, "{worst} with {count} libraries");
        println!("idle, {count} libraries: {worst}");
    }
}

type Storm = (&'static str, fn(&mut Pure, u64));

const IDLE_STORMS: &[Storm] = &[
    ("content changes", |pure, second| {
        for kind in [1, 2, 4, 10, 13] {
            pure.push(&content_change(kind, "com.plexapp.plugins.library"));
        }
        pure.push(&content_change(
            second % 9,
            "tv.plex.providers.epg.cloud:12",
        ));
        pure.push(&frame(
            "provider.content.change",
            "MediaProviderContentNotification",
            json!({"type": 4}),
        ));
    }),
    ("section -1", |pure, _| {
        pure.push(&timeline(json!("-1"), 12));
        pure.push(&timeline(json!(-1), 4));
    }),
    ("scan", |pure, second| {
        for step in 0..5 {
            let uuid = second / 300 * 10 + step;
            pure.push(&activity("updated", uuid, "library.update.section"));
            pure.push(&activity("ended", uuid + 5, "library.refresh.items"));
            pure.push(&timeline(json!(second % 12 + 1), 4));
        }
        let bytes = second * 1_000;
        for library in &mut pure.world.libraries {
            library["storageTotal"] = json!(bytes);
        }
    }),
    ("reachability and updates", |pure, _| {
        pure.push(&frame(
            "reachability",
            "ReachabilityNotification",
            json!({"reachability": true}),
        ));
        pure.push(&frame(
            "update.statechange",
            "AutoUpdateNotification",
            json!({"state": "available"}),
        ));
    }),
    ("downloads", |pure, second| {
        for id in 0..3 {
            let id = format!("download{}", id + second / 600);
            pure.push(&frame(
                "transcodeSession.update",
                "TranscodeSession",
                transcode(&id),
            ));
            if second.is_multiple_of(2) {
                pure.push(&frame(
                    "transcodeSession.end",
                    "TranscodeSession",
                    transcode(&id),
                ));
                pure.push(&frame(
                    "transcodeSession.start",
                    "TranscodeSession",
                    transcode(&id),
                ));
            }
        }
    }),
    ("keys that are no numbers", |pure, second| {
        for key in [
            "abc".to_owned(),
            format!("x{}", second % 7),
            String::new(),
            format!("r{second}"),
        ] {
            pure.push(&frame(
                "playing",
                "PlaySessionStateNotification",
                json!({"sessionKey": key, "ratingKey": "5", "state": "playing", "viewOffset": 1}),
            ));
        }
        pure.push(&frame(
            "playing",
            "PlaySessionStateNotification",
            json!({"state": "stopped"}),
        ));
    }),
    ("undecodable frames", |pure, _| {
        pure.apply(Event::Notification(plex_exporter::internals::decode_notification(
            r#"{"NotificationContainer":{"type":"playing","PlaySessionStateNotification":[{"state":"playing"}]}}"#).unwrap()));
    }),
    ("unknown accounts", |pure, second| {
        let mut row = payloads::bandwidth_row(second, 1, true, 5);
        row["accountID"] = json!(900_000 + second);
        pure.world.bandwidth = vec![row];
    }),
];

#[test]
fn no_burst_of_notifications_exceeds_the_limit_of_an_idle_server() {
    for (name, storm) in IDLE_STORMS {
        let worst = worst_hour(Pure::connected(libraries(12)), storm);
        println!("idle, {name}: {worst}");
        assert!(worst <= 900, "{name}: {worst}");
    }
    // All at once.
    let worst = worst_hour(Pure::connected(libraries(12)), |pure, second| {
        for (_, storm) in IDLE_STORMS {
            storm(pure, second);
        }
    });
    println!("idle, all storms: {worst}");
    assert!(worst <= 900, "{worst}");
}

const LIVE_STORMS: &[Storm] = &[
    ("plain reports", |_, _| {}),
    ("flapping", |pure, second| {
        let state = ["playing", "buffering"][second as usize % 2];
        pure.world.change(1, json!({"Player": {"state": state}}));
        pure.push(&playing(1, 101, state, 60_000 + second * 500));
    }),
    ("all flap", |pure, second| {
        for key in 1..=10 {
            let state = ["playing", "buffering", "paused"][(second + key) as usize % 3];
            pure.push(&playing(key, 100 + key, state, 60_000));
        }
    }),
    ("two items under a key", |pure, second| {
        pure.push(&playing(1, 101 + second % 2, "playing", 60_000));
        pure.push(&playing(2, 500 + second, "playing", 60_000));
    }),
    ("transcodes nobody carries", |pure, second| {
        let mut odd = playing(1, 101, "playing", 60_000);
        odd["NotificationContainer"]["PlaySessionStateNotification"][0]["transcodeSession"] =
            json!(format!("t{}", second % 3));
        pure.push(&odd);
    }),
    ("seeks", |pure, second| {
        pure.world.play(transcoded(movie(1, 101, "film"), "seek"));
        for event in ["end", "start"] {
            pure.push(&frame(
                &format!("transcodeSession.{event}"),
                "TranscodeSession",
                transcode("seek"),
            ));
        }
        pure.push(&playing(1, 101, "playing", second % 90 * 60_000));
    }),
    ("a new film every second", |pure, second| {
        pure.world.play(movie(1, 10_000 + second, "film"));
        pure.push(&playing(1, 10_000 + second, "playing", 0));
    }),
    ("titles that fail", |pure, _| {
        pure.world.fault("/library/metadata", html(500, "Oops"))
    }),
    ("stops of others", |pure, _| {
        pure.push(&playing(77, 101, "stopped", 0))
    }),
];

#[test]
fn up_to_ten_streams_cost_at_most_1800_requests_an_hour_under_every_storm() {
    for (name, storm) in LIVE_STORMS.iter().chain(IDLE_STORMS) {
        let worst = worst_hour(streams(10), |pure, second| {
            reports(pure, second, 10);
            storm(pure, second);
        });
        println!("ten streams, {name}: {worst}");
        assert!(worst <= 1_800, "{name}: {worst}");
    }
    let mut pure = streams(10);
    pure.world.libraries = libraries(40).libraries;
    let worst = worst_hour(pure, |pure, second| {
        reports(pure, second, 10);
        for (_, storm) in LIVE_STORMS.iter().chain(IDLE_STORMS) {
            storm(pure, second);
        }
    });
    println!("ten streams, all storms, 40 libraries: {worst}");
    assert!(worst <= 1_800, "{worst}");
}

#[test]
fn without_a_stable_websocket_an_idle_server_gets_at_most_1000_requests_an_hour() {
    // The attempts at the socket, every 24 to 30 s, are requests too.
    const ATTEMPTS: usize = 150;
    for count in [12, 40] {
        let worst = worst_hour(Pure::new(libraries(count)), |pure, second| {
            if second.is_multiple_of(27) {
                pure.socket_down();
            }
        });
        assert!(worst + ATTEMPTS <= 1_000, "{worst}");
    }
    let worst = worst_hour(Pure::new(libraries(4)), |pure, second| match second % 27 {
        0 => pure.apply(Event::SocketUp),
        1 => pure.socket_down(),
        _ => {}
    });
    assert!(worst + ATTEMPTS <= 1_000, "{worst}");
}

/// The exporter itself waits ever longer before it reconnects to a socket that does not last.
#[test]
fn a_socket_that_flaps_causes_polling_and_leaves_permits_for_notifications() {
    let mut pure = Pure::connected(libraries(4));
    pure.wait(300.0);
    let flaps = |pure: &mut Pure, seconds: u64| {
        for second in 0..seconds {
            match second % 12 {
                0 => pure.apply(Event::SocketUp),
                2 => pure.socket_down(),
                _ => {}
            }
            pure.wait(1.0);
        }
    };
    let from = pure.requests.len();
    flaps(&mut pure, HOUR);
    let seen = &pure.requests[from..];
    assert!(seen.len() <= 1_000, "{}", seen.len());
    let listings: Vec<Duration> = seen
        .iter()
        .filter(|(_, target)| target == "/status/sessions")
        .map(|(at, _)| *at)
        .collect();
    for pair in listings.windows(2) {
        assert!(
            pair[1] - pair[0] <= Duration::from_millis(10_100),
            "{pair:?}"
        );
    }
    pure.apply(Event::SocketUp);
    pure.wait(1.0);
    pure.world.play(movie(1, 101, "film"));
    pure.push(&playing(1, 101, "playing", 0));
    pure.wait(0.25);
    assert_eq!(pure.page().value("plex_active_sessions", &[]), Some(1.0));
}

#[test]
fn a_plex_that_refuses_everything_gets_at_most_900_requests_an_hour() {
    const ATTEMPTS: usize = 150;
    for fault in [
        html(503, "Maintenance"),
        unauthorized(),
        html(403, "Forbidden"),
        Fault::Reset,
        Fault::Stall,
        Fault::Response(200, "application/json", "{}".into()),
    ] {
        for live in [0, 10] {
            let mut pure = streams(live);
            pure.world.fault_everywhere(&fault);
            pure.socket_down();
            let worst = worst_hour(pure, |pure, second| {
                if second.is_multiple_of(27) {
                    pure.socket_down();
                }
            });
            println!("{fault:?}: {worst}");
            assert!(worst + ATTEMPTS <= 900, "{fault:?}: {worst}");
        }
    }
}

#[test]
fn a_burst_of_one_kind_of_notification_delays_no_other_kind() {
    let mut pure = Pure::connected(libraries(12));
    for second in 0..1_200 {
        for (name, storm) in IDLE_STORMS {
            if !name.starts_with("keys") && !name.starts_with("undecodable") {
                storm(&mut pure, second);
            }
        }
        pure.wait(1.0);
    }
    for key in 1..=8 {
        pure.world.play(movie(key, 100 + key, "film"));
        pure.push(&playing(key, 100 + key, "playing", 0));
        pure.wait(0.25);
        assert_eq!(
            pure.page().value("plex_active_sessions", &[]),
            Some(key as f64)
        );
        pure.wait(5.0);
    }
}

/// Row 2, and a storm, against the real program: neither the processor nor Plex notices.
#[test]
fn neither_a_failing_title_nor_a_storm_keeps_the_program_busy() {
    let plex = FakePlex::default();
    for key in 1..=5 {
        plex.world().play(movie(key, 600 + key, "film"));
        plex.world().fault(
            &format!("/library/metadata/60{key}"),
            if key % 2 == 0 {
                Fault::Stall
            } else {
                html(500, "Oops")
            },
        );
    }
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter.until_value("plex_active_sessions", &[], 5.0);
    let (begun, cpu, requests) = (
        Instant::now(),
        exporter.cpu_seconds(),
        plex.requests().len(),
    );
    for second in 0..200_u64 {
        let state = ["playing", "buffering"][second as usize % 2];
        for key in 1..=5 {
            plex.push(&playing(key, 600 + key, state, 60_000));
        }
        plex.push(&timeline(json!("-1"), 12));
        std::thread::sleep(Duration::from_millis(100));
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let used = (exporter.cpu_seconds() - cpu) / elapsed;
    let sent = plex.requests().len() - requests;
    println!("{used:.4} of a core, {sent} requests in {elapsed:.0} s");
    // Twelve hundred notifications in twenty seconds, in a build without optimization.
    assert!(used < 0.05, "{used}");
    assert!(sent < 60, "{sent}");
}

/// What a notification costs does not grow with the number of sessions that it is not about.
#[test]
fn a_notification_among_thousands_of_sessions_costs_little_more_than_among_a_few() {
    let cost = |sessions: u64| {
        let mut pure = Pure::connected(World::default());
        for key in 1..=sessions {
            pure.world.sessions.push(movie(key, 101, "film"));
        }
        pure.push(&playing(1, 101, "playing", 60_000));
        pure.wait(30.0);
        assert_eq!(
            pure.page().value("plex_active_sessions", &[]),
            Some(sessions as f64)
        );
        let frames: Vec<Value> = (0..500)
            .map(|index| playing(index % sessions + 1, 101, "playing", 61_000))
            .collect();
        // The quickest of some, which nothing else on the machine has interrupted.
        let quickest = (0..8).map(|_| {
            let begun = Instant::now();
            for frame in &frames {
                pure.push(frame);
            }
            begun.elapsed()
        });
        quickest.min().unwrap()
    };
    let (few, many) = (cost(20), cost(2_000));
    println!("500 notifications: {few:?} among 20 sessions, {many:?} among 2,000");
    assert!(many < few * 4, "{few:?} {many:?}");
}

/// However long a storm lasts, what people wait for shows in time.
#[test]
fn after_ten_minutes_of_any_storm_a_new_session_its_next_item_and_its_transcode_show_in_time() {
    // These name items all the time that nobody ever saw before, each of which somebody may wait for.
    let new_items = [
        "two items under a key",
        "a new film every second",
        "keys that are no numbers",
    ];
    for (name, storm) in LIVE_STORMS.iter().chain(IDLE_STORMS) {
        let mut pure = streams(8);
        for second in 0..600 {
            reports(&mut pure, second, 8);
            storm(&mut pure, second);
            pure.wait(1.0);
        }
        let in_time = if new_items.contains(name) { 20.0 } else { 0.25 };
        for item in [9_998, 9_999] {
            let title = format!("film {item}");
            pure.world.play(movie(55, item, &title));
            pure.push(&playing(55, item, "playing", 0));
            pure.wait(in_time);
            let shown = pure.page().value("plex_plays_total", &[("title", &title)]);
            assert_eq!(shown, Some(1.0), "{item} after {name}");
        }
        pure.world.server["transcoderActiveVideoSessions"] = json!(7);
        pure.push(&frame(
            "transcodeSession.start",
            "TranscodeSession",
            transcode("new"),
        ));
        pure.wait(3.0);
        let active = pure.page().value("plex_active_transcode_sessions", &[]);
        assert_eq!(active, Some(7.0), "after {name}");
    }
}

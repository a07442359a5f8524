//! CPU time under everything that Plex can send, without end.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    exporter::{Exporter, Setup},
    fake_plex::{FakePlex, Fault},
    payloads::{movie, playing},
};

/// What the contract promises, of one core.
const LIMIT: f64 = 0.02;
/// After a quiet time a burst is free.
const BURST: Duration = Duration::from_secs(15);
const MEASURED: Duration = Duration::from_secs(25);

/// CPU seconds by the name of the thread.
fn by_thread(exporter: &Exporter) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let tasks = std::fs::read_dir(format!("/proc/{}/task", exporter.child.id())).unwrap();
    for task in tasks.filter_map(|task| Some(task.ok()?.path())) {
        let read = |file| std::fs::read_to_string(task.join(file)).unwrap_or_default();
        let used = read("schedstat");
        let used: f64 = used.split(' ').next().unwrap().parse().unwrap_or(0.0);
        *all.entry(read("comm").trim().to_owned()).or_default() += used / 1e9;
    }
    all
}

/// Whatever goes on, the exporter uses no more than [`LIMIT`].
fn bounded(what: &str, exporter: &Exporter) {
    std::thread::sleep(BURST);
    let (begun, before) = (Instant::now(), by_thread(exporter));
    while begun.elapsed() < MEASURED {
        assert_eq!(exporter.get("/health").status, 200);
        std::thread::sleep(Duration::from_secs(1));
    }
    let mut total = 0.0;
    for (name, used) in by_thread(exporter) {
        let used = used - before.get(&name).unwrap_or(&0.0);
        let share = used / begun.elapsed().as_secs_f64();
        println!("{what}: {name} {:.2} %", share * 100.0);
        total += share;
    }
    println!("{what}: {:.2} % of a core", total * 100.0);
    assert!(total < LIMIT, "{what}: {total}");
}

fn ended(mut exporter: Exporter) {
    let (status, took) = exporter.stop_with("TERM");
    assert!(
        status.success() && took < Duration::from_secs(1),
        "{took:?}"
    );
}

fn started(plex: &FakePlex) -> Exporter {
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    exporter.until_value("plex_websocket_connected", &[], 1.0);
    exporter
}

/// So many sessions show.
fn shown(exporter: &Exporter, sessions: f64) {
    exporter.until("sessions", Duration::from_secs(60), |samples| {
        samples.value("plex_active_sessions", &[]) == Some(sessions)
    });
}

/// A text frame of a server.
fn text_frame(text: &str) -> Vec<u8> {
    let length = u64::try_from(text.len()).unwrap();
    let mut frame = vec![0x81];
    match length {
        0..126 => frame.push(length as u8),
        126..0x1_0000 => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(text.as_bytes());
    frame
}

/// Repeats `work` in the background while `measure` runs.
fn meanwhile(mut work: impl FnMut() + Send, measure: impl FnOnce()) {
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when an assertion fails, or the scope would wait for its thread forever.
        let _done = Done(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                work();
            }
        });
        measure();
    });
}

/// The sockets are flooded with these bytes, whenever there is one; and when there is no flood any
/// more, the notifications come back.
fn flooded(what: &str, bytes: &[u8], piece: usize) {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = started(&plex);
    let mut flooded = 0;
    let flood = || {
        if plex.sockets_opened() > flooded {
            flooded = plex.sockets_opened();
            plex.flood_sockets(bytes, piece);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    meanwhile(flood, || bounded(what, &exporter));
    let log = exporter.log();
    let given_up = log.iter().filter(|line| line.contains("given up"));
    assert_eq!(given_up.count(), 1, "{log:#?}");
    assert!(plex.sockets_opened() > 2);
    // Meanwhile the sessions are polled, as without a socket.
    assert!(plex.count("/status/sessions") >= 5);
    exporter.until(what, Duration::from_secs(70), |samples| {
        samples.value("plex_websocket_connected", &[]) == Some(1.0)
    });
    ended(exporter);
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn cpu_stays_bounded_under_a_flood_of_single_bytes() {
    flooded("single bytes", &text_frame(&"x".repeat(900_000)), 1);
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn cpu_stays_bounded_under_a_flood_of_frames() {
    let frame = text_frame(&playing(1, 101, "playing", 60_000).to_string());
    flooded("frames", &frame.repeat(1_000), frame.len() * 40);
    flooded("empty frames", &text_frame("").repeat(8_000), 16_000);
    flooded("large frames", &text_frame(&"[".repeat(900_000)), 900_010);
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn cpu_stays_bounded_with_ten_thousand_frames_a_second() {
    let plex = FakePlex::default();
    plex.world().play(movie(1, 101, "Alien"));
    let exporter = started(&plex);
    let frame = playing(1, 101, "playing", 60_000).to_string();
    let mut due = Instant::now();
    let work = || {
        for _ in 0..100 {
            plex.push_text(frame.clone());
        }
        due += Duration::from_millis(10);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    };
    meanwhile(work, || bounded("10,000 frames a second", &exporter));
    ended(exporter);
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn cpu_stays_bounded_with_large_bodies_everywhere() {
    let large = |inside: &str| {
        let filler = r#"{"a":1,"b":"c d","e":[1,2,3]},"#.repeat(330_000);
        format!(r#"{{"MediaContainer":{{{inside}"Nothing":[{filler}{{}}]}}}}"#)
    };
    let server =
        r#""machineIdentifier":"m","friendlyName":"x","version":"1","myPlexSubscription":true,"#;
    for (what, body) in [
        ("bodies of 10 MB", large(server)),
        ("bodies that are no JSON", "[".repeat(9_990_000)),
        ("bodies beyond the limit", " ".repeat(12_000_000)),
    ] {
        let plex = FakePlex::default();
        plex.world()
            .fault_everywhere(&Fault::Response(200, "application/json", body));
        let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
        bounded(what, &exporter);
        ended(exporter);
    }
}

fn crowd() -> Vec<Value> {
    let film = |key| movie(key, 101, &format!("Film {key}"));
    (1..=5_000).map(film).collect()
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn cpu_stays_bounded_with_responses_byte_by_byte() {
    let plex = FakePlex::default();
    {
        let mut world = plex.world();
        world.sessions = crowd();
        world.server["Nothing"] = "x".repeat(5_000_000).into();
        world.fault_everywhere(&Fault::Trickle(Duration::ZERO));
    }
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    bounded("responses byte by byte", &exporter);
    ended(exporter);
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn cpu_stays_bounded_with_thousands_of_sessions_that_change() {
    let plex = FakePlex::default();
    plex.world().sessions = crowd();
    let exporter = started(&plex);
    shown(&exporter, 5_000.0);
    let mut gone = 0;
    let change = || {
        for _ in 0..10 {
            gone += 1;
            let new = gone + 5_000;
            plex.world().stop(&gone.to_string().into());
            plex.world().play(movie(new, 101, &format!("Film {new}")));
            plex.push(&playing(gone, 101, "stopped", 0));
            plex.push(&playing(new, 101, "playing", 0));
        }
        std::thread::sleep(Duration::from_secs(1));
    };
    let what = "5,000 sessions, of which 10 change each second";
    meanwhile(change, || bounded(what, &exporter));
    println!("{} listings", plex.count("/status/sessions"));
    ended(exporter);
}

#[test]
#[ignore = "needs an optimized binary: make test-static"]
fn cpu_stays_bounded_with_notifications_of_ten_thousand_sessions() {
    let plex = FakePlex::default();
    let sessions = (1..=10_000).map(|key| {
        format!(r#"{{"sessionKey":"{key}","ratingKey":"1","Player":{{"state":"playing"}}}}"#)
    });
    let sessions = sessions.collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"MediaContainer":{{"Metadata":[{sessions}]}}}}"#);
    let listing = Fault::Response(200, "application/json", body);
    plex.world().fault("/status/sessions", listing);
    let exporter = started(&plex);
    shown(&exporter, 10_000.0);
    for (what, state) in [
        ("reports beside 10,000 sessions", "playing"),
        ("changes beside 10,000 sessions", "paused"),
    ] {
        let mut key = 0;
        let work = || {
            key += 1;
            plex.push(&playing(key, 1, state, 60_000));
            std::thread::sleep(Duration::from_millis(10));
        };
        meanwhile(work, || bounded(what, &exporter));
    }
    ended(exporter);
}

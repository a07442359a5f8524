//! What the exporter costs, measured against the simulated Plex: `make bench` prints the table.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed expectation ends it"
)]

#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use support::{
    exporter::{Exporter, Setup, binary},
    fake_plex::FakePlex,
    payloads::{movie, playing, transcoded},
};

/// How long the idle exporter is watched.
const IDLE: Duration = Duration::from_mins(1);

fn main() {
    // `cargo test --benches` only wants to know whether it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("binary: {}", binary().display());
    println!("{:<58} {:>10} {:>10}", "what", "measured", "budget");
    size();
    start();
    idle();
    for sessions in [10, 100, 1_000] {
        scrapes(sessions);
    }
    notifications();
    streams();
}

fn row(what: &str, measured: impl std::fmt::Display, budget: &str) {
    println!("{what:<58} {measured:>10} {budget:>10}");
}

fn size() {
    let bytes = std::fs::metadata(binary()).unwrap().len();
    row(
        "binary size, MB",
        format!("{:.2}", bytes as f64 / 1e6),
        "2.40",
    );
}

fn quiet(plex: &FakePlex) -> Setup {
    Setup::new(&plex.url()).env("LOG_LEVEL", "info")
}

fn settled(plex: &FakePlex, sessions: usize) -> Exporter {
    let exporter = quiet(plex).start();
    exporter.until(
        "libraries and sessions",
        Duration::from_secs(20),
        |samples| {
            samples.of("plex_library_items", &[]).len() == 4
                && samples.value("plex_active_sessions", &[]) == Some(sessions as f64)
                && samples.value("plex_websocket_connected", &[]) == Some(1.0)
        },
    );
    exporter
}

fn start() {
    let plex = FakePlex::default();
    let took = median((0..9).map(|_| {
        let begun = Instant::now();
        let exporter = quiet(&plex).start();
        exporter.page();
        begun.elapsed()
    }));
    row(
        "start to first scrape, ms (median of 9)",
        format!("{:.1}", took * 1e3),
        "20",
    );
}

fn idle() {
    let plex = FakePlex::default();
    let exporter = settled(&plex, 0);
    let (cpu, begun, requests) = (exporter.cpu_seconds(), Instant::now(), plex.seen().len());
    std::thread::sleep(IDLE);
    let hours = begun.elapsed().as_secs_f64() / 3_600.0;
    let cpu = (exporter.cpu_seconds() - cpu) / hours;
    let requests = (plex.seen().len() - requests) as f64 / hours;
    row("idle, CPU s an hour", format!("{cpu:.2}"), "0.40");
    row("idle, requests an hour", format!("{requests:.0}"), "900");
    row("idle, resident MB", megabytes(&exporter), "3.60");
    row(
        "idle, threads",
        exporter.proc_status("Threads").to_string(),
        "-",
    );
}

fn scrapes(count: u64) {
    const SCRAPES: u32 = 50;
    let plex = FakePlex::default();
    plex.world().sessions = (1..=count)
        .map(|key| {
            let film = movie(
                key,
                101,
                "The Lord of the Rings: The Fellowship of the Ring",
            );
            if key % 4 == 0 {
                transcoded(film, &format!("transcode{key}"))
            } else {
                film
            }
        })
        .collect();
    let exporter = settled(&plex, usize::try_from(count).unwrap());
    exporter.page();
    let cpu = exporter.cpu_seconds();
    for _ in 0..SCRAPES {
        exporter.page();
    }
    let plain = (exporter.cpu_seconds() - cpu) / f64::from(SCRAPES);
    let cpu = exporter.cpu_seconds();
    for _ in 0..SCRAPES {
        exporter.send("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    }
    let packed = (exporter.cpu_seconds() - cpu) / f64::from(SCRAPES);
    let budget = if count == 1_000 { "5.0" } else { "-" };
    row(
        &format!("{count} sessions, CPU ms a scrape"),
        format!("{:.2}", plain * 1e3),
        budget,
    );
    row(
        &format!("{count} sessions, CPU ms a scrape with gzip"),
        format!("{:.2}", packed * 1e3),
        "-",
    );
    let budget = match count {
        10 => "6.00",
        1_000 => "12.00",
        _ => "-",
    };
    row(
        &format!(
            "{count} sessions, resident MB after {} scrapes",
            2 * SCRAPES
        ),
        megabytes(&exporter),
        budget,
    );
}

fn notifications() {
    let plex = FakePlex::default();
    let exporter = settled(&plex, 0);
    let mut latencies = Vec::new();
    for key in 1..=15 {
        plex.world().play(movie(key, 101, "Alien"));
        let begun = Instant::now();
        plex.push(&playing(key, 101, "playing", 0));
        exporter.until_value("plex_plays_total", &[("session", &key.to_string())], 1.0);
        latencies.push(begun.elapsed());
    }
    let worst = latencies.iter().max().unwrap().as_secs_f64();
    row(
        "notification to metric, ms (median of 15 new plays)",
        format!("{:.0}", median(latencies.into_iter()) * 1e3),
        "120",
    );
    row(
        "notification to metric, ms (worst)",
        format!("{:.0}", worst * 1e3),
        "250",
    );
}

/// Ten streams that report every ten seconds, watched for a minute.
fn streams() {
    let plex = FakePlex::default();
    plex.world().sessions = (1..=10).map(|key| movie(key, 101, "Alien")).collect();
    let exporter = settled(&plex, 10);
    let (cpu, begun, requests) = (exporter.cpu_seconds(), Instant::now(), plex.seen().len());
    for second in 0..IDLE.as_secs() {
        plex.push(&playing(second % 10 + 1, 101, "playing", second * 1_000));
        std::thread::sleep(Duration::from_secs(1));
    }
    let hours = begun.elapsed().as_secs_f64() / 3_600.0;
    row(
        "ten streams, requests an hour",
        format!("{:.0}", (plex.seen().len() - requests) as f64 / hours),
        "1800",
    );
    row(
        "ten streams, CPU s an hour",
        format!("{:.2}", (exporter.cpu_seconds() - cpu) / hours),
        "-",
    );
}

fn megabytes(exporter: &Exporter) -> String {
    format!("{:.2}", exporter.proc_status("VmRSS") as f64 / 1_024.0)
}

fn median(durations: impl Iterator<Item = Duration>) -> f64 {
    let mut seconds: Vec<f64> = durations.map(|duration| duration.as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

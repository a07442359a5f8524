//! Benchmarks against the simulated Plex: `make bench` prints the table.
//!
//! With `PLEX_EXPORTER_BASE` it compares two binaries: that one and the one under test do the same
//! scrapes by turns, so that whatever else the machine does hits both alike.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed expectation ends it"
)]

#[path = "support/mod.rs"]
mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::{
    exporter::{Exporter, Setup, binary},
    fake_plex::FakePlex,
    payloads::{movie, playing, transcoded, with},
};

/// How long the idle exporter is watched.
const IDLE: Duration = Duration::from_mins(1);

fn main() {
    // `cargo test --benches` only wants to know whether it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("binary: {}", binary().display());
    if let Some(base) = std::env::var_os("PLEX_EXPORTER_BASE") {
        return compare(base.to_str().unwrap());
    }
    println!("{:<58} {:>10} {:>10}", "what", "measured", "budget");
    size();
    start();
    idle();
    for sessions in [10, 100, 1_000] {
        scrapes(sessions);
    }
    notifications();
    streams();
    curve();
}

fn row(what: &str, measured: impl std::fmt::Display, budget: &str) {
    println!("{what:<58} {measured:>10} {budget:>10}");
}

fn size() {
    let bytes = std::fs::metadata(binary()).unwrap().len();
    row(
        "binary size, MB",
        format!("{:.2}", bytes as f64 / 1e6),
        "2.50",
    );
}

fn quiet(plex: &FakePlex) -> Setup {
    Setup::new(&plex.url()).env("LOG_LEVEL", "info")
}

fn settled(plex: &FakePlex, sessions: usize) -> Exporter {
    settled_as(quiet(plex), sessions)
}

fn settled_as(setup: Setup, sessions: usize) -> Exporter {
    let exporter = setup.start();
    exporter.until(
        "libraries and sessions",
        Duration::from_mins(1),
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
    let (cpu, begun, requests) = (
        exporter.cpu_seconds(),
        Instant::now(),
        plex.requests().len(),
    );
    std::thread::sleep(IDLE);
    let hours = begun.elapsed().as_secs_f64() / 3_600.0;
    let cpu = (exporter.cpu_seconds() - cpu) / hours;
    let requests = (plex.requests().len() - requests) as f64 / hours;
    row("idle, CPU s an hour", format!("{cpu:.2}"), "0.40");
    row("idle, requests an hour", format!("{requests:.0}"), "900");
    row("idle, resident MB", megabytes(&exporter), "2.80");
    row(
        "idle, threads",
        exporter.proc_status("Threads").to_string(),
        "-",
    );
}

/// A quarter of the sessions is transcoded. Their JSON is as short as it can be, so that 10,000 fit
/// into a response.
fn world_of(count: u64) -> FakePlex {
    let plex = FakePlex::default();
    plex.world().sessions = (1..=count)
        .map(|key| {
            let film = movie(
                key,
                101,
                "The Lord of the Rings: The Fellowship of the Ring",
            );
            let mut film = with(
                film,
                serde_json::json!({"key": "(absent)", "User": {"thumb": "(absent)"}}),
            );
            film["Media"][0]["UltraBlurColors"] = serde_json::Value::Null;
            if key % 4 == 0 {
                transcoded(film, &format!("transcode{key}"))
            } else {
                film
            }
        })
        .collect();
    plex
}

const PLAIN: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
const GZIP: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n";

/// CPU milliseconds of a scrape.
fn scrape_cpu(exporter: &Exporter, request: &str, scrapes: u32) -> f64 {
    let cpu = exporter.cpu_seconds();
    for _ in 0..scrapes {
        exporter.send(request);
    }
    (exporter.cpu_seconds() - cpu) / f64::from(scrapes) * 1e3
}

/// System calls of a scrape, where strace may trace.
fn scrape_system_calls(exporter: &Exporter) -> Option<f64> {
    const SCRAPES: u32 = 100;
    let summary = support::exporter::own_path("strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-o", summary.to_str()?, "-p"])
        .arg(exporter.child.id().to_string())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut lines = BufReader::new(strace.stderr.take()?).lines();
    let attached = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("attached")));
    if attached.is_some() {
        for _ in 0..SCRAPES {
            exporter.send(PLAIN);
        }
        let pid = strace.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().ok()?;
    }
    strace.wait().ok()?;
    let text = std::fs::read_to_string(&summary).ok()?;
    let _ = std::fs::remove_file(&summary);
    // `100.00    0.012345           3      4500        12 total`; the errors may be missing.
    let total = text
        .lines()
        .find(|line| line.trim_end().ends_with("total"))?;
    let calls: f64 = total.split_whitespace().nth(3)?.parse().ok()?;
    Some(calls / f64::from(SCRAPES))
}

fn scrapes(count: u64) {
    const SCRAPES: u32 = 50;
    let plex = world_of(count);
    let exporter = settled(&plex, usize::try_from(count).unwrap());
    scrape_cpu(&exporter, PLAIN, 5);
    row(
        &format!("{count} sessions, CPU ms a scrape"),
        format!("{:.2}", scrape_cpu(&exporter, PLAIN, SCRAPES)),
        if count == 1_000 { "3.0" } else { "-" },
    );
    row(
        &format!("{count} sessions, CPU ms a scrape with gzip"),
        format!("{:.2}", scrape_cpu(&exporter, GZIP, SCRAPES)),
        "-",
    );
    row(
        &format!(
            "{count} sessions, resident MB after {} scrapes",
            2 * SCRAPES
        ),
        megabytes(&exporter),
        if count == 1_000 { "8.00" } else { "-" },
    );
    row(
        &format!("{count} sessions, system calls a scrape"),
        scrape_system_calls(&exporter).map_or("unmeasured".into(), |calls| format!("{calls:.0}")),
        if count == 10 { "45" } else { "-" },
    );
}

/// How costs grow with the number of sessions: twenty times as many may cost little more than twenty
/// times as much.
fn curve() {
    const FRAMES: u32 = 20;
    for count in [100, 1_000, 10_000] {
        let plex = world_of(count);
        let exporter = settled(&plex, usize::try_from(count).unwrap());
        scrape_cpu(&exporter, PLAIN, 3);
        let scrape = scrape_cpu(&exporter, PLAIN, 10);
        // Between two listings, so that only the notifications are measured.
        let listings = || plex.count("/status/sessions");
        let event = (0..20)
            .find_map(|round| {
                let before = listings();
                let cpu = exporter.cpu_seconds();
                for frame in 0..FRAMES {
                    let offset = u64::from(frame + round * FRAMES) * 1_000;
                    plex.push(&playing(u64::from(frame) + 1, 101, "playing", offset));
                }
                std::thread::sleep(Duration::from_millis(300));
                let cpu = exporter.cpu_seconds() - cpu;
                (listings() == before).then_some(cpu / f64::from(FRAMES) * 1e6)
            })
            .map_or("unmeasured".to_owned(), |event| format!("{event:.0}"));
        row(
            &format!("curve: {count} sessions, CPU µs a session and scrape"),
            format!("{:.2}", scrape / count as f64 * 1e3),
            "-",
        );
        row(
            &format!("curve: {count} sessions, CPU µs a notification"),
            event,
            "-",
        );
    }
}

/// Two binaries by turns.
fn compare(base: &str) {
    const ROUNDS: usize = 15;
    println!("base: {base}");
    println!(
        "{:<44} {:>10} {:>10} {:>6}",
        "what", "base", "this", "ratio"
    );
    let line = |what: &str, base: f64, this: f64| {
        println!("{what:<44} {base:>10.2} {this:>10.2} {:>6.2}", this / base);
    };
    let sizes = [base.into(), binary()].map(|path| std::fs::metadata(path).unwrap().len());
    line(
        "binary size, MB",
        sizes[0] as f64 / 1e6,
        sizes[1] as f64 / 1e6,
    );
    let plex = FakePlex::default();
    let begin = |program: &str| {
        median((0..9).map(|_| {
            let begun = Instant::now();
            quiet(&plex).under(program, &[]).start().page();
            begun.elapsed()
        })) * 1e3
    };
    let this = binary();
    let this = this.to_str().unwrap();
    line("start to first scrape, ms", begin(base), begin(this));
    for count in [10, 100, 1_000] {
        let plex = world_of(count);
        let settled = |program| {
            settled_as(
                quiet(&plex).under(program, &[]),
                usize::try_from(count).unwrap(),
            )
        };
        let pair = [settled(base), settled(this)];
        for (request, what) in [(PLAIN, "plain"), (GZIP, "gzip")] {
            let rounds: Vec<[f64; 2]> = (0..=ROUNDS)
                .map(|_| [0, 1].map(|which| scrape_cpu(&pair[which], request, 10)))
                .skip(1)
                .collect();
            let middle = |which: usize| {
                let mut times: Vec<f64> = rounds.iter().map(|round| round[which]).collect();
                times.sort_by(f64::total_cmp);
                times[ROUNDS / 2]
            };
            line(
                &format!("{count} sessions, CPU ms a scrape, {what}"),
                middle(0),
                middle(1),
            );
        }
        let [base, this] = [0, 1].map(|which| pair[which].proc_status("VmRSS") as f64 / 1_024.0);
        line(&format!("{count} sessions, resident MB"), base, this);
        if let [Some(base), Some(this)] = [0, 1].map(|which| scrape_system_calls(&pair[which])) {
            line(
                &format!("{count} sessions, system calls a scrape"),
                base,
                this,
            );
        }
    }
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
    let (cpu, begun, requests) = (
        exporter.cpu_seconds(),
        Instant::now(),
        plex.requests().len(),
    );
    for second in 0..IDLE.as_secs() {
        plex.push(&playing(second % 10 + 1, 101, "playing", second * 1_000));
        std::thread::sleep(Duration::from_secs(1));
    }
    let hours = begun.elapsed().as_secs_f64() / 3_600.0;
    row(
        "ten streams, requests an hour",
        format!("{:.0}", (plex.requests().len() - requests) as f64 / hours),
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

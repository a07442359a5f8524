//! The exporter against a simulated Plex that plays an evening: `make demo`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed expectation ends it"
)]

#[path = "support/mod.rs"]
mod support;

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use support::{evening::Evening, exporter::Setup, fake_plex::FakePlex};

fn main() {
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("signals can be handled");
    let (ending, ended) = crossbeam_channel::bounded::<()>(1);
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            drop(ending);
        }
    });
    let plex = FakePlex::default();
    let mut evening = Evening::new(&plex);
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    println!("A simulated Plex plays an evening at {}.", plex.url());
    println!(
        "See its metrics at http://{}/metrics (Ctrl-C ends it).",
        exporter.address
    );
    println!(
        "The dashboard: target/release/plex-exporter print dashboard > plex.json, for Grafana's \
         import; Grafana needs a Prometheus that scrapes {}.",
        exporter.address
    );
    println!("Pictures of it, without Grafana: make dashboard.");
    evening.play(|pause| {
        ended.recv_timeout(pause) == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
    });
    println!("Good night.");
}

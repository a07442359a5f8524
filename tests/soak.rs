//! Compressed soak: a month of use, fed straight into the pure state in a minute.
//!
//! A simulated Plex answers the state's requests and sends notifications; viewers, clocks, network
//! and Plex misbehave by chance, from a seed. An oracle that knows the truth reads every page.

#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs
)]

#[path = "soak/activities.rs"]
mod activities;
#[path = "soak/clients.rs"]
mod clients;
#[path = "support/core.rs"]
mod core;
#[path = "soak/dice.rs"]
mod dice;
#[path = "soak/figures.rs"]
mod figures;
#[path = "soak/knowledge.rs"]
mod knowledge;
#[path = "soak/network.rs"]
mod network;
#[path = "soak/oracle.rs"]
mod oracle;
#[path = "support/page_watch.rs"]
mod page_watch;
#[path = "soak/plays.rs"]
mod plays;
#[path = "soak/plex.rs"]
mod plex;
#[path = "soak/series.rs"]
mod series;
#[path = "soak/tally.rs"]
mod tally;
#[path = "soak/wire.rs"]
mod wire;
#[path = "soak/world.rs"]
mod world;

use plays::Millis;
use world::World;

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

/// Lives through `days`, and returns the figures, the sum over all pages and the last page.
fn live(seed: u64, viewers: usize, duration: Millis, scrapes: Millis) -> (String, u64, String) {
    let mut world = World::new(seed, viewers, scrapes);
    world.run_until(duration);
    world.close();
    world.check_page();
    world.check_estimate();
    let figures = world.to_string();
    let page = world.core.page(world.timestamp());
    (figures, world.oracle.page_sum, page)
}

/// `make soak` sets `SOAK_DAYS`; without it, a day has to do. A given `SEED` is lived through once.
#[test]
fn days_of_use_are_shown_as_they_were_and_twice_alike() {
    let days = std::env::var("SOAK_DAYS").map_or(1, |days| days.parse().unwrap());
    let run = |seed| live(seed, 50, days * DAY, MINUTE * 3 / 2);
    if let Ok(seed) = std::env::var("SEED") {
        println!("{}", run(seed.parse().unwrap()).0);
        return;
    }
    let (one, two) = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        (run(1), other.join().expect("the second run"))
    });
    println!("{}", one.0);
    assert!(one == two, "the same seed gave another page");
}

#[test]
fn evenings_of_any_seed_are_shown_as_they_were() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (100..104).collect(),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let (figures, ..) = live(seed, 20, 12 * HOUR, 15_000);
            println!("{figures}");
        });
        assert!(outcome.is_ok(), "failed with SEED={seed}");
    }
}

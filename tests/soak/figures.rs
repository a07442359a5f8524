//! What happened, in numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{plays::PlayId, tally::Tally, world::World};

#[derive(Debug, Default)]
pub struct Figures {
    pub plays: u64,
    pub events: u64,
    pub frames: u64,
    pub pages: u64,
    pub faults: u64,
    pub restarts: u64,
    pub outages: u64,
    pub clock_steps: u64,
    /// Plays of which everything was notified.
    pub exact_plays: BTreeSet<PlayId>,
    /// The largest error of one of them, in seconds.
    pub exact_error: f64,
    /// The largest error of any other that has ended.
    pub gap_error: f64,
    /// The largest error while nothing is received about a play.
    pub live_error: f64,
    /// The largest size of every collection, and its limit.
    pub collections: BTreeMap<&'static str, (usize, usize)>,
    /// The estimated bytes sent, and the true ones.
    pub estimate: (f64, f64),
}

impl fmt::Display for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures {
            plays,
            events,
            frames,
            pages,
            faults,
            restarts,
            outages,
            clock_steps,
            exact_plays,
            exact_error,
            gap_error,
            live_error,
            collections,
            estimate: (estimated, sent),
        } = &self.figures;
        let Tally {
            requests,
            most_idle,
            most_live,
            most_crowded,
            lines,
            ..
        } = &self.tally;
        let days = self.now as f64 / 86_400_000.0;
        writeln!(
            out,
            "{days:.1} days: {plays} plays counted of {} begun, {events} events, {frames} frames, {pages} pages, {} ticks",
            self.plays.len(),
            self.core.ticks
        )?;
        writeln!(
            out,
            "{faults} faults, among them {restarts} restarts, {outages} outages, {clock_steps} clock steps"
        )?;
        writeln!(
            out,
            "{requests} requests; at most {most_idle} in an idle hour, {most_live} with up to 10 sessions, {most_crowded} with more"
        )?;
        writeln!(out, "{lines} log lines")?;
        writeln!(
            out,
            "seconds wrong by at most {exact_error:.3} for the {} plays of which everything was \
             notified, {gap_error:.3} for others, {live_error:.3} while nothing was reported of them",
            exact_plays.len()
        )?;
        writeln!(out, "{estimated:.0} bytes estimated of {sent:.0} sent")?;
        let collections: Vec<String> = collections
            .iter()
            .map(|(name, (largest, limit))| format!("{largest} {name} (of {limit})"))
            .collect();
        write!(out, "at most {}", collections.join(", "))
    }
}

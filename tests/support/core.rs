//! The state, driven as the event loop drives it: after every event, nothing is due any more, and
//! the next deadline lies in the future.

#![allow(dead_code, reason = "each of the programs uses its own part of this")]

use std::time::{Duration, Instant};

use plex_exporter::{
    config::HiddenLabels,
    internals::{Actions, Event, Process, State, Timestamp, render},
};

/// The state, and what the event loop keeps for it.
pub struct Core {
    state: State,
    page_length: usize,
    /// Times it woke up because of a deadline.
    pub ticks: u64,
}

impl Core {
    pub fn new(hide: HiddenLabels, now: Timestamp) -> Self {
        Self {
            state: State::new(hide, now),
            page_length: 0,
            ticks: 0,
        }
    }

    /// Applies an event and returns the actions.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Actions {
        let mut actions = self.state.apply(event, now);
        self.settle(now, &mut actions);
        actions
    }

    /// Wakes up at `now`.
    pub fn tick(&mut self, now: Timestamp) -> Actions {
        self.ticks += 1;
        let mut actions = self.state.tick(now);
        self.settle(now, &mut actions);
        actions
    }

    /// If something is due at `now`, the event loop ticks immediately; one tick must be enough.
    fn settle(&mut self, now: Timestamp, actions: &mut Actions) {
        if self.deadline().is_some_and(|due| due <= now.monotonic) {
            let more = self.state.tick(now);
            actions.requests.extend(more.requests);
            actions.log_lines.extend(more.log_lines);
        }
        let due = self.deadline();
        assert!(
            due.is_none_or(|due| due > now.monotonic),
            "spins: due {:?} ago",
            due.map(|due| now.monotonic - due)
        );
    }

    /// When it wants to wake up.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.next_deadline()
    }

    /// A scrape.
    pub fn page(&mut self, now: Timestamp) -> String {
        self.state.prepare_scrape(now);
        let page = render(
            &self.state,
            &Process::default(),
            now,
            String::with_capacity(self.page_length),
        );
        self.page_length = page.len();
        page
    }

    /// Every collection that grows with the activity of Plex and its clients: name, size and
    /// documented limit.
    pub fn collections(&self) -> Vec<(&'static str, usize, usize)> {
        let sessions = &self.state.sessions;
        let (ended, pending) = sessions.kept();
        let lasting = &sessions.lasting;
        let mut collections = vec![
            ("live sessions", sessions.live().len(), 10_000),
            ("ended plays", ended, 10_000),
            ("pending sessions", pending, 256),
            ("series of plays", sessions.series.count(), 20_000),
            ("libraries", self.state.libraries.iter().count(), 2_000),
            ("starts by library", self.state.starts.len(), 2_000),
            ("user play seconds", lasting.user_play.iter().len(), 2_000),
            ("transcode seconds", lasting.transcode.iter().len(), 2_000),
            ("user starts", lasting.user_starts.len(), 2_000),
            ("user bytes", lasting.user_bytes.len(), 2_000),
            ("buffering", lasting.buffering.len(), 2_000),
        ];
        let limit = |name| match name {
            "rows of bytes sent" => 50_000,
            "accounts" | "unknown accounts" => 2_000,
            "running activities" | "ended activities" => 1_000,
            "titles" => 20_000,
            "pending transcodes" => 256,
            // One for each endpoint and each library.
            _ => 2_011,
        };
        let remembered = self.state.remembered().into_iter();
        collections.extend(remembered.map(|(name, size)| (name, size, limit(name))));
        collections
    }
}

/// A moment on both clocks.
pub fn timestamp(base: Instant, milliseconds: u64, unix_seconds: f64) -> Timestamp {
    Timestamp {
        monotonic: base + Duration::from_millis(milliseconds),
        unix_seconds,
    }
}

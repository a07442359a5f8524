//! Titles whose metadata is to be fetched: once for all plays that wait for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::schedule::retry_pause;
use crate::plex::id::Id;

/// Titles are fetched two at a time, so that one that hangs does not delay the others.
pub const TITLES_AT_ONCE: usize = 2;
/// The longest pause between attempts at a title that fails.
const LONGEST_RETRY: Duration = Duration::from_mins(5);

/// A title to be requested after this moment, and its failed attempts.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    failures: u32,
    after: Instant,
}

/// The titles to be fetched.
#[derive(Debug, Default)]
pub struct Titles {
    waiting: BTreeMap<Id, Waiting>,
    /// The same titles, by moment.
    queue: BTreeSet<(Instant, Id)>,
    in_flight: BTreeMap<Id, u32>,
}

impl Titles {
    /// Adds a title whose metadata a play waits for.
    pub fn want(&mut self, id: Id, now: Instant) {
        if !self.in_flight.contains_key(&id) && !self.waiting.contains_key(&id) {
            self.wait(id, 0, now);
        }
    }

    fn wait(&mut self, id: Id, failures: u32, after: Instant) {
        self.waiting.insert(id, Waiting { failures, after });
        self.queue.insert((after, id));
    }

    /// The number of titles that wait or are in flight.
    #[must_use]
    pub fn count(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }

    /// The title to request next, and when.
    #[must_use]
    pub fn next(&self) -> Option<(Instant, Id)> {
        let free = self.in_flight.len() < TITLES_AT_ONCE;
        self.queue.first().copied().filter(|_| free)
    }

    /// Marks the request for a title as in flight.
    pub fn start(&mut self, id: Id) {
        if let Some(waiting) = self.waiting.remove(&id) {
            self.queue.remove(&(waiting.after, id));
            self.in_flight.insert(id, waiting.failures);
        }
    }

    /// Completes the request for a title; with `retry`, it is sent again later.
    pub fn completed(&mut self, id: Id, retry: bool, now: Instant) {
        let failures = self.in_flight.remove(&id);
        if let Some(failures) = failures.filter(|_| retry) {
            let pause = retry_pause(failures + 1).min(LONGEST_RETRY);
            self.wait(id, failures + 1, now + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_fetched_once_for_all_and_retried_ever_more_slowly() {
        let mut now = Instant::now();
        let [one, two, three] = ["1", "2", "3"].map(|id| Id::parse(id).unwrap());
        let mut titles = Titles::default();
        for id in [one, one, two, three] {
            titles.want(id, now);
        }
        titles.start(one);
        titles.want(one, now);
        titles.start(two);
        assert_eq!(titles.next(), None);
        titles.completed(two, false, now);
        assert_eq!(titles.next(), Some((now, three)));
        titles.start(three);
        titles.completed(three, false, now);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 64] {
            titles.completed(one, true, now);
            now += Duration::from_secs(seconds);
            assert_eq!(titles.next(), Some((now, one)));
            titles.start(one);
        }
        titles.completed(one, false, now);
        assert_eq!(titles.next(), None);
    }
}

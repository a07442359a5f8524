//! Plex's own count of video transcodes, and when it is about to change.
//!
//! The count is in `/`, which follows the start or the end of a transcode within a moment. A seek
//! ends a transcode and starts it again within a second, which leaves the count as it is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::statistics::Expiring;

/// An end that no start follows for this long is no seek.
const SEEK: Duration = Duration::from_millis(1_500);
/// `/` is polled this long after a start …
const FIRST_POLL: Duration = Duration::from_millis(500);
/// … and this long after the change when the count is still the same.
const SECOND_POLL: Duration = Duration::from_millis(2_500);
/// At most this many ends wait to be told from seeks; a real server has a handful of transcodes.
const MAX_ENDS: usize = 256;

/// The count, and the changes that it does not show yet.
#[derive(Debug, Default)]
pub struct ActiveTranscodes {
    count: Expiring<Option<f64>>,
    /// The last change, until the count changes.
    changed: Option<Instant>,
    /// When transcodes ended, by id: those that may be seeks.
    ends: BTreeMap<Box<str>, Instant>,
}

impl ActiveTranscodes {
    /// The count, unless it is stale.
    #[must_use]
    pub fn count(&self, now: Instant) -> Option<f64> {
        self.count.get(now).copied().flatten()
    }

    /// A transcode began; returns when to poll, unless it was a seek.
    pub fn started(&mut self, id: &str, now: Instant) -> Option<Instant> {
        let seek = self.ends.remove(id).is_some();
        (!seek).then(|| self.changed(now))
    }

    /// A transcode ended. After [`Self::next_end`] it is known whether it was a seek.
    pub fn ended(&mut self, id: &str, now: Instant) {
        if self.ends.len() < MAX_ENDS {
            self.ends.insert(id.into(), now);
        }
    }

    /// Transcodes began or ended; returns when to poll.
    pub fn changed(&mut self, now: Instant) -> Instant {
        self.changed = Some(now);
        now + FIRST_POLL
    }

    /// When the next end turns out to be no seek.
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.values().min().map(|ended| *ended + SEEK)
    }

    /// The transcodes whose end has turned out to be no seek, so that `/` is to be polled.
    pub fn settle(&mut self, now: Instant) -> Vec<Box<str>> {
        if self.next_end().is_none_or(|due| now < due) {
            return Vec::new();
        }
        let settled = self.ends.extract_if(.., |_, ended| now >= *ended + SEEK);
        let (ids, moments): (Vec<_>, Vec<_>) = settled.unzip();
        self.changed = self.changed.max(moments.into_iter().max());
        ids
    }

    /// Plex responded with `count`. Returns when to poll again because it has not changed yet.
    pub fn set(&mut self, count: Option<f64>, now: Instant) -> Option<Instant> {
        let before = self.count(now);
        self.count.set(count, now);
        let again = self.changed? + SECOND_POLL;
        let lags = before == count && now < again;
        if !lags {
            self.changed = None;
        }
        lags.then_some(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seek_causes_no_poll_and_an_end_one_once_it_is_known_to_be_no_seek() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut transcodes = ActiveTranscodes::default();
        assert_eq!(transcodes.started("one", at(0)), Some(at(500)));
        for seek in [10_000, 12_000] {
            transcodes.ended("one", at(seek));
            assert_eq!(transcodes.next_end(), Some(at(seek + 1_500)));
            assert!(transcodes.settle(at(seek + 1_499)).is_empty());
            assert_eq!(transcodes.started("one", at(seek + 1_499)), None);
            assert_eq!(transcodes.next_end(), None);
        }
        transcodes.ended("one", at(20_000));
        assert_eq!(transcodes.started("two", at(20_100)), Some(at(20_600)));
        assert_eq!(transcodes.settle(at(21_500)), [Box::from("one")]);
        assert!(transcodes.settle(at(21_500)).is_empty());
    }

    #[test]
    fn a_count_that_lags_behind_is_polled_once_more_within_three_seconds() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut transcodes = ActiveTranscodes::default();
        assert_eq!(transcodes.set(Some(1.0), at(0)), None);
        transcodes.ended("one", at(0));
        assert_eq!(transcodes.settle(at(1_500)).len(), 1);
        assert_eq!(transcodes.set(Some(1.0), at(1_510)), Some(at(2_500)));
        assert_eq!(transcodes.set(Some(1.0), at(2_510)), None);
        transcodes.started("two", at(5_000));
        assert_eq!(transcodes.set(Some(2.0), at(5_510)), None);
        assert_eq!(transcodes.count(at(5_510)), Some(2.0));
    }

    #[test]
    fn ends_beyond_the_limit_are_left_to_the_timetable() {
        let now = Instant::now();
        let mut transcodes = ActiveTranscodes::default();
        for id in 0..2 * MAX_ENDS {
            transcodes.ended(&id.to_string(), now);
        }
        assert_eq!(transcodes.ends.len(), MAX_ENDS);
        assert_eq!(transcodes.settle(now + SEEK).len(), MAX_ENDS);
        assert_eq!(transcodes.next_end(), None);
    }
}

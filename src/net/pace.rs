//! A limit on how often something happens, which costs CPU time by the time.

use std::time::{Duration, Instant};

/// A rate, with bursts (the generic cell rate algorithm).
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    burst: Duration,
    /// When the next one would be on time, had all of them come at the rate.
    due: Option<Instant>,
}

impl Pace {
    /// Allows `per_second`, and a burst of as many as `seconds` allow.
    #[must_use]
    pub fn new(per_second: u32, seconds: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second,
            burst: Duration::from_secs(seconds.into()),
            due: None,
        }
    }

    /// One more happened at `now`.
    pub fn record(&mut self, now: Instant) {
        self.due = Some(self.due.map_or(now, |due| due.max(now)) + self.interval);
    }

    /// How long the next has to wait at `now`.
    #[must_use]
    pub fn pause(&self, now: Instant) -> Duration {
        self.due.map_or(Duration::ZERO, |due| {
            due.saturating_duration_since(now + self.burst)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_the_rate_is_kept_and_a_quiet_time_allows_another_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(100, 2);
        for now in [start, start + Duration::from_mins(1)] {
            for _ in 0..200 {
                assert_eq!(pace.pause(now), Duration::ZERO);
                pace.record(now);
            }
            pace.record(now);
            assert_eq!(pace.pause(now), Duration::from_millis(10));
            let later = now + Duration::from_millis(10);
            assert_eq!(pace.pause(later), Duration::ZERO);
            pace.record(later);
            assert_eq!(pace.pause(later), Duration::from_millis(10));
        }
    }

    #[test]
    fn at_the_rate_or_below_nothing_ever_waits() {
        let mut pace = Pace::new(100, 1);
        let mut now = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(pace.pause(now), Duration::ZERO);
            pace.record(now);
            now += Duration::from_millis(10);
        }
    }
}

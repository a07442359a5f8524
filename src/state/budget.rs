//! A limit on the requests that notifications can trigger, whatever notifications arrive.
//!
//! The timetable alone costs Plex some 700 requests an hour when nobody plays and 1,050 with live
//! sessions. Everything beyond it, for whatever reason, takes a permit here: a burst of
//! [`BURST`], refilled so that an hour stays below 900 (idle) and 1,800 (up to ten sessions).

use std::time::{Duration, Instant};

/// Permits that can be taken at once after a quiet time.
pub const BURST: u32 = 12;
/// A permit comes back this often while no session is live: 120 an hour.
const IDLE_REFILL: Duration = Duration::from_secs(30);
/// A permit comes back this often with up to [`FEW_SESSIONS`] live sessions: 600 an hour.
const LIVE_REFILL: Duration = Duration::from_secs(6);
/// With more sessions than these, the refill grows in proportion.
pub const FEW_SESSIONS: u32 = 10;

/// Permits for requests beyond the timetable.
///
/// Kept as the moment at which all permits are back (the generic cell rate algorithm): instants
/// compare exactly, so that [`Self::next_permit`] and [`Self::take`] never disagree.
#[derive(Debug)]
pub struct RequestBudget {
    full_at: Instant,
    refill: Duration,
}

impl RequestBudget {
    /// A full budget.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            full_at: now,
            refill: IDLE_REFILL,
        }
    }

    /// Adapts the refill to the number of live sessions; permits already taken stay taken.
    pub fn set_sessions(&mut self, live: usize, now: Instant) {
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        let refill = match live {
            0 => IDLE_REFILL,
            _ if live <= FEW_SESSIONS => LIVE_REFILL,
            _ => LIVE_REFILL * FEW_SESSIONS / live,
        };
        if refill != self.refill {
            let taken = self.full_at.saturating_duration_since(now);
            self.full_at = now + taken.mul_f64(refill.as_secs_f64() / self.refill.as_secs_f64());
            self.refill = refill;
        }
    }

    /// When the next permit can be taken: perhaps long ago.
    #[must_use]
    pub fn next_permit(&self) -> Option<Instant> {
        // Without a representable moment it lies before the machine's start: long ago.
        self.full_at.checked_sub(self.refill * (BURST - 1))
    }

    /// Takes a permit, if there is one at `now`.
    pub fn take(&mut self, now: Instant) -> bool {
        let available = self.next_permit().is_none_or(|moment| moment <= now);
        if available {
            self.full_at = self.full_at.max(now) + self.refill;
        }
        available
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_in_an_hour(sessions: usize) -> u32 {
        let start = Instant::now();
        let mut budget = RequestBudget::new(start);
        budget.set_sessions(sessions, start);
        let seconds = (0..3_600).map(|second| start + Duration::from_secs(second));
        u32::try_from(seconds.filter(|now| budget.take(*now)).count()).unwrap()
    }

    #[test]
    fn an_hour_of_constant_demand_gets_the_burst_and_the_refill() {
        assert_eq!(taken_in_an_hour(0), BURST + 119);
        assert_eq!(taken_in_an_hour(10), BURST + 599);
        assert!(taken_in_an_hour(50) > 2_500);
    }

    #[test]
    fn the_next_permit_can_be_taken_exactly_when_it_is_due() {
        let mut now = Instant::now();
        let mut budget = RequestBudget::new(now);
        for sessions in [0, 3, 0, 70, 7, 0] {
            budget.set_sessions(sessions, now);
            while budget.take(now) {}
            now = budget.next_permit().unwrap();
            assert!(budget.take(now));
        }
    }
}

//! A limit on the requests that notifications can trigger.
//!
//! The timetable alone costs Plex some 650 requests an hour when nobody plays and 950 with live
//! sessions. Every request beyond it takes a permit here. Each purpose has its own permits, so that
//! a burst of one kind of notification delays no request of another kind; only
//! [`Purpose::Viewing`], for which somebody waits, may take half of the others' as well. The
//! timetable and an hour's permits together stay within the limits that the README promises.

use std::time::{Duration, Instant};

/// Requests an hour while nobody plays, as the README promises.
const IDLE_LIMIT: u32 = 900;
/// Requests an hour with up to [`FEW_SESSIONS`] sessions, as the README promises.
const LIVE_LIMIT: u32 = 1_800;
/// The timetable's part of that while nobody plays, without item counts: `/` 240, statistics 240,
/// `/status/sessions` 60, `/media/providers` 60, `/activities` 30, two others once an hour.
const IDLE_TIMETABLE: u32 = 632;
/// The same with live sessions: statistics 480, `/status/sessions` 120.
const LIVE_TIMETABLE: u32 = 932;
/// What an hour without a stable socket adds to either: `/status/sessions` is polled every 10 s
/// (8 s with live sessions), `/` less often, and there are 150 connection attempts.
const IDLE_POLLING: u32 = 274;
const LIVE_POLLING: u32 = 480;
/// Requests an hour without a socket while nobody plays, as the README promises.
const IDLE_POLLING_LIMIT: u32 = 1_000;
/// At least this many permits are refilled in an hour, however many libraries are counted.
const MIN_PERMITS: u32 = 24;
/// With more sessions than this, permits increase in proportion …
pub const FEW_SESSIONS: u32 = 10;
/// … up to this multiple: a listing of very many sessions is a large response.
const MAX_FACTOR: u32 = 5;

/// What a permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sessions: `/status/sessions` and the metadata of titles.
    Viewing,
    /// The server itself: `/`.
    Server,
    /// Everything else: libraries, item counts, users, updates.
    Upkeep,
}

const PURPOSES: [Purpose; 3] = [Purpose::Viewing, Purpose::Server, Purpose::Upkeep];

impl Purpose {
    /// Permits that can be taken at once after a quiet time.
    const fn burst(self, live: bool) -> u32 {
        match (self, live) {
            (Self::Viewing, true) => 24,
            (Self::Viewing, false) => 16,
            (Self::Server | Self::Upkeep, _) => 12,
        }
    }

    /// Its percentage of the refilled permits.
    const fn share(self) -> u32 {
        match self {
            Self::Viewing => 55,
            Self::Server => 20,
            Self::Upkeep => 25,
        }
    }
}

/// Requests of low priority leave this many permits to the others.
const RESERVE: u32 = 16;
/// [`Purpose::Viewing`] leaves one in this many of another purpose's permits.
const LENT: u32 = 2;

/// Permits for one purpose.
///
/// Stored as the moment at which all permits are available again (the generic cell rate algorithm):
/// instants compare exactly, so that [`Self::next`] and [`Self::take`] always agree.
#[derive(Debug)]
struct Permits {
    full_at: Instant,
    refill: Duration,
    burst: u32,
}

impl Permits {
    /// When there are more than `reserve`.
    fn next(&self, reserve: u32) -> Option<Instant> {
        let spare = self.burst.saturating_sub(reserve).max(1);
        // A moment that cannot be represented lies before the clock's origin, so it has passed.
        self.full_at.checked_sub(self.refill * (spare - 1))
    }

    fn take(&mut self, reserve: u32, now: Instant) -> bool {
        let available = self.next(reserve).is_none_or(|moment| moment <= now);
        if available {
            self.full_at = self.full_at.max(now) + self.refill;
        }
        available
    }

    /// Changes the rate; permits already taken stay taken.
    fn adapt(&mut self, refill: Duration, burst: u32, now: Instant) {
        if refill != self.refill {
            let taken = self.full_at.saturating_duration_since(now);
            let taken = taken.mul_f64(refill.as_secs_f64() / self.refill.as_secs_f64());
            // With a smaller burst, no more than that can be missing.
            self.full_at = now + taken.min(refill * burst);
            self.refill = refill;
        }
        self.burst = burst;
    }
}

/// Permits for requests beyond the timetable.
#[derive(Debug)]
pub struct RequestBudget {
    permits: [Permits; PURPOSES.len()],
}

impl RequestBudget {
    /// A full budget.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let permits = PURPOSES.map(|purpose| Permits {
            full_at: now,
            refill: refill(purpose, 0, 0, false),
            burst: purpose.burst(false),
        });
        Self { permits }
    }

    /// Adapts to the number of live sessions, to the timetable's item counts in an hour, and to
    /// `polling`: without a stable socket more is polled.
    pub fn adapt(&mut self, sessions: usize, counts: u32, polling: bool, now: Instant) {
        let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
        for (purpose, permits) in PURPOSES.into_iter().zip(&mut self.permits) {
            let burst = purpose.burst(sessions > 0) * factor(sessions) / FEW_SESSIONS;
            permits.adapt(refill(purpose, sessions, counts, polling), burst, now);
        }
    }

    /// The permits that `purpose` may take, and how many it leaves of each.
    fn permits(&self, purpose: Purpose) -> impl Iterator<Item = (usize, u32)> {
        let own = purpose as usize;
        let others = (0..PURPOSES.len()).filter(move |other| {
            let lends = purpose == Purpose::Viewing;
            lends && *other != own
        });
        let lent = others.map(|other| (other, self.permits[other].burst / LENT));
        std::iter::once((own, 0)).chain(lent)
    }

    /// When the next permit is available; may be in the past.
    #[must_use]
    pub fn next_permit(&self, purpose: Purpose) -> Option<Instant> {
        // `None` lies before every moment.
        self.permits(purpose)
            .map(|(index, reserve)| self.permits[index].next(reserve))
            .min()
            .flatten()
    }

    /// When a permit is available for a request of low priority; may be in the past.
    #[must_use]
    pub fn next_spare_permit(&self, purpose: Purpose) -> Option<Instant> {
        self.permits[purpose as usize].next(RESERVE)
    }

    /// Takes a permit, if there is one at `now`.
    pub fn take(&mut self, purpose: Purpose, now: Instant) -> bool {
        let usable: Vec<(usize, u32)> = self.permits(purpose).collect();
        usable
            .into_iter()
            .any(|(index, reserve)| self.permits[index].take(reserve, now))
    }
}

/// Tenths by which permits increase with many sessions.
fn factor(sessions: u32) -> u32 {
    sessions.clamp(FEW_SESSIONS, FEW_SESSIONS * MAX_FACTOR)
}

/// The interval at which a permit is refilled.
fn refill(purpose: Purpose, sessions: u32, counts: u32, polling: bool) -> Duration {
    let live = sessions > 0;
    let (limit, timetable) = match (live, polling) {
        (true, false) => (LIVE_LIMIT, LIVE_TIMETABLE),
        (true, true) => (LIVE_LIMIT, LIVE_TIMETABLE + LIVE_POLLING),
        (false, false) => (IDLE_LIMIT, IDLE_TIMETABLE),
        (false, true) => (IDLE_POLLING_LIMIT, IDLE_TIMETABLE + IDLE_POLLING),
    };
    let bursts: u32 = PURPOSES.iter().map(|purpose| purpose.burst(live)).sum();
    let permits = limit.saturating_sub(timetable + counts + bursts);
    let hour = permits.max(MIN_PERMITS) * purpose.share() / 100;
    Duration::from_hours(1) * FEW_SESSIONS / (hour * factor(sessions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_in_an_hour(sessions: usize, counts: u32) -> u32 {
        let start = Instant::now();
        let mut budget = RequestBudget::new(start);
        budget.adapt(sessions, counts, false, start);
        let mut taken = 0;
        for second in 0..3_600 {
            for purpose in PURPOSES {
                while budget.take(purpose, start + Duration::from_secs(second)) {
                    taken += 1;
                }
            }
        }
        taken
    }

    #[test]
    fn constant_demand_and_the_timetable_stay_below_the_limit_of_an_hour() {
        for counts in [0, 20, 160] {
            assert!(taken_in_an_hour(0, counts) + IDLE_TIMETABLE + counts <= 900 + MIN_PERMITS);
            assert!(taken_in_an_hour(10, counts) + LIVE_TIMETABLE + counts <= 1_800);
        }
        assert!(taken_in_an_hour(10, 20) > 600);
        assert!(taken_in_an_hour(50, 20) > 3_000);
        assert!(taken_in_an_hour(10_000, 20) < 5_000);
    }

    #[test]
    fn requests_of_low_priority_leave_permits_to_the_others() {
        let mut now = Instant::now();
        let mut budget = RequestBudget::new(now);
        budget.adapt(10, 0, false, now);
        let mut taken = 0;
        for _ in 0..600 {
            now += Duration::from_secs(1);
            if budget
                .next_spare_permit(Purpose::Viewing)
                .is_none_or(|moment| moment <= now)
            {
                assert!(budget.take(Purpose::Viewing, now));
                taken += 1;
            }
        }
        assert!(taken > 60, "{taken}");
        for _ in 0..RESERVE {
            assert!(budget.take(Purpose::Viewing, now));
        }
    }

    #[test]
    fn a_burst_for_one_purpose_leaves_the_permits_of_the_others() {
        let now = Instant::now();
        for (first, purpose, expected) in [
            (Purpose::Upkeep, Purpose::Server, 12),
            (Purpose::Upkeep, Purpose::Viewing, 16 + 6),
            (Purpose::Server, Purpose::Upkeep, 12),
            (Purpose::Viewing, Purpose::Server, 6),
            (Purpose::Viewing, Purpose::Upkeep, 6),
        ] {
            let mut budget = RequestBudget::new(now);
            while budget.take(first, now) {}
            let taken = (0..100).filter(|_| budget.take(purpose, now)).count();
            assert_eq!(taken, expected, "{purpose:?} after {first:?}");
        }
    }

    #[test]
    fn the_next_permit_can_be_taken_exactly_when_it_is_due() {
        let mut now = Instant::now();
        let mut budget = RequestBudget::new(now);
        for sessions in [0, 3, 0, 70, 7, 0] {
            budget.adapt(sessions, 30, sessions > 5, now);
            while budget.take(Purpose::Viewing, now) {}
            now = budget.next_permit(Purpose::Viewing).unwrap();
            assert!(budget.take(Purpose::Viewing, now));
        }
    }

    #[test]
    fn after_a_quiet_time_a_burst_of_permits_can_be_taken() {
        let start = Instant::now() + Duration::from_hours(1);
        for (sessions, purpose, burst) in [
            // Half of those of the other purposes included.
            (0, Purpose::Viewing, 16 + 12),
            (3, Purpose::Viewing, 24 + 12),
            (50, Purpose::Viewing, 5 * (24 + 12)),
            (0, Purpose::Server, 12),
            (3, Purpose::Upkeep, 12),
            (20, Purpose::Upkeep, 24),
        ] {
            let mut budget = RequestBudget::new(start);
            budget.adapt(sessions, 20, false, start);
            let now = start + Duration::from_hours(2);
            let taken = (0..1_000).filter(|_| budget.take(purpose, now)).count();
            assert_eq!(taken, burst, "{purpose:?}");
            assert!(budget.next_permit(purpose).unwrap() > now);
        }
    }
}

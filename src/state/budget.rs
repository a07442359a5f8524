//! A limit on the requests to Plex, whatever notifications arrive.
//!
//! Each purpose has its own permits, so that a burst of one kind of notification delays no request
//! of another kind; only where a person waits for sessions, they may take a part of the others', and
//! sessions and, while there are none, `/` may take what the others have to spare. The timetable needs no permit, but where a request moves
//! the timetable on, the timetable's share belongs to the permits, too: then what the timetable sends
//! is charged. What an hour leaves beyond the timetable is divided: a part of it can be taken at once
//! after a quiet time, the rest is refilled in the course of the hour. So no hour exceeds the limits
//! that the README promises.

use std::time::{Duration, Instant};

/// Requests an hour while nobody plays, as the README promises.
const IDLE_LIMIT: u32 = 900;
/// The same without a socket.
const IDLE_POLLING_LIMIT: u32 = 1_000;
/// Requests an hour with up to [`FEW_SESSIONS`] sessions, as the README promises.
const LIVE_LIMIT: u32 = 1_800;
/// What the timetable sends in an hour beside `/` and `/status/sessions`, without item counts:
/// `/media/providers` 60, `/activities` 30, two others once an hour.
const OTHERS: u32 = 92;
/// Attempts at a socket that does not last.
const CONNECTIONS: u32 = 150;
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

/// How urgent a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Something may have changed. It leaves three quarters of a full burst to the others.
    Low,
    /// Something has changed. It leaves one half.
    Medium,
    /// A person waits for it.
    High,
}

/// What decides how many requests the timetable sends, and how many are allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Live sessions.
    pub sessions: usize,
    /// The timetable's item counts in an hour.
    pub counts: u32,
    /// Whether `/status/sessions` is polled for want of a stable socket.
    pub polling: bool,
}

impl Demand {
    /// The limit, and the timetable's part of it for each purpose.
    const fn hour(self) -> (u32, [u32; PURPOSES.len()]) {
        let (limit, viewing, server, statistics, connections) =
            match (self.sessions > 0, self.polling) {
                (false, false) => (IDLE_LIMIT, 60, 240, 240, 0),
                (false, true) => (IDLE_POLLING_LIMIT, 360, 90, 120, CONNECTIONS),
                (true, false) => (LIVE_LIMIT, 120, 240, 480, 0),
                (true, true) => (LIVE_LIMIT, 450, 90, 480, CONNECTIONS),
            };
        let upkeep = OTHERS + statistics + connections + self.counts;
        (limit, [viewing, server, upkeep])
    }

    /// The burst of a purpose, and the interval at which its permits are refilled.
    fn permits(self, purpose: Purpose) -> (u32, Duration) {
        let (limit, timetable) = self.hour();
        let spare = limit.saturating_sub(timetable.iter().sum());
        let spare = spare.max(MIN_PERMITS) * purpose.share() / 100;
        // While nobody plays, there is little that a person waits for.
        let part = if self.sessions > 0 { 25 } else { 20 };
        let burst = (spare * part / 100).max(1);
        let rest = spare - burst;
        let own = match purpose {
            Purpose::Upkeep => 0,
            Purpose::Viewing | Purpose::Server => timetable[purpose as usize],
        };
        // In tenths, and never zero.
        let sessions = u32::try_from(self.sessions).unwrap_or(u32::MAX);
        let factor = sessions.clamp(FEW_SESSIONS, FEW_SESSIONS * MAX_FACTOR);
        let refill = Duration::from_hours(1) * FEW_SESSIONS / ((own + rest) * factor);
        (burst * factor / FEW_SESSIONS, refill)
    }
}

impl Purpose {
    /// Its percentage of what the timetable leaves.
    const fn share(self) -> u32 {
        match self {
            Self::Viewing => 62,
            Self::Server => 18,
            Self::Upkeep => 20,
        }
    }
}

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
    /// When there is one for a request of this priority.
    fn next(&self, priority: Priority) -> Option<Instant> {
        let reserve = match priority {
            Priority::High => 0,
            Priority::Medium => self.burst / 2,
            Priority::Low => self.burst * 3 / 4,
        };
        let spare = self.burst - reserve;
        // A moment that cannot be represented lies before the clock's origin, so it has passed.
        self.full_at.checked_sub(self.refill * (spare - 1))
    }

    fn take(&mut self, priority: Priority, now: Instant) -> bool {
        let available = self.next(priority).is_none_or(|moment| moment <= now);
        if available {
            self.charge(now);
        }
        available
    }

    /// Takes one if there is one.
    fn charge(&mut self, now: Instant) {
        let none_left = now + self.refill * self.burst;
        self.full_at = (self.full_at.max(now) + self.refill).min(none_left);
    }

    /// Changes the rate. The same proportion stays taken, so that changes back and forth refill
    /// nothing.
    fn adapt(&mut self, (burst, refill): (u32, Duration), now: Instant) {
        if (burst, refill) != (self.burst, self.refill) {
            let taken = self.full_at.saturating_duration_since(now);
            let proportion = taken.as_secs_f64() / (self.refill * self.burst).as_secs_f64();
            self.full_at = now + (refill * burst).mul_f64(proportion);
            (self.burst, self.refill) = (burst, refill);
        }
    }
}

/// Permits for requests.
#[derive(Debug)]
pub struct RequestBudget {
    demand: Demand,
    permits: [Permits; PURPOSES.len()],
}

impl RequestBudget {
    /// A full budget.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let demand = Demand::default();
        let permits = PURPOSES.map(|purpose| {
            let (burst, refill) = demand.permits(purpose);
            Permits {
                full_at: now,
                refill,
                burst,
            }
        });
        Self { demand, permits }
    }

    /// Adapts to `demand`.
    pub fn adapt(&mut self, demand: Demand, now: Instant) {
        if demand != self.demand {
            for (purpose, permits) in PURPOSES.into_iter().zip(&mut self.permits) {
                permits.adapt(demand.permits(purpose), now);
            }
            self.demand = demand;
        }
    }

    /// When the next permit is available; may be in the past.
    #[must_use]
    pub fn next_permit(&self, purpose: Purpose, priority: Priority) -> Option<Instant> {
        self.usable(purpose, priority)
            .map(|(purpose, priority)| self.permits[purpose as usize].next(priority))
            // `None` lies before every moment.
            .min()
            .flatten()
    }

    /// Takes a permit, if there is one at `now`.
    pub fn take(&mut self, purpose: Purpose, priority: Priority, now: Instant) -> bool {
        self.usable(purpose, priority)
            .any(|(purpose, priority)| self.permits[purpose as usize].take(priority, now))
    }

    /// Whose permits a request may take, its own first, and with which priority. Live
    /// sessions need theirs to find silent clients.
    fn usable(
        &self,
        purpose: Purpose,
        priority: Priority,
    ) -> impl Iterator<Item = (Purpose, Priority)> + use<> {
        let others: &[_] = match (purpose, priority) {
            (Purpose::Viewing, Priority::High) => &[
                (Purpose::Server, Priority::Medium),
                (Purpose::Upkeep, Priority::Medium),
            ],
            (Purpose::Viewing, Priority::Medium) => &[
                (Purpose::Server, Priority::Low),
                (Purpose::Upkeep, Priority::Low),
            ],
            (Purpose::Server, _) if self.demand.sessions == 0 => {
                &[(Purpose::Viewing, Priority::Low)]
            }
            _ => &[],
        };
        std::iter::once((purpose, priority)).chain(others.iter().copied())
    }

    /// The timetable sends a request at `now`, which needs no permit.
    pub fn charge(&mut self, purpose: Purpose, now: Instant) {
        if purpose != Purpose::Upkeep {
            self.permits[purpose as usize].charge(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Priority::*, *};

    fn demand(sessions: usize, counts: u32, polling: bool) -> Demand {
        Demand {
            sessions,
            counts,
            polling,
        }
    }

    /// Requests in the first hour of constant demand for everything, the timetable's included.
    fn requests_in_an_hour(demand: Demand) -> u32 {
        let start = Instant::now();
        let mut budget = RequestBudget::new(start);
        budget.adapt(demand, start);
        // What requests do not move on.
        let mut sent = demand.hour().1[Purpose::Upkeep as usize];
        for second in 0..3_600 {
            for purpose in PURPOSES {
                while budget.take(purpose, High, start + Duration::from_secs(second)) {
                    sent += 1;
                }
            }
        }
        sent
    }

    #[test]
    fn no_hour_of_constant_demand_exceeds_the_limit_or_leaves_much_of_it() {
        for (sessions, polling, limit) in [
            (0, false, 900),
            (0, true, 1_000),
            (1, false, 1_800),
            (10, true, 1_800),
        ] {
            for counts in [0, 20, 40] {
                let sent = requests_in_an_hour(demand(sessions, counts, polling));
                assert!(sent <= limit, "{sent} of {limit}");
                assert!(sent > limit - 20, "{sent} of {limit}");
            }
        }
        assert!(requests_in_an_hour(demand(0, 160, true)) <= 1_000);
        assert!(requests_in_an_hour(demand(50, 20, false)) > 5_000);
        let most = requests_in_an_hour(demand(10_000, 20, false));
        assert_eq!(most, requests_in_an_hour(demand(50, 20, false)));
    }

    fn take_all(
        budget: &mut RequestBudget,
        purpose: Purpose,
        priority: Priority,
        now: Instant,
    ) -> u32 {
        let taken = (0..10_000).take_while(|_| budget.take(purpose, priority, now));
        u32::try_from(taken.count()).unwrap()
    }

    #[test]
    fn each_priority_leaves_a_part_of_the_burst_to_the_next() {
        for sessions in [0, 10, 30] {
            let start = Instant::now();
            let mut budget = RequestBudget::new(start);
            budget.adapt(demand(sessions, 0, false), start);
            let (burst, refill) = demand(sessions, 0, false).permits(Purpose::Upkeep);
            let mut taken = |priority, now| take_all(&mut budget, Purpose::Upkeep, priority, now);
            assert_eq!(taken(Low, start), burst - burst * 3 / 4);
            // However long they wait for more.
            let mut now = start;
            for _ in 0..10 {
                now += refill;
                assert_eq!(taken(Low, now), 1);
            }
            assert_eq!(taken(Medium, now), burst * 3 / 4 - burst / 2);
            assert_eq!(taken(High, now), burst / 2);
            // Whoever is urgent comes first.
            now += refill;
            assert_eq!(taken(Medium, now), 0);
            assert_eq!(taken(High, now), 1);
        }
    }

    #[test]
    fn a_burst_for_one_purpose_leaves_the_permits_of_the_others_but_for_what_they_lend() {
        let now = Instant::now();
        for first in PURPOSES {
            let mut budget = RequestBudget::new(now);
            let bursts = PURPOSES.map(|purpose| Demand::default().permits(purpose).0);
            let taken = take_all(&mut budget, first, High, now);
            let lends = |purpose: Purpose| {
                let burst = bursts[purpose as usize];
                match (first, purpose) {
                    (Purpose::Viewing, Purpose::Server | Purpose::Upkeep) => burst - burst / 2,
                    (Purpose::Server, Purpose::Viewing) => burst - burst * 3 / 4,
                    _ => 0,
                }
            };
            let others = PURPOSES.map(lends).iter().sum::<u32>();
            assert_eq!(taken, bursts[first as usize] + others, "{first:?}");
            for purpose in PURPOSES.into_iter().filter(|purpose| *purpose != first) {
                let permits = &mut budget.permits[purpose as usize];
                let taken = (0..1_000).take_while(|_| permits.take(High, now)).count();
                let lent = lends(purpose) as usize;
                assert_eq!(taken, bursts[purpose as usize] as usize - lent, "{first:?}");
            }
        }
    }

    #[test]
    fn the_next_permit_can_be_taken_exactly_when_it_is_due() {
        let mut now = Instant::now();
        let mut budget = RequestBudget::new(now);
        for sessions in [0, 3, 0, 70, 7, 0] {
            for priority in [Low, Medium, High] {
                budget.adapt(demand(sessions, 30, sessions > 5), now);
                while budget.take(Purpose::Viewing, priority, now) {}
                let due = budget.next_permit(Purpose::Viewing, priority).unwrap();
                assert!(due > now);
                let before = due.checked_sub(Duration::from_nanos(1)).unwrap();
                assert!(!budget.take(Purpose::Viewing, priority, before));
                assert!(budget.take(Purpose::Viewing, priority, due));
                now = due;
            }
        }
    }

    #[test]
    fn what_the_timetable_sends_is_charged_where_requests_move_it_and_never_runs_into_debt() {
        let start = Instant::now();
        for (purpose, charged) in [
            (Purpose::Viewing, 3),
            (Purpose::Server, 3),
            (Purpose::Upkeep, 0),
        ] {
            let mut budget = RequestBudget::new(start);
            for _ in 0..3 {
                budget.charge(purpose, start);
            }
            let own = &mut budget.permits[purpose as usize];
            let taken = (0..100).filter(|_| own.take(High, start)).count();
            let (burst, refill) = Demand::default().permits(purpose);
            assert_eq!(
                u32::try_from(taken).unwrap(),
                burst - charged,
                "{purpose:?}"
            );
            for _ in 0..10 {
                budget.charge(purpose, start);
            }
            assert!(budget.take(purpose, High, start + refill));
        }
    }

    #[test]
    fn changes_of_the_demand_refill_nothing() {
        let now = Instant::now();
        let mut budget = RequestBudget::new(now);
        let (idle, live) = (demand(0, 20, false), demand(10, 20, false));
        budget.adapt(live, now);
        while budget.take(Purpose::Viewing, High, now) {}
        for demand in [idle, live, demand(40, 0, true), idle, live] {
            budget.adapt(demand, now);
            assert!(!budget.take(Purpose::Viewing, High, now));
        }
        let mut budget = RequestBudget::new(now);
        for demand in [live, idle, demand(40, 0, true)] {
            budget.adapt(demand, now);
        }
        let (burst, _) = demand(40, 0, true).permits(Purpose::Upkeep);
        let taken = take_all(&mut budget, Purpose::Upkeep, Medium, now);
        assert_eq!(taken, burst - burst / 2);
    }
}

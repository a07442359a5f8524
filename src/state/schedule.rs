//! When each request is sent to Plex: by the timetable, as a retry, or on request.

use std::time::{Duration, Instant};

use super::budget::{Priority, Purpose, RequestBudget};
use crate::plex::request::PlexRequest;

/// `/`: whether Plex is up, its version, its active transcodes.
pub const SERVER: Duration = Duration::from_secs(15);
/// `/` without a socket: `/status/sessions` is polled then, and proves the same.
pub const SERVER_POLLING: Duration = Duration::from_secs(40);
/// The longest pause between attempts at `/` while it fails.
const SERVER_RETRY: Duration = Duration::from_secs(10);
/// The pause after Plex refused a request for lack of rights: more requests only fill its log.
pub const REFUSED: Duration = Duration::from_secs(15);
/// `/media/providers`: which libraries there are.
pub const PROVIDERS: Duration = Duration::from_mins(1);
/// `/media/providers` follows this soon after a change …
pub const PROVIDERS_CHANGED: Duration = Duration::from_secs(2);
/// … but at most this often: computing the sizes is expensive for Plex.
pub const PROVIDERS_MIN_INTERVAL: Duration = Duration::from_secs(30);
/// `/media/providers` while a play waits for its library.
pub const PROVIDERS_AWAITED: Duration = Duration::from_secs(10);
/// `/status/sessions`, the socket up, sessions live: corrects errors after a lost notification.
pub const SESSIONS_LIVE: Duration = Duration::from_secs(30);
/// `/status/sessions`, the socket up, no session.
pub const SESSIONS_IDLE: Duration = Duration::from_mins(1);
/// `/status/sessions` without notifications: an ended session is gone within 10 s.
pub const SESSIONS_POLLING: Duration = Duration::from_secs(8);
/// `/status/sessions` without notifications, no session.
pub const SESSIONS_POLLING_IDLE: Duration = Duration::from_secs(10);
/// The longest pause between attempts at `/status/sessions` while it fails.
const SESSIONS_RETRY: Duration = Duration::from_secs(30);
/// `/statistics/…`, no session: the window that Plex re-sends covers two minutes.
pub const STATISTICS_IDLE: Duration = Duration::from_secs(30);
/// `/statistics/…` without a socket, no session: other endpoints are polled more often then.
pub const STATISTICS_POLLING_IDLE: Duration = Duration::from_mins(1);
/// `/statistics/…` while sessions are live.
pub const STATISTICS_LIVE: Duration = Duration::from_secs(15);
/// `/statistics/…` without Plex Pass; sooner when a Pass arrives.
pub const STATISTICS_WITHOUT_PASS: Duration = Duration::from_mins(15);
/// `/statistics/…` after Plex, with a Pass, refused it or did not offer it.
pub const STATISTICS_REFUSED: Duration = Duration::from_mins(2);
/// `/activities`: notifications report all but the activities that were running at the start.
pub const ACTIVITIES: Duration = Duration::from_mins(10);
/// `/activities` while something runs: its end may have been missed.
pub const ACTIVITIES_RUNNING: Duration = Duration::from_mins(2);
/// `/accounts` and `/updater/status`.
pub const HOURLY: Duration = Duration::from_hours(1);
/// The longest pause between attempts at these while they fail.
const ACCOUNTS_RETRY: Duration = Duration::from_mins(5);
/// A socket that lasts for less than this flaps.
pub const SOCKET_STABLE: Duration = Duration::from_secs(30);
/// A silent client causes a listing at most this often.
pub const SILENCE_MIN_INTERVAL: Duration = Duration::from_secs(10);
/// The least time between two listings of low priority, which reports cause, so that a burst of
/// reports costs two listings.
pub const REFRESH_MIN_INTERVAL: Duration = Duration::from_secs(3);
/// Requests for the same thing within this time are bundled into one.
const BUNDLE: Duration = Duration::from_millis(100);

/// The pause before another attempt after `failures` failures in a row: 1, 2, 4, 8 … s.
#[must_use]
pub fn retry_pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(6))
}

/// When something is requested beyond the timetable, by priority: the earliest moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Requested([Option<Instant>; 3]);

impl Requested {
    /// Adds a request.
    pub fn add(&mut self, moment: Instant, priority: Priority) {
        let earliest = &mut self.0[priority as usize];
        *earliest = Some(earliest.map_or(moment, |before| before.min(moment)));
    }

    /// The moment of each priority.
    pub fn iter(&self) -> impl Iterator<Item = (Instant, Priority)> {
        [Priority::Low, Priority::Medium, Priority::High]
            .into_iter()
            .zip(self.0)
            .filter_map(|(priority, moment)| Some((moment?, priority)))
    }
}

/// The schedule of one kind of request: when it is due, and whether it is in flight.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// By the timetable.
    scheduled: Option<Instant>,
    /// In addition to the timetable, with a permit.
    requested: Requested,
    in_flight: bool,
    /// By the timetable, once more after the request in flight.
    again: bool,
    last_started: Option<Instant>,
    /// When the last response arrived.
    pub last_completed: Option<Instant>,
    /// Failures in a row.
    pub failures: u32,
    /// Whether Plex last refused it or does not offer it, which is no failure; but while Plex starts, that
    /// may be true of everything.
    pub refused: bool,
    /// The longest pause between attempts while it fails.
    longest_retry: Duration,
    /// What its permits are for.
    purpose: Purpose,
}

impl Slot {
    fn new(due: impl Into<Option<Instant>>, longest_retry: Duration, purpose: Purpose) -> Self {
        Self {
            purpose,
            scheduled: due.into(),
            requested: Requested::default(),
            in_flight: false,
            again: false,
            last_started: None,
            last_completed: None,
            failures: 0,
            refused: false,
            longest_retry,
        }
    }

    /// Requests it at `moment` or earlier. While a request is in flight, another one follows: the
    /// pending response may be older than the reason for this call.
    pub fn request(&mut self, moment: Instant, priority: Priority) {
        self.requested.add(moment, priority);
    }

    /// Requests it at `moment`, or `interval` after the last response if that is later.
    pub fn request_spaced(&mut self, moment: Instant, interval: Duration, priority: Priority) {
        let earliest = self.last_completed.map(|completed| completed + interval);
        let moment = earliest.map_or(moment, |earliest| moment.max(earliest));
        self.request(moment, priority);
    }

    /// Moves the timetable forward to `moment`; while a request is in flight, another one follows,
    /// as with [`Self::request`].
    pub fn reschedule(&mut self, moment: Instant) {
        self.again = self.in_flight;
        self.scheduled = Some(self.scheduled.map_or(moment, |due| due.min(moment)));
    }

    /// Moves the timetable forward to `moment`. A request in flight serves as well.
    pub fn hasten(&mut self, moment: Instant) {
        self.scheduled = self.scheduled.map(|due| due.min(moment));
    }

    /// Completes the request: the next one is due after `interval`, or sooner after a failure.
    pub fn completed<T, E>(&mut self, result: &Result<T, E>, now: Instant, interval: Duration) {
        self.in_flight = false;
        self.last_completed = Some(now);
        let again = std::mem::take(&mut self.again);
        let pause = if result.is_ok() {
            self.failures = 0;
            if again { Duration::ZERO } else { interval }
        } else {
            self.failures += 1;
            retry_pause(self.failures)
                .min(self.longest_retry)
                .min(interval)
        };
        self.scheduled = Some(now + pause);
    }

    /// What was requested so far does not count any more; it is due at `moment`.
    fn restart(&mut self, moment: Instant) {
        self.scheduled = Some(moment);
        self.requested = Requested::default();
        self.again = false;
        self.last_completed = None;
        self.failures = 0;
    }

    /// The response to a request from before a restart came.
    pub fn discard(&mut self) {
        self.in_flight = false;
    }

    /// Whether it is in flight, or requested in addition to the timetable.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.in_flight || self.requested.iter().next().is_some()
    }

    /// When a request with a permit can start.
    fn next_requested(&self, budget: &RequestBudget) -> Option<(Instant, Priority)> {
        let bundled = self.last_started.map(|started| started + BUNDLE);
        self.requested
            .iter()
            .map(|(moment, priority)| {
                let permit = budget.next_permit(self.purpose, priority);
                let earliest = [bundled, permit].into_iter().flatten();
                (earliest.fold(moment, Instant::max), priority)
            })
            .min()
    }

    /// When it can start next, unless it is in flight.
    #[must_use]
    pub fn due(&self, budget: &RequestBudget) -> Option<Instant> {
        if self.in_flight {
            return None;
        }
        let requested = self.next_requested(budget).map(|(moment, _)| moment);
        [self.scheduled, requested].into_iter().flatten().min()
    }

    /// Marks it in flight if it is due.
    pub fn start_if_due(&mut self, now: Instant, budget: &mut RequestBudget) -> bool {
        if self.due(budget).is_none_or(|due| due > now) {
            return false;
        }
        if self.scheduled.is_some_and(|due| due <= now) {
            budget.charge(self.purpose, now);
        } else {
            let requested = self.next_requested(budget);
            if !requested.is_some_and(|(_, priority)| budget.take(self.purpose, priority, now)) {
                return false;
            }
        }
        self.scheduled = None;
        self.requested = Requested::default();
        self.in_flight = true;
        self.last_started = Some(now);
        true
    }
}

/// All requests on the timetable.
#[derive(Debug)]
pub struct Schedule {
    pub server: Slot,
    pub providers: Slot,
    pub sessions: Slot,
    pub resources: Slot,
    pub bandwidth: Slot,
    pub activities: Slot,
    pub accounts: Slot,
    pub updater: Slot,
}

impl Schedule {
    /// Everything is due at once, except the statistics: whether to poll them depends on Plex Pass.
    #[must_use]
    pub fn starting(now: Instant) -> Self {
        let statistics = Slot::new(None, STATISTICS_IDLE, Purpose::Upkeep);
        let soon = |longest_retry| Slot::new(now, longest_retry, Purpose::Upkeep);
        Self {
            server: Slot::new(now, SERVER_RETRY, Purpose::Server),
            providers: soon(PROVIDERS),
            sessions: Slot::new(now, SESSIONS_RETRY, Purpose::Viewing),
            resources: statistics,
            bandwidth: statistics,
            activities: soon(PROVIDERS),
            accounts: soon(ACCOUNTS_RETRY),
            updater: soon(ACCOUNTS_RETRY),
        }
    }

    /// Plex recovered: requests what failed in the meantime. (What was held back is due anyway.)
    pub fn plex_recovered(&mut self, now: Instant) {
        for (slot, _) in self.while_plex_is_up() {
            if slot.failures > 0 || slot.refused {
                slot.request(now, Priority::High);
            }
        }
        // The outage cleared the running activities.
        if self.activities.last_completed.is_some() {
            self.activities.reschedule(now);
        }
        if self.sessions.last_completed.is_some() {
            self.sessions.reschedule(now);
        }
    }

    /// Another server responds to `/`: everything else is due at `moment`.
    pub fn restart(&mut self, moment: Instant) {
        self.sessions.restart(moment);
        for (slot, _) in self.while_plex_is_up() {
            slot.restart(moment);
        }
    }

    /// The response to `request`, which is from before a restart, came.
    pub fn discard(&mut self, request: &PlexRequest) {
        if *request == PlexRequest::Sessions {
            self.sessions.discard();
        }
        for (slot, own) in self.while_plex_is_up() {
            if own == *request {
                slot.discard();
            }
        }
    }

    /// What is not requested while Plex is down.
    pub fn while_plex_is_up(&mut self) -> [(&mut Slot, PlexRequest); 6] {
        [
            (&mut self.providers, PlexRequest::Providers),
            (&mut self.resources, PlexRequest::Resources),
            (&mut self.bandwidth, PlexRequest::Bandwidth),
            (&mut self.activities, PlexRequest::Activities),
            (&mut self.accounts, PlexRequest::Accounts),
            (&mut self.updater, PlexRequest::Updater),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn slot() -> (Slot, RequestBudget, Instant) {
        let now = Instant::now();
        let mut budget = RequestBudget::new(now);
        let mut slot = Slot::new(now, SESSIONS_RETRY, Purpose::Viewing);
        assert!(slot.start_if_due(now, &mut budget));
        slot.completed(&Ok::<_, ()>(()), now, INTERVAL);
        (slot, budget, now)
    }

    #[test]
    fn the_first_request_after_a_quiet_moment_starts_at_once_and_a_burst_costs_one_more() {
        let (mut slot, mut budget, start) = slot();
        let now = start + Duration::from_secs(1);
        slot.request(now, Priority::High);
        assert!(slot.start_if_due(now, &mut budget));
        slot.completed(&Ok::<_, ()>(()), now, INTERVAL);
        for millisecond in 1..50 {
            let now = now + Duration::from_millis(millisecond);
            slot.request(now, Priority::High);
            assert!(!slot.start_if_due(now, &mut budget));
        }
        assert_eq!(slot.due(&budget), Some(now + BUNDLE));
        assert!(slot.start_if_due(now + BUNDLE, &mut budget));
    }

    #[test]
    fn a_request_during_another_is_sent_afterwards() {
        let (mut slot, mut budget, start) = slot();
        let now = start + INTERVAL;
        assert!(slot.start_if_due(now, &mut budget));
        slot.request(now + BUNDLE, Priority::High);
        assert_eq!(slot.due(&budget), None);
        slot.completed(&Ok::<_, ()>(()), now + BUNDLE, INTERVAL);
        assert!(slot.start_if_due(now + BUNDLE, &mut budget));
    }

    #[test]
    fn a_timetable_moved_forward_during_a_request_means_another_afterwards() {
        let (mut slot, mut budget, start) = slot();
        let now = start + INTERVAL;
        assert!(slot.start_if_due(now, &mut budget));
        slot.reschedule(now);
        assert_eq!(slot.due(&budget), None);
        slot.completed(&Ok::<_, ()>(()), now + BUNDLE, INTERVAL);
        assert!(slot.start_if_due(now + BUNDLE, &mut budget));
    }

    #[test]
    fn a_hastened_timetable_asks_for_nothing_after_a_request_in_flight() {
        let (mut slot, mut budget, start) = slot();
        let soon = start + BUNDLE;
        slot.hasten(soon);
        assert!(slot.start_if_due(soon, &mut budget));
        slot.hasten(soon);
        slot.completed(&Ok::<_, ()>(()), soon, INTERVAL);
        assert_eq!(slot.due(&budget), Some(soon + INTERVAL));
    }

    #[test]
    fn failures_are_retried_after_1_2_4_8_seconds_up_to_the_limit() {
        let (mut slot, mut budget, mut now) = slot();
        now += INTERVAL;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert!(slot.start_if_due(now, &mut budget));
            slot.completed(&Err::<(), _>(()), now, INTERVAL);
            let next = slot.due(&budget).unwrap();
            assert_eq!(next - now, Duration::from_secs(pause));
            now = next;
        }
    }

    #[test]
    fn without_a_permit_a_request_waits_for_the_timetable() {
        let (mut slot, mut budget, start) = slot();
        while budget.take(Purpose::Viewing, Priority::High, start) {}
        slot.request(start + BUNDLE, Priority::High);
        assert!(!slot.start_if_due(start + BUNDLE, &mut budget));
        assert!(slot.start_if_due(start + INTERVAL, &mut budget));
    }
}

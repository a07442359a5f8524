//! When Plex is asked for what. Plex is spared: idle, all of this is some 750 requests an hour.

use std::time::{Duration, Instant};

use crate::plex::request::PlexRequest;

/// `/`: whether Plex is up, its version, its active transcodes.
pub const SERVER: Duration = Duration::from_secs(15);
/// `/` while Plex is not up.
pub const SERVER_DOWN: Duration = Duration::from_secs(5);
/// Whatever Plex refuses for lack of rights: asking more often only fills its log.
pub const REFUSED: Duration = Duration::from_secs(15);
/// `/media/providers`: which libraries there are.
pub const PROVIDERS: Duration = Duration::from_mins(1);
/// `/media/providers` after a failure.
pub const PROVIDERS_RETRY: Duration = Duration::from_secs(15);
/// After a notice of change, the libraries are listed again so soon …
pub const PROVIDERS_CHANGED: Duration = Duration::from_secs(2);
/// … but at most so often: summing up sizes costs Plex something.
pub const PROVIDERS_GAP: Duration = Duration::from_secs(30);
/// `/status/sessions`, the socket up, sessions live: corrects what a lost notification left wrong.
pub const SESSIONS_LIVE: Duration = Duration::from_secs(30);
/// `/status/sessions`, the socket up, nobody there.
pub const SESSIONS_IDLE: Duration = Duration::from_mins(1);
/// `/status/sessions` while no notifications come.
pub const SESSIONS_POLLING: Duration = Duration::from_secs(5);
/// At the start, sessions wait so long for the libraries, so that their labels are right at once.
pub const SESSIONS_WAIT: Duration = Duration::from_secs(2);
/// `/statistics/…` while nobody is there.
pub const STATISTICS_IDLE: Duration = Duration::from_secs(20);
/// `/statistics/…` while sessions are live.
pub const STATISTICS_LIVE: Duration = Duration::from_secs(15);
/// `/statistics/…` without Plex Pass; sooner when a Pass arrives.
pub const STATISTICS_WITHOUT_PASS: Duration = Duration::from_mins(15);
/// `/activities`: notifications tell all but what was running before us.
pub const ACTIVITIES: Duration = Duration::from_mins(10);
/// `/activities` while something runs: its end may have been missed.
pub const ACTIVITIES_RUNNING: Duration = Duration::from_mins(1);
/// A title that failed is tried again after so long.
pub const TITLE_RETRY: Duration = Duration::from_secs(15);
/// Titles are fetched so many at a time, so that one that hangs does not hold up the others.
pub const TITLES_AT_ONCE: usize = 2;
/// A silent client is looked after at most so often.
pub const SILENCE_MIN_INTERVAL: Duration = Duration::from_secs(10);

/// MaybeObject thing to ask for: when next, and whether it is being asked.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    due: Option<Instant>,
    in_flight: bool,
    /// When the last answer came.
    pub last_completed: Option<Instant>,
    failed: bool,
}

impl Slot {
    /// A slot first due at `due`.
    #[must_use]
    pub fn new(due: Instant) -> Self {
        Self {
            due: Some(due),
            in_flight: false,
            last_completed: None,
            failed: false,
        }
    }

    /// Asks for it at `moment` or before. While it is in flight, that means once more afterwards:
    /// the answer on its way may be older than the reason to ask.
    pub fn request(&mut self, moment: Instant) {
        self.due = Some(self.due.map_or(moment, |due| due.min(moment)));
    }

    /// The answer came; ask again after `pause`, or before if that was requested in the meantime.
    pub fn completed<T, E>(&mut self, result: &Result<T, E>, now: Instant, pause: Duration) {
        self.in_flight = false;
        self.last_completed = Some(now);
        self.failed = result.is_err();
        self.request(now + pause);
    }

    /// When it is due, unless it is in flight.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        if self.in_flight { None } else { self.due }
    }

    /// Takes it in flight if it is due.
    pub fn start_if_due(&mut self, now: Instant) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        if due {
            self.due = None;
            self.in_flight = true;
        }
        due
    }
}

/// All that is asked on a timetable.
#[derive(Debug)]
#[expect(missing_docs, reason = "named as in PlexRequest")]
pub struct Schedule {
    pub server: Slot,
    pub providers: Slot,
    pub sessions: Slot,
    pub resources: Slot,
    pub bandwidth: Slot,
    pub activities: Slot,
}

impl Schedule {
    /// Everything at once, sessions a little later.
    #[must_use]
    pub fn starting(now: Instant) -> Self {
        let soon = Slot::new(now);
        Self {
            server: soon,
            providers: soon,
            sessions: Slot::new(now + SESSIONS_WAIT),
            resources: soon,
            bandwidth: soon,
            activities: soon,
        }
    }

    /// Plex is back: what failed meanwhile is asked again. (What waited is due by itself.)
    pub fn plex_is_back(&mut self, now: Instant) {
        for (slot, _) in self.waiting_for_plex() {
            if slot.failed {
                slot.request(now);
            }
        }
        if self.sessions.last_completed.is_some() {
            self.sessions.request(now);
        }
    }

    /// What is not asked while Plex is down.
    pub fn waiting_for_plex(&mut self) -> [(&mut Slot, PlexRequest); 4] {
        [
            (&mut self.providers, PlexRequest::Providers),
            (&mut self.resources, PlexRequest::Resources),
            (&mut self.bandwidth, PlexRequest::Bandwidth),
            (&mut self.activities, PlexRequest::Activities),
        ]
    }
}

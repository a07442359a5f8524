//! The state: everything the exporter knows, and how events change it.
//!
//! Pure: no I/O, no clock, no channel. [`State::apply`] takes an event and the time, and returns
//! [`Actions`]: requests to send and lines to log; rendering reads the state. So every behaviour can
//! be tested by feeding events and instants.
//!
//! Invariant: after [`State::tick`], [`State::next_deadline`] lies after `now`.
//!
//! | module | holds |
//! |---|---|
//! | `sessions` | live sessions, and what listings and notifications change |
//! | `notifications` | what notifications change beyond sessions, and the socket's state |
//! | `play`, `play_clock`, `phase`, `identity` | one play, its time, its identity |
//! | `series`, `ended`, `pending` | series of plays, plays that ended, sessions not listed yet |
//! | `titles` | metadata to be fetched |
//! | `labels`, `encoded`, `texts`, `classify`, `sanitize` | label values, their text, their rules, their bounds |
//! | `lasting`, `duration_table` | counters that outlive the sessions |
//! | `source`, `causes` | the file behind a session, why it is transcoded |
//! | `responses` | what Plex's responses change |
//! | `server` | what `/` says about the server |
//! | `active_transcodes` | Plex's count of transcodes |
//! | `libraries`, `item_count`, `activities` | libraries and their counts, background activities |
//! | `statistics`, `bandwidth` | host load, bytes sent |
//! | `exporter` | counters about the exporter itself |
//! | `due`, `schedule`, `budget` | which requests are due; the timetable; the request limit |
//! | `error_log` | failures, each logged once |
//! | `actions` | the effects of a change |

pub mod actions;
mod active_transcodes;
mod activities;
mod bandwidth;
mod budget;
mod causes;
mod classify;
#[cfg(test)]
mod driver;
mod due;
mod duration_table;
mod encoded;
mod ended;
mod error_log;
mod exporter;
mod identity;
mod item_count;
pub mod labels;
mod lasting;
pub mod libraries;
mod notifications;
#[cfg(test)]
mod pages;
mod pending;
mod phase;
pub mod play;
mod play_clock;
mod responses;
mod sanitize;
mod schedule;
mod series;
mod server;
mod sessions;
mod source;
pub mod statistics;
#[cfg(test)]
mod tests;
mod texts;
pub mod titles;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use log::Level;

use self::{
    actions::{Actions, Effects},
    active_transcodes::ActiveTranscodes,
    activities::Activities,
    bandwidth::SentBytes,
    budget::{Demand, Priority, RequestBudget},
    error_log::ErrorLog,
    exporter::Exporter,
    libraries::Libraries,
    schedule::Schedule,
    server::{Server, Turns},
    sessions::Sessions,
    statistics::{Expiring, Load},
};
use crate::{clock::Timestamp, config::HiddenLabels, event::Event, plex::id::Id};

/// The request budget of a server with live sessions applies for this long after the last of them.
const LIVE_LINGERS: Duration = Duration::from_mins(2);

/// At most this many accounts have a name; a real server has some dozens.
const MAX_ACCOUNTS: usize = 2_000;

/// The kinds of data that are dropped beyond a limit.
pub const DROPPED_KINDS: [&str; 7] = [
    "sessions",
    "libraries",
    "activities",
    "entries",
    "plays",
    "series",
    "log",
];

/// The state.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not a state machine"
)]
pub struct State {
    /// The server, once it has responded.
    pub server: Option<Server>,
    turns: Turns,
    /// Whether the last poll of `/` succeeded.
    up: bool,
    /// Whether a request timed out, and Plex has responded to nothing since it was sent.
    hangs: bool,
    /// When the last response came.
    last_response: Option<Instant>,
    /// Whether the notification socket is connected.
    pub socket_up: bool,
    /// Video transcodes running.
    pub active_transcodes: ActiveTranscodes,
    /// All plays.
    pub sessions: Sessions,
    /// All libraries.
    pub libraries: Libraries,
    /// Plays started, by library; `None` is the unknown one.
    pub starts: BTreeMap<Option<Id>, u64>,
    /// The host's load.
    pub load: Expiring<Load>,
    /// Whether Plex supplies bytes sent.
    sent: Expiring<()>,
    sent_bytes: SentBytes,
    /// Names by account, `hidden` where they are hidden.
    accounts: BTreeMap<u64, Box<str>>,
    /// Accounts without a known name, for which the names were requested once.
    unknown_accounts: BTreeSet<u64>,
    /// Whether a newer release is available, where Plex reports it.
    pub update_available: Option<bool>,
    /// Background activities.
    pub activities: Activities,
    /// Counters about the exporter.
    pub exporter: Exporter,
    dropped_entries: u64,
    /// Log lines dropped because nobody read them; counted outside of the state.
    pub dropped_log_lines: u64,
    /// Which kinds have been logged as dropped.
    dropped_logged: [bool; DROPPED_KINDS.len()],
    schedule: Schedule,
    budget: RequestBudget,
    counting_items: bool,
    /// When the socket was last connected or lost.
    socket_changed: Option<Instant>,
    /// Until when the socket counts as flapping.
    flapping_until: Option<Instant>,
    /// When a session was last live.
    last_live: Option<Instant>,
    /// Since when a listing of low priority is wanted.
    refresh_wanted: Option<Instant>,
    /// When a report last caused a listing.
    refreshed: Option<Instant>,
    error_log: ErrorLog,
    connected_before: bool,
    hide: HiddenLabels,
    /// Responses to earlier requests belong to another server.
    begun: Instant,
}

impl State {
    /// The state at the start: nothing is known.
    #[must_use]
    pub fn new(hide: HiddenLabels, now: Timestamp) -> Self {
        let now = now.monotonic;
        Self {
            server: None,
            turns: Turns::default(),
            up: false,
            hangs: false,
            last_response: None,
            socket_up: false,
            active_transcodes: ActiveTranscodes::default(),
            sessions: Sessions::new(hide),
            libraries: Libraries::default(),
            starts: BTreeMap::new(),
            load: Expiring::default(),
            sent: Expiring::default(),
            sent_bytes: SentBytes::default(),
            accounts: BTreeMap::new(),
            unknown_accounts: BTreeSet::new(),
            update_available: None,
            activities: Activities::default(),
            exporter: Exporter::default(),
            dropped_entries: 0,
            dropped_log_lines: 0,
            dropped_logged: [false; DROPPED_KINDS.len()],
            schedule: Schedule::starting(now),
            budget: RequestBudget::new(now),
            counting_items: false,
            socket_changed: None,
            flapping_until: None,
            last_live: None,
            refresh_wanted: None,
            refreshed: None,
            error_log: ErrorLog::default(),
            connected_before: false,
            hide,
            begun: now,
        }
    }

    /// Another server responds: resets everything but the counters about the exporter itself.
    fn reset_for_another_server(&mut self, now: Timestamp, effects: &mut Effects) {
        let old = std::mem::replace(self, Self::new(self.hide, now));
        self.socket_up = old.socket_up;
        self.connected_before = old.connected_before;
        self.exporter = old.exporter;
        self.error_log = old.error_log;
        self.budget = old.budget;
        self.counting_items = old.counting_items;
        self.schedule = old.schedule;
        self.turns = old.turns;
        let pause = self.turns.taken(now.monotonic);
        self.schedule.restart(now.monotonic + pause);
        if let Some(warning) = self.turns.warning() {
            effects.log(Level::Warn, warning);
        }
    }

    /// Whether listings replace notifications: without a socket, and with one that flaps.
    fn polls_sessions(&self, now: Instant) -> bool {
        !self.socket_up || self.flapping_until.is_some_and(|until| now < until)
    }

    /// Whether the last poll of Plex succeeded.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up && !self.hangs
    }

    /// Bytes sent within the server's network and beyond it, while Plex supplies them.
    #[must_use]
    pub fn sent_bytes(&self, now: Instant) -> Option<(u64, u64)> {
        self.sent
            .get(now)
            .map(|()| (self.sent_bytes.lan, self.sent_bytes.wan))
    }

    /// What grows with Plex's responses and is not on the page, by name.
    #[must_use]
    pub fn remembered(&self) -> [(&'static str, usize); 8] {
        let (running, ended) = self.activities.kept();
        [
            ("rows of bytes sent", self.sent_bytes.remembered()),
            ("accounts", self.accounts.len()),
            ("unknown accounts", self.unknown_accounts.len()),
            ("running activities", running),
            ("ended activities", ended),
            ("titles", self.sessions.titles.count()),
            ("pending transcodes", self.sessions.pending_transcodes()),
            ("failures", self.error_log.count()),
        ]
    }

    /// How much was dropped beyond each limit, in the order of [`DROPPED_KINDS`].
    #[must_use]
    pub fn dropped(&self) -> [u64; DROPPED_KINDS.len()] {
        [
            self.sessions.dropped_sessions,
            self.libraries.dropped,
            self.activities.dropped,
            self.dropped_entries + self.sent_bytes.dropped,
            self.sessions.dropped_plays,
            self.sessions.lasting.dropped(),
            self.dropped_log_lines,
        ]
    }

    /// Applies an event.
    #[must_use = "the requests are in flight from now on"]
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Actions {
        let mut effects = Effects::default();
        match event {
            Event::Completed(completed) => self.completed(completed, now, &mut effects),
            Event::SocketUp => self.socket_up(now, &mut effects),
            Event::SocketDown(error) => self.socket_down(&error, now, &mut effects),
            Event::Notification(notification) => {
                self.on_notification(notification, now.monotonic, &mut effects);
            }
        }
        self.finish(effects, now.monotonic)
    }

    /// Applies the passage of time.
    #[must_use = "the requests are in flight from now on"]
    pub fn tick(&mut self, now: Timestamp) -> Actions {
        self.finish(Effects::default(), now.monotonic)
    }

    fn finish(&mut self, mut effects: Effects, now: Instant) -> Actions {
        self.sessions.expire(now, &mut effects);
        self.sessions
            .update_labels(&self.libraries, now, &mut effects);
        for library in effects.starts.drain(..) {
            *self.starts.entry(library).or_default() += 1;
        }
        for (moment, priority) in effects.sessions.iter() {
            self.schedule.sessions.request(moment, priority);
        }
        if effects.refresh_sessions {
            self.refresh_wanted.get_or_insert(now);
        }
        if let Some(since) = self.sessions.library_awaited_since() {
            // Request the list immediately, and then at intervals.
            let listed = self.schedule.providers.last_completed;
            let moment = listed
                .filter(|listed| since <= *listed)
                .map_or(now, |listed| listed + schedule::PROVIDERS_AWAITED);
            self.schedule.providers.request(moment, Priority::High);
        }
        self.log_dropped(&mut effects);
        let mut demand = Demand {
            sessions: self.sessions.live().len(),
            counts: self.libraries.counts_per_hour(),
            polling: self.polls_sessions(now),
        };
        if demand.sessions > 0 {
            self.last_live = Some(now);
        } else if self.last_live.is_some_and(|last| now < last + LIVE_LINGERS) {
            // Between two items, no session is live for a moment.
            demand.sessions = 1;
        }
        self.budget.adapt(demand, now);
        Actions {
            requests: self.due(now),
            log_lines: effects.log_lines,
        }
    }

    fn log_dropped(&mut self, effects: &mut Effects) {
        let dropped = self.dropped();
        for ((kind, count), logged) in DROPPED_KINDS
            .iter()
            .zip(dropped)
            .zip(&mut self.dropped_logged)
        {
            // The logger reports dropped lines itself.
            if count > 0 && *kind != "log" && !std::mem::replace(logged, true) {
                effects.log(
                    Level::Warn,
                    format!(
                        "limits: too many {kind}, the rest is ignored; \
                         plex_exporter_dropped_total counts them"
                    ),
                );
            }
        }
    }

    /// Updates the counters to `now`, before a scrape.
    pub fn prepare_scrape(&mut self, now: Timestamp) {
        self.sessions.accrue(now.monotonic);
    }
}

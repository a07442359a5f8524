//! Everything the exporter knows, and how events change it.
//!
//! Pure: no I/O, no clock, no channel. [`State::apply`] takes an event and the time, and returns
//! what to fetch; rendering reads the state. So every behaviour can be tested by feeding events and
//! instants.
//!
//! | module | holds |
//! |---|---|
//! | `sessions`, `play`, `pending` | who plays what, and for how long |
//! | `identity`, `phase`, `labels` | what tells plays apart, what they do, their label values |
//! | `responses` | what Plex's answers change |
//! | `classify`, `sanitize` | the label rules |
//! | `libraries` | libraries and item counts |
//! | `statistics` | host load and bytes sent |
//! | `activities` | background activities |
//! | `exporter` | counters about the exporter itself |
//! | `schedule` | when Plex is asked for what |
//! | `error_log` | what is wrong, said once |
//! | `effects` | what a change asks of the rest of the program |

pub mod activities;
pub mod classify;
pub mod effects;
pub mod encoded;
pub mod error_log;
pub mod exporter;
pub mod identity;
pub mod labels;
pub mod libraries;
pub mod pending;
pub mod phase;
pub mod play;
mod responses;
pub mod sanitize;
pub mod schedule;
pub mod sessions;
pub mod statistics;

use std::{collections::BTreeMap, time::Instant};

use log::Level;

use self::{
    activities::Activities,
    effects::{Effects, Message},
    error_log::{ErrorLog, Subsystem},
    exporter::Exporter,
    libraries::Libraries,
    schedule::Schedule,
    sessions::Sessions,
    statistics::{Expiring, Load, Sent},
};
use crate::{
    clock::Timestamp,
    config::HiddenLabels,
    event::Event,
    plex::{
        error::PlexError,
        notification::{Notification, Payload},
        request::{Endpoint, Id, PlexRequest},
    },
};

/// What `/` says about the server.
#[derive(Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "named as the labels are")]
pub struct Server {
    pub name: String,
    pub id: String,
    pub version: String,
    pub platform: String,
    pub platform_version: String,
    pub plex_pass: bool,
}

/// The state.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent values, not a state machine"
)]
pub struct State {
    /// The server, once it has answered.
    pub server: Option<Server>,
    /// Whether the last poll of Plex succeeded.
    pub up: bool,
    /// Whether the notification socket stands.
    pub socket_up: bool,
    /// Video transcodes running.
    pub active_transcodes: Expiring<Option<f64>>,
    /// All plays.
    pub sessions: Sessions,
    /// All libraries.
    pub libraries: Libraries,
    /// Plays begun, by library; `None` is the unknown one.
    pub starts: BTreeMap<Option<Id>, u64>,
    /// The host's load.
    pub load: Expiring<Load>,
    /// Bytes sent, while Plex supplies them.
    pub sent: Expiring<()>,
    sent_bytes: Sent,
    /// Bytes sent, by estimate.
    pub estimated_bytes: f64,
    /// Background activities.
    pub activities: Activities,
    /// Counters about the exporter.
    pub exporter: Exporter,
    schedule: Schedule,
    counting_items: bool,
    titles_in_flight: Vec<Id>,
    error_log: ErrorLog,
    messages: Vec<Message>,
    connected_before: bool,
    started: Instant,
}

impl State {
    /// The state at the start: nothing is known.
    #[must_use]
    pub fn new(hide: HiddenLabels, now: Timestamp) -> Self {
        Self {
            server: None,
            up: false,
            socket_up: false,
            active_transcodes: Expiring::default(),
            sessions: Sessions::new(hide),
            libraries: Libraries::default(),
            starts: BTreeMap::new(),
            load: Expiring::default(),
            sent: Expiring::default(),
            sent_bytes: Sent::since(now.unix_seconds),
            estimated_bytes: 0.0,
            activities: Activities::default(),
            exporter: Exporter::default(),
            schedule: Schedule::starting(now.monotonic),
            counting_items: false,
            titles_in_flight: Vec::new(),
            error_log: ErrorLog::default(),
            messages: Vec::new(),
            connected_before: false,
            started: now.monotonic,
        }
    }

    /// Bytes sent within the server's network and beyond it, while Plex supplies them.
    #[must_use]
    pub fn sent_bytes(&self, now: Instant) -> Option<(u64, u64)> {
        self.sent
            .get(now)
            .map(|()| (self.sent_bytes.lan, self.sent_bytes.wan))
    }

    /// Takes the lines to log.
    pub fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }

    /// Applies an event; returns what to fetch.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Vec<PlexRequest> {
        let mut effects = Effects::default();
        match event {
            Event::Completed(fetched) => self.fetched(fetched, now, &mut effects),
            Event::SocketUp => self.socket_up(now, &mut effects),
            Event::SocketDown(error) => self.socket_down(&error, now, &mut effects),
            Event::Notification(notification) => {
                self.notified(notification, now.monotonic, &mut effects);
            }
        }
        self.finish(effects, now)
    }

    /// Does what time alone brings about; returns what to fetch.
    pub fn tick(&mut self, now: Timestamp) -> Vec<PlexRequest> {
        self.finish(Effects::default(), now)
    }

    fn finish(&mut self, mut effects: Effects, now: Timestamp) -> Vec<PlexRequest> {
        self.sessions.expire(now.monotonic, &mut effects);
        let libraries = &self.libraries;
        self.sessions
            .count_starts(|id| libraries.get(id).is_some(), &mut effects);
        for library in effects.starts {
            *self.starts.entry(library).or_default() += 1;
        }
        self.estimated_bytes += effects.estimated_bytes;
        if let Some(moment) = effects.sessions_at {
            // At the start, sessions wait for the libraries, for a while.
            let first = self.schedule.sessions.last_completed.is_none() && !self.libraries.known;
            let earliest = if first {
                self.started + schedule::SESSIONS_WAIT
            } else {
                moment
            };
            self.schedule.sessions.request(moment.max(earliest));
        }
        self.messages.append(&mut effects.messages);
        self.due(now.monotonic)
    }

    /// Brings everything a scrape shows up to `now`: the clocks of the plays, and label texts.
    pub fn prepare_scrape(&mut self, now: Timestamp) {
        self.estimated_bytes += self.sessions.accrue(now.monotonic);
        let libraries = &self.libraries;
        let mut relabelled = false;
        for play in self
            .sessions
            .all_mut()
            .filter(|play| play.encoded.is_none())
        {
            let library = play.library.and_then(|id| Some((id, libraries.get(id)?)));
            play.encoded = Some(encoded::EncodedLabels::of(play, library));
            relabelled = true;
        }
        if relabelled {
            self.sessions.drop_duplicates();
        }
    }

    fn due(&mut self, now: Instant) -> Vec<PlexRequest> {
        let mut fetches = Vec::new();
        if self.schedule.server.start_if_due(now) {
            fetches.push(PlexRequest::Server);
        }
        if let Some(silence) = self.next_silence_check()
            && silence <= now
        {
            self.schedule.sessions.request(now);
        }
        if self.schedule.sessions.start_if_due(now) {
            fetches.push(PlexRequest::Sessions);
        }
        // Until `/` has answered once, everything is tried; after that, only while Plex is up.
        if self.up || self.server.is_none() {
            for (slot, fetch) in self.schedule.waiting_for_plex() {
                if slot.start_if_due(now) {
                    fetches.push(fetch);
                }
            }
        }
        if self.up {
            if !self.counting_items
                && let Some(query) = self.libraries.next_count(now)
            {
                self.counting_items = true;
                fetches.push(PlexRequest::Items(query));
            }
            self.due_titles(now, &mut fetches);
        }
        fetches
    }

    fn due_titles(&mut self, now: Instant, fetches: &mut Vec<PlexRequest>) {
        while self.titles_in_flight.len() < schedule::TITLES_AT_ONCE {
            let wanted = self.sessions.wanted_titles().find(|(id, after)| {
                !self.titles_in_flight.contains(id) && after.is_none_or(|after| after <= now)
            });
            let Some((id, _)) = wanted else { break };
            self.titles_in_flight.push(id);
            fetches.push(PlexRequest::Metadata(id));
        }
    }

    /// When a silent client is to be looked after; only notifications can be missed.
    fn next_silence_check(&self) -> Option<Instant> {
        let silence = self
            .sessions
            .next_silence_check()
            .filter(|_| self.socket_up)?;
        let gap = self
            .schedule
            .sessions
            .last_completed
            .map(|completed| completed + schedule::SILENCE_MIN_INTERVAL);
        Some(gap.map_or(silence, |gap| silence.max(gap)))
    }

    /// When [`Self::tick`] next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let schedule = &self.schedule;
        let waiting = self.up || self.server.is_none();
        let slots = [
            schedule.server.due(),
            schedule.sessions.due(),
            self.next_silence_check()
                .filter(|_| schedule.sessions.due().is_some()),
            self.sessions.next_expiry(),
            schedule.providers.due().filter(|_| waiting),
            schedule.resources.due().filter(|_| waiting),
            schedule.bandwidth.due().filter(|_| waiting),
            schedule.activities.due().filter(|_| waiting),
            self.libraries
                .next_due()
                .filter(|_| self.up && !self.counting_items),
            self.sessions
                .wanted_titles()
                .filter_map(|(_, after)| after)
                .min()
                .filter(|_| self.up),
        ];
        slots.into_iter().flatten().min()
    }

    fn socket_up(&mut self, now: Timestamp, effects: &mut Effects) {
        self.exporter
            .count(Endpoint::Notifications, 1, None, now.unix_seconds);
        self.error_log.record(Subsystem::Socket, None, effects);
        effects.log(Level::Info, "connected to Plex's notifications");
        if self.connected_before {
            self.exporter.reconnects += 1;
        }
        self.connected_before = true;
        self.socket_up = true;
        self.sessions.reconnected();
        // Nothing is replayed: what happened meanwhile is in the listings.
        effects.request_sessions(now.monotonic);
        self.schedule.activities.request(now.monotonic);
    }

    fn socket_down(&mut self, error: &PlexError, now: Timestamp, effects: &mut Effects) {
        let requests = u8::from(!self.socket_up);
        self.exporter.count(
            Endpoint::Notifications,
            requests,
            Some(error),
            now.unix_seconds,
        );
        self.error_log
            .record(Subsystem::Socket, Some(error), effects);
        if self.socket_up {
            self.socket_up = false;
            self.sessions.reconnected();
            effects.request_sessions(now.monotonic);
            // It may be Plex that fell.
            self.schedule.server.request(now.monotonic);
        }
    }

    fn notified(&mut self, notification: Notification, now: Instant, effects: &mut Effects) {
        self.exporter.count_notification(notification.kind);
        match notification.payload {
            Payload::Playing(playing) => {
                for news in &playing {
                    self.sessions.on_notification(news, now, effects);
                }
            }
            Payload::Transcode(event, transcodes) => {
                for transcode in transcodes {
                    self.sessions
                        .on_transcode_notification(event, transcode, now, effects);
                }
            }
            Payload::Activity(changes) => {
                for change in &changes {
                    if self.activities.on_notification(change) {
                        let context = change
                            .activity()
                            .and_then(|activity| activity.context.get());
                        let library = context.and_then(|c| c.library_section_id.get());
                        self.library_changed(library.and_then(Id::parse), now);
                    }
                }
            }
            Payload::LibraryChanged(libraries) => {
                for library in libraries {
                    self.library_changed(library, now);
                }
            }
            Payload::Nothing => {}
        }
    }

    fn library_changed(&mut self, library: Option<Id>, now: Instant) {
        // A library that is not known yet is as good as any: the list will tell.
        let known = library.filter(|id| self.libraries.get(*id).is_some());
        self.libraries.changed(known, now);
        // Names, sizes and durations are in the list.
        let providers = &mut self.schedule.providers;
        let gap = providers
            .last_completed
            .map(|completed| completed + schedule::PROVIDERS_GAP);
        let soon = now + schedule::PROVIDERS_CHANGED;
        providers.request(gap.map_or(soon, |gap| soon.max(gap)));
    }
}

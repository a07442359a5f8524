//! Everything the exporter knows, and how events change it.
//!
//! Pure: no I/O, no clock, no channel. [`State::apply`] takes an event and the time, and returns
//! what to fetch; rendering reads the state. So every behaviour can be tested by feeding events and
//! instants.
//!
//! | module | holds |
//! |---|---|
//! | `sessions`, `play`, `announced` | who plays what, and for how long |
//! | `identity`, `phase`, `facts` | what tells plays apart, what they do, their label values |
//! | `answers` | what Plex's answers change |
//! | `classify`, `words` | the label rules |
//! | `libraries` | libraries and item counts |
//! | `statistics` | host load and bytes sent |
//! | `activities` | background activities |
//! | `exporter` | counters about the exporter itself |
//! | `schedule` | when Plex is asked for what |
//! | `troubles` | what is wrong, said once |
//! | `effects` | what a change asks of the rest of the program |

pub mod activities;
pub mod announced;
mod answers;
pub mod classify;
pub mod effects;
pub mod exporter;
pub mod facts;
pub mod identity;
pub mod libraries;
pub mod phase;
pub mod play;
pub mod schedule;
pub mod sessions;
pub mod statistics;
pub mod troubles;
pub mod words;

use std::{collections::BTreeMap, time::Instant};

use log::Level;

use self::{
    activities::Activities,
    effects::{Effects, Message},
    exporter::Exporter,
    libraries::Libraries,
    schedule::Schedule,
    sessions::Sessions,
    statistics::{Fresh, Load, Sent},
    troubles::{Area, Troubles},
};
use crate::{
    clock::Now,
    config::Hidden,
    event::Event,
    metrics::labels::PlayLabels,
    plex::{
        error::PlexError,
        notification::{News, Notification},
        request::{Endpoint, Fetch, Id},
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
    reason = "independent facts, not a state machine"
)]
pub struct State {
    /// The server, once it has answered.
    pub server: Option<Server>,
    /// Whether the last poll of Plex succeeded.
    pub up: bool,
    /// Whether the notification socket stands.
    pub socket_up: bool,
    /// Video transcodes running.
    pub active_transcodes: Fresh<Option<f64>>,
    /// All plays.
    pub sessions: Sessions,
    /// All libraries.
    pub libraries: Libraries,
    /// Plays begun, by library; `None` is the unknown one.
    pub starts: BTreeMap<Option<Id>, u64>,
    /// The host's load.
    pub load: Fresh<Load>,
    /// Bytes sent, while Plex supplies them.
    pub sent: Fresh<()>,
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
    troubles: Troubles,
    messages: Vec<Message>,
    connected_before: bool,
    started: Instant,
}

impl State {
    /// The state at the start: nothing is known.
    #[must_use]
    pub fn new(hide: Hidden, now: Now) -> Self {
        Self {
            server: None,
            up: false,
            socket_up: false,
            active_transcodes: Fresh::default(),
            sessions: Sessions::new(hide),
            libraries: Libraries::default(),
            starts: BTreeMap::new(),
            load: Fresh::default(),
            sent: Fresh::default(),
            sent_bytes: Sent::since(now.wall),
            estimated_bytes: 0.0,
            activities: Activities::default(),
            exporter: Exporter::default(),
            schedule: Schedule::starting(now.mono),
            counting_items: false,
            titles_in_flight: Vec::new(),
            troubles: Troubles::default(),
            messages: Vec::new(),
            connected_before: false,
            started: now.mono,
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
    pub fn apply(&mut self, event: Event, now: Now) -> Vec<Fetch> {
        let mut effects = Effects::default();
        match event {
            Event::Fetched(fetched) => self.fetched(fetched, now, &mut effects),
            Event::SocketUp => self.socket_up(now, &mut effects),
            Event::SocketDown(error) => self.socket_down(&error, now, &mut effects),
            Event::Notification(notification) => {
                self.notified(notification, now.mono, &mut effects);
            }
        }
        self.finish(effects, now)
    }

    /// Does what time alone brings about; returns what to fetch.
    pub fn tick(&mut self, now: Now) -> Vec<Fetch> {
        self.finish(Effects::default(), now)
    }

    fn finish(&mut self, mut effects: Effects, now: Now) -> Vec<Fetch> {
        self.sessions.expire(now.mono, &mut effects);
        let libraries = &self.libraries;
        self.sessions
            .count_starts(|id| libraries.get(id).is_some(), &mut effects);
        for library in effects.starts {
            *self.starts.entry(library).or_default() += 1;
        }
        self.estimated_bytes += effects.estimated_bytes;
        if let Some(moment) = effects.sessions_at {
            // At the start, sessions wait for the libraries, for a while.
            let first = self.schedule.sessions.answered.is_none() && !self.libraries.known;
            let earliest = if first {
                self.started + schedule::SESSIONS_WAIT
            } else {
                moment
            };
            self.schedule.sessions.request(moment.max(earliest));
        }
        self.messages.append(&mut effects.messages);
        self.due(now.mono)
    }

    /// Brings everything a scrape shows up to `now`: the clocks of the plays, and label texts.
    pub fn settle(&mut self, now: Now) {
        self.estimated_bytes += self.sessions.settle(now.mono);
        let libraries = &self.libraries;
        let mut relabelled = false;
        for play in self.sessions.all_mut().filter(|play| play.labels.is_none()) {
            let library = play.library.and_then(|id| Some((id, libraries.get(id)?)));
            play.labels = Some(PlayLabels::of(play, library));
            relabelled = true;
        }
        if relabelled {
            self.sessions.drop_duplicates();
        }
    }

    fn due(&mut self, now: Instant) -> Vec<Fetch> {
        let mut fetches = Vec::new();
        if self.schedule.server.take(now) {
            fetches.push(Fetch::Server);
        }
        if let Some(silence) = self.next_silence()
            && silence <= now
        {
            self.schedule.sessions.request(now);
        }
        if self.schedule.sessions.take(now) {
            fetches.push(Fetch::Sessions);
        }
        // Until `/` has answered once, everything is tried; after that, only while Plex is up.
        if self.up || self.server.is_none() {
            for (slot, fetch) in self.schedule.waiting_for_plex() {
                if slot.take(now) {
                    fetches.push(fetch);
                }
            }
        }
        if self.up {
            if !self.counting_items
                && let Some(query) = self.libraries.next_count(now)
            {
                self.counting_items = true;
                fetches.push(Fetch::Items(query));
            }
            self.due_titles(now, &mut fetches);
        }
        fetches
    }

    fn due_titles(&mut self, now: Instant, fetches: &mut Vec<Fetch>) {
        while self.titles_in_flight.len() < schedule::TITLES_AT_ONCE {
            let wanted = self.sessions.wanted_titles().find(|(id, after)| {
                !self.titles_in_flight.contains(id) && after.is_none_or(|after| after <= now)
            });
            let Some((id, _)) = wanted else { break };
            self.titles_in_flight.push(id);
            fetches.push(Fetch::Metadata(id));
        }
    }

    /// When a silent client is to be looked after; only notifications can be missed.
    fn next_silence(&self) -> Option<Instant> {
        let silence = self.sessions.next_silence().filter(|_| self.socket_up)?;
        let gap = self
            .schedule
            .sessions
            .answered
            .map(|answered| answered + schedule::SILENCE_GAP);
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
            self.next_silence()
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

    fn socket_up(&mut self, now: Now, effects: &mut Effects) {
        self.exporter
            .count(Endpoint::Notifications, 1, None, now.wall);
        self.troubles.note(Area::Socket, None, effects);
        effects.say(Level::Info, "connected to Plex's notifications");
        if self.connected_before {
            self.exporter.reconnects += 1;
        }
        self.connected_before = true;
        self.socket_up = true;
        self.sessions.reconnected();
        // Nothing is replayed: what happened meanwhile is in the listings.
        effects.want_sessions(now.mono);
        self.schedule.activities.request(now.mono);
    }

    fn socket_down(&mut self, error: &PlexError, now: Now, effects: &mut Effects) {
        let requests = u8::from(!self.socket_up);
        self.exporter
            .count(Endpoint::Notifications, requests, Some(error), now.wall);
        self.troubles.note(Area::Socket, Some(error), effects);
        if self.socket_up {
            self.socket_up = false;
            self.sessions.reconnected();
            effects.want_sessions(now.mono);
            // It may be Plex that fell.
            self.schedule.server.request(now.mono);
        }
    }

    fn notified(&mut self, notification: Notification, now: Instant, effects: &mut Effects) {
        self.exporter.count_notification(notification.kind);
        match notification.news {
            News::Playing(playing) => {
                for news in &playing {
                    self.sessions.hear(news, now, effects);
                }
            }
            News::Transcode(event, transcodes) => {
                for transcode in transcodes {
                    self.sessions.hear_transcode(event, transcode, now, effects);
                }
            }
            News::Activity(changes) => {
                for change in &changes {
                    if self.activities.hear(change) {
                        let context = change
                            .activity()
                            .and_then(|activity| activity.context.get());
                        let library = context.and_then(|c| c.library_section_id.get());
                        self.library_changed(library.and_then(Id::parse), now);
                    }
                }
            }
            News::LibraryChanged(libraries) => {
                for library in libraries {
                    self.library_changed(library, now);
                }
            }
            News::Nothing => {}
        }
    }

    fn library_changed(&mut self, library: Option<Id>, now: Instant) {
        // A library that is not known yet is as good as any: the list will tell.
        let known = library.filter(|id| self.libraries.get(*id).is_some());
        self.libraries.changed(known, now);
        // Names, sizes and durations are in the list.
        let providers = &mut self.schedule.providers;
        let gap = providers
            .answered
            .map(|answered| answered + schedule::PROVIDERS_GAP);
        let soon = now + schedule::PROVIDERS_CHANGED;
        providers.request(gap.map_or(soon, |gap| soon.max(gap)));
    }
}

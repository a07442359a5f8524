//! What Plex's answers change, endpoint by endpoint.

use std::time::Instant;

use log::Level;

use super::{Server, State, effects::Effects, schedule, statistics::Load, troubles::Area, words};
use crate::{
    clock::Now,
    event::Fetched,
    logging::Clean,
    plex::{
        error::PlexError,
        request::{Answer, Fetch, Id},
        wire,
    },
};

impl State {
    pub(super) fn fetched(&mut self, fetched: Fetched, now: Now, effects: &mut Effects) {
        let Fetched {
            fetch,
            started,
            requests,
            result,
        } = fetched;
        self.exporter
            .count(fetch.endpoint(), requests, result.as_ref().err(), now.wall);
        if let Err(error) = &result
            && (error.is_unreachable() || matches!(error, PlexError::Broken(_)))
            && fetch != Fetch::Server
            && self.up
        {
            // Do not wait for the regular poll to see that Plex is gone.
            self.schedule.server.request(now.mono);
        }
        match fetch {
            Fetch::Server => self.server_answered(&result, now, effects),
            Fetch::Sessions => self.sessions_answered(&result, started, now.mono, effects),
            Fetch::Providers => self.providers_answered(&result, now.mono, effects),
            Fetch::Metadata(id) => self.title_answered(id, &result, now.mono, effects),
            Fetch::Items(query) => {
                self.counting_items = false;
                self.troubles
                    .note(Area::Items, result.as_ref().err(), effects);
                let items = match &result {
                    Ok(Answer::Items(items)) => Ok(items),
                    Ok(_) => return,
                    Err(error) => Err(error),
                };
                self.libraries.take_count(query, items, started, now.mono);
            }
            Fetch::Resources | Fetch::Bandwidth => {
                self.statistics_answered(&fetch, &result, now, effects);
            }
            Fetch::Activities => {
                self.troubles
                    .note(Area::Activities, result.as_ref().err(), effects);
                if let Ok(Answer::Activities(list)) = &result {
                    self.activities.list(list.activities.as_slice());
                }
                let idle = self.activities.is_idle();
                let next = if idle {
                    schedule::ACTIVITIES
                } else {
                    schedule::ACTIVITIES_RUNNING
                };
                self.schedule.activities.answered(&result, now.mono, next);
            }
        }
    }

    fn server_answered(
        &mut self,
        result: &Result<Answer, PlexError>,
        now: Now,
        effects: &mut Effects,
    ) {
        let stranger = PlexError::stranger();
        let server = match result {
            Ok(Answer::Server(server)) if server.machine_identifier.get().is_some() => Ok(server),
            Ok(_) => Err(&stranger),
            Err(error) => Err(error),
        };
        self.troubles.note(Area::Plex, server.err(), effects);
        let was_up = std::mem::replace(&mut self.up, server.is_ok());
        let next = match server {
            Ok(_) => schedule::SERVER,
            Err(PlexError::Unauthorized | PlexError::Forbidden) => schedule::REFUSED,
            Err(_) => schedule::SERVER_DOWN,
        };
        self.schedule.server.answered(&server, now.mono, next);
        if let Ok(server) = server {
            self.take_server(server, now.mono, effects);
            if !was_up {
                self.schedule.plex_is_back(now.mono);
            }
        }
    }

    fn take_server(&mut self, server: &wire::Server, now: Instant, effects: &mut Effects) {
        let text = |text: &crate::plex::tolerant::Text| words::cut(text.or_empty()).to_owned();
        let newer = Server {
            name: text(&server.friendly_name),
            id: text(&server.machine_identifier),
            version: text(&server.version),
            platform: text(&server.platform),
            platform_version: text(&server.platform_version),
            plex_pass: server.my_plex_subscription.is_true(),
        };
        self.active_transcodes
            .set(server.transcoder_active_video_sessions.non_negative(), now);
        let older = self.server.as_ref();
        if older.is_none_or(|older| older.version != newer.version) {
            effects.say(
                Level::Info,
                format!(
                    "Plex Media Server `{}` {} on {}, Plex Pass: {}",
                    Clean(&newer.name),
                    Clean(&newer.version),
                    Clean(&newer.platform),
                    if newer.plex_pass { "yes" } else { "no" }
                ),
            );
        }
        if newer.plex_pass && older.is_some_and(|older| !older.plex_pass) {
            self.schedule.resources.request(now);
            self.schedule.bandwidth.request(now);
        }
        self.server = Some(newer);
    }

    fn sessions_answered(
        &mut self,
        result: &Result<Answer, PlexError>,
        started: Instant,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.troubles
            .note(Area::Sessions, result.as_ref().err(), effects);
        if let Ok(Answer::Sessions(list)) = result {
            self.sessions
                .list(list.sessions.as_slice(), started, now, effects);
        }
        let next = match result {
            Err(PlexError::Unauthorized | PlexError::Forbidden) => schedule::REFUSED,
            _ if !self.socket_up => schedule::SESSIONS_UNTOLD,
            _ if self.sessions.live().len() == 0 => schedule::SESSIONS_IDLE,
            _ => schedule::SESSIONS_LIVE,
        };
        self.schedule.sessions.answered(result, now, next);
    }

    fn providers_answered(
        &mut self,
        result: &Result<Answer, PlexError>,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.troubles
            .note(Area::Libraries, result.as_ref().err(), effects);
        if let Ok(Answer::Providers(providers)) = result
            && self.libraries.list(providers, now)
        {
            for play in self.sessions.all_mut() {
                play.labels = None;
            }
        }
        if self.schedule.sessions.answered.is_none() {
            // They waited for the libraries.
            effects.want_sessions(now);
        }
        let next = if result.is_ok() {
            schedule::PROVIDERS
        } else {
            schedule::PROVIDERS_RETRY
        };
        self.schedule.providers.answered(result, now, next);
    }

    fn title_answered(
        &mut self,
        id: Id,
        result: &Result<Answer, PlexError>,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.titles_in_flight.retain(|other| *other != id);
        match result {
            Ok(Answer::Metadata(metadata)) => {
                self.troubles.note(Area::Titles, None, effects);
                self.sessions.take_title(id, metadata);
            }
            // Trailers and live TV have numbers that lead nowhere.
            Ok(_) | Err(PlexError::NotFound) => self.sessions.miss_title(id, None),
            Err(error) => {
                self.troubles.note(Area::Titles, Some(error), effects);
                let later = now + schedule::TITLE_RETRY;
                let retry = !matches!(error, PlexError::TooLarge | PlexError::Decode(_));
                self.sessions.miss_title(id, retry.then_some(later));
            }
        }
    }

    fn statistics_answered(
        &mut self,
        fetch: &Fetch,
        result: &Result<Answer, PlexError>,
        now: Now,
        effects: &mut Effects,
    ) {
        let next = match result {
            Err(PlexError::NotFound) => {
                let text = "not offered (404): they need Plex Pass; asked again now and then";
                self.troubles
                    .remark(Area::Statistics, "not_found", text, effects);
                schedule::STATISTICS_WITHOUT_PASS
            }
            result => {
                self.troubles
                    .note(Area::Statistics, result.as_ref().err(), effects);
                match result {
                    Err(PlexError::Unauthorized | PlexError::Forbidden) => {
                        schedule::STATISTICS_WITHOUT_PASS
                    }
                    _ if self.sessions.live().len() == 0 => schedule::STATISTICS_IDLE,
                    _ => schedule::STATISTICS_LIVE,
                }
            }
        };
        match result {
            Ok(Answer::Resources(resources)) => {
                if let Some(load) = Load::newest(resources.samples.as_slice()) {
                    self.load.set(load, now.mono);
                }
            }
            Ok(Answer::Bandwidth(bandwidth)) => {
                self.sent_bytes.add(bandwidth.rows.as_slice(), now);
                self.sent.set((), now.mono);
            }
            _ => {}
        }
        let slot = if *fetch == Fetch::Resources {
            &mut self.schedule.resources
        } else {
            &mut self.schedule.bandwidth
        };
        slot.answered(result, now.mono, next);
    }
}

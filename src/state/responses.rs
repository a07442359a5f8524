//! What Plex's answers change, endpoint by endpoint.

use std::time::Instant;

use log::Level;

use super::{
    Server, State, effects::Effects, error_log::Subsystem, sanitize, schedule, statistics::Load,
};
use crate::{
    clock::Timestamp,
    event::Completed,
    logging::Sanitized,
    plex::{
        error::PlexError,
        request::{Id, PlexRequest, PlexResponse},
        wire,
    },
};

impl State {
    pub(super) fn fetched(&mut self, fetched: Completed, now: Timestamp, effects: &mut Effects) {
        let Completed {
            fetch,
            started,
            requests,
            result,
        } = fetched;
        self.exporter.count(
            fetch.endpoint(),
            requests,
            result.as_ref().err(),
            now.unix_seconds,
        );
        if let Err(error) = &result
            && (error.is_unreachable() || matches!(error, PlexError::ConnectionLost(_)))
            && fetch != PlexRequest::Server
            && self.up
        {
            // Do not wait for the regular poll to see that Plex is gone.
            self.schedule.server.request(now.monotonic);
        }
        match fetch {
            PlexRequest::Server => self.server_answered(&result, now, effects),
            PlexRequest::Sessions => {
                self.sessions_answered(&result, started, now.monotonic, effects)
            }
            PlexRequest::Providers => self.providers_answered(&result, now.monotonic, effects),
            PlexRequest::Metadata(id) => self.title_answered(id, &result, now.monotonic, effects),
            PlexRequest::Items(query) => {
                self.counting_items = false;
                self.error_log
                    .record(Subsystem::Items, result.as_ref().err(), effects);
                let items = match &result {
                    Ok(PlexResponse::Items(items)) => Ok(items),
                    Ok(_) => return,
                    Err(error) => Err(error),
                };
                self.libraries
                    .take_count(query, items, started, now.monotonic);
            }
            PlexRequest::Resources | PlexRequest::Bandwidth => {
                self.statistics_answered(&fetch, &result, now, effects);
            }
            PlexRequest::Activities => {
                self.error_log
                    .record(Subsystem::Activities, result.as_ref().err(), effects);
                if let Ok(PlexResponse::Activities(list)) = &result {
                    self.activities.apply_listing(list.activities.as_slice());
                }
                let idle = self.activities.is_idle();
                let next = if idle {
                    schedule::ACTIVITIES
                } else {
                    schedule::ACTIVITIES_RUNNING
                };
                self.schedule
                    .activities
                    .completed(&result, now.monotonic, next);
            }
        }
    }

    fn server_answered(
        &mut self,
        result: &Result<PlexResponse, PlexError>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let not_plex = PlexError::not_plex();
        let server = match result {
            Ok(PlexResponse::Server(server)) if server.machine_identifier.get().is_some() => {
                Ok(server)
            }
            Ok(_) => Err(&not_plex),
            Err(error) => Err(error),
        };
        self.error_log
            .record(Subsystem::Plex, server.err(), effects);
        let was_up = std::mem::replace(&mut self.up, server.is_ok());
        let next = match server {
            Ok(_) => schedule::SERVER,
            Err(PlexError::Unauthorized | PlexError::Forbidden) => schedule::REFUSED,
            Err(_) => schedule::SERVER_DOWN,
        };
        self.schedule.server.completed(&server, now.monotonic, next);
        if let Ok(server) = server {
            self.take_server(server, now.monotonic, effects);
            if !was_up {
                self.schedule.plex_is_back(now.monotonic);
            }
        }
    }

    fn take_server(&mut self, server: &wire::Server, now: Instant, effects: &mut Effects) {
        let text =
            |text: &crate::plex::lenient::Text| sanitize::truncate(text.or_empty()).to_owned();
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
            effects.log(
                Level::Info,
                format!(
                    "Plex Media Server `{}` {} on {}, Plex Pass: {}",
                    Sanitized(&newer.name),
                    Sanitized(&newer.version),
                    Sanitized(&newer.platform),
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
        result: &Result<PlexResponse, PlexError>,
        started: Instant,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.error_log
            .record(Subsystem::Sessions, result.as_ref().err(), effects);
        if let Ok(PlexResponse::Sessions(list)) = result {
            self.sessions
                .apply_listing(list.sessions.as_slice(), started, now, effects);
        }
        let next = match result {
            Err(PlexError::Unauthorized | PlexError::Forbidden) => schedule::REFUSED,
            _ if !self.socket_up => schedule::SESSIONS_POLLING,
            _ if self.sessions.live().len() == 0 => schedule::SESSIONS_IDLE,
            _ => schedule::SESSIONS_LIVE,
        };
        self.schedule.sessions.completed(result, now, next);
    }

    fn providers_answered(
        &mut self,
        result: &Result<PlexResponse, PlexError>,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.error_log
            .record(Subsystem::Libraries, result.as_ref().err(), effects);
        if let Ok(PlexResponse::Providers(providers)) = result
            && self.libraries.apply_listing(providers, now)
        {
            for play in self.sessions.all_mut() {
                play.encoded = None;
            }
        }
        if self.schedule.sessions.last_completed.is_none() {
            // They waited for the libraries.
            effects.request_sessions(now);
        }
        let next = if result.is_ok() {
            schedule::PROVIDERS
        } else {
            schedule::PROVIDERS_RETRY
        };
        self.schedule.providers.completed(result, now, next);
    }

    fn title_answered(
        &mut self,
        id: Id,
        result: &Result<PlexResponse, PlexError>,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.titles_in_flight.retain(|other| *other != id);
        match result {
            Ok(PlexResponse::Metadata(metadata)) => {
                self.error_log.record(Subsystem::Titles, None, effects);
                self.sessions.take_title(id, metadata);
            }
            // Trailers and live TV have numbers that lead nowhere.
            Ok(_) | Err(PlexError::NotFound) => self.sessions.miss_title(id, None),
            Err(error) => {
                self.error_log
                    .record(Subsystem::Titles, Some(error), effects);
                let later = now + schedule::TITLE_RETRY;
                let retry = !matches!(error, PlexError::TooLarge | PlexError::Decode(_));
                self.sessions.miss_title(id, retry.then_some(later));
            }
        }
    }

    fn statistics_answered(
        &mut self,
        fetch: &PlexRequest,
        result: &Result<PlexResponse, PlexError>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let next = match result {
            Err(PlexError::NotFound) => {
                let text = "not offered (404): they need Plex Pass; asked again now and then";
                self.error_log
                    .report_info(Subsystem::Statistics, "not_found", text, effects);
                schedule::STATISTICS_WITHOUT_PASS
            }
            result => {
                self.error_log
                    .record(Subsystem::Statistics, result.as_ref().err(), effects);
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
            Ok(PlexResponse::Resources(resources)) => {
                if let Some(load) = Load::newest(resources.samples.as_slice()) {
                    self.load.set(load, now.monotonic);
                }
            }
            Ok(PlexResponse::Bandwidth(bandwidth)) => {
                self.sent_bytes.add(bandwidth.rows.as_slice(), now);
                self.sent.set((), now.monotonic);
            }
            _ => {}
        }
        let slot = if *fetch == PlexRequest::Resources {
            &mut self.schedule.resources
        } else {
            &mut self.schedule.bandwidth
        };
        slot.completed(result, now.monotonic, next);
    }
}

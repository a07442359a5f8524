//! Applies a response of `/`.

use log::Level;

use super::Response;
use crate::{
    clock::Timestamp,
    output::Sanitized,
    plex::{
        error::PlexError,
        request::{Endpoint, PlexResponse},
        wire,
    },
    state::{State, actions::Effects, schedule, server::Server, statistics::Expiring},
};

impl State {
    pub(super) fn server_completed(
        &mut self,
        result: &Response,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let server = match result {
            Ok(PlexResponse::Server(server)) => Ok(server),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        self.record(Endpoint::Server, server.err(), effects);
        let interval = match server {
            Ok(_) if self.socket_up => schedule::SERVER,
            Ok(_) => schedule::SERVER_POLLING,
            Err(PlexError::Unauthorized | PlexError::Forbidden) => schedule::REFUSED,
            Err(_) => schedule::SERVER,
        };
        self.schedule
            .server
            .completed(&server, now.monotonic, interval);
        match server {
            Ok(server) => {
                self.apply_server(server, now, effects);
                if !std::mem::replace(&mut self.up, true) {
                    self.schedule.plex_recovered(now.monotonic);
                }
            }
            Err(_) => {
                if std::mem::replace(&mut self.up, false) {
                    self.sessions.interrupted();
                    self.activities.clear();
                }
            }
        }
    }

    fn apply_server(&mut self, server: &wire::Server, now: Timestamp, effects: &mut Effects) {
        let newer = Server::of(server);
        let before = self.server.as_ref();
        let is_another = before.is_some_and(|before| before.id != newer.id);
        if is_another {
            self.reset_for_another_server(now, effects);
        }
        let transcodes = server.transcoder_active_video_sessions.non_negative();
        let again = self.active_transcodes.set(transcodes, now.monotonic);
        self.poll_transcodes(again);
        let older = self.server.as_ref();
        let is_news = older.is_none_or(|older| older.version != newer.version);
        if is_news && !(is_another && self.turns.are_taken()) {
            effects.log(
                Level::Info,
                format!(
                    "Plex: Media Server `{}` {} on {}, Plex Pass: {}",
                    Sanitized(&newer.name),
                    Sanitized(&newer.version),
                    Sanitized(&newer.platform),
                    if newer.plex_pass { "yes" } else { "no" }
                ),
            );
        } else if older.is_some_and(|older| older.plex_pass != newer.plex_pass) {
            let text = if newer.plex_pass {
                "Plex Pass: active; host load and bytes sent are polled"
            } else {
                "Plex Pass: no longer active; host load and bytes sent are absent"
            };
            effects.log(Level::Info, text);
        }
        match (older.map(|older| older.plex_pass), newer.plex_pass) {
            (Some(false), true) | (None, _) if !is_another => {
                self.schedule.resources.reschedule(now.monotonic);
                self.schedule.bandwidth.reschedule(now.monotonic);
            }
            _ => {}
        }
        if !newer.plex_pass {
            self.load = Expiring::default();
            self.sent = Expiring::default();
        }
        self.server = Some(newer);
        self.names_changed(now.monotonic, effects);
    }
}

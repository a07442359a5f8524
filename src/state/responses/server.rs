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
        if self
            .server
            .as_ref()
            .is_some_and(|older| older.id != newer.id)
        {
            effects.log(
                Level::Warn,
                "Plex: another server responds now (its machine identifier differs); all metrics \
                 start anew under its server_id",
            );
            self.reset_for_another_server(now);
        }
        let transcodes = server.transcoder_active_video_sessions.non_negative();
        let again = self.active_transcodes.set(transcodes, now.monotonic);
        self.poll_transcodes(again);
        let older = self.server.as_ref();
        if older.is_none_or(|older| older.version != newer.version) {
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
            (Some(false), true) | (None, _) => {
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

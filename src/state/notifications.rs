//! Applies notifications and the socket's changes of state, and schedules the requests that they
//! call for.
//!
//! A request that a notification triggers takes a permit of the `budget`; applying the notification
//! itself does not.

use std::time::Instant;

use log::Level;

use super::{
    State, actions::Effects, budget::Priority, classify::transcode_id, error_log::Subject, schedule,
};
use crate::{
    clock::Timestamp,
    plex::{
        error::PlexError,
        id::Id,
        notification::{LibraryChange, Notification, Payload, TranscodeEvent},
        request::Endpoint,
    },
};

const SOCKET: Subject = Subject::Endpoint(Endpoint::Notifications);

impl State {
    pub(super) fn socket_up(&mut self, now: Timestamp, effects: &mut Effects) {
        self.exporter
            .count(Endpoint::Notifications, 1, None, now.unix_seconds);
        self.error_log.forget(SOCKET);
        effects.log(Level::Info, "notifications: connected");
        if self.connected_before {
            self.exporter.reconnects += 1;
        }
        self.connected_before = true;
        self.socket_up = true;
        self.sessions.interrupted();
        // Plex replays nothing: listings show what happened in the meantime.
        if self.socket_was_stable(now.monotonic) {
            self.schedule.sessions.reschedule(now.monotonic);
            // Without a socket, `/` and statistics are polled less often.
            let server = now.monotonic + schedule::SERVER;
            self.schedule.server.hasten(server);
            if self.has_plex_pass() {
                let statistics = now.monotonic + schedule::STATISTICS_IDLE;
                self.schedule.resources.hasten(statistics);
                self.schedule.bandwidth.hasten(statistics);
            }
            self.schedule
                .activities
                .request(now.monotonic, Priority::Medium);
        } else {
            self.socket_flapped(now.monotonic, effects);
            let activities = &mut self.schedule.activities;
            activities.request_spaced(now.monotonic, schedule::SOCKET_STABLE, Priority::Low);
        }
    }

    pub(super) fn socket_down(&mut self, error: &PlexError, now: Timestamp, effects: &mut Effects) {
        let requests = u8::from(!self.socket_up);
        self.exporter.count(
            Endpoint::Notifications,
            requests,
            Some(error),
            now.unix_seconds,
        );
        self.error_log.record(SOCKET, Some(error), effects);
        if self.socket_up {
            self.socket_up = false;
            self.sessions.interrupted();
            // From now on the listing is polled, and it may be Plex that is down.
            if self.socket_was_stable(now.monotonic) {
                self.schedule.sessions.reschedule(now.monotonic);
                self.schedule.server.reschedule(now.monotonic);
            } else {
                self.socket_flapped(now.monotonic, effects);
            }
        }
    }

    /// Records a change of the socket at `now`; true if it was stable before.
    fn socket_was_stable(&mut self, now: Instant) -> bool {
        let before = self.socket_changed.replace(now);
        before.is_none_or(|before| now >= before + schedule::SOCKET_STABLE)
    }

    /// The socket changed again before it was stable: listings are polled, as without a socket, so
    /// that however often it changes, the permits remain for what notifications announce.
    fn socket_flapped(&mut self, now: Instant, effects: &mut Effects) {
        self.flapping_until = Some(now + schedule::SOCKET_STABLE);
        self.schedule
            .sessions
            .hasten(now + schedule::SESSIONS_POLLING);
        effects.refresh_sessions = true;
    }

    pub(super) fn on_notification(
        &mut self,
        notification: Notification,
        now: Instant,
        effects: &mut Effects,
    ) {
        self.exporter.count_notification(notification.kind);
        self.dropped_entries += notification.dropped;
        match notification.payload {
            Payload::Playing(playing) => {
                for playing in &playing {
                    self.sessions.on_notification(playing, now, effects);
                }
            }
            Payload::Transcode(event, transcodes) => {
                for transcode in transcodes {
                    let id = transcode.key.get().map_or("", |key| transcode_id(key));
                    match event {
                        TranscodeEvent::Start => {
                            let poll = self.active_transcodes.started(id, now);
                            self.poll_transcodes(poll);
                        }
                        TranscodeEvent::End => self.active_transcodes.ended(id, now),
                        TranscodeEvent::Update => {}
                    }
                    self.sessions
                        .on_transcode_notification(event, transcode, now, effects);
                }
            }
            Payload::Activity(changes) => {
                for change in &changes {
                    if self.activities.on_notification(change, now) {
                        let context = change
                            .activity()
                            .and_then(|activity| activity.context.get());
                        let library = context.and_then(|c| c.library_section_id.get());
                        let change = LibraryChange {
                            library: library.and_then(Id::parse),
                            metadata_type: None,
                        };
                        self.library_changed(change, now);
                    }
                }
            }
            Payload::LibrariesChanged(changes) => {
                for change in changes {
                    self.library_changed(change, now);
                }
            }
            Payload::UpdateChanged => self.schedule.updater.request(now, Priority::Medium),
            Payload::ReachabilityChanged => self.schedule.server.request(now, Priority::Low),
            Payload::Undecodable => effects.refresh_sessions = true,
            Payload::Nothing => {}
        }
    }

    fn library_changed(&mut self, change: LibraryChange, now: Instant) {
        match change.library {
            Some(id) => self.libraries.changed(id, now),
            None => self.libraries.some_changed(change.metadata_type, now),
        }
        // Names, sizes, durations and new libraries are in the list.
        let soon = now + schedule::PROVIDERS_CHANGED;
        let providers = &mut self.schedule.providers;
        providers.request_spaced(soon, schedule::PROVIDERS_MIN_INTERVAL, Priority::Medium);
    }

    /// Polls `/` for its count of transcodes.
    pub(super) fn poll_transcodes(&mut self, moment: Option<Instant>) {
        if let Some(moment) = moment {
            self.schedule.server.request(moment, Priority::Medium);
        }
    }
}

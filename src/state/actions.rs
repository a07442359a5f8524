//! The effects of a state change: requests to send and lines to log.

use std::time::Instant;

use log::Level;

use super::{budget::Priority, schedule::Requested};
use crate::plex::{id::Id, request::PlexRequest};

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its severity.
    pub level: Level,
    /// Safe to print: text from outside is sanitized.
    pub text: String,
}

/// What the event loop has to do after an event.
#[derive(Debug, Default)]
pub struct Actions {
    /// Requests to send to Plex.
    pub requests: Vec<PlexRequest>,
    /// Lines to log.
    pub log_lines: Vec<LogLine>,
}

/// Collected while an event is applied.
#[derive(Debug, Default)]
pub struct Effects {
    /// Lines to log.
    pub log_lines: Vec<LogLine>,
    /// When to request `/status/sessions`.
    pub sessions: Requested,
    /// A client reported: `/status/sessions` may have new values beside the state.
    pub refresh_sessions: bool,
    /// Libraries in which a play has begun; `None` is the unknown one.
    pub starts: Vec<Option<Id>>,
}

impl Effects {
    /// Logs a line.
    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        self.log_lines.push(LogLine {
            level,
            text: text.into(),
        });
    }

    /// Requests `/status/sessions` at `moment` or earlier.
    pub fn request_sessions(&mut self, moment: Instant, priority: Priority) {
        self.sessions.add(moment, priority);
    }
}

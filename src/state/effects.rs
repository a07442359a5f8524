//! What a change of state asks of the rest of the program.

use std::time::Instant;

use log::Level;

use crate::plex::request::Id;

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How important it is.
    pub level: Level,
    /// Safe to print: text from outside is already cleaned.
    pub text: String,
}

/// Collected while an event is applied.
#[derive(Debug, Default)]
pub struct Effects {
    /// Lines for the log.
    pub messages: Vec<Message>,
    /// `/status/sessions` is wanted at the earliest of these moments.
    pub sessions_at: Option<Instant>,
    /// Bytes sent by estimate.
    pub estimated_bytes: f64,
    /// Libraries in which a play has begun.
    pub starts: Vec<Option<Id>>,
}

impl Effects {
    /// Logs a line.
    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        self.messages.push(Message {
            level,
            text: text.into(),
        });
    }

    /// Asks for `/status/sessions` at `moment` or before.
    pub fn request_sessions(&mut self, moment: Instant) {
        self.sessions_at = Some(self.sessions_at.map_or(moment, |at| at.min(moment)));
    }
}

//! What a session does, and what was observed of that before it was listed.

use std::time::{Duration, Instant};

/// What a live session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The picture moves.
    Playing,
    /// It stands still because the user wants it to.
    Paused,
    /// It stands still because data is missing.
    Buffering,
}

impl Phase {
    /// Reads `Player.state` or a notification's `state`.
    #[must_use]
    pub fn parse(state: &str) -> Option<Self> {
        let state = state.trim();
        [Self::Playing, Self::Paused, Self::Buffering]
            .into_iter()
            .find(|phase| phase.label().eq_ignore_ascii_case(state))
    }

    /// Whether a state means that the session is over.
    #[must_use]
    pub fn is_over(state: &str) -> bool {
        ["stopped", "error"]
            .into_iter()
            .any(|over| over.eq_ignore_ascii_case(state.trim()))
    }

    /// The `state` label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Playing => "playing",
            Self::Paused => "paused",
            Self::Buffering => "buffering",
        }
    }
}

/// What notifications told about a session before it was listed.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// The phase it is in, once a notification named one.
    pub phase: Option<Phase>,
    /// In this phase since then; what came before is in `played`.
    pub since: Instant,
    /// When it was last observed of.
    pub last: Instant,
    /// Time played before the phase it is in.
    pub played: Duration,
}

impl Observed {
    /// Nothing yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            phase: None,
            since: now,
            last: now,
            played: Duration::ZERO,
        }
    }

    /// A notification says that it is in `phase`.
    pub fn on_notification(&mut self, phase: Phase, now: Instant) {
        if self.phase != Some(phase) {
            if self.phase == Some(Phase::Playing) {
                self.played += now.saturating_duration_since(self.since);
            }
            self.phase = Some(phase);
            self.since = now;
        }
        self.last = now;
    }
}

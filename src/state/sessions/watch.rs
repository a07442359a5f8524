//! Which plays to check: those that changed, and the moments at which plays may expire or fall
//! silent.

use std::time::{Duration, Instant};

use crate::state::{phase::Phase, play::Play};

/// A session that has not been confirmed for this long has ended: Plex is down, or lost it.
pub const FORGET_AFTER: Duration = Duration::from_secs(45);
/// A playing client that has not reported for this long causes a listing (it should every 10 s).
pub const SILENT_AFTER: Duration = Duration::from_secs(12);

/// What changed since labels were last completed.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Potentially all plays.
    pub everything: bool,
    /// Live sessions, by key.
    pub keys: Vec<Box<str>>,
    /// Ended plays, by id.
    pub ended: Vec<u64>,
}

impl Touched {
    /// The live session under `key` changed.
    pub fn key(&mut self, key: &str) {
        self.keys.push(key.into());
    }
}

/// The moments at which all plays are checked: never too late, and sometimes early.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When a play may expire.
    pub expires_at: Option<Instant>,
    /// When a client may have been silent for too long.
    pub silent_at: Option<Instant>,
}

impl Watch {
    /// A play was confirmed as live.
    pub fn live(&mut self, play: &Play) {
        let stale = play.clock.confirmed() + FORGET_AFTER;
        self.expiry(play.library_deadline().map_or(stale, |at| at.min(stale)));
        self.silence(play);
    }

    /// A play expires at `at` at the earliest.
    pub fn expiry(&mut self, at: Instant) {
        self.expires_at = Some(self.expires_at.map_or(at, |expiry| expiry.min(at)));
    }

    /// A play may be playing now.
    pub fn silence(&mut self, play: &Play) {
        if play.phase() == Phase::Playing {
            let at = play.clock.confirmed() + SILENT_AFTER;
            self.silent_at = Some(self.silent_at.map_or(at, |silent| silent.min(at)));
        }
    }
}

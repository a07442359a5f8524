//! The phase of a session, and the phases that notifications reported before it was listed.

use std::time::{Duration, Instant};

/// The phase of a live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Playback advances.
    Playing,
    /// The user paused it.
    Paused,
    /// It waits for data.
    Buffering,
}

impl Phase {
    /// Parses `Player.state` or a notification's `state`.
    #[must_use]
    pub fn parse(state: &str) -> Option<Self> {
        let state = state.trim();
        [Self::Playing, Self::Paused, Self::Buffering]
            .into_iter()
            .find(|phase| phase.label().eq_ignore_ascii_case(state))
    }

    /// Whether a state means that the session has ended.
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

/// What notifications reported about a session before it was listed.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// When the first one arrived, which is when the session began.
    pub first: Instant,
    /// The phase it is in, once a notification named one.
    pub phase: Option<Phase>,
    /// When the current phase began; time before that is in `played` and `buffered`.
    since: Instant,
    /// When the last one arrived.
    pub last: Instant,
    /// Time played before the current phase.
    pub played: Duration,
    /// Time spent buffering before the current phase.
    pub buffered: Duration,
    /// It went from playing to buffering.
    pub interrupted: bool,
}

impl Observed {
    /// No phase is known yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            first: now,
            phase: None,
            since: now,
            last: now,
            played: Duration::ZERO,
            buffered: Duration::ZERO,
            interrupted: false,
        }
    }

    /// Applies a notification that reports `phase`.
    pub fn on_notification(&mut self, phase: Phase, now: Instant) {
        if self.phase != Some(phase) {
            self.close(now);
            self.interrupted |= self.phase == Some(Phase::Playing) && phase == Phase::Buffering;
            self.phase = Some(phase);
        }
        self.last = now;
    }

    /// Applies a notification that the session ended.
    pub fn stop(&mut self, now: Instant) {
        self.close(now);
        self.phase = None;
        self.last = now;
    }

    /// Adds the time up to `now` to the current phase.
    pub fn close(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.since);
        match self.phase {
            Some(Phase::Playing) => self.played += time,
            Some(Phase::Buffering) => self.buffered += time,
            Some(Phase::Paused) | None => {}
        }
        self.since = self.since.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_before_the_listing_is_counted_by_phase() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut observed = Observed::new(start);
        for (phase, second) in [
            (Phase::Buffering, 2),
            (Phase::Playing, 5),
            (Phase::Playing, 9),
            (Phase::Paused, 15),
            (Phase::Buffering, 16),
        ] {
            observed.on_notification(phase, at(second));
        }
        assert!(
            !observed.interrupted,
            "it buffered at the start and after a pause"
        );
        assert_eq!((observed.first, observed.last), (start, at(16)));
        observed.on_notification(Phase::Playing, at(20));
        observed.on_notification(Phase::Buffering, at(21));
        assert!(observed.interrupted);
        observed.stop(at(23));
        let counted = (observed.played.as_secs(), observed.buffered.as_secs());
        assert_eq!(counted, (10 + 1, 3 + 4 + 2));
        assert_eq!(observed.phase, None);
    }

    #[test]
    fn states_are_parsed_without_regard_to_case_and_space() {
        assert_eq!(Phase::parse(" Playing"), Some(Phase::Playing));
        assert_eq!(Phase::parse("stopped"), None);
        assert!(Phase::is_over("Stopped ") && Phase::is_over("error"));
        assert!(!Phase::is_over("paused"));
    }
}

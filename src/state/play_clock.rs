//! The clock of one play: how long it has been playing and buffering.
//!
//! Time counts up to the last moment at which the session was *known* to be in its phase. A scrape
//! may run ahead of that by [`LEAD`]. Invariant: no time is counted twice, and none is taken back.

use std::time::{Duration, Instant};

use super::phase::{Observed, Phase};

/// A scrape may count time up to this far beyond the last report.
///
/// Clients report every 10 s, and the clock runs on in between. When a client vanishes silently, at
/// most this much too much has been counted.
pub const LEAD: Duration = Duration::from_secs(13);
/// A notification may arrive this much later than a listing that shows the same change.
const NOTIFICATION_LAG: Duration = Duration::from_millis(500);
/// After a gap longer than this, the position in the item decides how much was played in it.
pub const GAP: Duration = Duration::from_secs(45);

/// Time that was counted in one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Credit {
    /// Time played.
    pub played: Duration,
    /// Time spent buffering.
    pub buffered: Duration,
    /// It went from playing to buffering.
    pub interrupted: bool,
}

impl Credit {
    fn of(phase: Phase, time: Duration) -> Self {
        let (played, buffered) = match phase {
            Phase::Playing => (time, Duration::ZERO),
            Phase::Buffering => (Duration::ZERO, time),
            Phase::Paused => (Duration::ZERO, Duration::ZERO),
        };
        Self {
            played,
            buffered,
            interrupted: false,
        }
    }
}

/// The clock of one play.
#[derive(Debug)]
pub struct PlayClock {
    phase: Phase,
    /// Time is counted up to here.
    counted: Instant,
    /// It was last known to be in its phase at this moment.
    confirmed: Instant,
    /// When a notification first named the next item under its key: this one ended then, unless a
    /// listing shows otherwise.
    superseded: Option<Instant>,
    /// After a listing that showed another phase: the phase before, the time in it that the position
    /// does not explain, and until when a notification of that change counts it.
    unexplained: Option<(Phase, Duration, Instant)>,
}

impl PlayClock {
    /// A clock that runs from `since`.
    #[must_use]
    pub fn new(phase: Phase, since: Instant) -> Self {
        Self {
            phase,
            counted: since,
            confirmed: since,
            superseded: None,
            unexplained: None,
        }
    }

    /// The phase of the session.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When it was last known to be live.
    #[must_use]
    pub fn confirmed(&self) -> Instant {
        self.confirmed
    }

    /// When a notification first named the next item under its key.
    #[must_use]
    pub fn superseded(&self) -> Option<Instant> {
        self.superseded
    }

    fn advance(&mut self, until: Instant) -> Credit {
        let until = self.superseded.map_or(until, |end| until.min(end));
        let time = until.saturating_duration_since(self.counted);
        self.counted = self.counted.max(until);
        Credit::of(self.phase, time)
    }

    /// Counts the time that a scrape at `now` may show.
    pub fn accrue(&mut self, now: Instant) -> Credit {
        self.advance(now.min(self.confirmed + LEAD))
    }

    /// Applies a notification at `now` that reports `phase`; the previous phase lasted until then.
    pub fn observe(&mut self, phase: Phase, now: Instant) -> Credit {
        let mut credit = self.advance(now);
        if let Some((before, time, until)) = self.unexplained.take()
            && phase == self.phase
            && now <= until
        {
            // The listing overtook this notification of the same change.
            let until_then = Credit::of(before, time);
            credit.played += until_then.played;
            credit.buffered += until_then.buffered;
        }
        credit.interrupted = self.phase == Phase::Playing && phase == Phase::Buffering;
        self.phase = phase;
        self.confirmed = self.confirmed.max(now);
        credit
    }

    /// Applies a listing requested at `started` and received at `now` that shows it in `phase`,
    /// further by `moved` in the item than when it was last confirmed, where both positions are
    /// known.
    pub fn observe_listing(
        &mut self,
        phase: Phase,
        started: Instant,
        now: Instant,
        moved: Option<Duration>,
    ) -> Credit {
        let until = self.superseded.map_or(started, |end| started.min(end));
        let elapsed = until.saturating_duration_since(self.confirmed);
        let counted = self.counted.saturating_duration_since(self.confirmed);
        let target = match moved {
            // It played throughout: missing a pause would take two lost notifications.
            _ if phase == self.phase && elapsed <= GAP => elapsed,
            None if phase == self.phase => elapsed,
            // The moment of the change is unknown, but the position shows how much was played.
            Some(moved) if self.phase == Phase::Playing => elapsed.min(moved),
            _ => Duration::ZERO,
        };
        let mut credit = match moved {
            // It was resumed during a long gap: the position shows how much was played.
            Some(moved) if self.phase != Phase::Playing && elapsed > GAP => Credit {
                played: elapsed.min(moved),
                ..Credit::default()
            },
            _ => Credit::of(self.phase, target.saturating_sub(counted)),
        };
        self.unexplained = (phase != self.phase && elapsed <= GAP).then(|| {
            let time = elapsed.saturating_sub(target.max(counted));
            (self.phase, time, now + NOTIFICATION_LAG)
        });
        credit.interrupted = self.phase == Phase::Playing && phase == Phase::Buffering;
        self.counted = self.counted.max(until);
        self.confirmed = self.confirmed.max(until);
        self.phase = phase;
        credit
    }

    /// Applies what notifications reported before it was listed.
    pub fn apply_observed(&mut self, observed: &Observed) -> Credit {
        let mut observed = *observed;
        observed.close(observed.last);
        if observed.phase.is_none() && observed.played.is_zero() && observed.buffered.is_zero() {
            return Credit::default();
        }
        self.phase = observed.phase.unwrap_or(self.phase);
        self.counted = self.counted.max(observed.last);
        self.confirmed = self.confirmed.max(observed.last);
        Credit {
            played: observed.played,
            buffered: observed.buffered,
            interrupted: observed.interrupted,
        }
    }

    /// A notification at `now` names the next item under its key: the phase lasted until then.
    pub fn supersede(&mut self, now: Instant) -> Credit {
        if self.superseded.is_some() {
            return Credit::default();
        }
        let credit = self.advance(now);
        self.confirmed = self.confirmed.max(now);
        self.superseded = Some(now);
        credit
    }

    /// A response requested at `started` lists another item under its key: the phase lasted until
    /// then.
    pub fn replace(&mut self, started: Instant) -> Credit {
        self.advance(started.min(self.confirmed + GAP))
    }

    /// Reverts [`Self::supersede`]: it continued after all.
    pub fn reinstate(&mut self) {
        self.superseded = None;
    }

    /// Applies a notification at `now` that it ended.
    pub fn stop(&mut self, now: Instant) -> Credit {
        let credit = self.advance(now);
        self.confirmed = self.confirmed.max(now);
        credit
    }

    /// Restarts the clock at `since`, after a stop.
    pub fn restart(&mut self, since: Instant) {
        self.superseded = None;
        self.counted = self.counted.max(since);
        self.confirmed = self.confirmed.max(since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(credit: Credit) -> u64 {
        credit.played.as_secs()
    }

    fn playing() -> (PlayClock, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let at = move |second| start + Duration::from_secs(second);
        (PlayClock::new(Phase::Playing, start), at)
    }

    #[test]
    fn a_scrape_runs_ahead_of_the_last_report_by_the_lead_at_most() {
        let (mut clock, at) = playing();
        assert_eq!(seconds(clock.accrue(at(5))), 5);
        assert_eq!(seconds(clock.accrue(at(60))), LEAD.as_secs() - 5);
        assert_eq!(
            seconds(clock.observe(Phase::Playing, at(20))),
            20 - LEAD.as_secs()
        );
    }

    #[test]
    fn a_pause_counts_nothing_and_a_lost_one_only_what_the_position_shows() {
        let (mut clock, at) = playing();
        assert_eq!(seconds(clock.observe(Phase::Paused, at(4))), 4);
        assert_eq!(seconds(clock.accrue(at(10))), 0);
        assert_eq!(seconds(clock.observe(Phase::Playing, at(14))), 0);
        let moved = Some(Duration::from_secs(6));
        assert_eq!(
            seconds(clock.observe_listing(Phase::Paused, at(34), at(34), moved)),
            6
        );
        clock.observe(Phase::Playing, at(40));
        assert_eq!(
            seconds(clock.observe_listing(Phase::Paused, at(50), at(50), None)),
            0
        );
    }

    #[test]
    fn what_was_resumed_during_a_long_outage_counts_by_its_position() {
        for (moved, expected) in [(0, 0), (300, 300), (5_000, 595)] {
            let (mut clock, at) = playing();
            clock.observe(Phase::Paused, at(5));
            let moved = Some(Duration::from_secs(moved));
            let credit = clock.observe_listing(Phase::Playing, at(600), at(600), moved);
            assert_eq!(seconds(credit), expected);
        }
    }

    #[test]
    fn the_position_shows_what_was_played_during_a_long_outage() {
        for (moved, expected) in [(0, 0), (100, 100), (5_000, 600)] {
            let (mut clock, at) = playing();
            clock.accrue(at(5));
            let moved = Some(Duration::from_secs(moved));
            let credit = clock.observe_listing(Phase::Playing, at(600), at(600), moved);
            assert_eq!(5 + seconds(credit), expected.max(5));
        }
    }

    #[test]
    fn the_notification_of_a_change_that_a_listing_showed_first_tells_when_it_was() {
        for (lag, expected) in [(100, 20), (600, 10)] {
            let (mut clock, at) = playing();
            clock.observe(Phase::Playing, at(10));
            // It jumped backwards, so its position does not tell how long it played before.
            let moved = Some(Duration::ZERO);
            let listed = clock.observe_listing(Phase::Buffering, at(20), at(20), moved);
            assert_eq!((seconds(listed), listed.interrupted), (0, true));
            let notified = at(20) + Duration::from_millis(lag);
            let credit = clock.observe(Phase::Buffering, notified);
            let total = 10 + seconds(credit);
            assert_eq!((total, credit.interrupted), (expected, false));
        }
    }

    #[test]
    fn an_item_ends_when_the_next_is_first_named() {
        let (mut clock, at) = playing();
        assert_eq!(seconds(clock.supersede(at(9))), 9);
        assert_eq!(seconds(clock.accrue(at(12))), 0);
        assert_eq!(
            seconds(clock.observe_listing(Phase::Playing, at(13), at(13), None)),
            0
        );
        clock.reinstate();
        assert_eq!(seconds(clock.observe(Phase::Playing, at(15))), 6);
    }

    #[test]
    fn an_interruption_is_a_change_from_playing_to_buffering() {
        let (mut clock, at) = playing();
        assert!(clock.observe(Phase::Buffering, at(1)).interrupted);
        let credit = clock.observe(Phase::Playing, at(3));
        assert_eq!((credit.buffered.as_secs(), credit.interrupted), (2, false));
        assert!(!clock.observe(Phase::Paused, at(4)).interrupted);
    }
}

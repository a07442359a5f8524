//! One play: a session, from its first listing until its series is removed.

mod stream;

use std::time::{Duration, Instant};

use super::{
    duration_table::RowId,
    identity::Identity,
    labels::{EncodedLabels, LabelValues, UNKNOWN_LIBRARY},
    libraries::Libraries,
    phase::{Observed, Phase},
    play_clock::{Credit, PlayClock},
    series::SeriesId,
    source::{SelectedStreams, Source},
    texts::Texts,
};
use crate::{
    config::HiddenLabels,
    plex::{
        id::Id,
        wire::{Session, TranscodeSession},
    },
};

/// A position that is this many milliseconds before the last one means a new start, not jitter.
const REWIND: f64 = 5_000.0;
/// When notifications name another item than the listing for this long while the listed one makes
/// progress, both are the same item under two rating keys …
const ALIAS_AFTER: Duration = Duration::from_secs(3);
/// … and after this time even without progress.
const ALIAS_AFTER_LONG: Duration = Duration::from_secs(20);

/// A listing that contradicts the last notification may be behind it. For this long, it is …
const BEHIND: Duration = Duration::from_secs(3);
/// … and for this long, it is repeated, ever later.
const CONTRADICTED: Duration = Duration::from_secs(10);

/// A play waits for its library for this long; then the library is `unknown`.
pub const LIBRARY_WAIT: Duration = Duration::from_mins(1);

/// The state of the request for the title's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Title {
    /// Nothing to request: no rating key.
    None,
    /// Needed: not requested yet, or in flight.
    Wanted,
    /// The request failed and will be repeated.
    Retried,
    /// Received, or given up.
    Done,
}

impl Title {
    /// Whether the metadata may still arrive.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        matches!(self, Self::Wanted | Self::Retried)
    }
}

/// Why a play ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// A `stopped` notification.
    Stopped,
    /// Another item plays under its key.
    Replaced,
    /// It is no longer listed.
    Unlisted,
    /// An outage: it may resume afterwards.
    Orphaned,
}

/// How a play ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When: its series stays for a while after this.
    pub at: Instant,
    /// Why.
    pub reason: EndReason,
    /// When it was last listed although it had ended.
    pub listed: Option<Instant>,
}

/// The library a play belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayLibrary {
    /// None, or none that Plex lists.
    Unknown,
    /// One that is not in the list yet, since then.
    Awaited(Id, Instant),
    /// One in the list.
    Known(Id),
}

/// The rows of the lasting counters in which a play's time is counted; looked up anew after its labels changed.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlayRows {
    /// Of `plex_user_play_seconds_total`.
    pub user: Option<RowId>,
    /// Of `plex_transcode_seconds_total`.
    pub transcode: Option<RowId>,
}

/// One play.
#[derive(Debug)]
pub struct Play {
    /// Plex's `sessionKey`.
    pub session: Box<str>,
    /// What distinguishes it from other plays.
    pub identity: Identity,
    /// Label values.
    pub labels: LabelValues,
    /// Its encoded label sets; rebuilt after a value changed.
    pub encoded: Option<EncodedLabels>,
    /// Its series, from the moment its labels are complete.
    pub series: Option<SeriesId>,
    /// How long it has been playing.
    pub clock: PlayClock,
    /// Time played so far.
    pub played: Duration,
    /// Set once it is over.
    pub end: Option<End>,
    /// Whether it was ever observed playing; only then does it have a series.
    pub has_played: bool,
    /// It began while the exporter watched, and is not counted as a start yet.
    pub start_uncounted: bool,
    /// A notification about it last came at this moment.
    notified: Option<Instant>,
    /// The phase that it reported.
    notified_phase: Option<Phase>,
    /// The library it belongs to.
    pub library: PlayLibrary,
    /// `library`, `library_id` and `library_type`, as they were last known.
    pub library_labels: Texts<3>,
    /// The item's id.
    pub rating_key: Option<Id>,
    /// Other rating keys by which notifications name the same item.
    aliases: Vec<Id>,
    /// The item that notifications last named under its key before they named this one again, and
    /// how often that recurred.
    pub refuted: (Option<Id>, u32),
    /// The state of its metadata.
    pub title: Title,
    /// The file, once its metadata has arrived.
    pub source: Option<Box<Source>>,
    selected_streams: SelectedStreams,
    /// Its rows in the lasting counters.
    pub rows: PlayRows,
    media_id: Box<str>,
    part_decision: Box<str>,
    output_container: Box<str>,
    file_resolution: Box<str>,
    first_bitrate: u64,
    /// kbit/s now.
    pub bitrate: Option<f64>,
    /// kbit/s reserved.
    pub bandwidth: Option<f64>,
    /// Milliseconds into the item, when it was last confirmed.
    pub view_offset: Option<f64>,
    /// Its position when it was first listed after a notification named another item under its key.
    superseded_offset: Option<f64>,
    /// Milliseconds of the item.
    pub duration: Option<f64>,
    /// What the transcoder does for it.
    pub transcode: Option<Box<TranscodeSession>>,
    /// The decisions of its streams, where no TranscodeSession has any.
    stream_decisions: Option<Box<TranscodeSession>>,
    /// The transcode that notifications last named and no listing showed; it causes one listing.
    unlisted_transcode: Option<Box<str>>,
    /// The number of interruptions of the connection when it was last listed.
    pub interruptions: u64,
}

impl Play {
    /// A newly listed play, live since `since`.
    #[must_use]
    pub fn new(key: &str, session: &Session, since: Instant, hide: HiddenLabels) -> Self {
        let rating_key = session.rating_key.get().and_then(Id::parse);
        let mut play = Self {
            session: key.into(),
            identity: Identity::of(session),
            labels: LabelValues::default(),
            encoded: None,
            series: None,
            clock: PlayClock::new(listed_phase(session), since),
            played: Duration::ZERO,
            end: None,
            has_played: false,
            start_uncounted: false,
            notified: None,
            notified_phase: None,
            library: match session.library_section_id.get().and_then(Id::parse) {
                Some(id) => PlayLibrary::Awaited(id, since),
                None => PlayLibrary::Unknown,
            },
            library_labels: Texts::of(UNKNOWN_LIBRARY),
            rating_key,
            aliases: Vec::new(),
            refuted: (None, 0),
            superseded_offset: None,
            title: match rating_key {
                Some(_) => Title::Wanted,
                None => Title::None,
            },
            source: None,
            selected_streams: SelectedStreams::default(),
            rows: PlayRows::default(),
            media_id: Box::default(),
            part_decision: Box::default(),
            output_container: Box::default(),
            file_resolution: Box::default(),
            first_bitrate: 0,
            bitrate: None,
            bandwidth: None,
            view_offset: None,
            duration: None,
            transcode: None,
            stream_decisions: None,
            unlisted_transcode: None,
            interruptions: 0,
        };
        play.apply_session(session, hide);
        play
    }

    /// Looks up its library, unless it has none.
    pub fn resolve_library(&mut self, libraries: &Libraries, now: Instant) {
        let (id, since) = match self.library {
            PlayLibrary::Unknown => return,
            PlayLibrary::Awaited(id, since) => (id, Some(since)),
            PlayLibrary::Known(id) => (id, None),
        };
        if let Some(library) = libraries.get(id) {
            let labels = Texts::of([&library.title, &id.to_string(), &library.kind]);
            if labels != self.library_labels {
                self.library_labels = labels;
                self.labels_changed();
            }
            self.library = PlayLibrary::Known(id);
        } else if since.is_some_and(|since| now >= since + LIBRARY_WAIT) {
            self.library = PlayLibrary::Unknown;
        }
    }

    /// When it stops waiting for its library.
    #[must_use]
    pub fn library_deadline(&self) -> Option<Instant> {
        match self.library {
            PlayLibrary::Awaited(_, since) => Some(since + LIBRARY_WAIT),
            _ => None,
        }
    }

    /// Its phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.clock.phase()
    }

    /// Whether the listed position shows that the item was started again since this play was last
    /// confirmed: it went backwards, and is no further than the time that has passed since.
    #[must_use]
    pub fn starts_again(&self, session: &Session, started: Instant) -> bool {
        let (Some(before), Some(listed)) = (self.view_offset, session.view_offset.non_negative())
        else {
            return false;
        };
        let passed = started.saturating_duration_since(self.clock.confirmed());
        listed + REWIND < before && listed <= passed.as_secs_f64() * 1_000.0 + REWIND
    }

    /// Applies the position of a notification. After an interruption, one further back may belong to
    /// another play under the same key; the next listing decides, which needs the old position.
    pub fn notify_offset(&mut self, offset: f64, interrupted: bool) {
        let forward = self
            .view_offset
            .is_none_or(|before| offset + REWIND >= before);
        if forward || !interrupted {
            self.view_offset = Some(offset);
        }
    }

    /// Applies a notification at `now` that reports `phase`.
    pub fn on_notification(&mut self, phase: Phase, now: Instant) -> Credit {
        self.notified = Some(now);
        self.notified_phase = Some(phase);
        self.has_played |= phase == Phase::Playing;
        if phase != self.phase() {
            self.encoded = None;
        }
        self.clock.observe(phase, now)
    }

    /// Applies what notifications reported before it was listed.
    pub fn apply_observed(&mut self, observed: &Observed) -> Credit {
        self.notified = Some(observed.last);
        self.notified_phase = observed.phase;
        let credit = self.clock.apply_observed(observed);
        self.has_played |= self.phase() == Phase::Playing || !credit.played.is_zero();
        credit
    }

    /// Marks it as ended.
    pub fn mark_ended(&mut self, reason: EndReason, at: Instant) {
        // Only its series is shown from now on, which has its own encoded labels.
        self.encoded = None;
        if self.series.is_some() && self.rows.transcode.is_some() {
            // Where its time is counted is known; a listing that resumes it brings them again.
            self.transcode = None;
            self.stream_decisions = None;
        }
        self.end = Some(End {
            at,
            reason,
            listed: None,
        });
    }

    /// Marks it as live again.
    pub fn mark_live(&mut self) {
        self.end = None;
        self.notified = None;
    }

    /// Whether a notification arrived after `moment`, so that a response requested then is
    /// outdated.
    #[must_use]
    pub fn was_notified_after(&self, moment: Instant) -> bool {
        self.notified.is_some_and(|notified| notified > moment)
    }

    /// Applies the session as `/status/sessions`, requested at `started`, lists it at `now`.
    pub fn apply_listing(
        &mut self,
        session: &Session,
        started: Instant,
        now: Instant,
        hide: HiddenLabels,
    ) -> Credit {
        let mut credit = Credit::default();
        let offset = session.view_offset.non_negative();
        let behind = self
            .contradicted(session, started)
            .is_some_and(|age| age < BEHIND);
        if !self.was_notified_after(started) && !behind {
            let moved = offset.zip(self.view_offset).map(|(listed, before)| {
                Duration::try_from_secs_f64((listed - before) / 1_000.0).unwrap_or_default()
            });
            let phase = listed_phase(session);
            if phase != self.phase() {
                self.encoded = None;
            }
            credit = self.clock.observe_listing(phase, started, now, moved);
            self.has_played |= phase == Phase::Playing;
            self.view_offset = offset;
        }
        self.apply_session(session, hide);
        credit
    }

    /// How old the last notification was when a listing that contradicts it, `session`, was requested
    /// at `started`: the listing may be behind, or the notification.
    fn contradicted(&self, session: &Session, started: Instant) -> Option<Duration> {
        let age = started.checked_duration_since(self.notified?)?;
        let listed = listed_phase(session);
        let contradicts = self.notified_phase.is_some_and(|phase| phase != listed);
        (contradicts && age < CONTRADICTED).then_some(age)
    }

    /// When to list again because `session` as it was listed at `started` contradicts the last
    /// notification.
    #[must_use]
    pub fn recheck(&self, session: &Session, started: Instant, now: Instant) -> Option<Instant> {
        let age = self.contradicted(session, started)?;
        let pause = age.max(Duration::from_secs(1));
        // The one after [`BEHIND`] decides.
        let decisive = BEHIND.checked_sub(age).filter(|left| !left.is_zero());
        Some(now + decisive.map_or(pause, |left| pause.min(left)))
    }

    /// Whether `item` is certainly another item than this play's.
    #[must_use]
    pub fn is_other_item(&self, item: Option<Id>) -> bool {
        item.is_some_and(|item| {
            self.rating_key.is_some_and(|own| own != item) && !self.aliases.contains(&item)
        })
    }

    /// Whether a notification at `now` that names this play's item may be a late one, because an
    /// earlier one named the item `next`: listings decide. If this play went on after `next` was
    /// named before, it is not late.
    #[must_use]
    pub fn is_late_after(&self, next: Option<Id>, now: Instant) -> bool {
        let superseded = self.clock.superseded();
        superseded.is_some_and(|at| now < at + ALIAS_AFTER) && self.refuted.0 != next
    }

    /// A listing requested at `started` still shows this play as `session`, although notifications
    /// named `other` under its key. If it makes progress nevertheless, or after a long while,
    /// `other` is the same item under another rating key, and becomes an alias; true then.
    pub fn accept_alias(&mut self, other: Option<Id>, session: &Session, started: Instant) -> bool {
        const MAX_ALIASES: usize = 4;
        let Some(superseded) = self.clock.superseded().filter(|at| *at < started) else {
            return false;
        };
        let offset = session.view_offset.non_negative();
        let first = *self.superseded_offset.get_or_insert(offset.unwrap_or(0.0));
        let progressed = offset.is_some_and(|offset| offset >= first + 1_000.0);
        let alias = (progressed && started >= superseded + ALIAS_AFTER)
            || started >= superseded + ALIAS_AFTER_LONG;
        if !alias {
            return false;
        }
        self.superseded_offset = None;
        if let Some(other) = other {
            self.aliases.truncate(MAX_ALIASES - 1);
            self.aliases.insert(0, other);
        }
        self.clock.reinstate();
        true
    }

    /// Drops its encoded labels and counter rows, because a label changed.
    pub fn labels_changed(&mut self) {
        self.encoded = None;
        self.rows = PlayRows::default();
    }

    /// View offset / duration, within 0 and 1.
    #[must_use]
    pub fn progress(&self) -> Option<f64> {
        Some((self.view_offset? / self.duration?).clamp(0.0, 1.0))
    }
}

/// The phase of a listed session. Without `Player.state` it counts as playing, as most live
/// sessions are; in an unknown state it does not.
fn listed_phase(session: &Session) -> Phase {
    let state = session.player.get().and_then(|player| player.state.get());
    state.map_or(Phase::Playing, |state| {
        Phase::parse(state).unwrap_or(Phase::Buffering)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(json: &str) -> Session {
        serde_json::from_str(json).unwrap()
    }

    fn at_offset(offset: u64) -> Session {
        session(&format!(
            r#"{{"ratingKey":"7","viewOffset":{offset},"duration":7200000,"Player":{{"state":"playing"}}}}"#
        ))
    }

    fn play(start: Instant) -> Play {
        Play::new("1", &at_offset(3_600_000), start, HiddenLabels::default())
    }

    #[test]
    fn a_position_that_the_time_since_explains_is_a_new_start() {
        let start = Instant::now();
        let play = play(start);
        let later = start + Duration::from_secs(20);
        for (offset, expected) in [
            (0, true),
            (20_000, true),
            (24_000, true),
            (26_000, false),
            (3_594_000, false),
            (3_620_000, false),
        ] {
            assert_eq!(
                play.starts_again(&at_offset(offset), later),
                expected,
                "{offset}"
            );
        }
    }

    #[test]
    fn another_rating_key_of_the_listed_item_becomes_an_alias() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let other = Id::parse("8");
        for (second, offset, expected) in [
            (2, 3_605_000, false),
            (4, 3_605_000, true),
            (4, 3_600_500, false),
            (21, 3_600_500, true),
        ] {
            let mut play = play(start);
            play.clock.supersede(start);
            assert!(!play.accept_alias(other, &at_offset(3_600_000), at(1)));
            assert_eq!(
                play.accept_alias(other, &at_offset(offset), at(second)),
                expected
            );
            assert_eq!(play.is_other_item(other), !expected);
            assert_eq!(play.clock.superseded().is_none(), expected);
        }
    }

    #[test]
    fn a_play_has_played_once_a_notification_or_a_listing_shows_it_playing() {
        let now = Instant::now();
        let paused = session(r#"{"Player":{"state":"paused"}}"#);
        let mut play = Play::new("1", &paused, now, HiddenLabels::default());
        let mut observed = Observed::new(now);
        observed.on_notification(Phase::Paused, now);
        play.apply_observed(&observed);
        assert!(!play.has_played);
        observed.on_notification(Phase::Playing, now);
        observed.on_notification(Phase::Paused, now + Duration::from_secs(1));
        play.apply_observed(&observed);
        assert!(play.has_played, "for a second");
        assert_eq!(play.phase(), Phase::Paused);
    }

    #[test]
    fn progress_is_within_0_and_1() {
        let mut play = play(Instant::now());
        assert_eq!(play.progress(), Some(0.5));
        play.view_offset = Some(9e9);
        assert_eq!(play.progress(), Some(1.0));
        play.duration = None;
        assert_eq!(play.progress(), None);
    }
}

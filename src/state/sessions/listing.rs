//! Applies `/status/sessions`, which decides which sessions are live.
//!
//! A listed session continues the live play under its key, resumes a play that an outage
//! interrupted, or begins a new one. A play that is no longer listed has ended.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{MAX_SESSIONS, Sessions, log_play, repeated_text::RepeatedText};
use crate::{
    plex::{
        id::Id,
        wire::{MAX_WEIGHT, SESSION_WEIGHT, Session},
    },
    state::{
        actions::Effects,
        budget::Priority,
        identity::Identity,
        phase::Phase,
        play::{EndReason, Play, Title},
    },
};

/// Plex may list a session for some seconds after its `stopped`. So that the next item under its key
/// shows within 1 s of being listed, it is listed again after this …
const STOPPED_PROMPT: Duration = Duration::from_millis(900);
/// … for this long, and then …
const STOPPED_SETTLES: Duration = Duration::from_secs(6);
/// … after this …
const STOPPED_RECHECK: Duration = Duration::from_secs(10);
/// … for this long. If it is still listed then and makes progress, the `stopped` was spurious.
const STOPPED_GRACE: Duration = Duration::from_secs(30);
/// It makes progress when its position advances by more than this, in milliseconds.
const PROGRESS: f64 = 5_000.0;

/// The play that a listed session belongs to.
enum Origin {
    /// A play that had ended by an outage or a spurious `stopped`.
    Resumed(Box<Play>),
    /// No known play.
    New,
    /// A play that stopped and is still listed for a while.
    Stopped {
        /// After which pause to list again, if it stopped only recently.
        recheck: Option<Duration>,
    },
}

impl Sessions {
    /// Whether, with `repeated`, there may be more live sessions than fit.
    #[must_use]
    pub fn outgrown_by(&self, repeated: RepeatedText) -> bool {
        let least = SESSION_WEIGHT + repeated.per_session;
        // As much again for their own text.
        2 * self.live.len() * least + repeated.libraries > MAX_WEIGHT && repeated.per_session > 0
    }

    /// Applies what `/status/sessions`, requested at `started`, lists.
    pub fn apply_listing(
        &mut self,
        listed: &[Box<Session>],
        repeated: RepeatedText,
        started: Instant,
        now: Instant,
        effects: &mut Effects,
    ) {
        let mut keys = BTreeMap::<&str, &Session>::new();
        let mut weight = repeated.libraries;
        for session in listed.iter().filter(|session| is_live(session)) {
            weight += session.weight() + repeated.per_session;
            if keys.len() >= MAX_SESSIONS || weight > MAX_WEIGHT {
                self.dropped_sessions += 1;
            } else if let Some(key) = key_of(session, &keys) {
                keys.insert(key, session);
            }
        }
        self.listed = keys.len();
        self.weight = weight.min(MAX_WEIGHT);
        // First end plays, so that one that continues under another key is found among the ended
        // ones.
        let ended: Vec<(Box<str>, EndReason)> = self
            .live
            .values()
            .filter_map(|play| {
                let reason = match keys.get(&*play.session) {
                    Some(session) if self.continues(play, session, started) => return None,
                    None if play.was_notified_after(started) => return None,
                    // Keys may have been reassigned: the play may continue under another.
                    _ if play.interruptions != self.interruptions => EndReason::Orphaned,
                    _ if play.clock.superseded().is_some() => EndReason::Replaced,
                    Some(_) => EndReason::Replaced,
                    None => EndReason::Unlisted,
                };
                Some((play.session.clone(), reason))
            })
            .collect();
        for (key, reason) in ended {
            if reason == EndReason::Replaced
                && let Some(play) = self.live.get_mut(&key)
            {
                let credit = play.clock.replace(started);
                self.record(&key, credit);
            }
            if let Some(play) = self.live.remove(&key) {
                self.finish(play, reason, now, effects);
            }
        }
        for play in self.ended.iter_mut() {
            // A stopped play has ended for good once it is no longer listed.
            if let Some(end) = play
                .end
                .as_mut()
                .filter(|_| !keys.contains_key(&*play.session))
            {
                end.listed = None;
            }
        }
        for (key, session) in &keys {
            self.apply_session(key, session, started, now, effects);
        }
        self.by_transcode = self
            .live
            .values()
            .filter_map(|play| Some((play.transcode_id()?.into(), play.session.clone())))
            .collect();
        self.pending
            .forget_transcodes(|id| self.by_transcode.contains_key(id));
        self.touched.everything = true;
        if self.live.len() > keys.len() {
            // Some became live after this response was written; the next one decides.
            effects.request_sessions(now, Priority::Medium);
        }
        self.pending.recheck(started, now, effects);
        self.recheck(now, effects);
        self.listed_once = true;
    }

    /// Whether the listed `session` is the live `play` under its key.
    fn continues(&self, play: &Play, session: &Session, started: Instant) -> bool {
        let listed = Identity::of(session);
        // Plex may have restarted before the loss of the socket is noticed.
        let interrupted =
            play.interruptions != self.interruptions || play.identity.other_info(&listed);
        !play.identity.differs(&listed) && (!interrupted || !is_new_start(play, session, started))
    }

    fn apply_session(
        &mut self,
        key: &str,
        session: &Session,
        started: Instant,
        now: Instant,
        effects: &mut Effects,
    ) {
        let item = session.rating_key.get().and_then(Id::parse);
        if let Some(play) = self.live.get_mut(key) {
            if play.clock.superseded().is_some() {
                let other = self.pending.next_item(key);
                if play.accept_alias(other, session, started) {
                    self.pending.forget(key);
                }
            }
            self.confirm(key, session, started, now, effects);
            return;
        }
        let found = self.pending.take(key, item, started);
        let since = found.map_or(started, |found| found.observed.first);
        let notified = found.is_some_and(|found| found.stopped.is_none());
        let mut play = match self.origin(session, key, started, now, notified) {
            Origin::Stopped { recheck } => {
                if let Some(pause) = recheck {
                    effects.request_sessions(now + pause, Priority::Medium);
                }
                return;
            }
            Origin::Resumed(mut play) => {
                if play.end.is_some_and(|end| end.reason == EndReason::Stopped) {
                    play.clock.restart(since);
                }
                play.mark_live();
                play.clock.reinstate();
                play.series = play
                    .series
                    .map(|series| self.series.resume(series, play.played, now));
                if *play.session != *key {
                    play.session = key.into();
                    play.encoded = None;
                }
                log_play(effects, "resumed", &play);
                play
            }
            Origin::New => {
                let mut play = Box::new(Play::new(key, session, since, self.hide));
                play.start_uncounted = self.listed_once;
                log_play(effects, "began", &play);
                play
            }
        };
        let resumed = play.played > Duration::ZERO;
        let mut credits = Vec::new();
        if let Some(found) = found.filter(|_| !resumed) {
            credits.push(play.apply_observed(&found.observed));
            credits.extend(found.superseded.map(|at| play.clock.supersede(at)));
        }
        self.live.insert(key.into(), play);
        for credit in credits {
            self.record(key, credit);
        }
        if let Some(stopped) = found.and_then(|found| found.stopped) {
            if let Some(play) = self.live.remove(key) {
                // It is still listed although it has stopped.
                self.finish(play, EndReason::Stopped, stopped, effects);
                effects.request_sessions(now + STOPPED_PROMPT, Priority::Medium);
            }
            return;
        }
        self.confirm(key, session, started, now, effects);
        if let Some(found) = found.filter(|_| resumed)
            && let Some(play) = self.live.get_mut(key)
        {
            // The listing covers the time until it was requested; notifications cover the time
            // after.
            let observed = found.observed;
            let phase = observed.phase.filter(|_| observed.last > started);
            let credit = phase.map(|phase| play.on_notification(phase, observed.last));
            let superseded = found.superseded.map(|at| play.clock.supersede(at));
            for credit in [credit, superseded].into_iter().flatten() {
                self.record(key, credit);
            }
        }
    }

    /// The live play under `key` is listed as `session`.
    fn confirm(
        &mut self,
        key: &str,
        session: &Session,
        started: Instant,
        now: Instant,
        effects: &mut Effects,
    ) {
        let (hide, interruptions) = (self.hide, self.interruptions);
        if let Some(play) = self.live.get_mut(key) {
            play.interruptions = interruptions;
            let credit = play.apply_listing(session, started, now, hide);
            if let Some(moment) = play.recheck(session, started, now) {
                effects.request_sessions(moment, Priority::Medium);
            }
            self.watch.live(play);
            if let (Title::Wanted, Some(id)) = (play.title, play.rating_key) {
                self.titles.want(id, play.clock.confirmed());
            }
            self.record(key, credit);
        }
    }

    /// Which play a session that is not live belongs to. `notified`: notifications have named the
    /// session since its last play ended.
    fn origin(
        &mut self,
        session: &Session,
        key: &str,
        started: Instant,
        now: Instant,
        notified: bool,
    ) -> Origin {
        let listed = Identity::of(session);
        let found = self.ended.find(key, listed.info(), |play| {
            let Some(end) = play.end else { return false };
            let same_key = *play.session == *key;
            !play.identity.differs(&listed)
                && match end.reason {
                    EndReason::Orphaned => {
                        play.identity.same_info(&listed)
                            || (same_key && !play.starts_again(session, started))
                    }
                    // Until Plex restarts, a key belongs to one session; and a short interruption
                    // may fall into the time for which Plex still lists it.
                    EndReason::Stopped => {
                        same_key
                            && (play.interruptions == self.interruptions
                                || (started < end.at + STOPPED_GRACE
                                    && !play.identity.other_info(&listed)
                                    && !play.starts_again(session, started)))
                    }
                    EndReason::Unlisted if same_key => {
                        play.interruptions == self.interruptions
                            && !play.starts_again(session, started)
                    }
                    // Plex restarted too quickly to be noticed.
                    EndReason::Unlisted => end.at == now && !play.starts_again(session, started),
                    EndReason::Replaced => false,
                }
        });
        let Some((id, play)) = found else {
            return Origin::New;
        };
        let Some(end) = play.end else {
            return Origin::New;
        };
        let progressed = session
            .view_offset
            .non_negative()
            .zip(play.view_offset)
            .is_some_and(|(listed, before)| listed > before + PROGRESS);
        let ignored = started < end.at + STOPPED_GRACE || !progressed;
        if end.reason == EndReason::Stopped && !notified && ignored {
            let recheck = match started.saturating_duration_since(end.at) {
                age if age < STOPPED_SETTLES => Some(STOPPED_PROMPT),
                age if age < STOPPED_GRACE => Some(STOPPED_RECHECK),
                _ => None,
            };
            if let Some(end) = self.ended.get_mut(id).and_then(|play| play.end.as_mut())
                && started > end.at
            {
                end.listed = Some(started);
            }
            return Origin::Stopped { recheck };
        }
        let left = end.listed.is_none()
            || play.identity.other_info(&listed)
            || play.starts_again(session, started);
        if end.reason == EndReason::Stopped && notified && left {
            // It stopped, and now the same user plays the same item again.
            return Origin::New;
        }
        match self.ended.remove(id) {
            Some(play) => Origin::Resumed(play),
            None => Origin::New,
        }
    }
}

/// After an interruption: whether a session with the same key, item, user and player is another
/// play.
fn is_new_start(play: &Play, session: &Session, started: Instant) -> bool {
    !play.identity.same_info(&Identity::of(session)) && play.starts_again(session, started)
}

fn is_live(session: &Session) -> bool {
    let player = session.player.get();
    !player.is_some_and(|player| Phase::is_over(player.state.or_empty()))
}

/// The key of a session: Plex's own or, where that is missing or already `taken` in this listing,
/// another field that is unique. No session hides another.
fn key_of<'a>(session: &'a Session, taken: &BTreeMap<&str, &Session>) -> Option<&'a str> {
    let info = session.session.get();
    let player = session.player.get();
    [
        session.session_key.get(),
        info.and_then(|info| info.id.get()),
        player.and_then(|player| player.machine_identifier.get()),
        session.key.get(),
        session.rating_key.get(),
    ]
    .into_iter()
    .flatten()
    .find(|key| !taken.contains_key(*key))
}

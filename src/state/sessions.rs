//! All plays: the live ones, those that ended, and sessions that no listing has shown yet.
//!
//! Notifications are triggers and early truth; `/status/sessions` (see `listing`) is the last word.
//! A notification about a known session is applied at once, because it names the very moment of a
//! change; what it leaves open is decided by the listing that it requests.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use log::Level;

use super::{
    actions::Effects,
    classify::transcode_id,
    encoded::play_labels,
    ended::EndedPlays,
    labels::{EncodedLabels, LabelValues},
    lasting::Lasting,
    libraries::Libraries,
    pending::Pending,
    phase::Phase,
    play::{EndReason, Play, PlayLibrary, Title},
    play_clock::Credit,
    series::SeriesTable,
    source::Versions,
    titles::Titles,
};
use crate::{
    config::HiddenLabels,
    output::Sanitized,
    plex::{
        id::Id,
        notification::{Playing, TranscodeEvent},
        wire::{Metadata, TranscodeSession},
    },
};

/// At most this many plays are kept, live and ended.
pub const MAX_SESSIONS: usize = 10_000;
/// A session that was not confirmed for this long is over: Plex is down, or forgot it.
pub const FORGET_AFTER: Duration = Duration::from_secs(45);
/// A playing client that has not reported for this long causes a listing (it should every 10 s).
pub const SILENT_AFTER: Duration = Duration::from_secs(12);
/// An `.end` of a transcode that no `.start` follows for this long causes a listing.
const SEEK_GRACE: Duration = Duration::from_millis(1_500);
/// A listing waits this long when a client flaps between two items; each time twice as long …
const REFUTED_PAUSE: Duration = Duration::from_millis(500);
/// … up to `2^MAX_REFUTED` times.
const MAX_REFUTED: u32 = 7;
/// After a stop, what follows under the same key is listed within this time.
const STOP_SETTLES: Duration = Duration::from_secs(1);
/// After a stop that names no live session, Plex is polled this often …
const STOP_RECHECK: Duration = Duration::from_millis(2_500);
/// … for this long, because it may list the session for a while.
const STOP_RECHECKS: Duration = Duration::from_secs(12);

/// All plays.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Boxed: the nodes of a map that grew in order are half empty.
    pub(super) live: BTreeMap<Box<str>, Box<Play>>,
    pub(super) ended: EndedPlays,
    pub(super) pending: Pending,
    /// Titles whose metadata is to be fetched.
    pub titles: Titles,
    /// Live sessions by the transcode that they carry.
    pub(super) by_transcode: HashMap<Box<str>, Box<str>>,
    /// What changed since labels were last completed.
    pub(super) touched: Touched,
    /// Nothing expires, and no client is silent for too long, before these moments.
    pub(super) watch: Watch,
    /// Since when plays wait for a library that Plex has not listed yet: the latest of them.
    awaited_since: Option<Instant>,
    /// Until this moment listings are repeated soon.
    recheck_until: Option<Instant>,
    /// The series of plays.
    pub series: SeriesTable,
    /// Bytes sent, by estimate.
    pub estimated_bytes: f64,
    /// Counters that stay when sessions go.
    pub lasting: Lasting,
    /// How many sessions the last listing showed as live.
    pub(super) listed: usize,
    /// Whether `/status/sessions` was ever answered: what it lists then began before us.
    pub(super) listed_once: bool,
    /// Counts interruptions of the connection to Plex, after which session keys may start again.
    pub(super) interruptions: u64,
    pub(super) hide: HiddenLabels,
    /// Live sessions beyond the limit.
    pub dropped_sessions: u64,
    /// Ended plays beyond the limit.
    pub dropped_plays: u64,
}

impl Sessions {
    /// No plays yet.
    #[must_use]
    pub fn new(hide: HiddenLabels) -> Self {
        Self {
            hide,
            ..Self::default()
        }
    }

    /// The live plays, by session key.
    pub fn live(&self) -> impl ExactSizeIterator<Item = &Play> {
        self.live.values().map(|play| &**play)
    }

    /// How many live sessions have their video transcoded.
    #[must_use]
    pub fn video_transcodes(&self) -> usize {
        self.live
            .values()
            .filter(|play| matches!(play.labels.transcode_type, "video" | "both"))
            .count()
    }

    /// How many ended plays and pending sessions are kept.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        (self.ended.iter().len(), self.pending.count())
    }

    /// The connection to Plex was interrupted, or is back: keys may have started again.
    pub fn interrupted(&mut self) {
        self.interruptions += 1;
    }

    /// Applies a `playing` notification.
    pub fn on_notification(&mut self, playing: &Playing, now: Instant, effects: &mut Effects) {
        let state = playing.state.or_empty();
        let over = Phase::is_over(state);
        let phase = Phase::parse(state);
        let item = playing.rating_key.get().and_then(Id::parse);
        let Some(key) = playing.session_key.get() else {
            // Old clients stop without a key.
            effects.refresh_sessions = true;
            if over {
                self.recheck_until = Some(now + STOP_RECHECKS);
            }
            return;
        };
        let Some(play) = self.live.get_mut(key) else {
            if over {
                self.pending.stop(key, item, now);
                // A stop may come under a key of its own (node-plex-api#80).
                if item.is_some() && self.live.values().any(|play| play.rating_key == item) {
                    effects.request_sessions(now);
                    self.recheck_until = Some(now + STOP_RECHECKS);
                }
            } else {
                let follows = self.ended.has_key(key);
                if self.pending.on_notification(key, item, phase, follows, now) {
                    effects.request_sessions(now);
                }
            }
            return;
        };
        self.touched.key(key);
        let other = play.is_other_item(item);
        match (over, other) {
            // Of the item before, or of one that was never listed. The listing decides whether
            // what it shows goes on.
            (true, true) => {
                self.pending.stop(key, item, now);
                if play.clock.superseded().is_some() {
                    effects.request_sessions(now);
                }
            }
            (true, false) => {
                let at = play.clock.superseded().unwrap_or(now);
                let credit = play.clock.stop(at);
                self.record(key, credit);
                if item.is_none() {
                    self.pending.stop(key, None, now);
                }
                if let Some(play) = self.live.remove(key) {
                    self.finish(play, EndReason::Stopped, now, effects);
                }
                // The next item under its key may be listed already, or in a moment.
                effects.request_sessions(now);
                self.recheck_until = self.recheck_until.max(Some(now + STOP_SETTLES));
            }
            // The next item under the same key: the listing will tell all about it.
            (false, true) => {
                let credit = play.clock.supersede(now);
                let pause = match play.refuted {
                    (refuted, times) if refuted == item => REFUTED_PAUSE * (1 << times),
                    _ => Duration::ZERO,
                };
                if self.pending.on_notification(key, item, phase, true, now) {
                    effects.request_sessions(now + pause);
                }
                self.record(key, credit);
            }
            (false, false) => {
                if play.clock.superseded().is_some() {
                    play.clock.reinstate();
                    let other = self.pending.next_item(key);
                    play.refuted = match play.refuted {
                        (refuted, times) if refuted == other => {
                            (other, (times + 1).min(MAX_REFUTED))
                        }
                        _ => (other, 0),
                    };
                    self.pending.forget(key);
                }
                let transcode = playing.transcode_session.get().map(transcode_id);
                if transcode.is_some_and(|transcode| play.is_new_transcode(transcode)) {
                    effects.request_sessions(now);
                }
                if let Some(offset) = playing.view_offset.non_negative() {
                    play.view_offset = Some(offset);
                }
                if let Some(phase) = phase {
                    effects.refresh_sessions |= phase != play.phase();
                    let credit = play.on_notification(phase, now);
                    self.watch.silence(play);
                    self.record(key, credit);
                }
            }
        }
    }

    /// Applies a `transcodeSession.*` notification: to the session that carries the transcode's
    /// key, and to no other.
    pub fn on_transcode_notification(
        &mut self,
        event: TranscodeEvent,
        transcode: TranscodeSession,
        now: Instant,
        effects: &mut Effects,
    ) {
        let id = transcode
            .key
            .get()
            .map(transcode_id)
            .unwrap_or_default()
            .to_owned();
        let key = self.by_transcode.get(&*id);
        let play = key
            .and_then(|key| self.live.get_mut(key))
            .filter(|play| play.owns_transcode(&id));
        if let Some(play) = &play {
            self.touched.key(&play.session);
        }
        match (event, play) {
            // Not the end of playback: a seek ends and starts the same key within a second.
            (TranscodeEvent::End, Some(_)) => effects.request_sessions(now + SEEK_GRACE),
            (_, Some(play)) => play.update_transcode(transcode, event == TranscodeEvent::Start),
            (TranscodeEvent::End, None) => {}
            // A session may have begun with it or changed to it. Updates of one that nobody carries
            // (a download) come every few seconds: they are a reason once.
            (_, None) => {
                if self.pending.on_transcode(&id, now) {
                    effects.request_sessions(now);
                }
            }
        }
    }

    /// Counts `credit` wherever time of the live play under `key` is counted.
    pub(super) fn record(&mut self, key: &str, credit: Credit) {
        let totals = Totals {
            series: &mut self.series,
            lasting: &mut self.lasting,
            estimated_bytes: &mut self.estimated_bytes,
        };
        if let Some(play) = self.live.get_mut(key) {
            totals.record(play, credit);
        }
    }

    /// A play is live no longer. Its labels are completed by [`Self::update_labels`].
    pub(super) fn finish(
        &mut self,
        mut play: Box<Play>,
        reason: EndReason,
        at: Instant,
        effects: &mut Effects,
    ) {
        play.mark_ended(reason, at);
        if let Some(series) = play.series {
            self.series.end(series, at);
        }
        log_play(effects, "ended", &play);
        let id = self.ended.insert(play);
        self.touched.ended.push(id);
        if let Some(deadline) = self.ended.deadline(id) {
            self.watch.expiry(deadline);
        }
        let live = self.live.len().max(self.listed);
        for oldest in self.ended.trim(MAX_SESSIONS.saturating_sub(live)) {
            self.dropped_plays += 1;
            self.leave(&oldest);
        }
    }

    fn leave(&mut self, play: &Play) {
        if let Some(series) = play.series {
            self.series.leave(series);
        }
    }

    fn waiting_for_title(&mut self, id: Id) -> impl Iterator<Item = &mut Play> {
        self.touched.everything = true;
        self.live
            .values_mut()
            .map(|play| &mut **play)
            .chain(self.ended.iter_mut())
            .filter(move |play| play.rating_key == Some(id) && play.title.is_wanted())
    }

    /// Applies the metadata of a title.
    pub fn apply_metadata(&mut self, id: Id, metadata: &Metadata, now: Instant) {
        self.titles.completed(id, false, now);
        let versions = Versions::of(metadata);
        for play in self.waiting_for_title(id) {
            play.apply_metadata(&versions);
        }
    }

    /// The metadata of a title could not be had at `now`; whether another attempt makes sense.
    pub fn metadata_failed(&mut self, id: Id, retry: bool, now: Instant) {
        let mut live = false;
        for play in self.waiting_for_title(id) {
            live |= play.end.is_none();
            play.title = if retry { Title::Retried } else { Title::Done };
            // That the file stays unknown is a label, too.
            play.encoded = None;
        }
        self.titles.completed(id, retry && live, now);
    }

    /// Ends what was not confirmed for too long, and forgets what ended long enough ago.
    pub fn expire(&mut self, now: Instant, effects: &mut Effects) {
        self.series.expire(now);
        if self.watch.expires_at.is_none_or(|at| now < at) {
            return;
        }
        let stale: Vec<Box<str>> = self
            .live
            .values()
            .filter(|play| now >= play.clock.confirmed() + FORGET_AFTER)
            .map(|play| play.session.clone())
            .collect();
        for key in stale {
            if let Some(play) = self.live.remove(&key) {
                self.finish(play, EndReason::Orphaned, now, effects);
            }
        }
        for play in self.ended.expire(now) {
            self.leave(&play);
        }
        // Plays that waited for their library for too long are among them.
        self.touched.everything = true;
    }

    /// When [`Self::expire`] or [`Self::update_labels`] next have something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.watch.expires_at
    }

    fn earliest_expiry(&self) -> Option<Instant> {
        let live = self.live.values().map(|play| {
            let stale = play.clock.confirmed() + FORGET_AFTER;
            play.library_deadline().map_or(stale, |at| at.min(stale))
        });
        live.chain(self.ended.next_expiry()).min()
    }

    /// Since when plays wait for a library that Plex has not listed yet: the latest of them.
    #[must_use]
    pub fn library_awaited_since(&self) -> Option<Instant> {
        self.awaited_since
    }

    /// Names or kinds of libraries changed.
    pub fn libraries_changed(&mut self) {
        for play in self.live.values_mut() {
            play.labels_changed();
        }
        self.touched.everything = true;
    }

    /// Completes labels that changed, and with them the series and the starts.
    pub fn update_labels(&mut self, libraries: &Libraries, now: Instant, effects: &mut Effects) {
        let touched = std::mem::take(&mut self.touched);
        let mut counters = Counters {
            series: &mut self.series,
            lasting: &mut self.lasting,
            libraries,
            awaited_since: self.awaited_since.filter(|_| !touched.everything),
            now,
        };
        if touched.everything {
            let live = self.live.values_mut().map(|play| &mut **play);
            for play in live.chain(self.ended.iter_mut()) {
                counters.complete(play, effects);
            }
        } else {
            for key in &touched.keys {
                if let Some(play) = self.live.get_mut(key) {
                    counters.complete(play, effects);
                }
            }
            for id in touched.ended {
                if let Some(play) = self.ended.get_mut(id) {
                    counters.complete(play, effects);
                }
            }
        }
        self.awaited_since = counters.awaited_since;
        if self.watch.expires_at.is_some_and(|at| at <= now) {
            self.watch.expires_at = self.earliest_expiry();
        }
        if self.watch.silent_at.is_some_and(|at| at <= now) {
            self.watch.silent_at = self.earliest_silence();
        }
    }

    /// Asks for another listing soon while one that is over may still be listed.
    pub(super) fn recheck(&mut self, now: Instant, effects: &mut Effects) {
        if let Some(until) = self.recheck_until.filter(|until| now < *until) {
            effects.request_sessions(until.min(now + STOP_RECHECK));
        }
    }

    /// Counts what a scrape at `now` may show.
    pub fn accrue(&mut self, now: Instant) {
        for play in self.live.values_mut() {
            let credit = play.clock.accrue(now);
            let totals = Totals {
                series: &mut self.series,
                lasting: &mut self.lasting,
                estimated_bytes: &mut self.estimated_bytes,
            };
            totals.record(play, credit);
        }
    }

    /// When a playing client has been silent for too long: then or later.
    #[must_use]
    pub fn next_silence_check(&self) -> Option<Instant> {
        self.watch.silent_at
    }

    fn earliest_silence(&self) -> Option<Instant> {
        self.live
            .values()
            .filter(|play| play.phase() == Phase::Playing)
            .map(|play| play.clock.confirmed() + SILENT_AFTER)
            .min()
    }
}

/// Where time is counted.
struct Totals<'a> {
    series: &'a mut SeriesTable,
    lasting: &'a mut Lasting,
    estimated_bytes: &'a mut f64,
}

impl Totals<'_> {
    fn record(self, play: &mut Play, credit: Credit) {
        self.lasting
            .add_buffering(play, credit.buffered, credit.interrupted);
        if credit.played.is_zero() {
            return;
        }
        play.played += credit.played;
        // 1 kbit/s is 125 bytes a second.
        *self.estimated_bytes += credit.played.as_secs_f64() * play.bitrate.unwrap_or(0.0) * 125.0;
        self.lasting.add_transcode(play, credit.played);
        if let Some(series) = play.series {
            self.series.add(series, credit.played);
            self.lasting.add_user_play(play, credit.played);
        }
    }
}

/// What changed since labels were last completed.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Perhaps all of them.
    pub everything: bool,
    /// Live sessions.
    keys: Vec<Box<str>>,
    /// Ended plays.
    ended: Vec<u64>,
}

impl Touched {
    fn key(&mut self, key: &str) {
        self.keys.push(key.into());
    }
}

/// Moments at which all plays are checked: never late, and sometimes early.
#[derive(Debug, Default)]
pub(super) struct Watch {
    expires_at: Option<Instant>,
    silent_at: Option<Instant>,
}

impl Watch {
    /// A play is live, or went on.
    pub fn live(&mut self, play: &Play) {
        let stale = play.clock.confirmed() + FORGET_AFTER;
        self.expiry(play.library_deadline().map_or(stale, |at| at.min(stale)));
        self.silence(play);
    }

    fn expiry(&mut self, at: Instant) {
        self.expires_at = Some(self.expires_at.map_or(at, |expiry| expiry.min(at)));
    }

    /// A play may be playing now.
    fn silence(&mut self, play: &Play) {
        if play.phase() == Phase::Playing {
            let at = play.clock.confirmed() + SILENT_AFTER;
            self.silent_at = Some(self.silent_at.map_or(at, |silent| silent.min(at)));
        }
    }
}

/// Where plays are counted once their labels are complete.
struct Counters<'a> {
    series: &'a mut SeriesTable,
    lasting: &'a mut Lasting,
    libraries: &'a Libraries,
    awaited_since: Option<Instant>,
    now: Instant,
}

impl Counters<'_> {
    /// Completes the labels of `play`, its series and its start.
    fn complete(&mut self, play: &mut Play, effects: &mut Effects) {
        let waits = (play.series.is_none() && play.has_played) || play.library_deadline().is_some();
        // The series of an ended play stays what it was, and it has no others.
        let outdated = play.encoded.is_none() && play.end.is_none();
        if !outdated && !waits {
            return;
        }
        play.resolve_library(self.libraries, self.now);
        // Resolving the library may have changed them.
        if play.encoded.is_none() && play.end.is_none() {
            if let Some(series) = play.series {
                play.series = Some(self.series.relabel(series, &play_labels(play), self.now));
            }
            play.encoded = Some(EncodedLabels::of(play));
        }
        if let PlayLibrary::Awaited(_, since) = play.library {
            self.awaited_since = self.awaited_since.max(Some(since));
            return;
        }
        if !play.has_played {
            return;
        }
        if play.series.is_none() {
            let series = self.series.join(&play_labels(play), play.played);
            self.lasting.add_user_play(play, play.played);
            if let Some(end) = play.end {
                self.series.end(series, end.at);
            }
            play.series = Some(series);
        }
        if std::mem::take(&mut play.start_uncounted) {
            self.lasting.count_start(&play.labels.user);
            effects.starts.push(match play.library {
                PlayLibrary::Known(id) => Some(id),
                _ => None,
            });
        }
    }
}

pub(super) fn log_play(effects: &mut Effects, what: &str, play: &Play) {
    if log::max_level() < Level::Debug {
        // The lines of a crowd would take megabytes, for nobody.
        return;
    }
    let LabelValues {
        title,
        child_title,
        grandchild_title,
        user,
        device,
        stream_type,
        ..
    } = &play.labels;
    let titles: Vec<&str> = [&**title, &**child_title, &**grandchild_title]
        .into_iter()
        .filter(|title| !title.is_empty())
        .collect();
    effects.log(
        Level::Debug,
        format!(
            "play {what}: session {}, user `{}`, `{}`, device `{}`, {}, {} s",
            Sanitized(&play.session),
            Sanitized(user),
            Sanitized(&titles.join(" / ")),
            Sanitized(device),
            Sanitized(stream_type),
            play.played.as_secs(),
        ),
    );
}

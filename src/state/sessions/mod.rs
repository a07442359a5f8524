//! All plays: the live ones, those that ended, and sessions that no listing has shown yet.
//!
//! Notifications (see `notifications`) trigger listings and are applied ahead of them;
//! `/status/sessions` (see `listing`) decides.

mod counting;
mod listing;
mod notifications;
mod repeated_text;
#[cfg(test)]
mod tests;
mod watch;

pub use repeated_text::RepeatedText;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use log::Level;

use self::{
    counting::{Counters, Totals},
    watch::{FORGET_AFTER, SILENT_AFTER, Touched, Watch},
};
use super::{
    actions::Effects,
    budget::Priority,
    ended::EndedPlays,
    labels::LabelValues,
    lasting::Lasting,
    libraries::Libraries,
    pending::Pending,
    phase::Phase,
    play::{EndReason, Play, Title},
    play_clock::Credit,
    series::SeriesTable,
    source::Versions,
    titles::Titles,
};
use crate::{
    config::HiddenLabels,
    output::Sanitized,
    plex::{id::Id, wire::Metadata},
};

/// At most this many plays are kept, live and ended.
pub const MAX_SESSIONS: usize = 10_000;
/// With more text than this, the oldest ended plays are dropped: the weight of the listed sessions, up to
/// [`MAX_WEIGHT`](crate::plex::wire::MAX_WEIGHT), and two fifths of the bytes of all series' labels.
const MAX_LOAD: usize = 4_600_000;
/// While an ended session may still be listed, Plex is polled this often.
const STOP_RECHECK: Duration = Duration::from_millis(2_500);

/// All plays.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Boxed: the nodes of a map that grew in order are half empty.
    live: BTreeMap<Box<str>, Box<Play>>,
    ended: EndedPlays,
    pending: Pending,
    /// The titles whose metadata is to be fetched.
    pub titles: Titles,
    /// Live sessions by the transcode that they carry.
    by_transcode: HashMap<Box<str>, Box<str>>,
    /// What changed since labels were last completed.
    touched: Touched,
    /// Nothing expires, and no client is silent for too long, before these moments.
    watch: Watch,
    /// Since when plays wait for a library that Plex has not listed yet: the latest of them.
    awaited_since: Option<Instant>,
    /// Until this moment, listings are repeated at short intervals.
    recheck_until: Option<Instant>,
    /// The series of plays.
    pub series: SeriesTable,
    /// Bytes sent, by estimate.
    pub estimated_bytes: f64,
    /// Counters that outlive sessions.
    pub lasting: Lasting,
    /// How many sessions the last listing showed as live.
    listed: usize,
    /// Their weight.
    weight: usize,
    /// Whether a listing has been applied. Sessions in the first one began before the exporter.
    listed_once: bool,
    /// Counts interruptions of the connection to Plex, after which session keys may be reassigned.
    interruptions: u64,
    hide: HiddenLabels,
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

    /// Whether Plex has listed the sessions at least once.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed_once
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

    /// Whether a live session carries this transcode.
    #[must_use]
    pub fn carries(&self, transcode: &str) -> bool {
        self.by_transcode.contains_key(transcode)
    }

    /// The number of transcodes that no listed session has.
    #[must_use]
    pub fn pending_transcodes(&self) -> usize {
        self.pending.transcodes()
    }

    /// The connection to Plex was interrupted or restored: session keys may have been reassigned.
    pub fn interrupted(&mut self) {
        self.interruptions += 1;
    }

    /// Counts `credit` wherever time of the live play under `key` is counted.
    fn record(&mut self, key: &str, credit: Credit) {
        let totals = Totals {
            series: &mut self.series,
            lasting: &mut self.lasting,
            estimated_bytes: &mut self.estimated_bytes,
        };
        if let Some(play) = self.live.get_mut(key) {
            totals.record(play, credit);
        }
    }

    /// Ends a play at `at`, or when a notification first named the next item under its key. Its
    /// labels are completed by [`Self::update_labels`].
    fn finish(
        &mut self,
        mut play: Box<Play>,
        reason: EndReason,
        at: Instant,
        effects: &mut Effects,
    ) {
        let at = play.clock.superseded().unwrap_or(at);
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
        self.trim_ended();
    }

    /// Removes the oldest ended plays beyond the limits.
    fn trim_ended(&mut self) {
        let live = self.live.len().max(self.listed);
        let limit = MAX_SESSIONS.saturating_sub(live);
        while (self.ended.iter().len() > limit || self.load() > MAX_LOAD)
            && let Some(oldest) = self.ended.remove_oldest()
        {
            self.dropped_plays += 1;
            self.leave(&oldest);
        }
    }

    fn load(&self) -> usize {
        self.weight + self.series.text() * 2 / 5
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

    /// The metadata request for a title failed at `now`; `retry` says whether to repeat it.
    pub fn metadata_failed(&mut self, id: Id, retry: bool, now: Instant) {
        let mut live = false;
        for play in self.waiting_for_title(id) {
            live |= play.end.is_none();
            play.title = if retry { Title::Retried } else { Title::Done };
            // An unknown file shows in the labels, too.
            play.encoded = None;
        }
        self.titles.completed(id, retry && live, now);
    }

    /// Ends plays that have not been confirmed for too long, and removes ended plays that have
    /// expired.
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
        // Some may have waited for their library for too long.
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
        self.trim_ended();
        if self.watch.expires_at.is_some_and(|at| at <= now) {
            self.watch.expires_at = self.earliest_expiry();
        }
        if self.watch.silent_at.is_some_and(|at| at <= now) {
            self.watch.silent_at = self.earliest_silence();
        }
    }

    /// Requests another listing soon while an ended session may still be listed.
    fn recheck(&mut self, now: Instant, effects: &mut Effects) {
        if let Some(until) = self.recheck_until.filter(|until| now < *until) {
            effects.request_sessions(until.min(now + STOP_RECHECK), Priority::Medium);
        }
    }

    /// Counts the time that a scrape at `now` may show.
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

    /// The earliest moment at which a playing client may have been silent for too long.
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

fn log_play(effects: &mut Effects, what: &str, play: &Play) {
    if log::max_level() < Level::Debug {
        // With many sessions, these lines would take megabytes.
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

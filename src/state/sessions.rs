//! All plays: the live ones, those that ended, and sessions that no listing has shown yet.
//!
//! Notifications are triggers and early truth; `/status/sessions` (see `listing`) is the last word.
//! A notification about a known session is applied at once, because it names the very moment of a
//! change; what it leaves open is decided by the listing that it requests.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use log::Level;

use super::{
    actions::Effects,
    classify::transcode_id,
    encoded::EncodedLabels,
    ended::EndedPlays,
    labels::LabelValues,
    lasting::Lasting,
    libraries::Libraries,
    pending::Pending,
    phase::Phase,
    play::{EndReason, LIBRARY_WAIT, Play, PlayLibrary, Title},
    play_clock::Credit,
    sanitize::truncate,
    schedule::retry_pause,
    series::SeriesTable,
};
use crate::{
    config::HiddenLabels,
    output::Sanitized,
    plex::{
        notification::{Playing, TranscodeEvent},
        request::Id,
        wire::{Metadata, TranscodeSession},
    },
};

/// A session that was not confirmed for this long is over: Plex is down, or forgot it.
pub const FORGET_AFTER: Duration = Duration::from_secs(45);
/// A playing client that has not reported for this long causes a listing (it should every 10 s).
pub const SILENT_AFTER: Duration = Duration::from_secs(12);
/// An `.end` of a transcode that no `.start` follows for this long causes a listing.
const SEEK_GRACE: Duration = Duration::from_millis(1_500);
/// A listing waits this long when a client flaps between two items.
const REFUTED_PAUSE: Duration = Duration::from_secs(2);
/// A failed request for a title is repeated this often.
const TITLE_RETRIES: u32 = 5;
/// All plays.
#[derive(Debug, Default)]
pub struct Sessions {
    pub(super) live: BTreeMap<Box<str>, Play>,
    pub(super) ended: EndedPlays,
    pub(super) pending: Pending,
    /// The series of plays.
    pub series: SeriesTable,
    /// Bytes sent, by estimate.
    pub estimated_bytes: f64,
    /// Counters that stay when sessions go.
    pub lasting: Lasting,
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
        self.live.values()
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
        let Some(key) = playing.session_key.get().map(truncate) else {
            // Old clients stop without a key.
            effects.request_sessions(now);
            return;
        };
        let Some(play) = self.live.get_mut(key) else {
            if over {
                self.pending.forget(key, item);
                // A stop may come under a key of its own (node-plex-api#80).
                if item.is_some() && self.live.values().any(|play| play.rating_key == item) {
                    effects.request_sessions(now);
                }
            } else if self.pending.on_notification(key, item, phase, now) {
                effects.request_sessions(now);
            }
            return;
        };
        let other = play.is_other_item(item);
        match (over, other) {
            // Of the item before, or of one that was never listed. The listing decides whether
            // what it shows goes on.
            (true, true) => {
                self.pending.forget(key, item);
                if play.clock.superseded().is_some() {
                    effects.request_sessions(now);
                }
            }
            (true, false) => {
                let at = play.clock.superseded().unwrap_or(now);
                let credit = play.clock.stop(at);
                self.book(key, credit);
                if item.is_none() {
                    self.pending.forget(key, None);
                }
                if let Some(play) = self.live.remove(key) {
                    self.finish(play, EndReason::Stopped, now, effects);
                }
            }
            // The next item under the same key: the listing will tell all about it.
            (false, true) => {
                let credit = play.clock.supersede(now);
                let pause = if play.refuted == item {
                    REFUTED_PAUSE
                } else {
                    Duration::ZERO
                };
                if self.pending.on_notification(key, item, phase, now) {
                    effects.request_sessions(now + pause);
                }
                self.book(key, credit);
            }
            (false, false) => {
                if play.clock.superseded().is_some() {
                    play.clock.reinstate();
                    play.refuted = self.pending.next_item(key);
                    self.pending.forget(key, None);
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
                    self.book(key, credit);
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
        let owner = self.live.values_mut().find(|play| play.owns_transcode(&id));
        match (event, owner) {
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
    pub(super) fn book(&mut self, key: &str, credit: Credit) {
        let totals = Totals {
            series: &mut self.series,
            lasting: &mut self.lasting,
            estimated_bytes: &mut self.estimated_bytes,
        };
        if let Some(play) = self.live.get_mut(key) {
            totals.book(play, credit);
        }
    }

    /// A play is live no longer. Its labels are completed by [`Self::update_labels`].
    pub(super) fn finish(
        &mut self,
        mut play: Play,
        reason: EndReason,
        at: Instant,
        effects: &mut Effects,
    ) {
        play.mark_ended(reason, at);
        if let Some(series) = play.series {
            self.series.end(series, at);
        }
        log_play(effects, "ended", &play);
        if let Some(oldest) = self.ended.insert(play) {
            self.dropped_plays += 1;
            self.leave(&oldest);
        }
    }

    fn leave(&mut self, play: &Play) {
        if let Some(series) = play.series {
            self.series.leave(series);
        }
    }

    /// Titles that are wanted, and from when on.
    pub fn wanted_titles(&self) -> impl Iterator<Item = (Id, Instant)> {
        self.live.values().filter_map(|play| match play.title {
            Title::Wanted { after, .. } => Some((play.rating_key?, after)),
            Title::None | Title::Done => None,
        })
    }

    fn waiting_for_title(&mut self, id: Id) -> impl Iterator<Item = &mut Play> {
        self.live
            .values_mut()
            .chain(self.ended.iter_mut())
            .filter(move |play| {
                play.rating_key == Some(id) && matches!(play.title, Title::Wanted { .. })
            })
    }

    /// Applies the metadata of a title.
    pub fn apply_metadata(&mut self, id: Id, metadata: &Metadata) {
        for play in self.waiting_for_title(id) {
            play.apply_metadata(metadata);
        }
    }

    /// The metadata of a title could not be had at `now`; whether another attempt makes sense.
    pub fn metadata_failed(&mut self, id: Id, retry: bool, now: Instant) {
        for play in self.waiting_for_title(id) {
            play.title = match play.title {
                Title::Wanted { failures, .. } if retry && failures < TITLE_RETRIES => {
                    let failures = failures + 1;
                    Title::Wanted {
                        failures,
                        after: now + retry_pause(failures),
                    }
                }
                _ => {
                    // That the file stays unknown is a label, too.
                    play.encoded = None;
                    Title::Done
                }
            };
        }
    }

    /// Ends what was not confirmed for too long, and forgets what ended long enough ago.
    pub fn expire(&mut self, now: Instant, effects: &mut Effects) {
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
    }

    /// When [`Self::expire`] or [`Self::update_labels`] next have something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let live = self.live.values().map(|play| {
            let stale = play.clock.confirmed() + FORGET_AFTER;
            match play.library {
                PlayLibrary::Awaited(_, since) => stale.min(since + LIBRARY_WAIT),
                _ => stale,
            }
        });
        live.chain(self.ended.next_expiry()).min()
    }

    /// Since when plays wait for a library that Plex has not listed yet: the latest of them.
    #[must_use]
    pub fn library_awaited_since(&self) -> Option<Instant> {
        let plays = self.live.values();
        plays
            .filter_map(|play| match play.library {
                PlayLibrary::Awaited(_, since) => Some(since),
                _ => None,
            })
            .max()
    }

    /// Names or kinds of libraries changed.
    pub fn libraries_changed(&mut self) {
        for play in self.live.values_mut() {
            play.labels_changed();
        }
    }

    /// Completes labels that changed, and with them the series and the starts.
    pub fn update_labels(&mut self, libraries: &Libraries, now: Instant, effects: &mut Effects) {
        let plays = self.live.values_mut().chain(self.ended.iter_mut());
        for play in plays.filter(|play| play.encoded.is_none() || is_waiting(play)) {
            play.resolve_library(libraries, now);
            if play.encoded.is_none() {
                let encoded = EncodedLabels::of(play);
                // The series of an ended play stays what it was.
                if let Some(series) = play.series.filter(|_| play.end.is_none()) {
                    play.series = Some(self.series.relabel(series, &encoded.play, now));
                }
                play.encoded = Some(encoded);
            }
            if matches!(play.library, PlayLibrary::Awaited(..)) || !play.has_played {
                continue;
            }
            if play.series.is_none()
                && let Some(encoded) = play.encoded.as_ref()
            {
                let series = self.series.join(&encoded.play, play.played);
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

    /// Counts what a scrape at `now` may show.
    pub fn accrue(&mut self, now: Instant) {
        for play in self.live.values_mut() {
            let credit = play.clock.accrue(now);
            let totals = Totals {
                series: &mut self.series,
                lasting: &mut self.lasting,
                estimated_bytes: &mut self.estimated_bytes,
            };
            totals.book(play, credit);
        }
    }

    /// When a playing client has been silent for too long.
    #[must_use]
    pub fn next_silence_check(&self) -> Option<Instant> {
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
    fn book(self, play: &mut Play, credit: Credit) {
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

/// Whether a play has no series yet although it may get one.
fn is_waiting(play: &Play) -> bool {
    (play.series.is_none() && play.has_played) || matches!(play.library, PlayLibrary::Awaited(..))
}

pub(super) fn log_play(effects: &mut Effects, what: &str, play: &Play) {
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

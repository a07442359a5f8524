//! Counts plays, and the time they play, in the metrics that have their labels.

use std::time::Instant;

use crate::state::{
    actions::Effects,
    encoded::play_labels,
    labels::EncodedLabels,
    lasting::Lasting,
    libraries::Libraries,
    play::{Play, PlayLibrary},
    play_clock::Credit,
    series::SeriesTable,
};

/// The counters of time.
pub(super) struct Totals<'a> {
    pub series: &'a mut SeriesTable,
    pub lasting: &'a mut Lasting,
    pub estimated_bytes: &'a mut f64,
}

impl Totals<'_> {
    /// Counts `credit` for `play`.
    pub fn record(self, play: &mut Play, credit: Credit) {
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

/// The counters of plays, and what completing a play's labels takes.
pub(super) struct Counters<'a> {
    pub series: &'a mut SeriesTable,
    pub lasting: &'a mut Lasting,
    pub libraries: &'a Libraries,
    pub awaited_since: Option<Instant>,
    pub now: Instant,
}

impl Counters<'_> {
    /// Completes the labels of `play`, its series and its start.
    pub fn complete(&mut self, play: &mut Play, effects: &mut Effects) {
        let waits = (play.series.is_none() && play.has_played) || play.library_deadline().is_some();
        // The series of an ended play does not change any more, and it has no other samples.
        let outdated = play.encoded.is_none() && play.end.is_none();
        if !outdated && !waits {
            return;
        }
        play.resolve_library(self.libraries, self.now);
        // Resolving the library may have discarded them.
        if play.encoded.is_none() && play.end.is_none() {
            if let Some(series) = play.series {
                play.series = Some(self.series.relabel(series, &play_labels(play), self.now));
            }
            play.encoded = Some(EncodedLabels::of(play));
            // The user's counter exists at 0 if the session is listed before it plays.
            self.lasting.add_user(&play.labels.user);
        }
        if let PlayLibrary::Awaited(_, since) = play.library {
            self.awaited_since = self.awaited_since.max(Some(since));
            return;
        }
        if !play.has_played {
            return;
        }
        if play.series.is_none() {
            let series = self.series.join(&play_labels(play), play.played, self.now);
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

//! What `playing` and `transcodeSession` notifications change.
//!
//! A notification about a known session is applied at once, because it marks the exact moment of a
//! change; whatever it leaves open is decided by the listing that it requests.

use std::time::{Duration, Instant};

use super::{Sessions, counting::Totals};
use crate::{
    plex::{
        id::Id,
        notification::{Playing, TranscodeEvent},
        wire::TranscodeSession,
    },
    state::{
        actions::Effects, budget::Priority, classify::transcode_id, phase::Phase, play::EndReason,
    },
};

/// When a client alternates between two items, a listing is delayed by this, doubled each time …
const REFUTED_PAUSE: Duration = Duration::from_millis(500);
/// … up to `2^MAX_REFUTED` times.
const MAX_REFUTED: u32 = 7;
/// After a stop, the next item under the same key is listed within this time.
const STOP_SETTLES: Duration = Duration::from_secs(1);
/// A `stopped` arrives at most this long after the session has left the listing.
const STOP_LAG: Duration = Duration::from_secs(5);
/// After a stop that names no live session, Plex is polled again for this long, because it may go on
/// listing the session for a while.
const STOP_RECHECKS: Duration = Duration::from_secs(12);

impl Sessions {
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
                self.stop_unlisted(key, item, now);
                self.pending.stop(key, item, now);
                // A stop may come under a key of its own (node-plex-api#80).
                if item.is_some() && self.live.values().any(|play| play.rating_key == item) {
                    effects.request_sessions(now, Priority::Medium);
                    self.recheck_until = Some(now + STOP_RECHECKS);
                }
            } else if self.pending.on_notification(key, item, phase, now) {
                effects.request_sessions(now, self.pending.priority());
            }
            return;
        };
        self.touched.key(key);
        let other = play.is_other_item(item);
        match (over, other) {
            // The previous item stopped, or one that was never listed. A listing decides whether
            // the listed one continues.
            (true, true) => {
                self.pending.stop(key, item, now);
                if play.clock.superseded().is_some() {
                    effects.request_sessions(now, Priority::Medium);
                }
            }
            // A stop that names no item concerns the listed one: a listing shows whether the next
            // one stopped, too.
            (true, false) => {
                let at = play.clock.superseded().unwrap_or(now);
                let credit = play.clock.stop(at);
                self.record(key, credit);
                if let Some(play) = self.live.remove(key) {
                    self.finish(play, EndReason::Stopped, now, effects);
                }
                // The next item under its key may be listed already, or in a moment.
                effects.request_sessions(now, Priority::High);
                self.recheck_until = self.recheck_until.max(Some(now + STOP_SETTLES));
            }
            // The next item under the same key: a listing describes it.
            (false, true) => {
                let credit = play.clock.supersede(now);
                let (pause, priority) = match play.refuted {
                    (refuted, times) if refuted == item => {
                        (REFUTED_PAUSE * (1 << times), Priority::Medium)
                    }
                    _ => (Duration::ZERO, Priority::High),
                };
                if self.pending.on_notification(key, item, phase, now) {
                    effects.request_sessions(now + pause, priority);
                }
                self.record(key, credit);
            }
            (false, false) => {
                let next = self.pending.next_item(key);
                if play.is_late_after(next, now) {
                    return;
                }
                if play.clock.superseded().is_some() {
                    play.clock.reinstate();
                    play.refuted = match play.refuted {
                        (refuted, times) if refuted == next => (next, (times + 1).min(MAX_REFUTED)),
                        _ => (next, 0),
                    };
                    self.pending.forget(key);
                }
                let transcode = playing.transcode_session.get().map(transcode_id);
                if transcode.is_some_and(|transcode| play.is_new_transcode(transcode)) {
                    effects.request_sessions(now, Priority::Medium);
                }
                let interrupted = play.interruptions != self.interruptions;
                if let Some(offset) = playing.view_offset.non_negative() {
                    play.notify_offset(offset, interrupted);
                }
                if let Some(phase) = phase {
                    // Its bitrate and bandwidth may have changed, too.
                    effects.refresh_sessions = true;
                    let credit = play.on_notification(phase, now);
                    self.watch.silence(play);
                    self.record(key, credit);
                }
            }
        }
    }

    /// Applies a `stopped` of `item` under `key` that a listing without the session overtook: it
    /// played until that listing.
    fn stop_unlisted(&mut self, key: &str, item: Option<Id>, now: Instant) {
        let found = self.ended.find(key, "", |play| {
            !play.is_other_item(item)
                && play.end.is_some_and(|end| {
                    end.reason == EndReason::Unlisted && now <= end.at + STOP_LAG
                })
        });
        let id = found.map(|(id, _)| id);
        let Some(play) = id.and_then(|id| self.ended.get_mut(id)) else {
            return;
        };
        if let Some(end) = &mut play.end {
            end.reason = EndReason::Stopped;
            let credit = play.clock.stop(end.at);
            let totals = Totals {
                series: &mut self.series,
                lasting: &mut self.lasting,
                estimated_bytes: &mut self.estimated_bytes,
            };
            totals.record(play, credit);
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
            // Not the end of playback; whether it is a seek is yet to be seen.
            (TranscodeEvent::End, _) => {}
            (_, Some(play)) => play.update_transcode(transcode, event == TranscodeEvent::Start),
            // A session may have begun with it or changed to it. A transcode that no session
            // carries (a download) sends updates every few seconds, of which only the first few
            // count.
            (_, None) => {
                if self.pending.on_transcode(&id, now) {
                    effects.request_sessions(now, Priority::Medium);
                }
            }
        }
    }
}

//! What anybody who reads the notifications and the listings can know of a play, and by how much
//! the seconds shown may therefore differ from the truth.
//!
//! Every change that is notified is known to the delay of the notification. A change whose
//! notification is lost lies somewhere between the last confirmation of the play and the next one:
//! the seconds may be wrong by that gap, but by no more than the contract lets pass between two
//! confirmations, since the position shows what was played in a longer one.

use crate::plays::Millis;

/// An ended session is gone this long after it left the listing, the socket up.
pub const LONGEST_GAP: Millis = 45_000;
/// Clients report every 10 s; until a missing report is noticed, the play is taken to go on.
pub const REPORT_GAP: Millis = 13_000;
/// Where a listing contradicts a notification that came so shortly before it, either may be right,
/// and the notification counts until the next listing.
const CONTRADICTED: Millis = 3_000;
/// The next listing comes at most this much later.
const NEXT_LISTING: Millis = 1_500;
/// For every change: truncation to milliseconds.
pub const ROUNDING: Millis = 2;

/// A change that was not notified.
#[derive(Debug, Clone, Copy)]
struct Lost {
    at: Millis,
    /// It was a jump, so that the position proves nothing.
    jump: bool,
}

#[derive(Debug, Default)]
pub struct Knowledge {
    /// When it was last reported live, and in which phase.
    pub confirmed: Option<Millis>,
    /// When it was last notified.
    notified: Option<Millis>,
    /// Until when the last notification may count although a listing contradicts it.
    contradicted: Millis,
    /// Changes since then that were not notified.
    lost: Vec<Lost>,
    /// A notification of a change is on its way since then.
    pub on_its_way: Option<Millis>,
    /// By how much the seconds may be wrong.
    pub allowance: Millis,
    /// It was in a listing that arrived.
    pub listed: Option<Millis>,
    /// It was reported playing.
    pub seen_playing: bool,
    /// When it became countable as a start: listed, and seen playing.
    pub countable: Option<Millis>,
    /// kbit/s in the first listing that arrived.
    pub first_bitrate: Option<u64>,
    /// Session key, `stream_type`, `transcode_type` and `stream_resolution` in listings that
    /// arrived; the last one is the present one.
    pub versions: Vec<(u64, [&'static str; 3])>,
}

impl Knowledge {
    /// A change at `now` is not notified.
    pub fn mark_lost(&mut self, now: Millis, jump: bool) {
        self.lost.push(Lost { at: now, jump });
    }

    /// Whether changes were lost and not reported since.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether its state at `now` is unreported, or reported in two ways.
    pub fn is_unknown(&self, now: Millis) -> bool {
        self.has_lost() || self.on_its_way.is_some() || now < self.contradicted
    }

    /// What it did until `until` is known again at `now`; the play exists since `began`.
    fn confirm(&mut self, until: Millis, now: Millis, began: Millis) {
        let (settled, later) = self.lost.drain(..).partition(|lost| lost.at <= until);
        self.lost = later;
        let settled: Vec<Lost> = settled;
        if !settled.is_empty() || self.confirmed.is_none() {
            let gap = now.saturating_sub(self.confirmed.unwrap_or(began));
            // What began while nothing could arrive began at an unknown time.
            let unknown = self.confirmed.is_none() || settled.iter().any(|lost| lost.jump);
            self.allowance += if unknown { gap } else { gap.min(LONGEST_GAP) };
        }
    }

    /// A notification of this play arrives.
    pub fn notified(&mut self, now: Millis, began: Millis, playing: bool) {
        self.confirm(now, now, began);
        self.confirmed = Some(now);
        self.notified = Some(now);
        self.on_its_way = None;
        self.seen_playing |= playing;
        self.count(now);
    }

    /// A listing, requested at `started` and written at `written`, arrives.
    pub fn listed(
        &mut self,
        started: Millis,
        written: Millis,
        now: Millis,
        began: Millis,
        playing: bool,
    ) {
        if let Some(notified) = self.notified.filter(|at| started < at + CONTRADICTED)
            && self.has_lost()
        {
            self.allowance += CONTRADICTED + NEXT_LISTING;
            self.contradicted = notified + CONTRADICTED + NEXT_LISTING;
        }
        self.confirm(written, now, began);
        if let Some(sent) = self.on_its_way
            && started < sent
            && sent <= written
        {
            // It shows the state after a change of which nothing is known yet.
            self.allowance += sent - started;
        }
        self.confirmed = Some(self.confirmed.unwrap_or(0).max(started));
        self.named(now, playing);
    }

    /// A listing that arrives at `now` shows it.
    pub fn named(&mut self, now: Millis, playing: bool) {
        self.seen_playing |= playing;
        self.listed.get_or_insert(now);
        self.count(now);
    }

    fn count(&mut self, now: Millis) {
        if self.countable.is_none() && self.listed.is_some() && self.seen_playing {
            self.countable = Some(now);
        }
    }

    /// It ended at `end`, unreported until `reported`.
    pub fn ended_unreported(&mut self, end: Millis, reported: Millis) {
        let since = self.confirmed.unwrap_or(end);
        self.allowance += (end.saturating_sub(since))
            .max(REPORT_GAP)
            .max(reported.saturating_sub(since));
        self.lost.clear();
    }

    /// By how much the seconds of a live play may be wrong at `now`.
    pub fn tolerance(&self, now: Millis) -> Millis {
        let silent = now.saturating_sub(self.confirmed.unwrap_or(0));
        let unreported = self.has_lost() || silent > REPORT_GAP;
        self.allowance + if unreported { silent } else { 0 }
    }
}

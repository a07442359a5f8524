//! Sessions and items that notifications have named and no listing has shown yet.
//!
//! The first notification of a session may precede its listing: its time counts from then on all
//! the same. Likewise, the next item under a known key begins when a notification first names it,
//! however late the listing is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    actions::Effects,
    budget::Priority,
    phase::{Observed, Phase},
};
use crate::plex::id::Id;

/// Pauses between listings while something is pending, in milliseconds, so that it shows within 1 s
/// of being listed. After the last one, only regular listings can show it.
const RETRIES: &[u64] = &[
    300, 600, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 900, 2_000, 4_000,
];
/// A pending session is dropped when no notification has named it for this long.
const KEEP: Duration = Duration::from_mins(4);
/// A stopped item stays pending for this long, because Plex may still list it.
const KEEP_STOPPED: Duration = Duration::from_secs(30);
/// At most this many keys are pending; a real server has a handful.
const MAX_KEYS: usize = 256;
/// Items in a row under one key, for listings that take longer than a track.
const MAX_ITEMS: usize = 8;
/// Sessions that notifications name and no listing shows are urgent for this many listings in a row.
/// A server that keeps doing that has sessions which it never lists.
const MAX_FRUITLESS: u32 = 30;
/// Older observations do not apply to a session that is listed now.
const STALE: Duration = Duration::from_secs(24);

#[derive(Debug)]
struct PendingItem {
    item: Option<Id>,
    observed: Observed,
    /// When a notification said that it stopped.
    stopped: Option<Instant>,
}

#[derive(Debug)]
struct PendingSession {
    /// When the newest item was first named.
    first: Instant,
    /// When the last notification arrived.
    last: Instant,
    retries: usize,
    /// In the order of their first notifications.
    items: Vec<PendingItem>,
}

/// What was observed of a session before it was listed.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// The notifications about it.
    pub observed: Observed,
    /// When a notification first named the next item under its key.
    pub superseded: Option<Instant>,
    /// When a notification said that it stopped.
    pub stopped: Option<Instant>,
}

impl PendingItem {
    fn is(&self, item: Option<Id>) -> bool {
        self.item.is_none() || item.is_none() || self.item == item
    }
}

/// All that is pending.
#[derive(Debug, Default)]
pub struct Pending {
    /// Sessions, by key.
    sessions: BTreeMap<Box<str>, PendingSession>,
    /// Listings in a row that showed nothing of what was pending.
    fruitless: u32,
    /// Transcodes that no listed session carries, with the listings that each has caused and when
    /// it was last named.
    transcodes: BTreeMap<Box<str>, (u8, Instant)>,
}

impl Pending {
    /// Records a notification about an item that is not listed; true when the item is new.
    pub fn on_notification(
        &mut self,
        key: &str,
        item: Option<Id>,
        phase: Option<Phase>,
        now: Instant,
    ) -> bool {
        if !self.sessions.contains_key(key) && self.sessions.len() >= MAX_KEYS {
            return false;
        }
        let session = self
            .sessions
            .entry(key.into())
            .or_insert_with(|| PendingSession {
                first: now,
                last: now,
                retries: 0,
                items: Vec::new(),
            });
        session.last = now;
        let new = session
            .items
            .last()
            .is_none_or(|last| last.item != item || last.stopped.is_some());
        if new {
            if session.items.len() >= MAX_ITEMS {
                session.items.remove(0);
            }
            session.first = now;
            session.retries = 0;
            session.items.push(PendingItem {
                item,
                observed: Observed::new(now),
                stopped: None,
            });
        }
        if let (Some(phase), Some(last)) = (phase, session.items.last_mut()) {
            last.observed.on_notification(phase, now);
        }
        new
    }

    /// The item that is pending under `key`.
    #[must_use]
    pub fn next_item(&self, key: &str) -> Option<Id> {
        self.sessions.get(key)?.items.first()?.item
    }

    /// Removes and returns what was observed of the item `listed`, which a response requested at
    /// `started` shows. Earlier items under the key have ended; later ones stay pending.
    pub fn take(&mut self, key: &str, listed: Option<Id>, started: Instant) -> Option<Found> {
        let session = self.sessions.get_mut(key)?;
        let index = session.items.iter().rposition(|item| item.is(listed))?;
        self.fruitless = 0;
        let found = session.items.drain(..=index).next_back();
        let superseded = session.items.first().map(|next| next.observed.first);
        if session.items.is_empty() {
            self.sessions.remove(key);
        }
        let PendingItem {
            observed, stopped, ..
        } = found?;
        (started < observed.last + STALE).then_some(Found {
            observed,
            superseded,
            stopped,
        })
    }

    /// Marks `item` under `key` as stopped at `now`; without an item, everything pending there. A
    /// listing that was requested before may still show it.
    pub fn stop(&mut self, key: &str, item: Option<Id>, now: Instant) {
        if !self.sessions.contains_key(key) {
            self.on_notification(key, item, None, now);
        }
        if let Some(session) = self.sessions.get_mut(key) {
            for pending in session.items.iter_mut().filter(|pending| pending.is(item)) {
                pending.observed.stop(now);
                pending.stopped.get_or_insert(now);
            }
        }
    }

    /// Drops everything pending under `key`.
    pub fn forget(&mut self, key: &str) {
        self.sessions.remove(key);
    }

    /// Records a notification about a transcode that no session carries; true when a listing is due
    /// for it. A download sends one every few seconds, so only the first few cause a listing.
    pub fn on_transcode(&mut self, id: &str, now: Instant) -> bool {
        const MAX_LISTINGS: u8 = 3;
        self.transcodes.retain(|_, (_, last)| now < *last + KEEP);
        if !self.transcodes.contains_key(id) && self.transcodes.len() >= MAX_KEYS {
            return false;
        }
        let (listings, last) = self.transcodes.entry(id.into()).or_insert((0, now));
        *last = now;
        let new = *listings < MAX_LISTINGS;
        *listings += u8::from(new);
        new
    }

    /// Forgets the transcodes that sessions carry now.
    pub fn forget_transcodes(&mut self, carried: impl Fn(&str) -> bool) {
        self.transcodes.retain(|id, _| !carried(id));
    }

    /// How urgent a listing is for a session that is not listed yet.
    #[must_use]
    pub fn priority(&self) -> Priority {
        if self.fruitless < MAX_FRUITLESS {
            Priority::High
        } else {
            Priority::Medium
        }
    }

    /// Schedules further listings for sessions that a listing requested at `started` did not show.
    pub fn recheck(&mut self, started: Instant, now: Instant, effects: &mut Effects) {
        self.sessions.retain(|_, session| {
            session
                .items
                .retain(|item| item.stopped.is_none_or(|at| now < at + KEEP_STOPPED));
            !session.items.is_empty() && now < session.last + KEEP
        });
        let priority = self.priority();
        let mut rechecked = false;
        for session in self.sessions.values_mut() {
            if session.items.iter().all(|item| item.stopped.is_some()) {
                continue;
            }
            if session.first >= started {
                effects.request_sessions(now, priority);
            } else if let Some(pause) = RETRIES.get(session.retries) {
                session.retries += 1;
                rechecked = true;
                effects.request_sessions(now + Duration::from_millis(*pause), priority);
            }
        }
        self.fruitless = self.fruitless.saturating_add(u32::from(rechecked));
    }

    /// The number of pending keys.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sessions.len()
    }

    /// The number of transcodes that no listed session has.
    #[must_use]
    pub fn transcodes(&self) -> usize {
        self.transcodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Option<Id> {
        Id::parse(&number.to_string())
    }

    #[test]
    fn items_in_a_row_keep_their_own_times_until_they_are_listed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pending = Pending::default();
        for (item, second) in [(1, 0), (2, 9), (3, 18)] {
            assert!(pending.on_notification("7", id(item), Some(Phase::Playing), at(second)));
        }
        assert!(!pending.on_notification("7", id(3), Some(Phase::Playing), at(19)));
        let found = pending.take("7", id(2), at(10)).unwrap();
        assert_eq!(found.observed.first, at(9));
        assert_eq!(found.superseded, Some(at(18)));
        let found = pending.take("7", id(3), at(20)).unwrap();
        assert_eq!((found.observed.first, found.superseded), (at(18), None));
        assert_eq!(pending.count(), 0);
    }

    #[test]
    fn a_stop_concerns_only_the_item_it_names_and_is_remembered() {
        let now = Instant::now();
        let stopped = now + Duration::from_secs(2);
        let mut pending = Pending::default();
        pending.on_notification("7", id(2), Some(Phase::Playing), now);
        pending.stop("7", id(1), stopped);
        let found = pending.take("7", id(2), now).unwrap();
        assert_eq!(found.stopped, None);
        pending.on_notification("7", id(2), Some(Phase::Playing), now);
        pending.stop("7", None, stopped);
        let mut effects = Effects::default();
        pending.recheck(stopped, stopped, &mut effects);
        assert_eq!(effects.sessions.iter().count(), 0);
        let found = pending.take("7", id(2), now).unwrap();
        assert_eq!(found.stopped, Some(stopped));
        assert_eq!(found.observed.played, Duration::from_secs(2));
    }

    #[test]
    fn another_listed_item_leaves_what_is_pending_pending() {
        let now = Instant::now();
        let mut pending = Pending::default();
        pending.on_notification("7", id(2), Some(Phase::Playing), now);
        assert!(pending.take("7", id(1), now).is_none());
        assert_eq!(pending.count(), 1);
    }

    #[test]
    fn an_unknown_transcode_is_remembered_for_four_minutes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pending = Pending::default();
        for second in 0..3 {
            assert!(pending.on_transcode("t", at(second)));
        }
        assert!(!pending.on_transcode("t", at(230)));
        assert!(!pending.on_transcode("t", at(469)), "named again in time");
        assert!(pending.on_transcode("t", at(469 + 240)));
    }
}

//! Sessions that notifications have pending and no listing has shown yet.
//!
//! The first notification of a session may come before Plex lists it: that is normal, and no reason
//! to mark_lost when it began.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    effects::Effects,
    phase::{Observed, Phase},
    sessions::{DEBOUNCE, SILENT_AFTER},
};
use crate::plex::request::Id;

/// A session that is not listed is looked for again after so long, twice so long, and so on …
const RETRY: Duration = Duration::from_secs(1);
/// … so often; then only the regular fetches can find it.
const RETRIES: u32 = 4;
/// After so long an entry is forgotten.
const KEEP: Duration = Duration::from_mins(4);
/// So many are remembered; a real server has a handful.
const MAX: usize = 256;

#[derive(Debug)]
struct PendingSession {
    first: Instant,
    item: Option<Id>,
    observed: Observed,
    looked_for: u32,
}

/// The pending sessions, by key.
#[derive(Debug, Default)]
pub struct Pending(HashMap<Box<str>, PendingSession>);

impl Pending {
    /// Takes a notification about a session that is not listed; true when it is news, and worth a
    /// fetch.
    pub fn on_notification(
        &mut self,
        key: &str,
        item: Option<Id>,
        phase: Option<Phase>,
        now: Instant,
    ) -> bool {
        let mut news = !self.0.contains_key(key);
        if news && self.0.len() >= MAX {
            return false;
        }
        let entry = self.0.entry(key.into()).or_insert_with(|| PendingSession {
            first: now,
            item,
            observed: Observed::new(now),
            looked_for: 0,
        });
        if entry.item != item {
            // Another item under the same key: what was observed was not about this one.
            entry.item = item;
            entry.observed = Observed::new(now);
            news = true;
        }
        if let Some(phase) = phase {
            entry.observed.on_notification(phase, now);
        }
        news
    }

    /// Whether `item` is pending under `key`.
    #[must_use]
    pub fn contains(&self, key: &str, item: Option<Id>) -> bool {
        self.0.get(key).is_some_and(|entry| entry.item == item)
    }

    /// The session is listed as playing `listed`, in an answer asked for at `started`: what was observed
    /// of it before.
    pub fn take(&mut self, key: &str, listed: Option<Id>, started: Instant) -> Option<Observed> {
        let PendingSession { item, observed, .. } = self.0.remove(key)?;
        // MaybeObject that went silent since tells nothing about what plays under this key now, and neither
        // does one about another item.
        let recent = started < observed.last + 2 * SILENT_AFTER;
        let same = item.is_none() || listed.is_none() || item == listed;
        (recent && same).then_some(observed)
    }

    /// The session is over, or listed as it was pending.
    pub fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Keys begin anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// A listing asked for at `started` has come, and does not have those that are left.
    pub fn recheck(&mut self, started: Instant, now: Instant, effects: &mut Effects) {
        self.0.retain(|_, entry| now < entry.first + KEEP);
        for entry in self.0.values_mut() {
            if entry.first >= started {
                effects.request_sessions(now + DEBOUNCE);
            } else if entry.looked_for < RETRIES {
                entry.looked_for += 1;
                effects.request_sessions(now + RETRY * entry.looked_for);
            }
        }
    }
}

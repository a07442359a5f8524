//! Sessions that notifications have announced and no listing has shown yet.
//!
//! The first notification of a session may come before Plex lists it: that is normal, and no reason
//! to lose when it began.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    effects::Effects,
    phase::{Heard, Phase},
    sessions::{DEBOUNCE, SILENT_AFTER},
};
use crate::plex::request::Id;

/// A session that is not listed is looked for again after so long, twice so long, and so on …
const RETRY: Duration = Duration::from_secs(1);
/// … so often; then only the regular fetches can find it.
const RETRIES: u32 = 4;
/// After so long an announcement is forgotten.
const KEEP: Duration = Duration::from_mins(4);
/// So many are remembered; a real server has a handful.
const MAX: usize = 256;

#[derive(Debug)]
struct Announcement {
    first: Instant,
    item: Option<Id>,
    heard: Heard,
    looked_for: u32,
}

/// The announced sessions, by key.
#[derive(Debug, Default)]
pub struct Announced(HashMap<Box<str>, Announcement>);

impl Announced {
    /// Takes a notification about a session that is not listed; true when it is news, and worth a
    /// fetch.
    pub fn hear(
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
        let announcement = self.0.entry(key.into()).or_insert_with(|| Announcement {
            first: now,
            item,
            heard: Heard::new(now),
            looked_for: 0,
        });
        if announcement.item != item {
            // Another item under the same key: what was heard was not about this one.
            announcement.item = item;
            announcement.heard = Heard::new(now);
            news = true;
        }
        if let Some(phase) = phase {
            announcement.heard.hear(phase, now);
        }
        news
    }

    /// Whether `item` is announced under `key`.
    #[must_use]
    pub fn awaits(&self, key: &str, item: Option<Id>) -> bool {
        self.0
            .get(key)
            .is_some_and(|announcement| announcement.item == item)
    }

    /// The session is listed as playing `listed`, in an answer asked for at `started`: what was heard
    /// of it before.
    pub fn take(&mut self, key: &str, listed: Option<Id>, started: Instant) -> Option<Heard> {
        let Announcement { item, heard, .. } = self.0.remove(key)?;
        // One that went silent since tells nothing about what plays under this key now, and neither
        // does one about another item.
        let recent = started < heard.last + 2 * SILENT_AFTER;
        let same = item.is_none() || listed.is_none() || item == listed;
        (recent && same).then_some(heard)
    }

    /// The session is over, or listed as it was announced.
    pub fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Keys begin anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// A listing asked for at `started` has come, and does not have those that are left.
    pub fn look_again(&mut self, started: Instant, now: Instant, effects: &mut Effects) {
        self.0
            .retain(|_, announcement| now < announcement.first + KEEP);
        for announcement in self.0.values_mut() {
            if announcement.first >= started {
                effects.want_sessions(now + DEBOUNCE);
            } else if announcement.looked_for < RETRIES {
                announcement.looked_for += 1;
                effects.want_sessions(now + RETRY * announcement.looked_for);
            }
        }
    }
}

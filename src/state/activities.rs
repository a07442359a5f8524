//! Plex's background activities: scans, downloads, analysis.

use std::collections::{BTreeMap, HashMap};

use super::sanitize::normalize_token;
use crate::plex::{notification::ActivityChange, wire::Activity};

/// At most this many running activities are kept; a real server has a handful.
pub const MAX_RUNNING: usize = 1_000;

/// The running activities.
#[derive(Debug, Default)]
pub struct Activities {
    running: HashMap<Box<str>, Box<str>>,
    /// Activities beyond the limit.
    pub dropped: u64,
}

impl Activities {
    /// Replaces all activities by those that `/activities` lists.
    pub fn apply_listing(&mut self, activities: &[Activity]) {
        self.running.clear();
        for activity in activities {
            self.begin(activity.uuid.or_empty(), activity.kind.or_empty());
        }
    }

    /// Applies a notification; true when an activity that changes libraries has ended.
    pub fn on_notification(&mut self, change: &ActivityChange) -> bool {
        let activity = change.activity();
        let uuid = change
            .uuid
            .get()
            .or_else(|| activity?.uuid.get())
            .unwrap_or_default();
        let kind = activity.map_or("", |activity| activity.kind.or_empty());
        if change.event.or_empty().trim().eq_ignore_ascii_case("ended") {
            self.running.remove(uuid);
            // Scans and refreshes; not the analysis of existing items.
            ["library.update", "library.refresh"]
                .iter()
                .any(|prefix| kind.starts_with(prefix))
        } else {
            self.begin(uuid, kind);
            false
        }
    }

    fn begin(&mut self, uuid: &str, kind: &str) {
        if uuid.is_empty() {
            return;
        }
        if self.running.len() >= MAX_RUNNING && !self.running.contains_key(uuid) {
            self.dropped += 1;
            return;
        }
        let kind = normalize_token(kind);
        let kind = if kind.is_empty() { "other" } else { &*kind };
        self.running.insert(uuid.into(), kind.into());
    }

    /// Plex is down: activities have ended, or are listed again when it is back.
    pub fn clear(&mut self) {
        self.running.clear();
    }

    /// Whether no activity is running.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// The number of running activities, by type.
    #[must_use]
    pub fn by_type(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for kind in self.running.values() {
            *counts.entry(&**kind).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(event: &str, uuid: &str, kind: &str) -> ActivityChange {
        let text = serde_json::json!({
            "event": event, "uuid": uuid, "Activity": {"uuid": uuid, "type": kind, "progress": -1},
        });
        serde_json::from_str(&text.to_string()).unwrap()
    }

    #[test]
    fn activities_run_until_they_end_or_are_no_longer_listed() {
        let mut activities = Activities::default();
        assert!(!activities.on_notification(&change("started", "a", "library.update.section")));
        activities.on_notification(&change("updated", "b", "media.generate.credits"));
        activities.on_notification(&change("updated", "a", "library.update.section"));
        assert_eq!(activities.by_type().len(), 2);
        assert!(activities.on_notification(&change("ended", "a", "library.update.section")));
        assert!(!activities.on_notification(&change("ended", "z", "media.generate.credits")));
        assert_eq!(
            activities.by_type(),
            BTreeMap::from([("media.generate.credits", 1)])
        );
        activities.apply_listing(&[]);
        assert!(activities.is_idle());
    }
}

//! Plex's background activities: scans, downloads, analysis.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::sanitize::normalize_token;
use crate::plex::{notification::ActivityChange, wire::Activity};

/// At most this many running activities are kept; a real server has a handful.
pub const MAX_RUNNING: usize = 1_000;
/// A request takes at most this long, waiting in its queue included.
const LONGEST_REQUEST: Duration = Duration::from_secs(15);

#[derive(Debug)]
struct Running {
    kind: Box<str>,
    /// When a notification last named it.
    notified: Option<Instant>,
}

/// The running activities.
#[derive(Debug, Default)]
pub struct Activities {
    running: HashMap<Box<str>, Running>,
    /// Activities that ended recently; a list that was requested before that may still contain them.
    ended: VecDeque<(Instant, Box<str>)>,
    /// Activities beyond the limit.
    pub dropped: u64,
}

impl Activities {
    /// Replaces all activities by those of `/activities`, requested at `started`. Notifications that
    /// arrived after that are newer than the list, and stay.
    pub fn apply_listing(&mut self, activities: &[Activity], started: Instant) {
        let newer = |notified: Instant| notified > started;
        self.running
            .retain(|_, running| running.notified.is_some_and(newer));
        for activity in activities {
            let uuid = activity.uuid.or_empty();
            let known = self.running.contains_key(uuid);
            let over = self
                .ended
                .iter()
                .any(|(at, other)| newer(*at) && **other == *uuid);
            if !known && !over {
                self.begin(uuid, activity.kind.or_empty(), None);
            }
        }
    }

    /// Applies a notification; true when an activity that changes libraries has ended.
    pub fn on_notification(&mut self, change: &ActivityChange, now: Instant) -> bool {
        let activity = change.activity();
        let uuid = change
            .uuid
            .get()
            .or_else(|| activity?.uuid.get())
            .unwrap_or_default();
        let kind = activity.map_or("", |activity| activity.kind.or_empty());
        if change.event.or_empty().trim().eq_ignore_ascii_case("ended") {
            self.end(uuid, now);
            // Scans and refreshes; not the analysis of existing items.
            ["library.update", "library.refresh"]
                .iter()
                .any(|prefix| kind.starts_with(prefix))
        } else {
            self.begin(uuid, kind, Some(now));
            false
        }
    }

    fn begin(&mut self, uuid: &str, kind: &str, notified: Option<Instant>) {
        if uuid.is_empty() {
            return;
        }
        if self.running.len() >= MAX_RUNNING && !self.running.contains_key(uuid) {
            self.dropped += 1;
            return;
        }
        let kind = normalize_token(kind);
        let kind = if kind.is_empty() { "other" } else { &*kind }.into();
        self.running.insert(uuid.into(), Running { kind, notified });
    }

    fn end(&mut self, uuid: &str, now: Instant) {
        self.running.remove(uuid);
        let outdated = |(at, _): &(Instant, Box<str>)| *at + LONGEST_REQUEST < now;
        while self.ended.front().is_some_and(outdated) || self.ended.len() >= MAX_RUNNING {
            self.ended.pop_front();
        }
        self.ended.push_back((now, uuid.into()));
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

    /// The numbers of running and of recently ended activities.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        (self.running.len(), self.ended.len())
    }

    /// The number of running activities, by type.
    #[must_use]
    pub fn by_type(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for running in self.running.values() {
            *counts.entry(&*running.kind).or_default() += 1;
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

    fn listed(uuid: &str, kind: &str) -> Activity {
        serde_json::from_value(serde_json::json!({"uuid": uuid, "type": kind})).unwrap()
    }

    #[test]
    fn activities_run_until_they_end_or_are_no_longer_listed() {
        let mut activities = Activities::default();
        let now = Instant::now();
        for (event, uuid, kind, ends_scan) in [
            ("started", "a", "library.update.section", false),
            ("updated", "b", "media.generate.credits", false),
            ("updated", "a", "library.update.section", false),
            ("ended", "a", "library.update.section", true),
            ("ended", "z", "media.generate.credits", false),
        ] {
            let change = change(event, uuid, kind);
            assert_eq!(activities.on_notification(&change, now), ends_scan);
        }
        let running = BTreeMap::from([("media.generate.credits", 1)]);
        assert_eq!(activities.by_type(), running);
        activities.apply_listing(&[], now + Duration::from_secs(1));
        assert!(activities.is_idle());
    }

    #[test]
    fn a_notification_is_newer_than_a_list_that_was_requested_before_it() {
        let mut activities = Activities::default();
        let requested = Instant::now();
        let now = requested + Duration::from_secs(9);
        activities.apply_listing(&[listed("old", "scan"), listed("ends", "scan")], requested);
        activities.on_notification(&change("started", "new", "scan"), now);
        activities.on_notification(&change("ended", "ends", "scan"), now);
        activities.apply_listing(
            &[listed("ends", "scan"), listed("other", "scan")],
            requested,
        );
        let mut running: Vec<_> = activities.running.keys().map(|uuid| &**uuid).collect();
        running.sort_unstable();
        assert_eq!(running, ["new", "other"]);
        activities.apply_listing(&[listed("ends", "scan")], now + Duration::from_secs(1));
        assert_eq!(
            activities.running.keys().collect::<Vec<_>>(),
            [&"ends".into()]
        );
    }

    #[test]
    fn ended_activities_are_remembered_for_as_long_as_a_list_may_contain_them() {
        let start = Instant::now();
        let mut activities = Activities::default();
        let ended = |uuid: &str| change("ended", uuid, "scan");
        activities.on_notification(&ended("a"), start);
        activities.on_notification(&ended("b"), start + LONGEST_REQUEST);
        assert_eq!(activities.kept(), (0, 2));
        activities.on_notification(
            &ended("c"),
            start + LONGEST_REQUEST + Duration::from_secs(1),
        );
        assert_eq!(activities.kept(), (0, 2), "the first is forgotten");
    }

    #[test]
    fn activities_beyond_the_limit_are_dropped_and_counted() {
        let now = Instant::now();
        let mut activities = Activities::default();
        for number in 0..MAX_RUNNING + 7 {
            let uuid = number.to_string();
            activities.on_notification(&change("started", &uuid, ""), now);
            activities.on_notification(&change("ended", &format!("e{number}"), ""), now);
        }
        activities.on_notification(&change("updated", "0", ""), now);
        assert_eq!(activities.kept(), (MAX_RUNNING, MAX_RUNNING));
        assert_eq!(activities.dropped, 7);
        assert_eq!(
            activities.by_type(),
            BTreeMap::from([("other", MAX_RUNNING)])
        );
    }
}

//! The progress of counting a library's items: its steps, and when they are due.

use std::time::{Duration, Instant};

/// A change counts as complete when no further one follows for this long …
pub const QUIET: Duration = Duration::from_secs(2);
/// … but items are counted at least this often during a long scan.
const MAX_WAIT: Duration = Duration::from_secs(15);
/// A library is counted at most this often, however often it changes.
pub const MIN_INTERVAL: Duration = Duration::from_secs(30);
/// Items are counted this often without any notice of change, unless there are too many libraries for
/// that.
pub const RECOUNT: Duration = Duration::from_mins(15);
/// Contents other than the items are counted at most this often.
pub const CONTENTS_INTERVAL: Duration = Duration::from_mins(50);

/// One query of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The `content_type` label of what it counts.
    pub content_type: &'static str,
    /// Plex's metadata type; all of the section's own without one.
    pub metadata_type: Option<u8>,
}

const fn step(content_type: &'static str, metadata_type: Option<u8>) -> Step {
    Step {
        content_type,
        metadata_type,
    }
}

/// The steps for a kind of library. Steps in a row for the same content are alternatives: music is
/// counted by tracks (10); some servers respond only for 7.
fn plan(kind: &str) -> &'static [Step] {
    match kind {
        "movie" => const { &[step("movies", None)] },
        "show" => {
            const {
                &[
                    step("episodes", Some(4)),
                    step("shows", Some(2)),
                    step("seasons", Some(3)),
                ]
            }
        }
        "artist" => {
            const {
                &[
                    step("tracks", Some(10)),
                    step("tracks", Some(7)),
                    step("tracks", None),
                    step("artists", Some(8)),
                    step("albums", Some(9)),
                ]
            }
        }
        "photo" => const { &[step("photos", None)] },
        _ => const { &[step("items", None)] },
    }
}

/// The progress of counting a library.
#[derive(Debug)]
pub struct Count {
    /// What is counted; the items come first.
    pub plan: &'static [Step],
    /// The step of the plan that is due.
    step: usize,
    /// By the timetable.
    pub scheduled: Instant,
    /// After a change, with a permit.
    pub requested: Option<Instant>,
    /// Whether the count was started by a change, so that every step of it takes a permit.
    by_permit: bool,
    /// Queries that the last count of the items took: more than one where alternatives were needed.
    pub item_queries: u32,
    counted: Option<Instant>,
    /// When all contents other than the items were last counted.
    contents_counted: Option<Instant>,
    /// When the change that waits to be counted was first noticed.
    changed: Option<Instant>,
}

impl Count {
    /// The count of a library of this kind, due at `now`.
    #[must_use]
    pub fn new(kind: &str, now: Instant) -> Self {
        Self {
            plan: plan(kind),
            step: 0,
            scheduled: now,
            requested: None,
            by_permit: false,
            item_queries: 1,
            counted: None,
            contents_counted: None,
            changed: None,
        }
    }

    /// The step that is due.
    #[must_use]
    pub fn step(&self) -> Step {
        self.plan[self.step]
    }

    /// Whether it counts the items, rather than other contents.
    #[must_use]
    pub fn is_items(&self) -> bool {
        self.step().content_type == self.plan[0].content_type
    }

    /// Whether the next step is another way to count the same.
    #[must_use]
    pub fn has_alternative(&self) -> bool {
        let next = self.plan.get(self.step + 1);
        next.is_some_and(|next| next.content_type == self.step().content_type)
    }

    /// Schedules a count for a change, once changes stop.
    pub fn request(&mut self, now: Instant) {
        let first = *self.changed.get_or_insert(now);
        let due = (now + QUIET).min(first + MAX_WAIT);
        let earliest = self.counted.map(|counted| counted + MIN_INTERVAL);
        self.requested = Some(earliest.map_or(due, |earliest| due.max(earliest)));
    }

    /// A query was sent, because of a change or by the timetable.
    pub fn started(&mut self, by_permit: bool) {
        self.by_permit = by_permit;
        if by_permit {
            self.requested = None;
        }
    }

    /// Continues with the alternative, immediately.
    pub fn try_alternative(&mut self, now: Instant) {
        self.go_to(self.step + 1, now);
    }

    fn go_to(&mut self, step: usize, now: Instant) {
        self.step = step;
        if self.by_permit {
            self.requested = Some(now);
        } else {
            self.scheduled = now;
        }
    }

    /// The number of queries for contents other than the items.
    #[must_use]
    pub fn contents(&self) -> u32 {
        match self.plan.len() {
            0 | 1 => 0,
            _ => 2,
        }
    }

    /// Completes the step that began at `started`. The next content is due immediately; after the
    /// last one, the items are due at `next`.
    pub fn advance(&mut self, started: Instant, now: Instant, next: Instant) {
        if self.is_items() {
            self.counted = Some(started);
            self.item_queries = u32::try_from(self.step + 1).unwrap_or(1);
        }
        let counts = self.step().content_type;
        let following = self.plan[self.step..]
            .iter()
            .position(|step| step.content_type != counts)
            .map(|skipped| self.step + skipped);
        let wanted = self
            .contents_counted
            .is_none_or(|counted| now >= counted + CONTENTS_INTERVAL);
        if let Some(step) = following.filter(|_| wanted) {
            self.go_to(step, now);
        } else {
            if !self.is_items() {
                self.contents_counted = Some(now);
            }
            self.finish(next);
        }
    }

    /// The count that began at `started` failed.
    pub fn fail(&mut self, started: Instant, next: Instant) {
        self.counted = Some(started);
        self.finish(next);
    }

    /// Ends the count. A change since it began is still to be counted.
    fn finish(&mut self, next: Instant) {
        self.step = 0;
        self.scheduled = next;
        self.by_permit = false;
        self.requested = None;
        let changed = self.changed.zip(self.counted);
        if let Some((_, counted)) = changed.filter(|(changed, counted)| changed > counted) {
            self.requested = Some(counted + MIN_INTERVAL);
        } else {
            self.changed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_during_a_count_is_counted_again_half_a_minute_after_its_start() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (changed, expected) in [(3, None), (5, None), (6, Some(at(5 + 30)))] {
            let mut count = Count::new("movie", start);
            count.request(at(changed));
            count.started(true);
            assert_eq!(count.requested, None);
            count.advance(at(5), at(7), at(900));
            assert_eq!((count.requested, count.scheduled), (expected, at(900)));
        }
    }

    #[test]
    fn a_library_that_keeps_changing_is_counted_after_15_seconds_and_every_30() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut count = Count::new("photo", start);
        for second in 0..40 {
            count.request(at(second));
        }
        assert_eq!(count.requested, Some(at(15)));
        count.started(true);
        count.advance(at(15), at(16), at(900));
        count.request(at(17));
        assert_eq!(count.requested, Some(at(45)));
    }

    #[test]
    fn shows_are_counted_by_episodes_and_an_unknown_kind_by_items() {
        let now = Instant::now();
        for (kind, content, queries) in [
            ("movie", "movies", 0),
            ("show", "episodes", 2),
            ("artist", "tracks", 2),
            ("photo", "photos", 0),
            ("homevideo", "items", 0),
        ] {
            let count = Count::new(kind, now);
            assert_eq!(
                (count.step().content_type, count.contents()),
                (content, queries)
            );
            assert_eq!(count.has_alternative(), kind == "artist");
            assert!(count.is_items());
        }
    }
}

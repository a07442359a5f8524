//! The series of plays: a series *is* its label set.
//!
//! Plays that share every label share the series, which counts them and adds up their seconds.
//! Invariants: no two series have the same labels; while a series exists, its values never fall; it
//! disappears [`KEEP_ENDED`] after the last of its plays ended.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A series stays for this long after the last of its plays ended.
pub const KEEP_ENDED: Duration = Duration::from_mins(1);

/// Names a series while plays refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesId(usize);

/// One series of `plex_plays_total` and `plex_play_seconds_total`.
#[derive(Debug)]
pub struct Series {
    labels: Arc<str>,
    /// Plays that had these labels.
    pub plays: u64,
    /// Time they played.
    pub played: Duration,
    /// Plays that refer to it, live ones and those kept after their end.
    members: usize,
    live: usize,
    last_ended: Option<Instant>,
}

impl Series {
    /// The encoded labels.
    #[must_use]
    pub fn labels(&self) -> &str {
        &self.labels
    }

    fn is_visible(&self, now: Instant) -> bool {
        self.live > 0
            || self
                .last_ended
                .is_some_and(|ended| now < ended + KEEP_ENDED)
    }
}

/// All series, in a stable order.
#[derive(Debug, Default)]
pub struct SeriesTable {
    slots: Vec<Option<Series>>,
    free: Vec<usize>,
    by_labels: HashMap<Arc<str>, usize>,
}

impl SeriesTable {
    /// The series that are shown at `now`.
    pub fn visible(&self, now: Instant) -> impl Iterator<Item = &Series> {
        self.slots
            .iter()
            .flatten()
            .filter(move |series| series.is_visible(now))
    }

    /// How many series there are, shown or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_labels.len()
    }

    /// A live play with these `labels`, which has `played` already, joins its series.
    pub fn join(&mut self, labels: &str, played: Duration) -> SeriesId {
        let id = match self.by_labels.get(labels) {
            Some(id) => *id,
            None => self.insert(labels.into()),
        };
        if let Some(series) = self.slots[id].as_mut() {
            series.plays += 1;
            series.played += played;
            series.members += 1;
            series.live += 1;
        }
        SeriesId(id)
    }

    /// A live play's labels change from those of `id` to `labels`. A series of its own moves with
    /// it; of one that it shares, its past stays behind, because a counter must not fall.
    pub fn relabel(&mut self, id: SeriesId, labels: &str, now: Instant) -> SeriesId {
        let Some(series) = self.slots[id.0].as_ref() else {
            return self.join(labels, Duration::ZERO);
        };
        if &*series.labels == labels {
            return id;
        }
        let played = if series.members == 1 && series.plays == 1 {
            let played = series.played;
            self.remove(id.0);
            played
        } else {
            self.end(id, now);
            self.leave(id);
            Duration::ZERO
        };
        self.join(labels, played)
    }

    /// A play of the series has played for `played` more.
    pub fn add(&mut self, id: SeriesId, played: Duration) {
        if let Some(series) = self.slots[id.0].as_mut() {
            series.played += played;
        }
    }

    /// A live play of the series ended.
    pub fn end(&mut self, id: SeriesId, now: Instant) {
        if let Some(series) = self.slots[id.0].as_mut() {
            series.live = series.live.saturating_sub(1);
            series.last_ended = Some(series.last_ended.map_or(now, |ended| ended.max(now)));
        }
    }

    /// An ended play of the series is live again.
    pub fn resume(&mut self, id: SeriesId) {
        if let Some(series) = self.slots[id.0].as_mut() {
            series.live += 1;
        }
    }

    /// An ended play is forgotten. The series goes with the last one.
    pub fn leave(&mut self, id: SeriesId) {
        if let Some(series) = self.slots[id.0].as_mut() {
            series.members = series.members.saturating_sub(1);
            if series.members == 0 {
                self.remove(id.0);
            }
        }
    }

    fn insert(&mut self, labels: Arc<str>) -> usize {
        let series = Series {
            labels: Arc::clone(&labels),
            plays: 0,
            played: Duration::ZERO,
            members: 0,
            live: 0,
            last_ended: None,
        };
        let id = if let Some(id) = self.free.pop() {
            self.slots[id] = Some(series);
            id
        } else {
            self.slots.push(Some(series));
            self.slots.len() - 1
        };
        self.by_labels.insert(labels, id);
        id
    }

    fn remove(&mut self, id: usize) {
        if let Some(series) = self.slots[id].take() {
            self.by_labels.remove(&series.labels);
            self.free.push(id);
        }
        if self.by_labels.is_empty() {
            // The memory of a crowd goes when the last of it has gone.
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn shown(table: &SeriesTable, now: Instant) -> Vec<(String, u64, u64)> {
        table
            .visible(now)
            .map(|series| {
                (
                    series.labels().to_owned(),
                    series.plays,
                    series.played.as_secs(),
                )
            })
            .collect()
    }

    #[test]
    fn plays_with_the_same_labels_share_a_series_that_adds_up() {
        let now = Instant::now();
        let mut table = SeriesTable::default();
        let first = table.join("a", 6 * SECOND);
        table.end(first, now);
        let second = table.join("a", SECOND);
        assert_eq!(first, second);
        assert_eq!(shown(&table, now), [("a".to_owned(), 2, 7)]);
        // The first is forgotten; the series stays as long as the second does.
        table.leave(first);
        table.add(second, SECOND);
        assert_eq!(
            shown(&table, now + 2 * KEEP_ENDED),
            [("a".to_owned(), 2, 8)]
        );
        table.end(second, now);
        assert_eq!(shown(&table, now + KEEP_ENDED), []);
        table.leave(second);
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn changed_labels_move_a_series_of_one_play_and_split_a_shared_one() {
        let now = Instant::now();
        let mut table = SeriesTable::default();
        let alone = table.join("a", 5 * SECOND);
        let moved = table.relabel(alone, "b", now);
        assert_eq!(shown(&table, now), [("b".to_owned(), 1, 5)]);
        let other = table.join("b", SECOND);
        let split = table.relabel(other, "c", now);
        assert_eq!(
            shown(&table, now),
            [("b".to_owned(), 2, 6), ("c".to_owned(), 1, 0)]
        );
        for id in [moved, split] {
            table.end(id, now);
            table.leave(id);
        }
        assert_eq!(table.count(), 0);
    }
}

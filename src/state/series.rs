//! The series of plays: a series *is* its label set.
//!
//! Plays that share every label share the series, which counts them and adds up their seconds.
//! Invariants: no two visible series have the same labels; while a series is visible, its values
//! never fall; it disappears [`KEEP_ENDED`] after the last of its plays ended.
//!
//! An orphaned play that resumes after that brings its series back as it was, unless another play
//! has begun the series anew in the meantime: then it joins that one, with all that it has played.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// A series stays for this long after the last of its plays ended.
pub const KEEP_ENDED: Duration = Duration::from_mins(1);
/// With more series than this, one whose play changed its labels is removed immediately.
const MAX_LINGERING: usize = 12_000;
/// The same, with more bytes of labels.
const MAX_TEXT: usize = 8_000_000;

/// Identifies a series while plays refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesId(usize);

/// One series of `plex_plays_total` and `plex_play_seconds_total`.
#[derive(Debug)]
pub struct Series {
    labels: Arc<str>,
    plays: u64,
    played: Duration,
    /// Plays that refer to it, live ones and those kept after their end.
    members: usize,
    live: usize,
    last_ended: Option<Instant>,
    /// Its counts moved to another series: it is hidden until a play has its labels again.
    moved: bool,
    /// The values shown before that, below which it never falls.
    floor: (u64, Duration),
}

impl Series {
    /// The encoded labels.
    #[must_use]
    pub fn labels(&self) -> &str {
        &self.labels
    }

    /// Plays that had these labels.
    #[must_use]
    pub fn plays(&self) -> u64 {
        self.plays.max(self.floor.0)
    }

    /// Time they played.
    #[must_use]
    pub fn played(&self) -> Duration {
        self.played.max(self.floor.1)
    }

    /// Whether the last of its plays ended less than [`KEEP_ENDED`] ago.
    fn is_kept(&self, now: Instant) -> bool {
        let ended_lately = |ended| now < ended + KEEP_ENDED;
        self.live > 0 || self.last_ended.is_some_and(ended_lately)
    }

    fn is_visible(&self, now: Instant) -> bool {
        !self.moved && self.is_kept(now)
    }
}

/// All series, in a stable order.
#[derive(Debug, Default)]
pub struct SeriesTable {
    slots: Vec<Option<Series>>,
    free: Vec<usize>,
    /// The newest series with these labels. An older one waits for its orphaned plays.
    by_labels: HashMap<Arc<str>, usize>,
    /// Series whose last play changed its labels, and until when they are kept.
    lingering: VecDeque<(Instant, usize)>,
    /// Bytes of all labels.
    text: usize,
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
        self.slots.len() - self.free.len()
    }

    /// Bytes of all labels.
    #[must_use]
    pub fn text(&self) -> usize {
        self.text
    }

    /// A live play with these `labels`, which has `played` already, joins its series.
    pub fn join(&mut self, labels: &str, played: Duration, now: Instant) -> SeriesId {
        let id = self.kept(labels, now);
        if let Some(series) = self.slots[id].as_mut() {
            series.moved = false;
            series.plays += 1;
            series.played += played;
            series.members += 1;
            series.live += 1;
        }
        SeriesId(id)
    }

    /// A live play's labels change from those of `id` to `labels`.
    ///
    /// Its counts move with it, unless it shares its series: then they stay, because a counter must
    /// not fall. If another live play has the new labels (viewers swapped their session keys), each
    /// continues the other's series. The play is never counted again.
    pub fn relabel(&mut self, id: SeriesId, labels: &str, now: Instant) -> SeriesId {
        let Some(series) = self.slots[id.0].as_ref() else {
            return self.join(labels, Duration::ZERO, now);
        };
        if &*series.labels == labels {
            return id;
        }
        let shared = series.members > 1 || series.plays > 1;
        let (plays, played) = (series.plays, series.played);
        let target = self.kept(labels, now);
        let Some(series) = self.slots[target].as_mut() else {
            return id;
        };
        let moves = !shared && series.live == 0;
        if moves {
            series.plays += plays;
            series.played += played;
        }
        // It is not counted again, but a visible series has at least one play.
        series.plays = series.plays.max(1);
        series.moved = false;
        series.members += 1;
        series.live += 1;
        if let Some(series) = self.slots[id.0].as_mut().filter(|_| moves) {
            // Kept for as long as it would have been visible.
            series.floor = (series.plays(), series.played());
            (series.plays, series.played) = (0, Duration::ZERO);
            series.moved = true;
        }
        self.end(id, now);
        self.linger(id, now);
        SeriesId(target)
    }

    /// A play changed its labels; without another play, the series is removed later.
    fn linger(&mut self, id: SeriesId, now: Instant) {
        if self.count() > MAX_LINGERING || self.text > MAX_TEXT {
            return self.leave(id);
        }
        if let Some(series) = self.slots[id.0].as_mut() {
            series.members = series.members.saturating_sub(1);
            if series.members == 0 {
                self.lingering.push_back((now + KEEP_ENDED, id.0));
            }
        }
    }

    /// Removes the series whose plays changed their labels long enough ago.
    pub fn expire(&mut self, now: Instant) {
        while let Some((until, id)) = self.lingering.front().copied()
            && until <= now
        {
            self.lingering.pop_front();
            let slot = self.slots.get(id).and_then(Option::as_ref);
            if slot.is_some_and(|series| series.members == 0 && !series.is_visible(now)) {
                self.remove(id);
            }
        }
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

    /// An ended play of the series, which has `played`, is live again.
    pub fn resume(&mut self, id: SeriesId, played: Duration, now: Instant) -> SeriesId {
        if let Some(series) = self.slots[id.0].as_mut() {
            if self.by_labels.get(&series.labels) != Some(&id.0) {
                let labels = Arc::clone(&series.labels);
                self.leave(id);
                return self.join(&labels, played, now);
            }
            series.live += 1;
        }
        id
    }

    /// Removes an ended play, and with the last one the series.
    pub fn leave(&mut self, id: SeriesId) {
        if let Some(series) = self.slots[id.0].as_mut() {
            series.members = series.members.saturating_sub(1);
            if series.members == 0 {
                self.remove(id.0);
            }
        }
    }

    /// The series with these labels, unless it has disappeared: then a new one.
    fn kept(&mut self, labels: &str, now: Instant) -> usize {
        let id = self.by_labels.get(labels).copied();
        id.filter(|id| {
            let series = self.slots[*id].as_ref();
            series.is_some_and(|series| series.is_kept(now))
        })
        .unwrap_or_else(|| self.insert(labels.into()))
    }

    fn insert(&mut self, labels: Arc<str>) -> usize {
        self.text += labels.len();
        let series = Series {
            labels: Arc::clone(&labels),
            plays: 0,
            played: Duration::ZERO,
            members: 0,
            live: 0,
            last_ended: None,
            moved: false,
            floor: (0, Duration::ZERO),
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
            self.text -= series.labels.len();
            if self.by_labels.get(&series.labels) == Some(&id) {
                self.by_labels.remove(&series.labels);
            }
            self.free.push(id);
        }
        if self.count() == 0 {
            // Releases the memory of many series once the last one is gone.
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
                    series.plays(),
                    series.played().as_secs(),
                )
            })
            .collect()
    }

    #[test]
    fn plays_with_the_same_labels_share_a_series_that_adds_up() {
        let now = Instant::now();
        let mut table = SeriesTable::default();
        let first = table.join("a", 6 * SECOND, now);
        table.end(first, now);
        let second = table.join("a", SECOND, now);
        assert_eq!(first, second);
        assert_eq!(shown(&table, now), [("a".to_owned(), 2, 7)]);
        // The first one is removed; the series stays as long as the second one.
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
    fn a_series_that_disappeared_begins_anew_unless_its_own_play_resumes() {
        let now = Instant::now();
        let later = now + KEEP_ENDED;
        for (another, expected) in [(false, (1, 8)), (true, (2, 8 + 3))] {
            let mut table = SeriesTable::default();
            let orphaned = table.join("a", 8 * SECOND, now);
            table.end(orphaned, now);
            assert_eq!(shown(&table, later), []);
            let other = another.then(|| table.join("a", 2 * SECOND, later));
            if let Some(other) = other {
                assert_eq!(shown(&table, later), [("a".to_owned(), 1, 2)]);
                table.add(other, SECOND);
                assert_eq!(table.count(), 2);
            }
            let resumed = table.resume(orphaned, 8 * SECOND, later);
            let (plays, seconds) = expected;
            assert_eq!(shown(&table, later), [("a".to_owned(), plays, seconds)]);
            assert_eq!(table.count(), 1);
            for id in other.into_iter().chain([resumed]) {
                table.end(id, later);
                table.leave(id);
            }
            assert_eq!(table.count(), 0);
        }
    }

    #[test]
    fn plays_that_swap_labels_are_not_counted_again_and_nothing_falls() {
        let now = Instant::now();
        let mut table = SeriesTable::default();
        let (one, two) = (
            table.join("1", 8 * SECOND, now),
            table.join("2", 9 * SECOND, now),
        );
        let one = table.relabel(one, "2", now);
        let two = table.relabel(two, "1", now);
        table.add(one, SECOND);
        table.add(two, 2 * SECOND);
        let swapped = [("1".to_owned(), 1, 10), ("2".to_owned(), 1, 10)];
        assert_eq!(shown(&table, now), swapped);
        for id in [one, two] {
            table.end(id, now);
            table.leave(id);
        }
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn labels_that_come_back_soon_do_not_begin_below_what_they_showed() {
        let now = Instant::now();
        let mut table = SeriesTable::default();
        let first = table.join("a", 8 * SECOND, now);
        let first = table.relabel(first, "b", now);
        let second = table.join("c", 2 * SECOND, now);
        let second = table.relabel(second, "a", now);
        let values = [("a".to_owned(), 1, 8), ("b".to_owned(), 1, 8)];
        assert_eq!(shown(&table, now), values);
        // The labels "c" are kept for a minute, but not shown.
        assert_eq!(table.count(), 3);
        table.expire(now + KEEP_ENDED);
        assert_eq!(table.count(), 2);
        for id in [first, second] {
            table.end(id, now);
            table.leave(id);
        }
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn changed_labels_move_a_series_of_one_play_and_split_a_shared_one() {
        let now = Instant::now();
        let mut table = SeriesTable::default();
        let alone = table.join("a", 5 * SECOND, now);
        let moved = table.relabel(alone, "b", now);
        assert_eq!(shown(&table, now), [("b".to_owned(), 1, 5)]);
        let other = table.join("b", SECOND, now);
        let split = table.relabel(other, "c", now);
        assert_eq!(
            shown(&table, now),
            [("b".to_owned(), 2, 6), ("c".to_owned(), 1, 0)]
        );
        for id in [moved, split] {
            table.end(id, now);
            table.leave(id);
        }
        table.expire(now + KEEP_ENDED);
        assert_eq!(table.count(), 0);
    }
}

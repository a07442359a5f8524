//! The libraries: names, sizes, item counts, and when each is to be counted again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    budget::{Purpose, RequestBudget},
    item_count::{CONTENTS_INTERVAL, Count},
    sanitize::normalize_token,
};
use crate::plex::{
    error::PlexError,
    id::Id,
    request::ItemsQuery,
    wire::{Items, Providers},
};

/// At most this many libraries are kept.
pub const MAX_LIBRARIES: usize = 2_000;
/// Item counts are refreshed this often without any notice of change, unless that takes more than
/// [`MAX_COUNTS`].
const RECOUNT: Duration = Duration::from_mins(15);
/// Requests for counts in an hour, however many libraries there are.
const MAX_COUNTS: u32 = 160;
/// A count that failed is retried after this.
const RETRY: Duration = Duration::from_mins(2);

/// One library.
#[derive(Debug)]
pub struct Library {
    /// Its name.
    pub title: Box<str>,
    /// `movie`, `show`, `artist`, `photo`, `homevideo`.
    pub kind: Box<str>,
    /// Milliseconds of everything in it.
    pub duration: Option<f64>,
    /// Bytes of everything in it.
    pub storage: Option<f64>,
    /// When it was last scanned, in seconds since the epoch.
    pub scanned: Option<f64>,
    /// Whether it is being scanned.
    pub refreshing: Option<bool>,
    /// How many items.
    pub items: Option<f64>,
    /// When the newest item was added, in seconds since the epoch.
    pub newest: Option<f64>,
    /// What else is counted: shows, seasons, artists, albums.
    pub contents: BTreeMap<&'static str, f64>,
    count: Count,
}

impl Library {
    /// The `content_type` label of the items.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        self.count.plan[0].content_type
    }
}

/// All libraries.
#[derive(Debug)]
pub struct Libraries {
    by_id: BTreeMap<Id, Library>,
    /// The pause between regular counts of a library.
    recount: Duration,
    /// Requests that these take in an hour.
    counts_per_hour: u32,
    /// Libraries beyond the limit.
    pub dropped: u64,
}

impl Default for Libraries {
    /// None is known yet.
    fn default() -> Self {
        Self {
            by_id: BTreeMap::new(),
            recount: RECOUNT,
            counts_per_hour: 0,
            dropped: 0,
        }
    }
}

impl Libraries {
    /// The libraries, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Id, &Library)> {
        self.by_id.iter().map(|(id, library)| (*id, library))
    }

    /// One library.
    #[must_use]
    pub fn get(&self, id: Id) -> Option<&Library> {
        self.by_id.get(&id)
    }

    /// Applies the list of providers; true when names or kinds changed, so that labels must.
    pub fn apply_listing(&mut self, providers: &Providers, now: Instant) -> bool {
        let Some(listed) = providers.libraries() else {
            return false;
        };
        let content = providers.content();
        self.dropped += content.map_or(0, |content| content.directories.dropped());
        let mut changed = false;
        let mut before = std::mem::take(&mut self.by_id);
        for (id, directory) in listed {
            if self.by_id.contains_key(&id) {
                // Listed twice: the first counts.
                continue;
            }
            if self.by_id.len() >= MAX_LIBRARIES {
                self.dropped += 1;
                continue;
            }
            let title: Box<str> = directory.title.or_empty().into();
            let kind: Box<str> = normalize_token(directory.kind.or_empty()).into();
            let old = before.remove(&id).filter(|old| old.kind == kind);
            changed |= old.is_none();
            let (duration, storage) = (
                directory.duration_total.non_negative(),
                directory.storage_total.non_negative(),
            );
            let mut library = old.unwrap_or_else(|| Library::new(kind, now));
            if library.title != title {
                library.title = title;
                changed = true;
            }
            if library.counted_before()
                && (library.duration, library.storage) != (duration, storage)
            {
                library.count.request(now);
            }
            library.duration = duration;
            library.storage = storage;
            library.scanned = directory.scanned_at.non_negative().filter(|at| *at > 0.0);
            library.refreshing = directory.refreshing.get();
            self.by_id.insert(id, library);
        }
        self.plan_counts();
        changed || !before.is_empty()
    }

    /// Requests for counts on the timetable of an hour.
    #[must_use]
    pub fn counts_per_hour(&self) -> u32 {
        self.counts_per_hour
    }

    /// Spreads the regular counts of many libraries, so that the load on Plex stays bounded.
    fn plan_counts(&mut self) {
        let counts = self.by_id.values().map(|library| &library.count);
        // What is beside the items is counted once an hour at most.
        let (items, contents) = counts.fold((0, 0), |(items, contents), count| {
            (items + count.item_queries, contents + count.contents())
        });
        let quick = 4 * items + contents * 6 / 5;
        let pause = RECOUNT * quick / MAX_COUNTS;
        self.recount = if pause < CONTENTS_INTERVAL {
            pause.max(RECOUNT)
        } else {
            Duration::from_hours(1) * (items + contents) / MAX_COUNTS
        };
        self.counts_per_hour = quick.min(MAX_COUNTS);
    }

    /// When a library that has just been counted is counted again. Where there are very many, they are
    /// spread, so that they do not all come in the same hour.
    fn next_count(&self, id: Id) -> Duration {
        let first = self
            .by_id
            .get(&id)
            .is_some_and(|library| library.items.is_none());
        if self.recount == RECOUNT || !first {
            return self.recount;
        }
        let position = u32::try_from(self.by_id.range(..=id).count()).unwrap_or(u32::MAX);
        let count = u32::try_from(self.by_id.len()).unwrap_or(u32::MAX);
        self.recount * position / count
    }

    /// Plex says that a library changed.
    pub fn changed(&mut self, id: Id, now: Instant) {
        if let Some(library) = self.by_id.get_mut(&id) {
            library.count.request(now);
        }
    }

    /// Plex says that some library with items of this metadata type changed, and not which.
    pub fn some_changed(&mut self, metadata_type: Option<u64>, now: Instant) {
        let kind = match metadata_type {
            Some(1) => "movie",
            Some(2..=4) => "show",
            Some(8..=10) => "artist",
            Some(13 | 14) => "photo",
            _ => return,
        };
        for library in self.by_id.values_mut() {
            if &*library.kind == kind {
                library.count.request(now);
            }
        }
    }

    /// The count that is most overdue at `now`; one after a change takes a permit.
    pub fn start_count(&mut self, now: Instant, budget: &mut RequestBudget) -> Option<ItemsQuery> {
        let scheduled = self
            .by_id
            .iter_mut()
            .filter(|(_, library)| library.count.scheduled <= now)
            .min_by_key(|(_, library)| library.count.scheduled);
        let by_permit = scheduled.is_none();
        let (id, library) = match scheduled {
            Some(library) => library,
            None => self
                .by_id
                .iter_mut()
                .filter(|(_, library)| library.count.requested.is_some_and(|due| due <= now))
                .min_by_key(|(_, library)| library.count.requested)
                .filter(|_| budget.take(Purpose::Upkeep, now))?,
        };
        library.count.started(by_permit);
        Some(ItemsQuery {
            library: *id,
            metadata_type: library.count.step().metadata_type,
        })
    }

    /// When the next count can start.
    #[must_use]
    pub fn next_due(&self, budget: &RequestBudget) -> Option<Instant> {
        let permit = budget.next_permit(Purpose::Upkeep);
        self.by_id
            .values()
            .map(|library| {
                let requested = library.count.requested;
                let requested = requested.map(|due| permit.map_or(due, |permit| due.max(permit)));
                requested.map_or(library.count.scheduled, |due| {
                    due.min(library.count.scheduled)
                })
            })
            .min()
    }

    /// Applies the response to `query`. Returns how the count of the items went, once that is
    /// decided; one that fails keeps its last value.
    pub fn apply_count<'a>(
        &mut self,
        query: ItemsQuery,
        result: Result<&Items, &'a PlexError>,
        started: Instant,
        now: Instant,
    ) -> Option<Result<(), &'a PlexError>> {
        let next = now + self.next_count(query.library);
        let library = self.by_id.get_mut(&query.library)?;
        let step = library.count.step();
        let count = result.map(|items| {
            let size = items.size.non_negative().unwrap_or(0.0);
            items.total_size.non_negative().unwrap_or(size)
        });
        let retry_differently = match count {
            Ok(count) => count == 0.0,
            Err(error) => is_about_the_query(error),
        };
        if retry_differently && library.count.has_alternative() {
            library.count.try_alternative(now);
            return None;
        }
        let is_items = library.count.is_items();
        let outcome = match count {
            Ok(count) if is_items => {
                library.items = Some(count);
                let newest = result
                    .ok()
                    .and_then(|items| items.newest.as_slice().first());
                library.newest = newest.and_then(|newest| newest.added_at.non_negative());
                Ok(())
            }
            Ok(count) => {
                library.contents.insert(step.content_type, count);
                Ok(())
            }
            Err(error) => Err(error),
        };
        if is_items && outcome.is_err() {
            library.count.fail(started, now + RETRY);
        } else {
            library.count.advance(started, now, next);
        }
        is_items.then_some(outcome)
    }
}

impl Library {
    fn new(kind: Box<str>, now: Instant) -> Self {
        Self {
            title: Box::default(),
            duration: None,
            storage: None,
            scanned: None,
            refreshing: None,
            items: None,
            newest: None,
            contents: BTreeMap::new(),
            count: Count::new(&kind, now),
            kind,
        }
    }

    fn counted_before(&self) -> bool {
        self.items.is_some()
    }
}

/// Whether another query may fare better, rather than nothing getting through just now.
fn is_about_the_query(error: &PlexError) -> bool {
    !error.is_unreachable() && !matches!(error, PlexError::Unauthorized | PlexError::Forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::item_count::{MIN_INTERVAL, QUIET};

    fn providers(directories: &str) -> Providers {
        serde_json::from_str(&format!(
            r#"{{"MediaProvider":[{{"identifier":"com.plexapp.plugins.library","Feature":[
                {{"type":"content","Directory":[{{"title":"Home"}},{directories}]}},{{"type":"search"}}]}},
                {{"identifier":"tv.plex.providers.epg.cloud:12","Feature":[{{"type":"content","Directory":[
                {{"id":"9","type":"movie","title":"Live"}}]}}]}}]}}"#
        ))
        .unwrap()
    }

    fn items(json: &str) -> Items {
        serde_json::from_str(json).unwrap()
    }

    fn only(libraries: &Libraries) -> &Library {
        libraries.iter().next().unwrap().1
    }

    #[test]
    fn only_libraries_of_the_local_provider_count() {
        let mut libraries = Libraries::default();
        let now = Instant::now();
        assert!(libraries.apply_listing(
            &providers(
                r#"{"id":"1","type":"movie","title":"Films","storageTotal":"5"},
                   {"id":"playlists","type":"playlist"},{"id":2,"type":"homevideo","title":"Us"}"#
            ),
            now
        ));
        let titles: Vec<_> = libraries
            .iter()
            .map(|(_, library)| &*library.title)
            .collect();
        assert_eq!(titles, ["Films", "Us"]);
        assert_eq!(only(&libraries).storage, Some(5.0));
        assert_eq!(only(&libraries).duration, None);
        // MaybeObject deleted, one renamed.
        assert!(libraries.apply_listing(
            &providers(r#"{"id":"1","type":"movie","title":"Movies"}"#),
            now
        ));
        assert_eq!(&*only(&libraries).title, "Movies");
        assert!(!libraries.apply_listing(
            &providers(r#"{"id":"1","type":"movie","title":"Movies"}"#),
            now
        ));
    }

    #[test]
    fn an_answer_that_does_not_tell_deletes_nothing() {
        let mut libraries = Libraries::default();
        let now = Instant::now();
        libraries.apply_listing(
            &providers(r#"{"id":"1","type":"movie","title":"Films"}"#),
            now,
        );
        for json in [
            r#"{"startState":"startingPlugins"}"#,
            r#"{"startState":"startingPlugins","MediaProvider":[{"identifier":"com.plexapp.plugins.library","Feature":[{"type":"content"}]}]}"#,
        ] {
            libraries.apply_listing(&serde_json::from_str(json).unwrap(), now);
            assert_eq!(libraries.iter().len(), 1, "{json}");
        }
        libraries.apply_listing(&providers(r#"{"id":"x"}"#), now);
        assert_eq!(libraries.iter().len(), 0);
    }

    /// Answers every query by `answer` until the count is settled; returns the queries.
    fn count(
        libraries: &mut Libraries,
        now: Instant,
        answer: impl Fn(ItemsQuery) -> Result<Items, PlexError>,
    ) -> Vec<Option<u8>> {
        let mut asked = Vec::new();
        while let Some(query) = libraries.start_count(now, &mut RequestBudget::new(now)) {
            asked.push(query.metadata_type);
            libraries.apply_count(query, answer(query).as_ref(), now, now);
        }
        asked
    }

    #[test]
    fn music_falls_back_from_tracks_to_the_plain_count() {
        let now = Instant::now();
        let mut libraries = Libraries::default();
        libraries.apply_listing(
            &providers(r#"{"id":"3","type":"artist","title":"Music"}"#),
            now,
        );
        let asked = count(&mut libraries, now, |query| match query.metadata_type {
            Some(10) => Err(PlexError::Status(500)),
            Some(7) => Ok(items(r#"{"size":0,"totalSize":0}"#)),
            _ => Ok(items(r#"{"size":0,"totalSize":42}"#)),
        });
        assert_eq!(asked, [Some(10), Some(7), None, Some(8), Some(9)]);
        assert_eq!(only(&libraries).items, Some(42.0));
        assert_eq!(only(&libraries).content_type(), "tracks");
    }

    #[test]
    fn a_show_library_counts_episodes_shows_and_seasons_and_the_last_two_less_often() {
        let now = Instant::now();
        let mut libraries = Libraries::default();
        libraries.apply_listing(&providers(r#"{"id":"2","type":"show","title":"TV"}"#), now);
        let answer = |query: ItemsQuery| {
            let total = u64::from(query.metadata_type.unwrap_or(0)) * 10;
            Ok(items(&format!(
                r#"{{"size":1,"totalSize":{total},"Metadata":[{{"addedAt":1700000000}}]}}"#
            )))
        };
        assert_eq!(
            count(&mut libraries, now, answer),
            [Some(4), Some(2), Some(3)]
        );
        let library = only(&libraries);
        assert_eq!((library.items, library.newest), (Some(40.0), Some(1.7e9)));
        assert_eq!(
            library.contents,
            BTreeMap::from([("seasons", 30.0), ("shows", 20.0)])
        );
        assert_eq!(count(&mut libraries, now + RECOUNT, answer), [Some(4)]);
        let later = now + Duration::from_hours(1);
        assert_eq!(count(&mut libraries, later, answer).len(), 3);
    }

    #[test]
    fn zero_is_a_value_and_a_failure_keeps_the_last_one() {
        let now = Instant::now();
        let mut libraries = Libraries::default();
        libraries.apply_listing(
            &providers(r#"{"id":"1","type":"movie","title":"Films"}"#),
            now,
        );
        count(&mut libraries, now, |_| {
            Ok(items(r#"{"size":0,"totalSize":0}"#))
        });
        assert_eq!(only(&libraries).items, Some(0.0));
        let later = now + RECOUNT;
        let asked = count(&mut libraries, later, |_| Err(PlexError::Timeout));
        assert_eq!(asked.len(), 1);
        assert_eq!(only(&libraries).items, Some(0.0));
        assert_eq!(
            libraries.next_due(&RequestBudget::new(later)),
            Some(later + RETRY)
        );
    }

    #[test]
    fn a_burst_of_changes_is_counted_once_and_soon() {
        let now = Instant::now();
        let mut libraries = Libraries::default();
        libraries.apply_listing(
            &providers(r#"{"id":"1","type":"movie","title":"Films"}"#),
            now,
        );
        count(&mut libraries, now, |_| Ok(items(r#"{"totalSize":1}"#)));
        let mut at = now + MIN_INTERVAL;
        for _ in 0..100 {
            at += Duration::from_millis(10);
            libraries.some_changed(Some(1), at);
        }
        assert_eq!(
            libraries.next_due(&RequestBudget::new(now)),
            Some(at + QUIET)
        );
        // A scan that never rests is counted in between.
        for _ in 0..200 {
            at += Duration::from_millis(500);
            libraries.changed(Id::parse("1").unwrap(), at);
        }
        assert!(libraries.next_due(&RequestBudget::new(now)).unwrap() <= at);
    }
}

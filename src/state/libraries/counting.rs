//! When which library is counted, and what the counts change.

use std::time::{Duration, Instant};

use super::Libraries;
use crate::{
    plex::{error::PlexError, id::Id, request::ItemsQuery, wire::Items},
    state::{
        budget::{Priority, Purpose, RequestBudget},
        item_count::{CONTENTS_INTERVAL, RECOUNT},
    },
};

/// Requests for counts in an hour, however many libraries there are.
const MAX_COUNTS: u32 = 160;
/// A count that failed is retried after this.
const RETRY: Duration = Duration::from_mins(2);

impl Libraries {
    /// Requests for regular counts in an hour.
    #[must_use]
    pub fn counts_per_hour(&self) -> u32 {
        self.counts_per_hour
    }

    /// Spreads the regular counts of many libraries, so that the load on Plex stays bounded.
    pub(super) fn plan_counts(&mut self) {
        let counts = self.by_id.values().map(|library| &library.count);
        // Other contents are counted at most once an hour.
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

    /// How long after a count the library is counted again. With very many libraries, first counts
    /// are spread, so that they do not recur all in the same hour.
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

    /// Starts the count that is most overdue at `now`; one that a change caused takes a permit.
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
                .filter(|_| budget.take(Purpose::Upkeep, Priority::Medium, now))?,
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
        let permit = budget.next_permit(Purpose::Upkeep, Priority::Medium);
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

    /// Applies the response to `query`. Returns the outcome of counting the items once it is known;
    /// after a failure the last value is kept. The first 404 in a row is not a failure yet: the
    /// library was probably removed, which the next list of libraries shows.
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
        // The client rejects a response without a count.
        let count = result.map(|items| items.count().unwrap_or(0.0));
        let retry_differently = match count {
            Ok(count) => count == 0.0,
            // Another query could succeed.
            Err(error) => !error.is_unreachable(),
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
        let missing = matches!(outcome, Err(PlexError::NotFound));
        let missed_before = std::mem::replace(&mut library.missing, missing);
        (is_items && (missed_before || !missing)).then_some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::state::{
        item_count::{MIN_INTERVAL, QUIET},
        libraries::tests::{only, providers},
    };

    fn items(json: &str) -> Items {
        serde_json::from_str(json).unwrap()
    }

    /// Responds to every query with `respond` until the count is complete; returns the queries.
    fn count(
        libraries: &mut Libraries,
        now: Instant,
        respond: impl Fn(ItemsQuery) -> Result<Items, PlexError>,
    ) -> Vec<Option<u8>> {
        let mut queries = Vec::new();
        while let Some(query) = libraries.start_count(now, &mut RequestBudget::new(now)) {
            queries.push(query.metadata_type);
            libraries.apply_count(query, respond(query).as_ref(), now, now);
        }
        queries
    }

    #[test]
    fn music_falls_back_from_tracks_to_the_plain_count() {
        let now = Instant::now();
        let mut libraries = Libraries::default();
        libraries.apply_listing(
            &providers(r#"{"id":"3","type":"artist","title":"Music"}"#),
            now,
        );
        let queries = count(&mut libraries, now, |query| match query.metadata_type {
            Some(10) => Err(PlexError::Status(500)),
            Some(7) => Ok(items(r#"{"size":0,"totalSize":0}"#)),
            _ => Ok(items(r#"{"size":0,"totalSize":42}"#)),
        });
        assert_eq!(queries, [Some(10), Some(7), None, Some(8), Some(9)]);
        assert_eq!(only(&libraries).items, Some(42.0));
        assert_eq!(only(&libraries).content_type(), "tracks");
    }

    #[test]
    fn a_show_library_counts_episodes_shows_and_seasons_and_the_last_two_less_often() {
        let now = Instant::now();
        let mut libraries = Libraries::default();
        libraries.apply_listing(&providers(r#"{"id":"2","type":"show","title":"TV"}"#), now);
        let respond = |query: ItemsQuery| {
            let total = u64::from(query.metadata_type.unwrap_or(0)) * 10;
            Ok(items(&format!(
                r#"{{"size":1,"totalSize":{total},"Metadata":[{{"addedAt":1700000000}}]}}"#
            )))
        };
        assert_eq!(
            count(&mut libraries, now, respond),
            [Some(4), Some(2), Some(3)]
        );
        let library = only(&libraries);
        assert_eq!((library.items, library.newest), (Some(40.0), Some(1.7e9)));
        assert_eq!(
            library.contents,
            BTreeMap::from([("seasons", 30.0), ("shows", 20.0)])
        );
        assert_eq!(count(&mut libraries, now + RECOUNT, respond), [Some(4)]);
        let later = now + Duration::from_hours(1);
        assert_eq!(count(&mut libraries, later, respond).len(), 3);
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
        let queries = count(&mut libraries, later, |_| Err(PlexError::Timeout));
        assert_eq!(queries.len(), 1);
        assert_eq!(only(&libraries).items, Some(0.0));
        assert_eq!(
            libraries.next_due(&RequestBudget::new(later)),
            Some(later + RETRY)
        );
    }

    #[test]
    fn a_library_that_is_gone_is_no_failure_unless_it_stays_in_the_list() {
        let now = Instant::now();
        let mut libraries = Libraries::default();
        let list = providers(r#"{"id":"1","type":"movie","title":"Films"}"#);
        libraries.apply_listing(&list, now);
        let mut outcome = |error: PlexError, seconds| {
            let now = now + Duration::from_secs(seconds);
            let query = libraries
                .start_count(now, &mut RequestBudget::new(now))
                .unwrap();
            let outcome = libraries.apply_count(query, Err(&error), now, now);
            outcome.map(|outcome| outcome.unwrap_err().reason())
        };
        assert_eq!(outcome(PlexError::NotFound, 0), None);
        assert_eq!(outcome(PlexError::NotFound, 1_000), Some("not_found"));
        assert_eq!(outcome(PlexError::Timeout, 2_000), Some("timeout"));
        assert_eq!(outcome(PlexError::NotFound, 3_000), None);
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
        // A long scan is counted in between.
        for _ in 0..200 {
            at += Duration::from_millis(500);
            libraries.changed(Id::parse("1").unwrap(), at);
        }
        assert!(libraries.next_due(&RequestBudget::new(now)).unwrap() <= at);
    }

    #[test]
    fn regular_counts_of_many_libraries_are_spread_over_a_longer_time() {
        let now = Instant::now();
        let hour = Duration::from_hours(1);
        for (libraries, kind, per_hour, recount) in [
            (10, "movie", 40, RECOUNT),
            // Four counts of episodes an hour, and little more than one of shows and of seasons.
            (10, "show", 40 + 24, RECOUNT),
            (80, "movie", MAX_COUNTS, 2 * RECOUNT),
            (400, "movie", MAX_COUNTS, hour * 400 / MAX_COUNTS),
        ] {
            let directories: Vec<String> = (1..=libraries)
                .map(|id| format!(r#"{{"id":"{id}","type":"{kind}","title":"{id}"}}"#))
                .collect();
            let mut table = Libraries::default();
            table.apply_listing(&providers(&directories.join(",")), now);
            let planned = (table.counts_per_hour(), table.recount);
            assert_eq!(planned, (per_hour, recount), "{libraries} {kind}");
        }
    }

    #[test]
    fn music_falls_back_whatever_fails_unless_plex_is_unreachable() {
        let now = Instant::now();
        for (error, queries) in [
            ((|| PlexError::Timeout) as fn() -> PlexError, 3),
            (|| PlexError::Status(503), 3),
            (|| PlexError::Connect("refused".into()), 1),
            (|| PlexError::Forbidden, 3),
        ] {
            let mut libraries = Libraries::default();
            let music = r#"{"id":"3","type":"artist","title":"Music"}"#;
            libraries.apply_listing(&providers(music), now);
            let sent = count(&mut libraries, now, |_| Err(error()));
            assert_eq!(sent.len(), queries, "{}", error());
        }
    }
}

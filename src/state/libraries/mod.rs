//! The libraries: names, sizes and item counts.

mod counting;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    item_count::{Count, RECOUNT},
    sanitize::normalize_token,
};
use crate::plex::{id::Id, wire::Providers};

/// At most this many libraries are kept.
pub const MAX_LIBRARIES: usize = 2_000;
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
    /// When it last changed, in seconds since the epoch.
    updated: Option<f64>,
    /// Whether it is being scanned.
    pub refreshing: Option<bool>,
    /// The number of items.
    pub items: Option<f64>,
    /// When the newest item was added, in seconds since the epoch.
    pub newest: Option<f64>,
    /// What else is counted: shows, seasons, artists, albums.
    pub contents: BTreeMap<&'static str, f64>,
    count: Count,
    /// The last count was answered with 404: the library was probably removed.
    missing: bool,
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
    /// Requests for regular counts in an hour.
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

    /// Applies a response of `/media/providers`; true when labels changed, that is, names or kinds.
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
                // A duplicate: the first entry wins.
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
            let mut library = old.unwrap_or_else(|| Library::new(kind, now));
            if library.title != title {
                library.title = title;
                changed = true;
            }
            let signs = library.signs_of_change();
            library.duration = directory.duration_total.non_negative();
            library.storage = directory.storage_total.non_negative();
            library.scanned = directory.scanned_at.non_negative().filter(|at| *at > 0.0);
            library.updated = directory.updated_at.non_negative();
            if library.counted_before() && library.signs_of_change() != signs {
                library.count.request(now);
            }
            library.refreshing = directory.refreshing.get();
            self.by_id.insert(id, library);
        }
        self.plan_counts();
        changed || !before.is_empty()
    }

    /// A library changed: its items are counted again.
    pub fn changed(&mut self, id: Id, now: Instant) {
        if let Some(library) = self.by_id.get_mut(&id) {
            library.count.request(now);
        }
    }

    /// An unnamed library changed, with items of this metadata type. Where the type says nothing, the
    /// list of libraries shows which have changed, but for those of which it has no signs.
    pub fn some_changed(&mut self, metadata_type: Option<u64>, now: Instant) {
        let kind = match metadata_type {
            Some(1) => Some("movie"),
            Some(2..=4) => Some("show"),
            Some(8..=10) => Some("artist"),
            Some(13 | 14) => Some("photo"),
            _ => None,
        };
        for library in self.by_id.values_mut() {
            if kind.map_or(library.has_no_signs_of_change(), |kind| {
                &*library.kind == kind
            }) {
                library.count.request(now);
            }
        }
    }
}

impl Library {
    fn new(kind: Box<str>, now: Instant) -> Self {
        Self {
            title: Box::default(),
            duration: None,
            storage: None,
            scanned: None,
            updated: None,
            refreshing: None,
            items: None,
            newest: None,
            contents: BTreeMap::new(),
            count: Count::new(&kind, now),
            missing: false,
            kind,
        }
    }

    /// What differs in the list of libraries when items have changed.
    fn signs_of_change(&self) -> [Option<f64>; 4] {
        [self.duration, self.storage, self.scanned, self.updated]
    }

    fn has_no_signs_of_change(&self) -> bool {
        self.signs_of_change().iter().all(Option::is_none)
    }

    fn counted_before(&self) -> bool {
        self.items.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn providers(directories: &str) -> Providers {
        serde_json::from_str(&format!(
            r#"{{"MediaProvider":[{{"identifier":"com.plexapp.plugins.library","Feature":[
                {{"type":"content","Directory":[{{"title":"Home"}},{directories}]}},{{"type":"search"}}]}},
                {{"identifier":"tv.plex.providers.epg.cloud:12","Feature":[{{"type":"content","Directory":[
                {{"id":"9","type":"movie","title":"Live"}}]}}]}}]}}"#
        ))
        .unwrap()
    }

    pub(super) fn only(libraries: &Libraries) -> &Library {
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
        // One library deleted, one renamed.
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
    fn the_response_of_a_starting_server_deletes_nothing() {
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

    #[test]
    fn duplicates_and_libraries_beyond_the_limit_are_left_out() {
        let now = Instant::now();
        let mut libraries = Libraries::default();
        let directories: Vec<String> = (0..MAX_LIBRARIES + 3)
            .map(|id| format!(r#"{{"id":"{id}","type":"movie","title":"{id}"}}"#))
            .chain([r#"{"id":"0","type":"show","title":"again"}"#.to_owned()])
            .collect();
        libraries.apply_listing(&providers(&directories.join(",")), now);
        assert_eq!(libraries.iter().len(), MAX_LIBRARIES);
        assert_eq!(libraries.dropped, 3);
        assert_eq!(&*only(&libraries).title, "0");
    }

    #[test]
    fn a_change_without_a_library_counts_those_that_show_it_and_those_that_cannot() {
        let start = Instant::now();
        let later = start + RECOUNT / 2;
        let list = |signs: &str| {
            providers(&format!(
                r#"{{"id":"1","type":"movie","title":"A",{signs}}},
                   {{"id":"2","type":"movie","title":"B"}},
                   {{"id":"3","type":"movie","title":"C","storageTotal":5,"scannedAt":1}}"#
            ))
        };
        let first = r#""durationTotal":1,"storageTotal":2,"scannedAt":3,"updatedAt":4"#;
        for (signs, expected) in [
            (first, vec![2]),
            (&*first.replace(":1", ":9"), vec![1, 2]),
            (&*first.replace(":2", ":9"), vec![1, 2]),
            (&*first.replace(":3", ":9"), vec![1, 2]),
            (&*first.replace(":4", ":9"), vec![1, 2]),
        ] {
            let mut libraries = Libraries::default();
            libraries.apply_listing(&list(first), start);
            for library in libraries.by_id.values_mut() {
                library.items = Some(1.0);
            }
            libraries.some_changed(None, later);
            libraries.apply_listing(&list(signs), later);
            let counted = libraries
                .iter()
                .filter(|(_, l)| l.count.requested.is_some());
            let counted: Vec<_> = counted.map(|(id, _)| id.to_string()).collect();
            let expected: Vec<_> = expected.iter().map(i32::to_string).collect();
            assert_eq!(counted, expected, "{signs}");
        }
    }

    #[test]
    fn a_library_that_was_never_scanned_has_no_time_of_its_scan() {
        let mut libraries = Libraries::default();
        for (scanned, expected) in [("0", None), ("17", Some(17.0))] {
            let directory =
                format!(r#"{{"id":"1","type":"movie","title":"A","scannedAt":{scanned}}}"#);
            libraries.apply_listing(&providers(&directory), Instant::now());
            assert_eq!(only(&libraries).scanned, expected);
        }
    }
}

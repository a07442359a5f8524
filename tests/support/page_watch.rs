//! Checks invariants over successive pages of an exporter: no two samples share name and labels,
//! every value is finite, and counters never fall.

use std::collections::BTreeMap;

/// Series of plays: they are removed some time after the play, and may start again at 0.
const PLAY_COUNTERS: [&str; 2] = ["plex_plays_total", "plex_play_seconds_total"];

/// The counters of the pages so far. (No hash maps: hashing takes more time than all the rest of a
/// fuzzed or simulated day.)
#[derive(Debug, Default)]
pub struct PageWatch {
    /// The largest value of every counter series, by name and labels.
    counters: BTreeMap<String, f64>,
    /// Play counters of the last page.
    plays: BTreeMap<String, f64>,
}

/// A sample's name with its labels, and its value.
fn split(line: &str) -> (&str, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value: f64 = value
        .parse()
        .unwrap_or_else(|_| panic!("no number: {line}"));
    (series, value)
}

impl PageWatch {
    /// Reads the next page. `restarted` decides whether a play series (name and labels) may have
    /// been removed and begun again since the last page.
    ///
    /// # Panics
    /// When the page breaks one of the rules.
    pub fn read(&mut self, page: &str, restarted: impl Fn(&str) -> bool) {
        let mut seen = Vec::new();
        let mut plays = BTreeMap::new();
        let (mut counter, mut of_plays) = (false, false);
        for line in page.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                counter = family.ends_with(" counter") || family.ends_with(" histogram");
                of_plays = PLAY_COUNTERS.iter().any(|name| {
                    family
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with(' '))
                });
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            let (series, value) = split(line);
            assert!(value.is_finite(), "not finite: {line}");
            seen.push(series);
            if !counter {
                continue;
            }
            let before = if of_plays {
                &self.plays
            } else {
                &self.counters
            }
            .get(series)
            .copied();
            assert!(
                before.is_none_or(|before| value >= before || (of_plays && restarted(series))),
                "a counter fell from {before:?}: {line}"
            );
            if of_plays {
                plays.insert(series.to_owned(), value);
            } else if before.is_none() {
                self.counters.insert(series.to_owned(), value);
            } else if let Some(last) = self.counters.get_mut(series) {
                *last = value;
            }
        }
        self.plays = plays;
        seen.sort_unstable();
        let twice = seen.windows(2).find(|two| two[0] == two[1]);
        assert!(
            twice.is_none(),
            "two samples with the same labels: {twice:?}"
        );
    }
}

//! Host load and bytes sent: what Plex Pass servers keep of the last two minutes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    clock::Timestamp,
    plex::wire::{BandwidthRow, ResourceSample},
};

/// Series vanish when Plex has not supplied them for so long, rather than freeze.
const STALE_AFTER: Duration = Duration::from_mins(1);

/// A value that counts only while Plex goes on supplying it.
#[derive(Debug)]
pub struct Expiring<T> {
    value: T,
    supplied: Option<Instant>,
}

impl<T: Default> Default for Expiring<T> {
    fn default() -> Self {
        Self {
            value: T::default(),
            supplied: None,
        }
    }
}

impl<T> Expiring<T> {
    /// Plex supplied `value`.
    pub fn set(&mut self, value: T, now: Instant) {
        self.value = value;
        self.supplied = Some(now);
    }

    /// The value, unless it is stale or never came.
    #[must_use]
    pub fn get(&self, now: Instant) -> Option<&T> {
        self.supplied
            .is_some_and(|at| now < at + STALE_AFTER)
            .then_some(&self.value)
    }
}

/// Shares of the machine, 0.0 to 1.0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// The machine's processors.
    pub host_cpu: Option<f64>,
    /// The machine's memory.
    pub host_memory: Option<f64>,
    /// Plex's own share of the processors.
    pub process_cpu: Option<f64>,
    /// Plex's own share of the memory.
    pub process_memory: Option<f64>,
}

impl Load {
    /// The newest of `samples` (they come in any order).
    #[must_use]
    pub fn newest(samples: &[ResourceSample]) -> Option<Self> {
        let ratio = |percent: crate::plex::lenient::Number| {
            percent
                .get()
                .map(|percent| (percent / 100.0).clamp(0.0, 1.0))
        };
        samples
            .iter()
            .filter_map(|sample| Some((sample.at.get()?, sample)))
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, sample)| Self {
                host_cpu: ratio(sample.host_cpu_utilization),
                host_memory: ratio(sample.host_memory_utilization),
                process_cpu: ratio(sample.process_cpu_utilization),
                process_memory: ratio(sample.process_memory_utilization),
            })
    }
}

/// Bytes sent since the exporter started.
///
/// Plex sends the whole window with every answer, in any order, and its newest rows still grow. So
/// what was counted is remembered per row, and only the difference is added.
#[derive(Debug)]
pub struct Sent {
    /// Within the server's network.
    pub lan: u64,
    /// Beyond it.
    pub wan: u64,
    counted: HashMap<RowKey, u64>,
    /// Rows from before this second (of the wall clock) never count.
    since: u64,
    newest: u64,
}

/// When, to which account and device, within which network.
type RowKey = (u64, u64, u64, bool);

impl Sent {
    /// Rows are remembered for so many seconds behind the newest: several windows, so that a quiet
    /// answer in between does not make old rows new.
    const REMEMBER: u64 = 900;
    /// A row this far in the future is a clock that is wrong, and must not age the others.
    const MAX_AHEAD: f64 = 300.0;

    /// Counts from `wall`, seconds since the epoch, on.
    #[must_use]
    pub fn since(wall: f64) -> Self {
        Self {
            lan: 0,
            wan: 0,
            counted: HashMap::new(),
            since: whole(wall),
            newest: 0,
        }
    }

    /// Adds what `rows` have that was not counted yet.
    pub fn add(&mut self, rows: &[BandwidthRow], now: Timestamp) {
        let oldest = self.newest.saturating_sub(Self::REMEMBER).max(self.since);
        for row in rows {
            let (Some(at), Some(bytes)) = (row.at.whole(), row.bytes.whole()) else {
                continue;
            };
            if at < oldest {
                continue;
            }
            let id = |number: crate::plex::lenient::Number| number.whole().unwrap_or(0);
            let lan = row.lan.is_true();
            let counted = self
                .counted
                .entry((at, id(row.account_id), id(row.device_id), lan))
                .or_default();
            let more = bytes.saturating_sub(*counted);
            *counted += more;
            let total = if lan { &mut self.lan } else { &mut self.wan };
            *total = total.saturating_add(more);
            self.newest = self
                .newest
                .max(at.min(whole(now.unix_seconds + Self::MAX_AHEAD)));
        }
        let oldest = self.newest.saturating_sub(Self::REMEMBER);
        self.counted.retain(|(at, ..), _| *at >= oldest);
    }
}

/// Seconds since the epoch, cut to whole ones as Plex's are.
fn whole(wall: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates"
    )]
    let seconds = wall as u64;
    seconds
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(at: u64, device: u64, lan: bool, bytes: u64) -> BandwidthRow {
        serde_json::from_value(serde_json::json!({
            "accountID": 1, "deviceID": device, "timespan": 6, "at": at, "lan": lan, "bytes": bytes,
        }))
        .unwrap()
    }

    fn at(wall: f64) -> Timestamp {
        Timestamp {
            monotonic: Instant::now(),
            unix_seconds: wall,
        }
    }

    #[test]
    fn the_newest_sample_counts_whatever_its_place() {
        let samples: Vec<ResourceSample> = serde_json::from_str(
            r#"[{"at":10,"hostCpuUtilization":1},{"at":30,"hostCpuUtilization":"50","hostMemoryUtilization":250},{"at":20}]"#,
        )
        .unwrap();
        let load = Load::newest(&samples).unwrap();
        assert_eq!(
            (load.host_cpu, load.host_memory, load.process_cpu),
            (Some(0.5), Some(1.0), None)
        );
        assert_eq!(Load::newest(&[]), None);
    }

    #[test]
    fn growing_late_unordered_and_repeated_rows_count_once_and_fully() {
        let mut sent = Sent::since(1_000.0);
        let now = at(1_010.0);
        sent.add(
            &[
                row(1_005, 1, true, 10),
                row(1_004, 1, true, 5),
                row(1_004, 2, false, 7),
            ],
            now,
        );
        // The window again, the newest grown, a late row between.
        sent.add(
            &[
                row(1_003, 1, true, 1),
                row(1_005, 1, true, 25),
                row(1_004, 1, true, 5),
            ],
            now,
        );
        assert_eq!((sent.lan, sent.wan), (31, 7));
        // A quiet answer, then the old rows again.
        sent.add(&[], now);
        sent.add(&[row(1_005, 1, true, 25), row(1_004, 2, false, 7)], now);
        assert_eq!((sent.lan, sent.wan), (31, 7));
    }

    #[test]
    fn rows_from_before_the_start_never_count() {
        let mut sent = Sent::since(1_000.9);
        sent.add(
            &[row(999, 1, true, 10), row(1_000, 1, true, 2)],
            at(1_001.0),
        );
        sent.add(&[row(999, 1, true, 99)], at(1_101.0));
        assert_eq!((sent.lan, sent.wan), (2, 0));
    }

    #[test]
    fn what_is_not_supplied_any_more_vanishes() {
        let mut fresh = Expiring::<f64>::default();
        let now = Instant::now();
        assert_eq!(fresh.get(now), None);
        fresh.set(0.5, now);
        assert_eq!(fresh.get(now + STALE_AFTER / 2), Some(&0.5));
        assert_eq!(fresh.get(now + STALE_AFTER), None);
    }

    proptest! {
        /// Whatever windows are sent in whatever order: every row counts once, at its largest.
        #[test]
        fn totals_never_fall_and_are_exact(
            answers in prop::collection::vec(
                prop::collection::vec((0u64..40, 0u64..3, any::<bool>(), 0u64..1_000), 0..12), 0..12)
        ) {
            let mut sent = Sent::since(1_000.0);
            let mut largest: HashMap<(u64, u64, bool), u64> = HashMap::new();
            let mut before = 0;
            for answer in answers {
                let rows: Vec<_> = answer
                    .iter()
                    .map(|(second, device, lan, bytes)| row(990 + second, *device, *lan, *bytes))
                    .collect();
                for (second, device, lan, bytes) in answer {
                    if second >= 10 {
                        let known = largest.entry((second, device, lan)).or_default();
                        *known = (*known).max(bytes);
                    }
                }
                sent.add(&rows, at(1_040.0));
                prop_assert!(sent.lan + sent.wan >= before);
                before = sent.lan + sent.wan;
            }
            prop_assert_eq!(before, largest.values().sum::<u64>());
        }
    }
}

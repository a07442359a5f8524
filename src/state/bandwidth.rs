//! Bytes sent since the exporter started, computed from Plex's window of the last two minutes.
//!
//! Plex sends the whole window with every response, in any order, several rows for one second, and
//! the newest rows still grow. Therefore the bytes already counted are remembered for each row, and
//! only the difference is added. Invariant: no clock is read, and timestamps are compared only for
//! equality, so inaccurate or adjusted clocks do not change the count.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::plex::{lenient::Number, wire::BandwidthRow};

/// A row is remembered for this long after Plex last sent it: many windows, so that an empty
/// response in between does not make old rows look new.
const REMEMBER: Duration = Duration::from_mins(15);
/// At most this many rows are remembered; a busy server has some 2,000 in its window.
pub const MAX_ROWS: usize = 50_000;

/// Time, account, device, and whether within the server's network.
type RowKey = (u64, u64, u64, bool);

#[derive(Debug, Clone, Copy)]
struct Row {
    counted: u64,
    last_sent: Instant,
}

/// Bytes sent since the exporter started.
#[derive(Debug, Default)]
pub struct SentBytes {
    /// Within the server's network.
    pub lan: u64,
    /// Beyond it.
    pub wan: u64,
    rows: HashMap<RowKey, Row>,
    /// Whether the first window has arrived. Its bytes were sent before the exporter started.
    begun: bool,
    /// Rows beyond the limit.
    pub dropped: u64,
}

impl SentBytes {
    /// Adds the bytes in `rows` that are not counted yet, and calls `sent` with account, network
    /// (`true` is the LAN) and bytes.
    pub fn add(
        &mut self,
        rows: &[BandwidthRow],
        now: Instant,
        mut sent: impl FnMut(u64, bool, u64),
    ) {
        for row in rows {
            let (Some(at), Some(bytes)) = (row.at.whole(), row.bytes.whole()) else {
                continue;
            };
            let id = |number: Number| number.whole().unwrap_or(0);
            let lan = row.lan.is_true();
            let key = (at, id(row.account_id), id(row.device_id), lan);
            if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&key) {
                self.dropped += 1;
                continue;
            }
            let known = self.rows.entry(key).or_insert(Row {
                counted: 0,
                last_sent: now,
            });
            known.last_sent = now;
            let more = bytes.saturating_sub(known.counted);
            known.counted += more;
            if self.begun {
                let total = if lan { &mut self.lan } else { &mut self.wan };
                *total = total.saturating_add(more);
                if more > 0 {
                    sent(key.1, lan, more);
                }
            }
        }
        self.begun = true;
        self.rows.retain(|_, row| now < row.last_sent + REMEMBER);
    }

    /// The number of rows that are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.rows.len()
    }
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

    fn begun() -> (SentBytes, Instant) {
        let now = Instant::now();
        let mut sent = SentBytes::default();
        sent.add(&[], now, |_, _, _| {});
        (sent, now)
    }

    #[test]
    fn growing_late_unordered_and_repeated_rows_count_once_and_fully() {
        let (mut sent, now) = begun();
        sent.add(
            &[
                row(1_005, 1, true, 10),
                row(1_004, 1, true, 5),
                row(1_004, 2, false, 7),
            ],
            now,
            |_, _, _| {},
        );
        // The same window: the newest row has grown, and a late one has appeared.
        sent.add(
            &[
                row(1_003, 1, true, 1),
                row(1_005, 1, true, 25),
                row(1_004, 1, true, 5),
            ],
            now,
            |_, _, _| {},
        );
        assert_eq!((sent.lan, sent.wan), (31, 7));
        // An empty response, then the old rows again.
        sent.add(&[], now + Duration::from_mins(10), |_, _, _| {});
        sent.add(
            &[row(1_005, 1, true, 25), row(1_004, 2, false, 7)],
            now + Duration::from_mins(14),
            |_, _, _| {},
        );
        assert_eq!((sent.lan, sent.wan), (31, 7));
    }

    #[test]
    fn bytes_of_the_first_window_never_count_but_its_growth_does() {
        let now = Instant::now();
        let mut sent = SentBytes::default();
        sent.add(
            &[row(999, 1, true, 10), row(1_000, 1, true, 2)],
            now,
            |_, _, _| {},
        );
        assert_eq!(sent.lan, 0);
        sent.add(
            &[row(999, 1, true, 10), row(1_000, 1, true, 5)],
            now,
            |_, _, _| {},
        );
        assert_eq!(sent.lan, 3);
    }

    #[test]
    fn rows_of_any_time_count_and_are_forgotten_after_a_while() {
        let (mut sent, mut now) = begun();
        for at in [5, 4_000_000_000, 1_000, 86_400 * 365 * 500] {
            sent.add(&[row(at, 1, true, 1)], now, |_, _, _| {});
            now += REMEMBER;
        }
        assert_eq!(sent.lan, 4);
        sent.add(&[], now, |_, _, _| {});
        assert_eq!(sent.remembered(), 0);
    }

    #[test]
    fn rows_beyond_the_limit_are_dropped() {
        let (mut sent, now) = begun();
        let rows: Vec<_> = (0..=MAX_ROWS as u64)
            .map(|at| row(at, 1, true, 1))
            .collect();
        sent.add(&rows, now, |_, _, _| {});
        assert_eq!((sent.remembered(), sent.dropped), (MAX_ROWS, 1));
    }

    proptest! {
        /// Whatever the windows and their order, every row counts once, at its largest value.
        #[test]
        fn totals_never_fall_and_are_exact(
            windows in prop::collection::vec(
                prop::collection::vec((0u64..40, 0u64..3, any::<bool>(), 0u64..1_000), 0..12), 0..12)
        ) {
            let (mut sent, now) = begun();
            let mut largest: HashMap<(u64, u64, bool), u64> = HashMap::new();
            let mut before = 0;
            for window in windows {
                let rows: Vec<_> = window
                    .iter()
                    .map(|(second, device, lan, bytes)| row(*second, *device, *lan, *bytes))
                    .collect();
                for (second, device, lan, bytes) in window {
                    let known = largest.entry((second, device, lan)).or_default();
                    *known = (*known).max(bytes);
                }
                sent.add(&rows, now, |_, _, _| {});
                prop_assert!(sent.lan + sent.wan >= before);
                before = sent.lan + sent.wan;
            }
            prop_assert_eq!(before, largest.values().sum::<u64>());
        }
    }
}

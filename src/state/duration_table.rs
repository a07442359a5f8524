//! Durations by label set, for counters that outlive the plays that they count.
//!
//! Invariant: no table has more than [`MAX_LABEL_SETS`] label sets; beyond that, new ones are counted
//! under [`OTHER`].

use std::{collections::HashMap, time::Duration};

use crate::metrics::encode_labels;

/// At most this many label sets are kept for each metric.
pub const MAX_LABEL_SETS: usize = 2_000;
/// From this many on, new users are counted under `other`, which leaves room for values of other
/// labels.
const MAX_OWN_SETS: usize = 1_950;
/// The value of labels beyond the limit.
pub const OTHER: &str = "other";

/// Identifies a row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowId(usize);

/// Durations by label set, in the order in which the label sets appeared.
#[derive(Debug, Default)]
pub struct DurationTable {
    rows: Vec<(Box<str>, Duration)>,
    by_labels: HashMap<Box<str>, usize>,
    /// Label sets beyond the limit.
    pub dropped: u64,
}

impl DurationTable {
    /// Label texts and durations.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Duration)> {
        self.rows.iter().map(|(labels, time)| (&**labels, *time))
    }

    /// The row of a label set with these label names. Its first label has the most values (such as
    /// the user), and is the first to be counted under [`OTHER`].
    pub fn row<const N: usize>(&mut self, names: &[&str], values: [&str; N]) -> RowId {
        let mut folded = values;
        folded[0] = OTHER;
        let candidates = [
            (values, MAX_OWN_SETS),
            (folded, MAX_LABEL_SETS - 1),
            ([OTHER; N], MAX_LABEL_SETS),
        ];
        for (index, (values, limit)) in candidates.into_iter().enumerate() {
            let labels = encode_labels(names.iter().copied().zip(values));
            if let Some(row) = self.by_labels.get(&labels) {
                return RowId(*row);
            }
            if self.rows.len() < limit {
                let row = self.rows.len();
                self.rows.push((labels.clone(), Duration::ZERO));
                self.by_labels.insert(labels, row);
                return RowId(row);
            }
            if index == 0 {
                self.dropped += 1;
            }
        }
        RowId(0)
    }

    /// Adds `time` to a row.
    pub fn add(&mut self, row: RowId, time: Duration) {
        if let Some((_, total)) = self.rows.get_mut(row.0) {
            *total += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_new_label_sets_are_counted_under_other() {
        let mut table = DurationTable::default();
        for user in 0..3_000 {
            let row = table.row(&["user", "library"], [&format!("u{user}"), "Films"]);
            table.add(row, Duration::from_secs(1));
        }
        for library in 0..3_000 {
            let row = table.row(&["user", "library"], ["new", &format!("L{library}")]);
            table.add(row, Duration::from_secs(1));
        }
        assert_eq!(table.iter().len(), MAX_LABEL_SETS);
        assert_eq!(
            table.iter().map(|(_, time)| time.as_secs()).sum::<u64>(),
            6_000
        );
        assert!(table.dropped > 0);
        assert!(
            table
                .iter()
                .any(|(labels, _)| labels == r#"user="other",library="Films""#)
        );
    }
}

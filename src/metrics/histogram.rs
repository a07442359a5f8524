//! A histogram of durations.
//!
//! Not the `prometheus` crate's own: that one is built for many threads, registers itself with a
//! registry and costs more code than these lines; its model (`proto::Histogram`) is what is encoded.

use std::time::Duration;

use prometheus::proto;

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Counts durations by size.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Durations in each bucket; those beyond the last bound are only in `count`.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += duration;
    }

    /// As the metric model has it: with cumulative buckets.
    #[must_use]
    pub fn to_proto(&self) -> proto::Histogram {
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(self.buckets).map(|(bound, count)| {
            below += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.count);
        histogram.set_sample_sum(self.sum.as_secs_f64());
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_hold_their_bound() {
        let mut histogram = Histogram::default();
        for milliseconds in [1, 5, 6, 10_000, 11_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let proto = histogram.to_proto();
        let counts: Vec<u64> = proto
            .get_bucket()
            .iter()
            .map(proto::Bucket::cumulative_count)
            .collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(proto.get_sample_count(), 5);
        assert!((proto.get_sample_sum() - 21.012).abs() < 1e-9);
    }
}

//! A histogram of durations.
//!
//! Not the `prometheus` crate's own: that one is built for many threads, registers itself with a
//! registry and costs more code than these lines; its model (`proto::Histogram`) is what is encoded.

use std::time::Duration;

use prometheus::proto;

use super::{catalogue::Desc, encode::encode};

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Counts durations by size, for one label set.
#[derive(Debug, Clone)]
pub struct Histogram {
    desc: &'static Desc,
    labels: Vec<proto::LabelPair>,
    /// Durations in each bucket; those beyond the last bound are only in `count`.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
    /// Its text, updated with each duration: there are a few requests a minute, and scrapes only
    /// copy it.
    lines: String,
}

impl Histogram {
    /// A histogram of `desc`, with these values of its labels.
    pub fn new<const N: usize>(desc: &'static Desc, values: [&str; N]) -> Self {
        debug_assert_eq!(desc.labels.len(), N, "{}", desc.name);
        debug_assert!(!desc.server, "{}", desc.name);
        let labels = desc.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        Self {
            desc,
            labels: labels.collect(),
            buckets: [0; BOUNDS.len()],
            count: 0,
            sum: Duration::ZERO,
            lines: String::new(),
        }
    }

    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += duration;
        self.lines = self.encode();
    }

    /// Its lines in a scrape, without the metric's help and type.
    pub fn lines(&self) -> &str {
        &self.lines
    }

    fn encode(&self) -> String {
        let mut metric = proto::Metric::from_label(self.labels.clone());
        metric.set_histogram(self.to_proto());
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.name.to_owned());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.mut_metric().push(metric);
        let text = encode(family);
        // Without a help, the type is the one line before.
        let lines = text.split_once('\n').map(|(_type, lines)| lines);
        lines.unwrap_or_default().to_owned()
    }

    /// As the metric model has it: with cumulative buckets.
    fn to_proto(&self) -> proto::Histogram {
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

    static DESC: Desc = Desc {
        name: "m_seconds",
        kind: proto::MetricType::HISTOGRAM,
        help: "H.",
        server: false,
        labels: &["endpoint"],
    };

    #[test]
    fn buckets_are_cumulative_and_include_their_bound() {
        let mut histogram = Histogram::new(&DESC, ["/"]);
        assert_eq!(histogram.lines(), "");
        for milliseconds in [1, 5, 6, 10_000, 11_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let bucket = |bound: &str, count: u64| {
            format!("m_seconds_bucket{{endpoint=\"/\",le=\"{bound}\"}} {count}\n")
        };
        let mut expected = bucket("0.005", 2);
        for bound in [
            "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5",
        ] {
            expected += &bucket(bound, 3);
        }
        expected += &bucket("10", 4);
        expected += &bucket("+Inf", 5);
        expected += "m_seconds_sum{endpoint=\"/\"} 21.012\nm_seconds_count{endpoint=\"/\"} 5\n";
        assert_eq!(histogram.lines(), expected);
    }
}

//! The text of a scrape.
//!
//! prometheus's encoder decides what label text and histograms look like, and writes them when they
//! change. A scrape only copies that text behind the metrics' names: building a `Metric` with all its
//! `LabelPair`s for each of the 60,000 labels of a thousand sessions would take several times as long.
//!
//! Invariant: no two samples of a metric have the same labels. Every metric is written from a map
//! whose key is the label set, or has a label that is the key of one (`session`, `library_id`). The
//! tests check every page that they read.

use std::fmt::Write as _;

use prometheus::proto::MetricType;

use super::{
    catalogue::Desc,
    encode::{encode_labels, push_label},
    histogram::Histogram,
};

/// Writes a scrape.
pub struct TextWriter {
    text: String,
    /// The text of the labels `server` and `server_id`.
    server: Box<str>,
    /// What the current metric's lines begin with: its name, and the labels of every sample.
    prefix: String,
    /// Whether the current metric's samples have labels.
    labelled: bool,
}

impl TextWriter {
    /// Writes into `buffer`.
    pub fn new(server: &str, server_id: &str, buffer: String) -> Self {
        Self {
            text: buffer,
            server: encode_labels([("server", server), ("server_id", server_id)]),
            prefix: String::new(),
            labelled: false,
        }
    }

    /// Writes a metric from its label values; nothing when it has no samples.
    pub fn samples<'a, const N: usize>(
        &mut self,
        desc: &Desc,
        samples: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) {
        debug_assert_eq!(desc.labels.len(), N, "{}", desc.name);
        self.lines(desc, samples, |text, values| {
            for (index, (name, value)) in desc.labels.iter().zip(values).enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_label(text, name, value);
            }
        });
    }

    /// Writes a metric without labels of its own, if it has a value.
    pub fn sample(&mut self, desc: &Desc, value: Option<f64>) {
        self.samples(desc, value.map(|value| ([], value)));
    }

    /// Writes a metric from label text that was encoded when it changed; nothing when it has no
    /// samples.
    pub fn cached_samples<'a>(
        &mut self,
        desc: &Desc,
        samples: impl Iterator<Item = (&'a str, f64)>,
    ) {
        self.lines(desc, samples, String::push_str);
    }

    /// Writes histograms; nothing when there are none.
    pub fn histograms<'a>(&mut self, desc: &Desc, histograms: impl Iterator<Item = &'a Histogram>) {
        for (index, histogram) in histograms.enumerate() {
            if index == 0 {
                self.begin(desc);
            }
            self.text.push_str(histogram.lines());
        }
    }

    fn lines<L>(
        &mut self,
        desc: &Desc,
        samples: impl IntoIterator<Item = (L, f64)>,
        push_labels: impl Fn(&mut String, L),
    ) {
        // Whatever Plex sends, no value is NaN or infinite.
        let finite = samples.into_iter().filter(|(_, value)| value.is_finite());
        for (index, (labels, value)) in finite.enumerate() {
            if index == 0 {
                self.begin(desc);
            }
            self.text.push_str(&self.prefix);
            push_labels(&mut self.text, labels);
            self.text.push_str(if self.labelled { "} " } else { " " });
            push_value(&mut self.text, value);
            self.text.push('\n');
        }
    }

    /// Writes what precedes a metric's samples.
    fn begin(&mut self, desc: &Desc) {
        let kind = match desc.kind {
            MetricType::COUNTER => "counter",
            MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        for part in [
            "# HELP ",
            desc.name,
            " ",
            desc.help,
            "\n# TYPE ",
            desc.name,
            " ",
            kind,
            "\n",
        ] {
            self.text.push_str(part);
        }
        self.prefix.clear();
        self.prefix.push_str(desc.name);
        if desc.server {
            self.prefix.push('{');
            self.prefix.push_str(&self.server);
        }
        if !desc.labels.is_empty() {
            self.prefix.push(if desc.server { ',' } else { '{' });
        }
        self.labelled = desc.server || !desc.labels.is_empty();
    }

    /// The page.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// Almost every value is a decimal with at most four places, and 15 digits in all. Such a decimal is
/// the shortest text of the float nearest to it, and takes a fifth of the time that Rust needs to find
/// the shortest text of any float.
fn push_value(text: &mut String, value: f64) {
    const PLACES: f64 = 10_000.0;
    const EXACT: f64 = 1e15;
    let scaled = value * PLACES;
    if (0.0..EXACT).contains(&scaled) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range"
        )]
        let decimal = (scaled + 0.5) as u64;
        #[expect(clippy::float_cmp, reason = "the same float, or it is no such decimal")]
        if decimal as f64 / PLACES == value {
            return push_decimal(text, decimal);
        }
    }
    // Writing to a String cannot fail.
    let _ = write!(text, "{value}");
}

/// Writes ten-thousandths.
fn push_decimal(text: &mut String, decimal: u64) {
    let (mut whole, mut fraction) = (decimal / 10_000, decimal % 10_000);
    let mut bytes = [b'0'; 20];
    let mut begin = bytes.len() - 5;
    let mut end = begin;
    if fraction > 0 {
        bytes[begin] = b'.';
        for place in (begin + 1..bytes.len()).rev() {
            bytes[place] += (fraction % 10) as u8;
            fraction /= 10;
        }
        end = bytes.len();
        while bytes[end - 1] == b'0' {
            end -= 1;
        }
    }
    loop {
        begin -= 1;
        bytes[begin] += (whole % 10) as u8;
        whole /= 10;
        if whole == 0 {
            break;
        }
    }
    // Digits are ASCII.
    text.push_str(str::from_utf8(&bytes[begin..end]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily};
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::encode::encode;

    const fn desc(kind: MetricType, server: bool, labels: &'static [&'static str]) -> Desc {
        Desc {
            name: "m",
            kind,
            help: "H.",
            server,
            labels,
        }
    }

    static PLAIN: Desc = desc(MetricType::GAUGE, false, &[]);
    static SERVER: Desc = desc(MetricType::COUNTER, true, &[]);
    static OWN: Desc = desc(MetricType::GAUGE, false, &["a", "b"]);
    static BOTH: Desc = desc(MetricType::COUNTER, true, &["a", "b"]);

    /// The same by prometheus's encoder, with a `Metric` for each sample.
    fn by_prometheus(desc: &Desc, values: &[&str], value: f64) -> String {
        let server = [("server", "s}\""), ("server_id", "id")];
        let labels = server
            .into_iter()
            .filter(|_| desc.server)
            .chain(desc.labels.iter().copied().zip(values.iter().copied()));
        let pairs = labels.map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        let mut family = MetricFamily::default();
        family.set_name(desc.name.to_owned());
        family.set_help(desc.help.to_owned());
        family.set_field_type(desc.kind);
        family.mut_metric().push(metric);
        encode(family)
    }

    fn written(write: impl FnOnce(&mut TextWriter)) -> String {
        let mut writer = TextWriter::new("s}\"", "id", String::new());
        write(&mut writer);
        writer.into_text()
    }

    proptest! {
        #[test]
        fn every_line_reads_as_prometheus_writes_it(
            first in "[a-z\\\\\"\n{}= \u{e9}]{0,8}",
            second in any::<String>(),
            value in prop_oneof![
                any::<f64>().prop_filter("finite", |value| value.is_finite()),
                (-20_i32..20).prop_map(f64::from),
                (0_u64..1 << 60).prop_map(|value| value as f64),
                (0_u32..1_000_000).prop_map(|value| f64::from(value) / 1_000.0),
            ],
        ) {
            // The sign of a zero means nothing here.
            prop_assume!(value != 0.0 || value.is_sign_positive());
            for desc in [&PLAIN, &SERVER] {
                let text = written(|writer| writer.sample(desc, Some(value)));
                prop_assert_eq!(text, by_prometheus(desc, &[], value));
            }
            for desc in [&OWN, &BOTH] {
                let values = [&*first, &*second];
                let expected = by_prometheus(desc, &values, value);
                let text = written(|writer| writer.samples(desc, [(values, value)]));
                prop_assert_eq!(&text, &expected);
                let labels = encode_labels([("a", values[0]), ("b", values[1])]);
                let cached = [(&*labels, value)].into_iter();
                let text = written(|writer| writer.cached_samples(desc, cached));
                prop_assert_eq!(&text, &expected);
            }
        }
    }

    #[test]
    fn a_metric_without_samples_or_with_values_that_are_no_numbers_is_absent() {
        let text = written(|writer| {
            writer.sample(&PLAIN, None);
            writer.sample(&PLAIN, Some(f64::NAN));
            writer.sample(&PLAIN, Some(f64::INFINITY));
            writer.cached_samples(&BOTH, std::iter::empty());
            writer.histograms(&OWN, std::iter::empty());
        });
        assert_eq!(text, "");
    }
}

//! The text of a scrape.
//!
//! prometheus's encoder writes it all. But a thousand sessions carry some 60,000 labels, and their
//! text rarely changes: so that of a play is encoded once ([`encode_labels`]) and kept, and a scrape only
//! copies it behind the metric's name. That is several times less work and memory than building
//! and encoding a `Metric` with all its `LabelPair`s for every scrape.

use std::fmt::Write as _;

use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

use super::{
    Histogram,
    catalogue::{Desc, Kind},
};

/// The text of labels, as it stands between the braces: `a="1",b="2"`.
pub fn encode_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Box<str> {
    const NAME: &str = "x";
    let mut family = family(NAME, "", Kind::Gauge);
    family
        .mut_metric()
        .push(metric(Kind::Gauge, pairs(labels), 0.0));
    let text = encode(&[family]);
    // `# TYPE x gauge`, then `x{a="1",b="2"} 0`: line breaks in values are escaped.
    let sample = text.trim_end().rsplit('\n').next().unwrap_or_default();
    let labels = sample
        .strip_prefix(NAME)
        .and_then(|rest| rest.strip_suffix(" 0"));
    labels
        .map_or("", |labels| {
            labels.trim_start_matches('{').trim_end_matches('}')
        })
        .into()
}

/// A scrape that is being written.
pub struct TextWriter {
    text: String,
    /// The text of the labels `server` and `server_id`.
    server: Box<str>,
    server_pairs: Vec<LabelPair>,
}

impl TextWriter {
    /// An empty page; `capacity` is what the last one took.
    pub fn new(server: &str, server_id: &str, capacity: usize) -> Self {
        let labels = [("server", server), ("server_id", server_id)];
        Self {
            text: String::with_capacity(capacity),
            server: encode_labels(labels),
            server_pairs: pairs(labels),
        }
    }

    /// Writes a metric whose labels are few; nothing when it has no samples.
    pub fn samples<'a, const N: usize>(
        &mut self,
        desc: &Desc,
        samples: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) {
        let mut family = family(desc.name, desc.help, desc.kind);
        for (values, value) in samples {
            debug_assert_eq!(values.len(), desc.labels.len(), "{}", desc.name);
            let mut labels = self.common_labels(desc);
            labels.extend(pairs(desc.labels.iter().copied().zip(values)));
            family.mut_metric().push(metric(desc.kind, labels, value));
        }
        self.write(family);
    }

    /// Writes histograms; nothing when there are none.
    pub fn histograms<'a, const N: usize>(
        &mut self,
        desc: &Desc,
        samples: impl IntoIterator<Item = ([&'a str; N], &'a Histogram)>,
    ) {
        let mut family = family(desc.name, desc.help, desc.kind);
        for (values, histogram) in samples {
            let mut labels = self.common_labels(desc);
            labels.extend(pairs(desc.labels.iter().copied().zip(values)));
            let mut metric = Metric::from_label(labels);
            metric.set_histogram(histogram.to_proto());
            family.mut_metric().push(metric);
        }
        self.write(family);
    }

    fn common_labels(&self, desc: &Desc) -> Vec<LabelPair> {
        if desc.server {
            self.server_pairs.clone()
        } else {
            Vec::new()
        }
    }

    fn write(&mut self, family: MetricFamily) {
        if !family.get_metric().is_empty() {
            self.text.push_str(&encode(&[family]));
        }
    }

    /// Writes a metric without labels of its own, if it has a value.
    pub fn sample(&mut self, desc: &Desc, value: Option<f64>) {
        self.samples(desc, value.map(|value| ([], value)));
    }

    /// Writes a metric of plays, from label texts that are kept; nothing when there are none.
    pub fn cached_samples<'a>(
        &mut self,
        desc: &Desc,
        samples: impl Iterator<Item = (&'a str, f64)>,
    ) {
        let mut samples = samples.peekable();
        if samples.peek().is_none() {
            return;
        }
        let kind = match desc.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.text,
            "# HELP {0} {1}\n# TYPE {0} {kind}",
            desc.name, desc.help
        );
        for (labels, value) in samples {
            for part in [desc.name, "{", &self.server, ",", labels, "} "] {
                self.text.push_str(part);
            }
            let _ = writeln!(self.text, "{value}");
        }
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.text
    }
}

fn pairs<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<LabelPair> {
    labels
        .into_iter()
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        })
        .collect()
}

fn metric(kind: Kind, labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut metric = Metric::from_label(labels);
    match kind {
        Kind::Gauge => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Kind::Histogram => {}
    }
    metric
}

fn family(name: &str, help: &str, kind: Kind) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(match kind {
        Kind::Gauge => MetricType::GAUGE,
        Kind::Counter => MetricType::COUNTER,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family
}

fn encode(families: &[MetricFamily]) -> String {
    // The encoder refuses only families without name or samples, and there are none of those.
    TextEncoder::new()
        .encode_to_string(families)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_label_text_reads_as_if_the_encoder_had_written_it() {
        static DESC: Desc = Desc {
            name: "m",
            kind: Kind::Counter,
            help: "H.",
            server: true,
            labels: &["a", "b"],
        };
        let values = ["q\"uote\\", "line\nbreak} 0"];
        let mut page = TextWriter::new("s}", "id", 0);
        page.samples(&DESC, [(values, 1.5)]);
        let encoded = std::mem::take(&mut page.text);
        page.cached_samples(
            &DESC,
            [(&*encode_labels([("a", values[0]), ("b", values[1])]), 1.5)].into_iter(),
        );
        assert_eq!(page.text, encoded);
        assert_eq!(
            encoded,
            "# HELP m H.\n# TYPE m counter\n\
             m{server=\"s}\",server_id=\"id\",a=\"q\\\"uote\\\\\",b=\"line\\nbreak} 0\"} 1.5\n"
        );
    }

    #[test]
    fn a_metric_without_samples_is_absent() {
        static DESC: Desc = Desc {
            name: "m",
            kind: Kind::Gauge,
            help: "H.",
            server: false,
            labels: &[],
        };
        let mut page = TextWriter::new("", "", 0);
        page.sample(&DESC, None);
        page.cached_samples(&DESC, std::iter::empty());
        assert_eq!(page.into_text(), "");
    }
}

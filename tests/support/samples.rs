//! Reads the Prometheus text format.

use std::collections::{BTreeMap, HashSet};

/// The labels of the simulated server.
pub const SERVER: [(&str, &str); 2] = [
    ("server", "Attic"),
    ("server_id", "c997cf82c4158cb986ccc0e8f829a6f5d5086a63"),
];

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A scrape.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    pub all: Vec<Sample>,
    /// Type by metric name.
    pub types: BTreeMap<String, String>,
}

impl Samples {
    pub fn parse(text: &str) -> Self {
        let mut samples = Self::default();
        let mut seen = HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                let before = samples.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} has two TYPE lines");
            } else if !line.starts_with('#') {
                let (series, _) = line.rsplit_once(' ').expect("a value");
                assert!(seen.insert(series), "two samples {series}");
                samples.all.push(parse_sample(line));
            }
        }
        samples
    }

    /// The sum of the values of all samples of a metric that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels)
            .iter()
            .map(|sample| sample.value)
            .sum()
    }

    /// All samples of a metric that have these labels (and perhaps more).
    pub fn of(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        let matches = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|own| own == value))
        };
        self.all.iter().filter(matches).collect()
    }

    /// The one sample of a metric that has these labels; `None` without, panics with several.
    pub fn one(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        let found = self.of(name, labels);
        assert!(
            found.len() <= 1,
            "{name} {labels:?} is not unique: {found:#?}"
        );
        found.first().copied()
    }

    /// All series of a metric as `label="value",… value`, sorted, without the labels of the server,
    /// which must be the simulated one's: for comparing a whole metric with what it should be.
    pub fn series(&self, name: &str) -> Vec<String> {
        let mut series: Vec<String> = self
            .of(name, &[])
            .into_iter()
            .map(|sample| {
                let mut labels = sample.labels.clone();
                let server = [labels.remove("server"), labels.remove("server_id")];
                assert_eq!(
                    server.each_ref().map(Option::as_deref),
                    SERVER.map(|(_, value)| Some(value)),
                    "{name}"
                );
                let labels: Vec<String> = labels
                    .iter()
                    .map(|(label, value)| format!("{label}={value:?}"))
                    .collect();
                format!("{} {}", labels.join(","), sample.value)
                    .trim_start()
                    .to_owned()
            })
            .collect();
        series.sort();
        series
    }

    /// The value of the one sample of a metric that has these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.one(name, labels).map(|sample| sample.value)
    }
}

fn parse_sample(line: &str) -> Sample {
    let name_end = line
        .find(['{', ' '])
        .unwrap_or_else(|| panic!("no value: {line:?}"));
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, tail) = rest
                .split_once("=\"")
                .unwrap_or_else(|| panic!("bad: {line:?}"));
            let mut value = String::new();
            let mut characters = tail.chars();
            loop {
                match characters
                    .next()
                    .unwrap_or_else(|| panic!("open quote: {line:?}"))
                {
                    '"' => break,
                    '\\' => value.push(match characters.next() {
                        Some('n') => '\n',
                        Some(other) => other,
                        None => panic!("open escape: {line:?}"),
                    }),
                    other => value.push(other),
                }
            }
            let twice = labels.insert(label.trim_start_matches(',').to_owned(), value);
            assert_eq!(twice, None, "label twice: {line:?}");
            rest = characters.as_str();
        }
        rest = &rest[1..];
    }
    let value = rest
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("no number: {line:?}"));
    Sample {
        name: name.to_owned(),
        labels,
        value,
    }
}

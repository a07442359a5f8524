//! Label text and whole metrics as the `prometheus` crate's encoder writes them.

use prometheus::{
    TextEncoder,
    proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

/// Encodes labels as they appear between the braces: `a="1",b="2"`.
pub fn encode_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Box<str> {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        push_label(&mut text, name, value);
    }
    text.into()
}

/// Appends `name="value"` to `text`.
pub fn push_label(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str("=\"");
    if value
        .bytes()
        .any(|byte| matches!(byte, b'\\' | b'"' | b'\n'))
    {
        text.push_str(&escape(value));
    } else {
        text.push_str(value);
    }
    text.push('"');
}

fn escape(value: &str) -> String {
    let mut pair = LabelPair::default();
    pair.set_name("l".to_owned());
    pair.set_value(value.to_owned());
    let mut metric = Metric::from_label(vec![pair]);
    metric.set_gauge(Gauge::default());
    let mut family = MetricFamily::default();
    family.set_name("x".to_owned());
    family.set_field_type(MetricType::GAUGE);
    family.mut_metric().push(metric);
    let text = encode(family);
    // `# TYPE x gauge`, then `x{l="value"} 0`: line feeds in values are escaped.
    let sample = text.trim_end().rsplit('\n').next();
    let value = sample.and_then(|sample| sample.strip_prefix("x{l=\"")?.strip_suffix("\"} 0"));
    value.unwrap_or_default().to_owned()
}

/// Encodes a metric.
pub fn encode(family: MetricFamily) -> String {
    // The encoder refuses only families without name or samples, and there are none of those.
    TextEncoder::new()
        .encode_to_string(&[family])
        .unwrap_or_default()
}

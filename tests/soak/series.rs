//! A sample of a page, with its labels. (The simulated titles need no escapes.)

#[derive(Debug)]
pub struct Series<'a> {
    labels: Vec<(&'a str, &'a str)>,
    pub value: f64,
}

impl<'a> Series<'a> {
    /// The sample of the metric `name` in `line`.
    pub fn parse(line: &'a str, name: &str) -> Option<Self> {
        let rest = line.strip_prefix(name)?.strip_prefix('{')?;
        let (labels, value) = rest.rsplit_once("\"} ")?;
        let labels = labels
            .split("\",")
            .map(|pair| pair.split_once("=\"").expect("a label"));
        Some(Self {
            labels: labels.collect(),
            value: value.parse().expect("a number"),
        })
    }

    pub fn label(&self, name: &str) -> &'a str {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map_or("(absent)", |(_, value)| value)
    }

    /// All labels as text: the same for the two metrics of a play.
    pub fn place(&self) -> String {
        self.labels
            .iter()
            .map(|(name, value)| format!("{name}={value},"))
            .collect()
    }

    /// Device and titles: what is unique in the simulation.
    pub fn identity(&self) -> String {
        let titles =
            ["title", "child_title", "grandchild_title"].map(|name| self.label(name).to_owned());
        identity(self.label("device"), &titles)
    }
}

pub fn identity(device: &str, titles: &[String; 3]) -> String {
    format!("{device}/{}/{}/{}", titles[0], titles[1], titles[2])
}

//! Host load, and values that expire when Plex stops supplying them.

use std::time::{Duration, Instant};

use crate::plex::{lenient::Number, wire::ResourceSample};

/// A value that Plex has not supplied for this long disappears instead of freezing.
const STALE_AFTER: Duration = Duration::from_secs(75);

/// A value that expires when Plex stops supplying it.
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

    /// The value, unless it is stale or was never supplied.
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
        let ratio = |percent: Number| {
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_value_that_is_no_longer_supplied_disappears() {
        let mut fresh = Expiring::<f64>::default();
        let now = Instant::now();
        assert_eq!(fresh.get(now), None);
        fresh.set(0.5, now);
        assert_eq!(fresh.get(now + STALE_AFTER / 2), Some(&0.5));
        assert_eq!(fresh.get(now + STALE_AFTER), None);
    }
}

//! Timestamps. The state reads no clock; it is given the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on two clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timestamp {
    /// On the monotonic clock, for durations and deadlines.
    pub monotonic: Instant,
    /// In seconds since the epoch, for timestamps in metrics.
    pub unix_seconds: f64,
}

impl Timestamp {
    /// Reads both clocks. Only the edges of the program call this.
    #[must_use]
    pub fn read() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            monotonic: Instant::now(),
            unix_seconds: since_epoch.as_secs_f64(),
        }
    }

    /// The moment `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self {
            monotonic: self.monotonic + duration,
            unix_seconds: self.unix_seconds + duration.as_secs_f64(),
        }
    }
}

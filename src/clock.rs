//! Time, as it is handed to the pure core.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks: `monotonic` measures durations, `unix_seconds` names moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timestamp {
    /// The monotonic clock: for every duration and deadline.
    pub monotonic: Instant,
    /// Seconds since the epoch: for timestamps in metrics and to compare with Plex's rows.
    pub unix_seconds: f64,
}

impl Timestamp {
    /// Reads the clocks. Only the edges of the program call this.
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

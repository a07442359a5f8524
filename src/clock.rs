//! Time, as it is handed to the pure core.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks: `mono` measures, `wall` names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// The monotonic clock: for every duration and deadline.
    pub mono: Instant,
    /// Seconds since the epoch: for timestamps in metrics and to compare with Plex's rows.
    pub wall: f64,
}

impl Now {
    /// Reads the clocks. Only the edges of the program call this.
    #[must_use]
    pub fn read() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            mono: Instant::now(),
            wall: since_epoch.as_secs_f64(),
        }
    }

    /// The moment `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self {
            mono: self.mono + duration,
            wall: self.wall + duration.as_secs_f64(),
        }
    }
}

//! Logs once that connections cannot be accepted, and once that they can again.

use std::time::{Duration, Instant};

/// Accepting has recovered when no `accept` has failed for this long. Without file descriptors, each
/// connection that ends lets one more be accepted, so that one success proves nothing.
const QUIET: Duration = Duration::from_mins(1);

/// The failures of `accept`.
#[derive(Debug, Default)]
pub struct AcceptLog {
    /// The last failure of the outage that was logged.
    last_failure: Option<Instant>,
}

impl AcceptLog {
    /// Records a failure; true if it is to be logged.
    #[must_use]
    pub fn failed(&mut self, now: Instant) -> bool {
        self.last_failure.replace(now).is_none()
    }

    /// Records a success; true if the recovery is to be logged.
    #[must_use]
    pub fn accepted(&mut self, now: Instant) -> bool {
        self.last_failure
            .take_if(|last| now.saturating_duration_since(*last) >= QUIET)
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_in_which_some_connections_are_accepted_is_logged_once() {
        let mut log = AcceptLog::default();
        let begun = Instant::now();
        assert!(!log.accepted(begun));
        for second in (0..3_600).step_by(6) {
            let at = begun + Duration::from_secs(second);
            assert_eq!(log.failed(at), second == 0);
            assert!(!log.accepted(at + Duration::from_secs(5)));
        }
        let last = begun + Duration::from_secs(3_594);
        assert!(log.accepted(last + QUIET));
        assert!(!log.accepted(last + 2 * QUIET));
        assert!(log.failed(last + 3 * QUIET));
    }
}

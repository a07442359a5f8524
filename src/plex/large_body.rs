//! Large responses, one at a time.
//!
//! Responses to several requests arrive at the same time, and each may have 10 MB. Those of up to
//! [`MAX_SMALL`] bytes are decoded at the same time; of the others only one goes on beyond that, until
//! the event loop has applied it. The rest wait, and with them, by way of TCP, Plex.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Small responses of all requests together take some megabytes. A listing of 30 sessions is small.
pub const MAX_SMALL: u64 = 512 * 1024;

/// Lets one large response pass at a time. Clones share the permit.
#[derive(Debug, Clone)]
pub struct LargeBodies {
    take: Sender<()>,
    give_back: Receiver<()>,
}

/// The permit to hold a large response; given back when it is dropped.
#[derive(Debug)]
pub struct Permit(Receiver<()>);

impl LargeBodies {
    /// Nobody has the permit yet.
    #[must_use]
    pub fn new() -> Self {
        let (take, give_back) = bounded(1);
        Self { take, give_back }
    }

    /// Waits for the permit, until `deadline`.
    #[must_use]
    pub fn acquire(&self, deadline: Instant) -> Option<Permit> {
        let taken = self.take.send_deadline((), deadline);
        taken.is_ok().then(|| Permit(self.give_back.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Never empty while there is a permit.
        let _ = self.0.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_large_response_waits_for_the_end_of_the_first_or_its_own_deadline() {
        let bodies = &LargeBodies::new();
        let soon = || Instant::now() + Duration::from_millis(50);
        let first = bodies.acquire(soon());
        assert!(first.is_some());
        assert!(bodies.clone().acquire(soon()).is_none());
        std::thread::scope(|scope| {
            let later = Instant::now() + Duration::from_secs(20);
            let second = scope.spawn(move || bodies.acquire(later));
            assert!(!second.is_finished());
            drop(first);
            assert!(second.join().unwrap().is_some());
        });
        assert!(bodies.acquire(soon()).is_some());
    }
}

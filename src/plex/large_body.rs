//! Large responses, one at a time.
//!
//! Responses to several requests arrive at the same time, and each may have 10 MB. Up to
//! [`MAX_SMALL`] bytes of each are decoded concurrently; only one response continues beyond that,
//! until the event loop has applied it. The others wait, and through TCP backpressure so does Plex.

use std::{
    io::{self, Read},
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, bounded};

/// A response without a large element decodes to several times its size at most, so the small ones
/// of all requests take some megabytes together. A listing of 60 sessions is small.
const MAX_SMALL: usize = 1_000_000;

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
    /// The permit is not taken.
    #[must_use]
    pub fn new() -> Self {
        let (take, give_back) = bounded(1);
        Self { take, give_back }
    }

    /// A reader of `body` that waits for the permit, until `deadline`, when the body turns out to be
    /// large.
    pub fn reader<R: Read>(&self, body: R, deadline: Instant) -> LargeBodyReader<'_, R> {
        LargeBodyReader {
            body,
            read: 0,
            deadline,
            bodies: self,
            permit: None,
        }
    }

    fn acquire(&self, deadline: Instant) -> io::Result<Permit> {
        self.take
            .send_deadline((), deadline)
            .map_err(|_| io::ErrorKind::TimedOut)?;
        Ok(Permit(self.give_back.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Never empty while there is a permit.
        let _ = self.0.try_recv();
    }
}

/// See [`LargeBodies::reader`].
#[derive(Debug)]
pub struct LargeBodyReader<'a, R> {
    body: R,
    read: usize,
    deadline: Instant,
    bodies: &'a LargeBodies,
    permit: Option<Permit>,
}

impl<R> LargeBodyReader<'_, R> {
    /// The permit, if the body is large.
    pub fn into_permit(self) -> Option<Permit> {
        self.permit
    }
}

impl<R: Read> Read for LargeBodyReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read > MAX_SMALL && self.permit.is_none() {
            self.permit = Some(self.bodies.acquire(self.deadline)?);
        }
        let read = self.body.read(buffer)?;
        self.read += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(bodies: &LargeBodies, length: usize, limit: Duration) -> io::Result<Option<Permit>> {
        let body = io::repeat(b'x').take(length as u64);
        let mut reader = bodies.reader(body, Instant::now() + limit);
        let read = io::copy(&mut reader, &mut io::sink())?;
        assert_eq!(read, length as u64);
        Ok(reader.into_permit())
    }

    #[test]
    fn a_second_large_body_waits_for_the_first_and_small_ones_do_not() {
        const SOON: Duration = Duration::from_millis(50);
        const LATER: Duration = Duration::from_secs(20);
        let bodies = LargeBodies::new();
        let first = read(&bodies, 2 * MAX_SMALL, SOON).unwrap();
        assert!(first.is_some());
        assert!(read(&bodies, MAX_SMALL / 2, SOON).unwrap().is_none());
        let late = read(&bodies, 2 * MAX_SMALL, SOON).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| read(&bodies, 2 * MAX_SMALL, LATER).unwrap());
            assert!(!second.is_finished());
            drop(first);
            assert!(second.join().unwrap().is_some());
        });
        assert!(read(&bodies, 2 * MAX_SMALL, SOON).unwrap().is_some());
    }
}

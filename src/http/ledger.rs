//! The memory of answers that clients are slow to take.
//!
//! A scrape of a large server is some megabytes, and a client that asks for it and never reads
//! holds them until its time is up. Twenty such clients must not make the exporter twenty times as
//! large. So all answers together may take [`BUDGET`]; when one more does not fit, the client that
//! has not moved for longest is cut off, provided that it stands still.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What all held answers may take together, in bytes. One larger answer is held alone.
const BUDGET: usize = 6 * 1024 * 1024;
/// A client that has taken nothing for so long stands still.
const STALLED: Duration = Duration::from_millis(40);
/// How often a waiting answer looks whether somebody stands still by now.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// For so long an answer waits for room; all the others would have to be moving.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The answers that are held.
#[derive(Debug, Default)]
pub struct Ledger {
    // Never held across I/O.
    books: Mutex<Books>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Books {
    next: u64,
    holders: Vec<Holder>,
}

#[derive(Debug)]
struct Holder {
    id: u64,
    bytes: usize,
    moved: Instant,
    /// To cut the client off.
    socket: TcpStream,
}

/// Room for one answer; dropping it gives the room back.
#[derive(Debug)]
pub struct Hold<'a> {
    ledger: &'a Ledger,
    id: u64,
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic ends the process, so nobody ever sees a poisoned lock.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for an answer of some `bytes` to the client at `socket`.
    pub fn reserve(&self, bytes: usize, socket: &TcpStream) -> Option<Hold<'_>> {
        let socket = socket.try_clone().ok()?;
        let give_up = Instant::now() + MAX_WAIT;
        let mut books = self.books();
        loop {
            let now = Instant::now();
            let held: usize = books.holders.iter().map(|holder| holder.bytes).sum();
            if books.holders.is_empty() || held + bytes <= BUDGET {
                let id = books.next;
                books.next += 1;
                books.holders.push(Holder {
                    id,
                    bytes,
                    moved: now,
                    socket,
                });
                return Some(Hold { ledger: self, id });
            }
            if now > give_up {
                return None;
            }
            let slowest = books.holders.iter_mut().min_by_key(|holder| holder.moved);
            if let Some(holder) = slowest.filter(|holder| now >= holder.moved + STALLED) {
                // Its thread wakes from the write and drops its hold. An error means it has.
                let _ = holder.socket.shutdown(Shutdown::Both);
            }
            books = self
                .changed
                .wait_timeout(books, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Hold<'_> {
    fn change(&self, change: impl FnOnce(&mut Holder)) {
        let mut books = self.ledger.books();
        if let Some(holder) = books.holders.iter_mut().find(|holder| holder.id == self.id) {
            change(holder);
        }
    }

    /// The answer takes `bytes` after all.
    pub fn resize(&self, bytes: usize) {
        self.change(|holder| holder.bytes = bytes);
    }

    /// The client took some of it.
    pub fn moved(&self) {
        self.change(|holder| holder.moved = Instant::now());
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.ledger
            .books()
            .holders
            .retain(|holder| holder.id != self.id);
        self.ledger.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn socket() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn the_client_that_stands_still_makes_room() {
        let ledger = Ledger::default();
        let (mut client, server) = socket();
        let (_other, moving) = socket();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _hold = ledger.reserve(BUDGET - 10, &server).unwrap();
                // Stands still until it is cut off.
                let mut byte = [0];
                std::io::Read::read(&mut &server, &mut byte).unwrap();
            });
            while ledger.books().holders.is_empty() {
                std::thread::yield_now();
            }
            let begun = Instant::now();
            assert!(ledger.reserve(100, &moving).is_some());
            assert!(begun.elapsed() < Duration::from_secs(1));
        });
        let mut byte = [0];
        assert_eq!(std::io::Read::read(&mut client, &mut byte).unwrap(), 0);
        assert!(ledger.books().holders.is_empty());
    }

    #[test]
    fn an_answer_larger_than_the_budget_is_held_alone() {
        let ledger = Ledger::default();
        let (_client, server) = socket();
        assert!(ledger.reserve(2 * BUDGET, &server).is_some());
    }
}

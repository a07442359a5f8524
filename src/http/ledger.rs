//! The memory of scrapes that clients are slow to take.
//!
//! A scrape of a large server is some megabytes, and a client that asks for it and never reads
//! holds them until its time is up. Twenty such clients must not make the exporter twenty times as
//! large. So all pages that are held together may take [`BUDGET`]; when one more does not fit, the
//! client that has not moved for longest is cut off, provided that it stands still.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A scrape, ready to be sent.
#[derive(Debug)]
pub struct Page {
    /// Status line and headers.
    pub head: Vec<u8>,
    /// The text, perhaps compressed.
    pub body: Vec<u8>,
}

/// What all held pages may take together, in bytes. MaybeObject larger page is held alone.
const BUDGET: usize = 5 * 1024 * 1024;
/// A client that has taken nothing for so long stands still.
const STALLED: Duration = Duration::from_millis(80);
/// How often a page that waits looks whether somebody stands still by now.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// For so long a page waits for room; all the others would have to be moving.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The pages that are held.
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
    page: Arc<Page>,
    /// When the client last took some of it.
    moved: Instant,
    /// To cut the client off.
    socket: TcpStream,
}

impl Books {
    /// Bytes that are held; a page that is shared counts once.
    fn held(&self) -> usize {
        let distinct = self.holders.iter().enumerate().filter(|(index, holder)| {
            !self.holders[..*index]
                .iter()
                .any(|before| Arc::ptr_eq(&before.page, &holder.page))
        });
        distinct.map(|(_, holder)| holder.page.body.len()).sum()
    }
}

/// A page on its way to a client; dropping it closes the entry.
#[derive(Debug)]
pub struct Hold {
    ledger: Arc<Ledger>,
    id: u64,
    page: Arc<Page>,
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic ends the process, so nobody ever sees a poisoned lock.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a page of some `bytes`; false when there is none for too long.
    pub fn make_room(&self, bytes: usize) -> bool {
        let give_up = Instant::now() + MAX_WAIT;
        let mut books = self.books();
        loop {
            let now = Instant::now();
            if books.holders.is_empty() || books.held() + bytes <= BUDGET {
                return true;
            }
            if now > give_up {
                return false;
            }
            let slowest = books.holders.iter().min_by_key(|holder| holder.moved);
            if let Some(holder) = slowest.filter(|holder| now >= holder.moved + STALLED) {
                // Its thread wakes from the write and closes the entry. An error means it has.
                let _ = holder.socket.shutdown(Shutdown::Both);
            }
            books = self
                .changed
                .wait_timeout(books, LOOK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Enters that `page` is on its way to the client at `socket`.
    pub fn enter(self: &Arc<Self>, page: &Arc<Page>, socket: TcpStream) -> Hold {
        let mut books = self.books();
        let id = books.next;
        books.next += 1;
        let (held, moved) = (Arc::clone(page), Instant::now());
        books.holders.push(Holder {
            id,
            page: held,
            moved,
            socket,
        });
        Hold {
            ledger: Arc::clone(self),
            id,
            page: Arc::clone(page),
        }
    }
}

impl Hold {
    /// The page.
    #[must_use]
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// The client took some of it.
    pub fn moved(&self) {
        let mut books = self.ledger.books();
        if let Some(holder) = books.holders.iter_mut().find(|holder| holder.id == self.id) {
            holder.moved = Instant::now();
        }
    }
}

impl Drop for Hold {
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
    use std::{io::Read, net::TcpListener};

    use super::*;

    fn socket() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn page(length: usize) -> Arc<Page> {
        Arc::new(Page {
            head: Vec::new(),
            body: vec![0; length],
        })
    }

    #[test]
    fn the_client_that_stands_still_makes_room() {
        let ledger = Arc::new(Ledger::default());
        let (mut client, server) = socket();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let page = page(BUDGET - 10);
                let _hold = ledger.enter(&page, server.try_clone().unwrap());
                // Stands still until it is cut off.
                (&server).read_exact(&mut [0]).unwrap_err();
            });
            while ledger.books().holders.is_empty() {
                std::thread::yield_now();
            }
            assert!(ledger.make_room(100));
        });
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "it was cut off");
        assert!(ledger.books().holders.is_empty());
    }

    #[test]
    fn a_shared_page_counts_once_and_one_larger_than_the_budget_is_held_alone() {
        let ledger = Arc::new(Ledger::default());
        assert!(ledger.make_room(2 * BUDGET));
        let page = page(BUDGET / 2);
        let (_client, server) = socket();
        let _holds: Vec<_> = (0..9)
            .map(|_| ledger.enter(&page, server.try_clone().unwrap()))
            .collect();
        assert_eq!(ledger.books().held(), BUDGET / 2);
        assert!(ledger.make_room(BUDGET / 2));
    }
}

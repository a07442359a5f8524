//! The memory of scrapes on their way to clients.
//!
//! A scrape of a large server takes some megabytes, and a client that requests one and never reads
//! it holds them until its deadline. So all bodies on their way may take [`BUDGET`] together; when a
//! new one does not fit, the client that has stalled longest is cut off.

use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The text of a scrape, perhaps compressed.
#[derive(Debug)]
pub struct ScrapeBody {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Whether it is compressed.
    pub gzip: bool,
}

/// Bytes that all bodies on their way may take. A larger one is on its way alone.
const BUDGET: usize = 5 * 1024 * 1024;
/// The largest buffer that is kept for the next scrape: mapping fresh memory for a page costs as much as
/// writing it, but a page of a large server is better given back.
const MAX_SPARE: usize = 256 * 1024;
/// A client that took nothing for this long has stalled.
const STALLED: Duration = Duration::from_millis(80);
/// A client that keeps taking a little may be cut off after this time.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// The bodies on their way.
#[derive(Debug, Default)]
pub struct ResponseBudget {
    entries: Mutex<Entries>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct Entries {
    next_id: u64,
    entries: Vec<Entry>,
    /// The buffer of a body that was sent.
    spare: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    body: Arc<ScrapeBody>,
    stream: Arc<TcpStream>,
    begun: Instant,
    progressed: Instant,
    cut_off: bool,
}

impl Entry {
    /// When the client may be cut off.
    fn disposable_at(&self) -> Instant {
        (self.progressed + STALLED).min(self.begun + UNDISTURBED)
    }
}

impl Entries {
    /// Bytes of all bodies; one that several clients share counts once.
    fn bytes(&self) -> usize {
        let distinct = self.entries.iter().enumerate().filter(|(index, entry)| {
            !self.entries[..*index]
                .iter()
                .any(|before| Arc::ptr_eq(&before.body, &entry.body))
        });
        distinct.map(|(_, entry)| entry.body.bytes.len()).sum()
    }
}

/// Permission to hold a body while a client takes it.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<ResponseBudget>,
    id: u64,
    body: Arc<ScrapeBody>,
}

impl ResponseBudget {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // A panic ends the process, so nobody ever sees a poisoned lock.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a body of `bytes` fits; about a second at most.
    pub fn make_room(&self, bytes: usize) {
        let mut entries = self.entries();
        while !entries.entries.is_empty() && entries.bytes() + bytes > BUDGET {
            let now = Instant::now();
            let live = entries.entries.iter_mut().filter(|entry| !entry.cut_off);
            let wait = match live.min_by_key(|entry| entry.disposable_at()) {
                Some(entry) if entry.disposable_at() > now => entry.disposable_at() - now,
                Some(entry) => {
                    entry.cut_off = true;
                    // Its thread wakes from the write and releases the permit. An error means that
                    // the client has gone, and the thread is awake.
                    let _ = entry.stream.shutdown(Shutdown::Both);
                    continue;
                }
                None => UNDISTURBED,
            };
            entries = self
                .released
                .wait_timeout(entries, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// An empty buffer for the next body.
    pub fn buffer(&self) -> Vec<u8> {
        std::mem::take(&mut self.entries().spare)
    }

    /// Keeps the buffer of a body that is no longer needed, unless it is large.
    pub fn recycle(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() <= MAX_SPARE {
            bytes.clear();
            self.entries().spare = bytes;
        }
    }

    /// Records that `body` is on its way to the client at `stream`.
    pub fn admit(self: &Arc<Self>, body: Arc<ScrapeBody>, stream: Arc<TcpStream>) -> Permit {
        let mut entries = self.entries();
        let (id, now) = (entries.next_id, Instant::now());
        entries.next_id += 1;
        entries.entries.push(Entry {
            id,
            body: Arc::clone(&body),
            stream,
            begun: now,
            progressed: now,
            cut_off: false,
        });
        Permit {
            budget: Arc::clone(self),
            id,
            body,
        }
    }
}

impl Permit {
    /// The body.
    pub fn body(&self) -> &ScrapeBody {
        &self.body
    }

    /// The client took some of it.
    pub fn progressed(&self) {
        let mut entries = self.budget.entries();
        if let Some(entry) = entries.entries.iter_mut().find(|entry| entry.id == self.id) {
            entry.progressed = Instant::now();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut entries = self.budget.entries();
        entries.entries.retain(|entry| entry.id != self.id);
        drop(entries);
        self.budget.released.notify_all();
        // The last one that held the body leaves its buffer to the next.
        if let Some(body) = Arc::get_mut(&mut self.body)
            && !body.gzip
        {
            self.budget.recycle(std::mem::take(&mut body.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::TcpListener};

    use super::*;

    fn socket() -> (TcpStream, Arc<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, Arc::new(listener.accept().unwrap().0))
    }

    fn body(length: usize) -> Arc<ScrapeBody> {
        Arc::new(ScrapeBody {
            bytes: vec![0; length],
            gzip: false,
        })
    }

    /// A client that takes nothing, or a little all the time, until it is cut off.
    fn serve(budget: &Arc<ResponseBudget>, stream: &Arc<TcpStream>, length: usize, moves: bool) {
        let permit = budget.admit(body(length), Arc::clone(stream));
        stream
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        while let Err(error) = (&**stream).read(&mut [0]) {
            assert!(crate::net::is_timeout(&error), "{error:?}");
            if moves {
                permit.progressed();
            }
        }
    }

    fn begun(budget: &ResponseBudget, count: usize) {
        while budget.entries().entries.len() < count {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_client_that_stalled_longest_makes_room() {
        let budget = Arc::new(ResponseBudget::default());
        let (mut stalled, first) = socket();
        let (mut moving, second) = socket();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&budget, &first, BUDGET / 2, false));
            begun(&budget, 1);
            scope.spawn(|| serve(&budget, &second, BUDGET / 2 - 1, true));
            begun(&budget, 2);
            let waiting = Instant::now();
            budget.make_room(BUDGET / 2);
            assert!(waiting.elapsed() < Duration::from_millis(500));
            assert_eq!(stalled.read(&mut [0]).unwrap(), 0, "it was cut off");
            assert_eq!(budget.entries().entries.len(), 1);
            // Nobody keeps the memory for more than a second.
            budget.make_room(BUDGET);
            assert!(waiting.elapsed() < Duration::from_secs(3));
            assert_eq!(moving.read(&mut [0]).unwrap(), 0, "it was cut off");
        });
        assert!(budget.entries().entries.is_empty());
    }

    #[test]
    fn a_shared_body_counts_once_and_one_larger_than_the_budget_goes_alone() {
        let budget = Arc::new(ResponseBudget::default());
        budget.make_room(2 * BUDGET);
        let (_client, stream) = socket();
        let body = body(BUDGET / 2);
        let _permits: Vec<_> = (0..9)
            .map(|_| budget.admit(Arc::clone(&body), Arc::clone(&stream)))
            .collect();
        assert_eq!(budget.entries().bytes(), BUDGET / 2);
        budget.make_room(BUDGET / 2);
    }

    #[test]
    fn the_buffer_of_a_body_that_everybody_took_is_used_again_unless_it_is_large() {
        let budget = Arc::new(ResponseBudget::default());
        let (_client, stream) = socket();
        let shared = body(1_000);
        let first = budget.admit(Arc::clone(&shared), Arc::clone(&stream));
        let second = budget.admit(shared, Arc::clone(&stream));
        drop(first);
        assert_eq!(budget.buffer().capacity(), 0, "it is still on its way");
        drop(second);
        let buffer = budget.buffer();
        assert!(buffer.capacity() >= 1_000 && buffer.is_empty());
        drop(budget.admit(body(MAX_SPARE + 1), stream));
        assert_eq!(budget.buffer().capacity(), 0);
    }
}

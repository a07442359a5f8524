//! The memory of scrapes on their way to clients.
//!
//! A page of 5,000 sessions takes 9 MB, and a client may take 10 s to read it. So all pages on their
//! way may take [`BUDGET`] together; a larger one goes alone. When a new one does not fit, the clients
//! that will miss their deadline at the rate of their last half second are cut off, if that gives back
//! a page. When no page can be given back, the next client shares the newest one on its way, up to
//! [`MAX_AGE`] old: nobody was served a newer one, so no counter falls. Only when that is older does a
//! client wait for room.

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
    /// When the event loop rendered it.
    pub rendered: Instant,
}

/// Bytes that all bodies on their way may take.
const BUDGET: usize = 6 * 1024 * 1024;
/// Bytes that others may take while one is on its way that is nearly as large as the budget, or larger:
/// some compressed pages of 5,000 sessions.
const BESIDE_LARGE: usize = 2 * 1024 * 1024;
/// The oldest page that another client may share: by then, whoever got it first has read it or is cut
/// off.
const MAX_AGE: Duration = Duration::from_secs(10);
/// How long a client's rate is measured.
const WINDOW: Duration = Duration::from_millis(500);
/// How much of a buffer is kept for the next scrape. To map fresh memory for a page costs as much as to
/// write it; but the rest of a large page is better given back.
const MAX_SPARE: usize = 1024 * 1024;

/// The bodies on their way.
#[derive(Debug, Default)]
pub struct ResponseBudget {
    entries: Mutex<Entries>,
    /// Notified when there may be room, or when a client may be cut off.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Entries {
    next_id: u64,
    entries: Vec<Entry>,
    /// Whether a body is being made, whose size is not known yet.
    making: bool,
    /// When the newest page that anybody was served was rendered.
    newest: Option<Instant>,
    /// The buffer of a body that was sent.
    spare: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    body: Arc<ScrapeBody>,
    stream: Arc<TcpStream>,
    /// Bytes that the client took.
    sent: usize,
    /// When its rate was last measured, and how much it had taken.
    window: (Instant, usize),
    /// Whether it will miss its deadline at its present rate.
    late: bool,
    cut_off: bool,
}

/// Whether there is memory for another body.
#[derive(Debug)]
pub enum Room {
    /// There is, for one that is admitted before the turn ends.
    Free(Turn),
    /// There is none; the client shares this body.
    Share(Arc<ScrapeBody>),
}

/// The turn to make a body: one at a time, whatever the encoding, because a page may be as large as all
/// that is on its way.
#[derive(Debug)]
pub struct Turn(Arc<ResponseBudget>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.entries().making = false;
        self.0.changed.notify_all();
    }
}

impl Entries {
    fn fits(&self, bytes: usize) -> bool {
        // A body that several clients share counts once.
        let distinct = self.entries.iter().enumerate().filter(|(index, entry)| {
            !self.entries[..*index]
                .iter()
                .any(|before| Arc::ptr_eq(&before.body, &entry.body))
        });
        let taken: usize = distinct.map(|(_, entry)| entry.body.bytes.len()).sum();
        taken <= BUDGET.saturating_sub(bytes).max(BESIDE_LARGE)
    }

    /// Cuts off the clients of a body if all of them are late.
    fn cut_off_late_clients(&mut self) {
        let only_late = |body| {
            let mut clients = self.entries.iter().filter(|e| Arc::ptr_eq(&e.body, body));
            clients.all(|entry| entry.late)
        };
        let Some(body) = self
            .entries
            .iter()
            .map(|entry| &entry.body)
            .find(|body| only_late(body))
        else {
            return;
        };
        let body = Arc::clone(body);
        for entry in &mut self.entries {
            if Arc::ptr_eq(&entry.body, &body) {
                entry.cut_off = true;
                // Its thread wakes from the write and drops the permit. An error means that the client
                // has gone, and the thread is awake.
                let _ = entry.stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// The newest body that anybody was served, if it is still on its way and young enough.
    fn newest(&self, gzip: bool) -> Option<Arc<ScrapeBody>> {
        let newest = self
            .newest
            .filter(|rendered| rendered.elapsed() < MAX_AGE)?;
        let mut bodies = self.entries.iter().map(|entry| &entry.body);
        bodies
            .find(|body| body.rendered == newest && (gzip || !body.gzip))
            .cloned()
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

    /// Waits until a body of `bytes` fits, unless there is one to share with a client that accepts
    /// gzip or not.
    pub fn make_room(self: &Arc<Self>, bytes: usize, gzip: bool) -> Room {
        let mut entries = self.entries();
        while entries.making || !entries.fits(bytes) {
            if !entries.making {
                if !entries.entries.iter().any(|entry| entry.cut_off) {
                    entries.cut_off_late_clients();
                }
                if !entries.entries.iter().any(|entry| entry.cut_off)
                    && let Some(body) = entries.newest(gzip)
                {
                    return Room::Share(body);
                }
            }
            entries = self
                .changed
                .wait_timeout(entries, WINDOW)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        entries.making = true;
        Room::Free(Turn(Arc::clone(self)))
    }

    /// An empty buffer for the next body.
    pub fn buffer(&self) -> Vec<u8> {
        std::mem::take(&mut self.entries().spare)
    }

    /// Keeps the buffer of a body that is no longer needed, as much of it as was used, up to
    /// [`MAX_SPARE`].
    pub fn recycle(&self, mut bytes: Vec<u8>) {
        let used = bytes.len();
        bytes.clear();
        // The C library unmaps the end of a large allocation.
        bytes.shrink_to(MAX_SPARE.min(used + used / 8));
        self.entries().spare = bytes;
    }

    /// Records that `body` is on its way to the client at `stream`.
    pub fn admit(self: &Arc<Self>, body: Arc<ScrapeBody>, stream: Arc<TcpStream>) -> Permit {
        let mut entries = self.entries();
        let id = entries.next_id;
        entries.next_id += 1;
        entries.newest = entries.newest.max(Some(body.rendered));
        entries.entries.push(Entry {
            id,
            body: Arc::clone(&body),
            stream,
            sent: 0,
            window: (Instant::now(), 0),
            late: false,
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

    /// The client took `bytes` more, perhaps none, and has `left` to take the rest.
    pub fn progressed(&self, bytes: usize, left: Duration) {
        let mut entries = self.budget.entries();
        let Some(entry) = entries.entries.iter_mut().find(|entry| entry.id == self.id) else {
            return;
        };
        entry.sent += bytes;
        let (since, before) = entry.window;
        let window = since.elapsed();
        if window < WINDOW {
            return;
        }
        entry.window = (Instant::now(), entry.sent);
        let rest = self.body.bytes.len().saturating_sub(entry.sent);
        let rate_by_left = (entry.sent - before) as u128 * left.as_millis();
        entry.late = rate_by_left < rest as u128 * window.as_millis();
        if entry.late {
            self.budget.changed.notify_all();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut entries = self.budget.entries();
        entries.entries.retain(|entry| entry.id != self.id);
        drop(entries);
        self.budget.changed.notify_all();
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

    const LEFT: Duration = Duration::from_secs(9);

    fn socket() -> (TcpStream, Arc<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, Arc::new(listener.accept().unwrap().0))
    }

    fn body(length: usize) -> Arc<ScrapeBody> {
        Arc::new(ScrapeBody {
            bytes: vec![0; length],
            gzip: false,
            rendered: Instant::now(),
        })
    }

    impl Permit {
        /// The client took `bytes` within a window.
        fn takes(&self, bytes: usize) {
            for entry in &mut self.budget.entries().entries {
                if entry.id == self.id {
                    entry.window.0 = Instant::now().checked_sub(WINDOW).unwrap();
                }
            }
            self.progressed(bytes, LEFT);
        }
    }

    fn shares(budget: &Arc<ResponseBudget>, bytes: usize) -> Option<Arc<ScrapeBody>> {
        match budget.make_room(bytes, false) {
            Room::Free(_) => None,
            Room::Share(body) => Some(body),
        }
    }

    #[test]
    fn while_a_page_is_made_the_next_one_waits() {
        let budget = Arc::new(ResponseBudget::default());
        let Room::Free(turn) = budget.make_room(0, false) else {
            panic!("there is room");
        };
        std::thread::scope(|scope| {
            let next = scope.spawn(|| shares(&budget, BUDGET));
            let permit = budget.admit(body(BUDGET), socket().1);
            drop(turn);
            // The large page is in the budget by the time that the next one may be made.
            assert!(Arc::ptr_eq(&next.join().unwrap().unwrap(), &permit.body));
        });
    }

    #[test]
    fn clients_that_will_miss_their_deadline_make_room_and_others_share_their_page() {
        let budget = Arc::new(ResponseBudget::default());
        let (mut slow, first) = socket();
        let (mut fast, second) = socket();
        let old = budget.admit(body(BUDGET / 2), first);
        let new = budget.admit(body(BUDGET / 2), second);
        let shared = shares(&budget, BUDGET / 2).unwrap();
        assert!(Arc::ptr_eq(&shared, &new.body), "the newest");
        // In nine seconds, eighteen times as much will be more than the rest, or just less.
        new.takes(BUDGET / 2 / 18);
        old.takes(BUDGET / 2 / 18);
        assert!(shares(&budget, BUDGET / 2).is_some());
        old.takes(BUDGET / 2 / 21);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(slow.read(&mut [0]).unwrap(), 0, "it was cut off");
                drop(old);
            });
            assert!(shares(&budget, BUDGET / 2).is_none());
        });
        fast.set_nonblocking(true).unwrap();
        assert!(fast.read(&mut [0]).is_err(), "it was not cut off");
    }

    #[test]
    fn a_late_client_whose_page_others_read_in_time_is_left_alone() {
        let budget = Arc::new(ResponseBudget::default());
        let (mut client, stream) = socket();
        let page = body(BUDGET);
        let late = budget.admit(Arc::clone(&page), Arc::clone(&stream));
        let _in_time = budget.admit(page, socket().1);
        late.takes(0);
        assert!(shares(&budget, BUDGET).is_some());
        client.set_nonblocking(true).unwrap();
        assert!(client.read(&mut [0]).is_err(), "it was not cut off");
    }

    #[test]
    fn a_page_is_not_shared_when_a_newer_one_was_served_or_it_is_compressed_or_old() {
        let budget = Arc::new(ResponseBudget::default());
        let stream = socket().1;
        let old = budget.admit(body(BUDGET), Arc::clone(&stream));
        assert!(budget.entries().newest(false).is_some());
        drop(budget.admit(body(1), Arc::clone(&stream)));
        assert!(budget.entries().newest(true).is_none());
        drop(old);
        let compressed = ScrapeBody {
            bytes: vec![0],
            gzip: true,
            rendered: Instant::now(),
        };
        let _compressed = budget.admit(Arc::new(compressed), stream);
        assert!(budget.entries().newest(false).is_none());
        assert!(budget.entries().newest(true).is_some());
        let mut entries = budget.entries();
        entries.newest = entries.newest.and_then(|at| at.checked_sub(MAX_AGE));
        assert!(entries.newest(true).is_none());
    }

    #[test]
    fn without_a_page_to_share_a_client_waits_for_room() {
        let budget = Arc::new(ResponseBudget::default());
        let permit = budget.admit(body(BUDGET), socket().1);
        budget.entries().newest = None;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| shares(&budget, BUDGET));
            assert!(!waiting.is_finished());
            drop(permit);
            assert!(waiting.join().unwrap().is_none());
        });
    }

    #[test]
    fn a_body_larger_than_the_budget_goes_with_small_ones_only() {
        let budget = Arc::new(ResponseBudget::default());
        let _small = budget.admit(body(BESIDE_LARGE), socket().1);
        assert!(shares(&budget, 2 * BUDGET).is_none());
        let _more = budget.admit(body(1), socket().1);
        assert!(shares(&budget, 2 * BUDGET).is_some());
    }

    #[test]
    fn a_body_that_several_clients_share_counts_once() {
        let budget = Arc::new(ResponseBudget::default());
        let (_client, stream) = socket();
        let body = body(BUDGET / 2);
        let _permits: Vec<_> = (0..9)
            .map(|_| budget.admit(Arc::clone(&body), Arc::clone(&stream)))
            .collect();
        assert!(shares(&budget, BUDGET / 2).is_none());
        assert!(shares(&budget, BUDGET / 2 + 1).is_some());
    }

    #[test]
    fn the_buffer_of_a_body_that_everybody_took_is_used_again_but_not_all_of_a_large_one() {
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
        drop(budget.admit(body(2 * MAX_SPARE), stream));
        assert_eq!(budget.buffer().capacity(), MAX_SPARE);
        let mut small = Vec::with_capacity(1_000);
        small.resize(100, 0);
        budget.recycle(small);
        assert!(budget.buffer().capacity() < 200, "the sessions have gone");
    }
}

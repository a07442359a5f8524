//! Scrapes: clients that want one at the same time share it.
//!
//! A scrape that began after a client's request is as fresh as one of its own. So any number of
//! simultaneous clients costs two scrapes, and the memory of two. When there is no memory for
//! another ([`super::response_budget`]), a client shares the newest one on its way.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use flate2::{Compression, write::GzEncoder};

use super::response_budget::{Permit, ResponseBudget, Room, ScrapeBody};
use crate::{
    metrics::process::ProcessReader,
    state_handle::{Page, StateHandle, Unresponsive},
};

/// A body that fits into one packet does not get smaller on the wire.
const MIN_COMPRESSED: usize = 1_400;

/// Makes scrapes.
#[derive(Debug)]
pub struct Scrapes {
    state: StateHandle,
    process: ProcessReader,
    budget: Arc<ResponseBudget>,
    /// The length of the latest text: the room that the next one will need.
    length: AtomicUsize,
    plain: Shared,
    gzip: Shared,
}

/// The scrapes of one encoding, made one at a time.
#[derive(Debug, Default)]
struct Shared {
    /// Clients that wait for `latest`.
    waiting: AtomicUsize,
    /// The latest scrape and when it began, as long as somebody waits who may share it.
    // Held while a scrape is made, which takes milliseconds, a second at most when the event loop does
    // not respond, and longer only when there is neither memory for it nor a scrape to share.
    latest: Mutex<Option<(Instant, Made)>>,
}

type Made = Result<Arc<ScrapeBody>, Unresponsive>;

impl Scrapes {
    pub fn new(state: StateHandle, process: ProcessReader) -> Self {
        Self {
            state,
            process,
            budget: Arc::default(),
            length: AtomicUsize::new(0),
            plain: Shared::default(),
            gzip: Shared::default(),
        }
    }

    /// A scrape that began after this call, for the client at `stream`; or, when there is no memory
    /// for one, the newest on its way.
    ///
    /// # Errors
    /// When the event loop does not respond.
    pub fn get(&self, gzip: bool, stream: &Arc<TcpStream>) -> Result<Permit, Unresponsive> {
        let requested = Instant::now();
        let shared = if gzip { &self.gzip } else { &self.plain };
        shared.waiting.fetch_add(1, Ordering::AcqRel);
        // A panic ends the process, so nobody ever sees a poisoned lock.
        let mut latest = shared.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut turn = None;
        let last = shared.waiting.fetch_sub(1, Ordering::AcqRel) == 1;
        let body = match &*latest {
            Some((begun, body)) if *begun >= requested => body.clone(),
            _ => {
                *latest = None;
                let length = self.length.load(Ordering::Acquire);
                match self.budget.make_room(length, gzip) {
                    Room::Share(body) => Ok(body),
                    Room::Free(ours) => {
                        turn = Some(ours);
                        let begun = Instant::now();
                        let body = self.make(gzip).map(Arc::new);
                        *latest = Some((begun, body.clone()));
                        body
                    }
                }
            }
        };
        if last && shared.waiting.load(Ordering::Acquire) == 0 {
            *latest = None;
        }
        // While the lock and the turn are held, so that the next one finds it in the budget.
        let permit = self.budget.admit(body?, Arc::clone(stream));
        drop(turn);
        Ok(permit)
    }

    fn make(&self, gzip: bool) -> Result<ScrapeBody, Unresponsive> {
        // Empty, so it is valid UTF-8.
        let buffer = String::from_utf8(self.budget.buffer()).unwrap_or_default();
        let Page { text, rendered } = self.state.scrape(self.process.read(), buffer)?;
        self.length.store(text.len(), Ordering::Release);
        if gzip
            && text.len() > MIN_COMPRESSED
            && let Some(bytes) = compress(&text)
        {
            self.budget.recycle(text.into_bytes());
            return Ok(ScrapeBody {
                bytes,
                gzip: true,
                rendered,
            });
        }
        Ok(ScrapeBody {
            bytes: text.into_bytes(),
            gzip: false,
            rendered,
        })
    }
}

fn compress(text: &str) -> Option<Vec<u8>> {
    // Scrapes are full of repetition: the fastest level already makes them ten times smaller.
    let compressed = Vec::with_capacity(text.len() / 8);
    let mut encoder = GzEncoder::new(compressed, Compression::fast());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::Barrier, time::Duration};

    use super::*;
    use crate::state_handle::Query;

    const CLIENTS: usize = 20;

    fn stream() -> Arc<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    }

    #[test]
    fn simultaneous_clients_share_a_scrape_that_began_after_their_requests() {
        let (state, queries) = StateHandle::channel();
        let scrapes = Scrapes::new(state, ProcessReader::new(0.0));
        let all = Barrier::new(CLIENTS + 1);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    scope.spawn(|| {
                        all.wait();
                        let permit = scrapes.get(false, &stream()).unwrap();
                        String::from_utf8(permit.body().bytes.clone()).unwrap()
                    })
                })
                .collect();
            all.wait();
            let mut made = 0;
            let mut reply_to_all = || {
                while let Ok(Query::Scrape(_, _, reply)) =
                    queries.receiver.recv_timeout(Duration::from_millis(500))
                {
                    made += 1;
                    // All clients request while the first scrape is being made.
                    while made == 1 && scrapes.plain.waiting.load(Ordering::Acquire) < CLIENTS - 1 {
                        std::thread::yield_now();
                    }
                    let text = made.to_string();
                    let rendered = Instant::now();
                    reply.send(Page { text, rendered }).unwrap();
                }
            };
            reply_to_all();
            let mut got: Vec<_> = clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .collect();
            got.sort();
            // A client whose request came just before the first one began shares it.
            assert_eq!(got[0], "1");
            assert_eq!(got[CLIENTS - 1], "2");
            assert_eq!(made, 2);
        });
        let latest = scrapes.plain.latest.lock().unwrap();
        assert!(latest.is_none(), "no client waits, so nothing is kept");
    }

    #[test]
    fn clients_that_get_no_scrape_do_not_wait_one_after_the_other() {
        let (state, _queries) = StateHandle::channel();
        let scrapes = Scrapes::new(state, ProcessReader::new(0.0));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| assert!(scrapes.get(true, &stream()).is_err()));
            }
        });
        assert!(begun.elapsed() < Duration::from_secs(4));
    }
}

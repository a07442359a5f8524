//! Scrapes: clients that want one at the same time share it.
//!
//! A scrape that began after a client asked is as good as one of its own. So a crowd that asks at
//! once costs two scrapes, not as many as it has members, and takes the memory of two.

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

use super::response_budget::{Permit, ResponseBudget, ScrapeBody};
use crate::{
    metrics::process::ProcessReader,
    state_handle::{StateHandle, Unresponsive},
};

/// A body that fits into one packet does not get smaller on the wire.
const MIN_COMPRESSED: usize = 1_400;

/// Makes scrapes.
#[derive(Debug)]
pub struct Scrapes {
    state: StateHandle,
    process: ProcessReader,
    budget: Arc<ResponseBudget>,
    plain: Shared,
    gzip: Shared,
}

/// The scrapes of one encoding, made one at a time.
#[derive(Debug, Default)]
struct Shared {
    /// Clients that wait for `latest`.
    waiting: AtomicUsize,
    // Held while a scrape is made, which takes milliseconds, and a second at most when the event
    // loop does not respond or clients have to be cut off first.
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    /// The latest scrape and when it began, as long as somebody waits who may share it.
    scrape: Option<(Instant, Result<Arc<ScrapeBody>, Unresponsive>)>,
    /// The length of its body: the room that the next one will need.
    length: usize,
}

impl Scrapes {
    pub fn new(state: StateHandle, process: ProcessReader) -> Self {
        Self {
            state,
            process,
            budget: Arc::default(),
            plain: Shared::default(),
            gzip: Shared::default(),
        }
    }

    /// A scrape that began after this call, for the client at `stream`.
    ///
    /// # Errors
    /// When the event loop does not respond.
    pub fn get(&self, gzip: bool, stream: &Arc<TcpStream>) -> Result<Permit, Unresponsive> {
        let asked = Instant::now();
        let shared = if gzip { &self.gzip } else { &self.plain };
        shared.waiting.fetch_add(1, Ordering::AcqRel);
        // A panic ends the process, so nobody ever sees a poisoned lock.
        let mut latest = shared.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let last = shared.waiting.fetch_sub(1, Ordering::AcqRel) == 1;
        let body = match &latest.scrape {
            Some((begun, body)) if *begun >= asked => body.clone(),
            _ => {
                latest.scrape = None;
                let begun = Instant::now();
                let body = self.make(gzip, latest.length).map(Arc::new);
                latest.scrape = Some((begun, body.clone()));
                body
            }
        };
        if last && shared.waiting.load(Ordering::Acquire) == 0 {
            latest.scrape = None;
        }
        let body = body?;
        latest.length = body.bytes.len();
        Ok(self.budget.admit(body, Arc::clone(stream)))
    }

    fn make(&self, gzip: bool, length: usize) -> Result<ScrapeBody, Unresponsive> {
        self.budget.make_room(length);
        // Empty, so it is valid UTF-8.
        let buffer = String::from_utf8(self.budget.buffer()).unwrap_or_default();
        let text = self.state.scrape(self.process.read(), buffer)?;
        if gzip
            && text.len() > MIN_COMPRESSED
            && let Some(bytes) = compress(&text)
        {
            self.budget.recycle(text.into_bytes());
            return Ok(ScrapeBody { bytes, gzip: true });
        }
        Ok(ScrapeBody {
            bytes: text.into_bytes(),
            gzip: false,
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
    fn a_crowd_shares_a_scrape_that_began_after_each_of_it_asked() {
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
                    queries.recv_timeout(Duration::from_millis(500))
                {
                    made += 1;
                    // Everybody asks while the first scrape is being made.
                    while made == 1 && scrapes.plain.waiting.load(Ordering::Acquire) < CLIENTS - 1 {
                        std::thread::yield_now();
                    }
                    reply.send(made.to_string()).unwrap();
                }
            };
            reply_to_all();
            let mut got: Vec<_> = clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .collect();
            got.sort();
            // Whoever asked just before the first began shares it.
            assert_eq!(got[0], "1");
            assert_eq!(got[CLIENTS - 1], "2");
            assert_eq!(made, 2);
        });
        let latest = scrapes.plain.latest.lock().unwrap();
        assert!(latest.scrape.is_none(), "nobody waits, so nothing is kept");
    }

    #[test]
    fn a_crowd_that_gets_no_scrape_does_not_wait_one_after_the_other() {
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

//! How other threads reach the state: queries to the event loop, each with a timeout.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, SyncSender},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::metrics::process::Process;

/// The event loop responds within this time, or counts as unresponsive.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Queries that may wait. When there are more, the event loop is behind, and the caller waits for
/// room, up to [`RESPONSE_TIMEOUT`] in all.
const MAX_QUERIES: usize = 8;

/// A query to the event loop.
///
/// The reply goes through a channel of the standard library: a crossbeam receiver yields its time
/// slice several times before it blocks, which costs more than the reply.
#[derive(Debug)]
pub(crate) enum Query {
    /// Render a scrape into this buffer.
    Scrape(Process, String, SyncSender<Page>),
    /// Prove that the loop runs.
    Ping(SyncSender<()>),
}

/// The event loop's end.
#[derive(Debug)]
pub(crate) struct Queries {
    pub receiver: Receiver<Query>,
    plex_responded: Arc<AtomicBool>,
}

impl Queries {
    /// Plex has responded.
    pub fn plex_responded(&self) {
        self.plex_responded.store(true, Ordering::Release);
    }
}

/// A rendered scrape.
#[derive(Debug)]
pub(crate) struct Page {
    pub text: String,
    /// When it was rendered: no counter is lower in a page rendered later.
    pub rendered: Instant,
}

/// The event loop did not respond in time, or has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unresponsive;

impl fmt::Display for Unresponsive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the event loop did not respond within {} s",
            RESPONSE_TIMEOUT.as_secs()
        )
    }
}

impl Error for Unresponsive {}

/// Sends queries to the event loop.
#[derive(Debug, Clone)]
pub(crate) struct StateHandle {
    queries: Sender<Query>,
    plex_responded: Arc<AtomicBool>,
}

impl StateHandle {
    /// A handle, and the event loop's end of it.
    pub fn channel() -> (Self, Queries) {
        let (queries, receiver) = bounded(MAX_QUERIES);
        let plex_responded = Arc::<AtomicBool>::default();
        let handle = Self {
            queries,
            plex_responded: Arc::clone(&plex_responded),
        };
        (
            handle,
            Queries {
                receiver,
                plex_responded,
            },
        )
    }

    /// Whether Plex has responded since the start.
    pub fn has_plex_responded(&self) -> bool {
        self.plex_responded.load(Ordering::Acquire)
    }

    /// A scrape of the state as it is now, with the metrics of this process, in `buffer`.
    ///
    /// # Errors
    /// When the event loop does not respond in time.
    pub fn scrape(&self, process: Process, buffer: String) -> Result<Page, Unresponsive> {
        self.query(|reply| Query::Scrape(process, buffer, reply))
    }

    /// Makes sure that the event loop runs.
    ///
    /// # Errors
    /// When it does not respond in time.
    pub fn ping(&self) -> Result<(), Unresponsive> {
        self.query(Query::Ping)
    }

    fn query<T>(&self, query: impl FnOnce(SyncSender<T>) -> Query) -> Result<T, Unresponsive> {
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        let (reply, response) = mpsc::sync_channel(1);
        self.queries
            .send_deadline(query(reply), deadline)
            .map_err(|_| Unresponsive)?;
        response
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .map_err(|_| Unresponsive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_gets_no_reply_fails_after_one_second_whether_it_was_received_or_not() {
        let (handle, queries) = StateHandle::channel();
        for _ in 0..MAX_QUERIES {
            let begun = Instant::now();
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(handle.ping().is_err()));
                scope.spawn(|| assert!(handle.scrape(Process::default(), String::new()).is_err()));
            });
            let waited = begun.elapsed();
            assert!((1.0..1.5).contains(&waited.as_secs_f64()), "{waited:?}");
            if queries.receiver.is_full() {
                break;
            }
        }
        drop(queries);
        assert!(handle.ping().is_err());
    }

    #[test]
    fn the_reply_reaches_the_caller() {
        let (handle, queries) = StateHandle::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for query in queries.receiver.iter().take(2) {
                    match query {
                        Query::Scrape(_, buffer, reply) => {
                            let (text, rendered) = (buffer + "page", Instant::now());
                            reply.send(Page { text, rendered }).unwrap();
                        }
                        Query::Ping(reply) => reply.send(()).unwrap(),
                    }
                }
            });
            assert_eq!(
                handle
                    .scrape(Process::default(), String::new())
                    .unwrap()
                    .text,
                "page"
            );
            assert!(handle.ping().is_ok());
        });
    }
}

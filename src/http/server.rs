//! The front that faces the network: it enforces every limit, with [`super::client`], before
//! tiny_http sees a request.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use log::{info, warn};

use super::{
    accept_log::AcceptLog,
    backend::{Backend, respond},
    client::{DeadlineWriter, Incoming, linger, read_head},
    connections::{Connection, Connections, NoPlace},
    request_head::RequestHead,
    routes::{rejection, route},
    scrapes::Scrapes,
};
use crate::{metrics::process::ProcessReader, state_handle::StateHandle, threads};

/// Threads that accept connections. All but one may be serving one.
const ACCEPTORS: usize = 2;
/// Rejected connections that are kept open for [`REJECTED_KEPT`], so that what their clients still
/// send does not reset them before the response is read.
const MAX_REJECTED: usize = 16;
const REJECTED_KEPT: Duration = Duration::from_millis(500);
/// Pause after a failed `accept` (mostly: no file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A response is written in pieces of this size; each one written is progress.
const PIECE: usize = 128 * 1024;
/// A response's head, generously.
const RESPONSE_HEAD: usize = 512;

/// The running metrics server.
pub struct Server {
    /// The listening socket.
    listening: TcpStream,
    shared: Arc<Shared>,
    acceptors: Vec<JoinHandle<()>>,
}

struct Shared {
    listener: TcpListener,
    stopping: AtomicBool,
    /// Acceptors that do not serve a connection.
    accepting: AtomicUsize,
    accept_log: Mutex<AcceptLog>,
    rejected: Mutex<VecDeque<(Instant, Arc<TcpStream>)>>,
    connections: Arc<Connections>,
    backend: Backend,
    state: StateHandle,
    scrapes: Scrapes,
}

impl Server {
    /// Serves on `listener`.
    ///
    /// # Errors
    /// The OS error, when there is no socket or no thread.
    pub fn start(
        listener: TcpListener,
        state: StateHandle,
        process: ProcessReader,
    ) -> io::Result<Self> {
        // A TcpListener has no `shutdown`, a stream has; both are a socket.
        let listening = TcpStream::from(OwnedFd::from(listener.try_clone()?));
        let shared = Arc::new(Shared {
            listener,
            stopping: AtomicBool::new(false),
            accepting: AtomicUsize::new(ACCEPTORS),
            accept_log: Mutex::default(),
            rejected: Mutex::default(),
            connections: Arc::default(),
            backend: Backend::start()?,
            scrapes: Scrapes::new(state.clone(), process),
            state,
        });
        let acceptors = (0..ACCEPTORS)
            .map(|_| {
                let shared = Arc::clone(&shared);
                threads::spawn("accept", threads::WORKER_STACK, move || accept(&shared))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            listening,
            shared,
            acceptors,
        })
    }

    /// Stops accepting. Connections that are being served end by their deadlines or with the
    /// process.
    pub fn stop(self) -> Vec<JoinHandle<()>> {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the acceptors; an error means that they cannot be waiting.
        let _ = self.listening.shutdown(Shutdown::Both);
        self.acceptors
    }
}

fn accept(shared: &Arc<Shared>) {
    while let Some(stream) = next_connection(shared) {
        let stream = Arc::new(stream);
        let Some(connection) = admit(&stream, shared) else {
            reject_overload(shared, stream);
            continue;
        };
        // The last one that accepts must go on accepting.
        if shared.accepting.fetch_sub(1, Ordering::AcqRel) > 1 {
            serve(&connection, shared);
            drop(connection);
        } else {
            let shared = Arc::clone(shared);
            // Without a thread the closure is dropped, and closes the connection.
            let _ = threads::spawn("scraper", threads::WORKER_STACK, move || {
                serve(&connection, &shared);
            });
        }
        shared.accepting.fetch_add(1, Ordering::AcqRel);
    }
}

/// Gives a connection a place, perhaps after a moment; none when there are too many.
fn admit(stream: &Arc<TcpStream>, shared: &Shared) -> Option<Connection> {
    loop {
        match shared.connections.admit(stream) {
            Ok(connection) => return Some(connection),
            Err(NoPlace::Overload) => return None,
            Err(NoPlace::Until(moment)) => {
                std::thread::sleep(moment.saturating_duration_since(Instant::now()));
            }
        }
    }
}

/// The next connection; none when the server stops.
fn next_connection(shared: &Shared) -> Option<TcpStream> {
    loop {
        let accepted = shared.listener.accept();
        if shared.stopping.load(Ordering::Acquire) {
            return None;
        }
        let mut log = shared
            .accept_log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match accepted {
            Ok((stream, _)) => {
                if log.accepted(now) {
                    info!("metrics server: recovered");
                }
                return Some(stream);
            }
            Err(error) => {
                if log.failed(now) {
                    warn!(
                        "metrics server: cannot accept connections ({error}); retrying; if this \
                         persists, raise the limit on open files"
                    );
                }
                drop(log);
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Responds that there are too many connections, without blocking.
fn reject_overload(shared: &Shared, stream: Arc<TcpStream>) {
    let _ = stream.set_nonblocking(true);
    if let Ok(response) = rejection(503, &shared.state) {
        let _ = (&*stream).write(&response);
    }
    let _ = stream.shutdown(Shutdown::Write);
    // What it has sent already; unread, it would turn the close into a reset.
    let _ = (&*stream).read(&mut [0; 1_024]);
    let now = Instant::now();
    let mut rejected = shared
        .rejected
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    rejected.truncate(MAX_REJECTED - 1);
    rejected.push_front((now, stream));
    rejected.retain(|(since, _)| now < *since + REJECTED_KEPT);
}

fn serve(connection: &Connection, shared: &Shared) {
    // An error means that the client has gone or was cut off: nobody would receive a response.
    let _ = try_serve(connection, shared);
}

fn try_serve(connection: &Connection, shared: &Shared) -> io::Result<()> {
    let stream = &**connection.stream();
    let status = match read_head(stream)? {
        Incoming::Complete(head) if connection.request_complete() => {
            write_response(connection, &head, shared)?;
            if !head.more_follows {
                return Ok(());
            }
            return linger_for(connection);
        }
        Incoming::Complete(_) => 503,
        Incoming::Closed { .. } if connection.is_evicted() => 503,
        Incoming::Closed { partial: false } => return Ok(()),
        Incoming::Closed { partial: true } => 400,
        Incoming::Rejected(status) => status,
    };
    DeadlineWriter::new(stream, None).write_all(&rejection(status, &shared.state)?)?;
    linger_for(connection)
}

fn linger_for(connection: &Connection) -> io::Result<()> {
    connection.response_sent();
    linger(connection.stream())
}

fn write_response(connection: &Connection, head: &RequestHead, shared: &Shared) -> io::Result<()> {
    let stream = connection.stream();
    let request = shared.backend.parse(head)?;
    let reply = route(&request, &shared.state, &shared.scrapes, stream);
    let writer = DeadlineWriter::new(stream, reply.permit());
    let piece = PIECE.min(RESPONSE_HEAD + reply.body().len());
    respond(
        request,
        reply.to_response(),
        BufWriter::with_capacity(piece, writer),
    )
}

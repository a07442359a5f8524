//! What faces the network: every limit is kept here, before tiny_http sees anything.
//!
//! One thread a connection, at most [`MAX_CONNECTIONS`]; one request a connection. A client, however
//! slow or hostile, holds one small thread until a deadline and nothing else.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use log::warn;

use super::{
    head::{Head, MAX_HEAD, Parsed, parse},
    inner::{Handlers, Inner},
    ledger::Hold,
    scrapes::Scrapes,
};
use crate::{event_loop::StateHandle, threads};

/// So many connections are served at a time; the next is told 503 at once.
const MAX_CONNECTIONS: usize = 64;
/// The head must be there within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The answer must be taken within this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// After the answer, what the client still sends is read for so long. Closing a socket with unread
/// data would reset it, and the client might mark_lost the answer.
const LINGER: Duration = Duration::from_millis(500);
/// … and no more than so many bytes.
const LINGER_BYTES: usize = 256 * 1024;
/// Turned-away connections kept open for a moment, for the same reason.
const MAX_TURNED_AWAY: usize = 16;
/// Pause after a failed `accept` (no file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The answer is handed to the kernel in pieces of this size, to see whether the client takes them.
const PIECE: usize = 64 * 1024;

/// The running metrics server.
pub struct Guard {
    listener: TcpListener,
    shared: Arc<Shared>,
    accept: JoinHandle<()>,
    /// Ends when the last of `shared` is dropped.
    writer: JoinHandle<()>,
    handlers: Handlers,
}

struct Shared {
    inner: Arc<Inner>,
    scrapes: Scrapes,
    connections: AtomicUsize,
    stopping: AtomicBool,
}

impl Guard {
    /// Serves on `listener`.
    ///
    /// # Errors
    /// When a thread or a socket cannot be had.
    pub fn start(listener: TcpListener, owner: &StateHandle) -> io::Result<Self> {
        let (inner, handlers) = Inner::start(owner)?;
        let inner = Arc::new(inner);
        let (scrapes, writer) = Scrapes::start(Arc::clone(&inner), MAX_CONNECTIONS)?;
        let shared = Arc::new(Shared {
            inner,
            scrapes,
            connections: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        let (accepting, for_accept) = (listener.try_clone()?, Arc::clone(&shared));
        let accept = threads::spawn("accept", threads::SCRAPER_STACK, move || {
            accept(&accepting, &for_accept);
        })?;
        Ok(Self {
            listener,
            shared,
            accept,
            writer,
            handlers,
        })
    }

    /// Stops accepting. Connections that are being served end by their deadlines or with the
    /// process.
    pub fn stop(self) -> Vec<JoinHandle<()>> {
        self.shared.stopping.store(true, Ordering::Release);
        // A TcpListener has no `shutdown`, a stream has; both are a socket. It wakes `accept`.
        let _ = TcpStream::from(OwnedFd::from(self.listener)).shutdown(Shutdown::Both);
        let mut threads = self.handlers.stop();
        threads.extend([self.accept, self.writer]);
        threads
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut turned_away: VecDeque<(Instant, TcpStream)> = VecDeque::new();
    let mut warned = false;
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        let now = Instant::now();
        turned_away.retain(|(since, _)| now < *since + LINGER);
        match accepted {
            Ok((stream, _)) => {
                warned = false;
                if let Some(stream) = serve_in_thread(stream, shared) {
                    turned_away.truncate(MAX_TURNED_AWAY - 1);
                    turn_away(&stream);
                    turned_away.push_front((now, stream));
                }
            }
            Err(error) => {
                turned_away.clear();
                if !std::mem::replace(&mut warned, true) {
                    warn!("metrics server: cannot accept connections ({error}); trying on");
                }
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Serves `stream` in a thread of its own; gives it back when there are too many.
fn serve_in_thread(stream: TcpStream, shared: &Arc<Shared>) -> Option<TcpStream> {
    struct Counted(Arc<Shared>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }
    if shared.connections.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
        shared.connections.fetch_sub(1, Ordering::AcqRel);
        return Some(stream);
    }
    let counted = Counted(Arc::clone(shared));
    // Without a thread the connection is closed, and the count goes down with the closure.
    let _ = threads::spawn("scraper", threads::SCRAPER_STACK, move || {
        // The client is gone or was cut off: there is nobody to tell.
        let _ = serve(&stream, &counted.0);
    });
    None
}

/// Tells a client that there are too many, without waiting for anything.
fn turn_away(mut stream: &TcpStream) {
    let text = status_answer(503, "too many connections\n");
    let _ = stream.set_nonblocking(true);
    let _ = stream.write(&text);
    let _ = stream.shutdown(Shutdown::Write);
    // What it has sent already; unread, it would turn the close into a reset.
    let mut rest = [0; 1_024];
    let _ = stream.read(&mut rest);
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match read_head(stream)? {
        Request::Asked(head) => answer(stream, &head, shared)?,
        Request::Refused(status) => {
            send(stream, &status_answer(status, "bad request\n"))?;
        }
        Request::Gone => return Ok(()),
    }
    linger(stream)
}

enum Request {
    Asked(Head),
    Refused(u16),
    Gone,
}

fn read_head(mut stream: &TcpStream) -> io::Result<Request> {
    let deadline = Instant::now() + HEAD_TIMEOUT;
    let mut buffer = Vec::with_capacity(1_024);
    let mut chunk = [0; 1_024];
    loop {
        let Some(left) = time_left(deadline) else {
            return Ok(Request::Refused(408));
        };
        stream.set_read_timeout(Some(left))?;
        let room = chunk.len().min(MAX_HEAD - buffer.len());
        match stream.read(&mut chunk[..room]) {
            Ok(0) if buffer.is_empty() => return Ok(Request::Gone),
            Ok(0) => return Ok(Request::Refused(400)),
            Ok(read) => {
                buffer.extend_from_slice(&chunk[..read]);
                match parse(&buffer) {
                    Parsed::Partial => {}
                    Parsed::Whole(head) => return Ok(Request::Asked(head)),
                    Parsed::Refused(status) => return Ok(Request::Refused(status)),
                }
            }
            Err(error) if crate::net::is_timeout(&error) => return Ok(Request::Refused(408)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn answer(stream: &TcpStream, head: &Head, shared: &Shared) -> io::Result<()> {
    if head.path != "/metrics" || head.method != "GET" {
        return send(stream, &shared.inner.ask(head)?);
    }
    match shared.scrapes.get(head.gzip, stream) {
        Ok(hold) => {
            let deadline = Instant::now() + ANSWER_TIMEOUT;
            send_until(deadline, stream, &hold.page().head, None)?;
            send_until(deadline, stream, &hold.page().body, Some(&hold))
        }
        Err(_) => send(stream, &status_answer(503, "busy\n")),
    }
}

fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    send_until(Instant::now() + ANSWER_TIMEOUT, stream, bytes, None)
}

fn send_until(
    deadline: Instant,
    mut stream: &TcpStream,
    bytes: &[u8],
    hold: Option<&Hold>,
) -> io::Result<()> {
    for piece in bytes.chunks(PIECE) {
        let mut rest = piece;
        while !rest.is_empty() {
            let left = time_left(deadline).ok_or(io::ErrorKind::TimedOut)?;
            stream.set_write_timeout(Some(left))?;
            match stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(hold) = hold {
            hold.moved();
        }
    }
    Ok(())
}

/// Closes in good order: no more from us, then whatever the client still has to say.
fn linger(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + LINGER;
    let mut chunk = [0; 4_096];
    let mut read = 0;
    while let Some(left) = time_left(deadline) {
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => break,
            more => read += more,
        }
        if read > LINGER_BYTES {
            break;
        }
    }
    Ok(())
}

fn time_left(deadline: Instant) -> Option<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

/// An answer of the guard itself.
fn status_answer(status: u16, body: &str) -> Vec<u8> {
    let reason = match status {
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

//! tiny_http, and the private connections by which the guard reaches it.
//!
//! The connections are made once, at the start, and kept; then the listener is shut, so that nobody
//! else ever gets in, and no later shortage of file descriptors can fail an `accept`.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use tiny_http::Server;

use super::{head::Head, routes};
use crate::{event_loop::StateHandle, random, threads};

/// So many requests are answered at a time: a scrape and something else. Answering takes
/// milliseconds; what takes long is clients, and those wait on the guard's side.
const CONNECTIONS: usize = 2;
/// For so long a request waits for its turn. An exchange itself has no time-out: it depends on nobody
/// outside, its length is bounded by the owner's limit, and one that was merely suspended (a paused
/// container, a sleeping machine) goes on where it was.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The way to tiny_http.
#[derive(Debug)]
pub struct Inner {
    idle: Receiver<UnixStream>,
    give_back: Sender<UnixStream>,
    /// Bodies that did not go through a connection.
    aside: Receiver<Vec<u8>>,
}

/// What is needed to stop.
pub struct Handlers {
    server: &'static Server,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Inner {
    /// Starts tiny_http and connects to it.
    ///
    /// # Errors
    /// What the operating system refused.
    pub fn start(owner: &StateHandle) -> io::Result<(Self, Handlers)> {
        // An abstract address needs no writable directory.
        let name = format!(
            "plex-exporter-{}-{:x}",
            std::process::id(),
            random::number()
        );
        let address = SocketAddr::from_abstract_name(name)?;
        let listener = UnixListener::bind_addr(&address)?;
        // A UnixListener has no `shutdown`, a stream has; both are a socket.
        let shutter = UnixStream::from(OwnedFd::from(listener.try_clone()?));
        let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
        // Leaked on purpose: it is needed as long as the process lives, and its `drop` panics for
        // an address that is no path.
        let server: &'static Server = Box::leak(Box::new(server));
        let stopping = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let (put_aside, aside) = bounded(1);
        for _ in 0..CONNECTIONS {
            let (owner, stopping) = (owner.clone(), Arc::clone(&stopping));
            let put_aside = put_aside.clone();
            threads.push(threads::spawn("http", threads::WORKER_STACK, move || {
                handle(server, &owner, &put_aside, &stopping);
            })?);
        }
        let (give_back, idle) = bounded(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let mut stream = UnixStream::connect_addr(&address)?;
            // A connection that was answered was accepted.
            exchange(&mut stream, &format!("HEAD / {REST}\r\n"))?;
            // There is room: the channel holds them all.
            let _ = give_back.send(stream);
        }
        shutter.shutdown(Shutdown::Both)?;
        Ok((
            Self {
                idle,
                give_back,
                aside,
            },
            Handlers {
                server,
                stopping,
                threads,
            },
        ))
    }

    /// Has a request answered: head and body, ready to be sent.
    ///
    /// # Errors
    /// When no answer comes in time.
    pub fn ask(&self, head: &Head) -> io::Result<Vec<u8>> {
        self.exchange(&format!("{} {} {REST}\r\n", head.method, head.path))
    }

    /// Has a scrape written: its head, and its body, which does not go through the connection. Only
    /// one thread may call this.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn scrape(&self, gzip: bool) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let accept = if gzip {
            "Accept-Encoding: gzip\r\n"
        } else {
            ""
        };
        let head = self.exchange(&format!(
            "HEAD /metrics {REST}{}: 1\r\n{accept}\r\n",
            routes::ASIDE
        ))?;
        let body = self.aside.try_recv().map_err(io::Error::other)?;
        Ok((head, body))
    }

    fn exchange(&self, request: &str) -> io::Result<Vec<u8>> {
        let mut stream = self
            .idle
            .recv_timeout(TIMEOUT)
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let answer = exchange(&mut stream, request);
        if answer.is_ok() {
            let _ = self.give_back.send(stream);
        } else {
            // What is on it now is no longer in step. That is a bug, here or in tiny_http; without
            // its server the exporter is of no use, so it ends and is started again.
            log::error!("bug: the metrics server does not answer its own requests");
            std::process::abort();
        }
        answer
    }
}

impl Handlers {
    /// Ends the handler threads.
    pub fn stop(self) -> Vec<JoinHandle<()>> {
        self.stopping.store(true, Ordering::Release);
        for _ in &self.threads {
            self.server.unblock();
        }
        self.threads
    }
}

fn handle(server: &Server, owner: &StateHandle, aside: &Sender<Vec<u8>>, stopping: &AtomicBool) {
    while !stopping.load(Ordering::Acquire) {
        // An error is the shut listener (once) or the wake-up to stop.
        if let Ok(request) = server.recv() {
            routes::answer(request, owner, aside);
        }
    }
}

/// What follows method and path in every request.
const REST: &str = "HTTP/1.1\r\nHost: plex-exporter\r\n";

/// Sends one request and reads its answer; the connection stays open.
fn exchange(stream: &mut UnixStream, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::with_capacity(1_024);
    let body = loop {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(&bytes).map_err(io::Error::other)? {
            httparse::Status::Complete(head) => {
                let length = response
                    .headers
                    .iter()
                    .find(|field| field.name.eq_ignore_ascii_case("content-length"))
                    .and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok())
                    .unwrap_or(0);
                break if request.starts_with("HEAD ") {
                    head
                } else {
                    head + length
                };
            }
            httparse::Status::Partial => {
                let mut chunk = [0; 1_024];
                let read = match stream.read(&mut chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read?,
                };
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                bytes.extend_from_slice(&chunk[..read]);
            }
        }
    };
    // MaybeObject request a connection on the outside, kept open on the inside: say so to the client.
    let close = b"Connection: close\r\n";
    let line_end = bytes
        .windows(2)
        .position(|pair| pair == b"\r\n")
        .map_or(0, |at| at + 2);
    bytes.reserve_exact(close.len() + body.saturating_sub(bytes.len()));
    let read = bytes.len();
    bytes.splice(line_end..line_end, close.iter().copied());
    bytes.resize(close.len() + body, 0);
    stream.read_exact(&mut bytes[close.len() + read..])?;
    Ok(bytes)
}

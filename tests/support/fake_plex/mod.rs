//! A simulated Plex Media Server: real TCP, HTTP, TLS and WebSocket on a loopback port, with
//! scripted responses, notifications and faults.

mod faults;
mod serve;
mod world;

use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use self::serve::{Command, serve};

#[allow(unused_imports, reason = "not every program injects every fault")]
pub use faults::{Fault, html, unauthorized};
pub use world::World;

/// A received request.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    pub at: Instant,
    /// Path and query.
    pub target: String,
    pub head: String,
}

#[derive(Default)]
struct Shared {
    world: Mutex<World>,
    seen: Mutex<Vec<ReceivedRequest>>,
    more_received: Condvar,
    sockets: Mutex<Vec<Sender<Command>>>,
    connections: Mutex<Vec<TcpStream>>,
    sockets_opened: Mutex<usize>,
    stopped: AtomicBool,
}

/// The simulated server. It stops when dropped.
pub struct FakePlex {
    pub address: SocketAddr,
    listener: Option<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    shared: Arc<Shared>,
}

impl Default for FakePlex {
    fn default() -> Self {
        Self::start(None)
    }
}

impl FakePlex {
    pub fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), tls)
    }

    pub fn start_at(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let mut plex = Self {
            address: listener.local_addr().unwrap(),
            listener: None,
            tls,
            shared: Arc::default(),
        };
        plex.listen(listener);
        plex
    }

    fn listen(&mut self, listener: TcpListener) {
        let accepting = listener.try_clone().unwrap();
        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
        self.listener = Some(listener);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                let _ = stream.set_nodelay(true);
                shared
                    .connections
                    .lock()
                    .unwrap()
                    .push(stream.try_clone().unwrap());
                std::thread::spawn(move || {
                    // The client may go at any time.
                    let _ = match tls {
                        None => serve(Box::new(stream.try_clone().unwrap()), &stream, &shared),
                        Some(config) => {
                            let connection = ServerConnection::new(config).unwrap();
                            let tls = StreamOwned::new(connection, stream.try_clone().unwrap());
                            serve(Box::new(tls), &stream, &shared)
                        }
                    };
                });
            }
        });
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap()
    }

    /// Sends a frame to every open socket.
    pub fn push(&self, frame: &Value) {
        self.push_text(frame.to_string());
    }

    pub fn push_text(&self, text: String) {
        self.command(|| Command::Send(text.clone()));
    }

    fn command(&self, command: impl Fn() -> Command) {
        self.shared
            .sockets
            .lock()
            .unwrap()
            .retain(|socket| socket.send(command()).is_ok());
    }

    /// Drops the TCP connection of every socket without a close frame.
    pub fn drop_sockets(&self) {
        self.command(|| Command::Drop);
        self.shared.sockets.lock().unwrap().clear();
    }

    /// Keeps every socket open, but neither reads nor sends any more.
    pub fn freeze_sockets(&self) {
        self.command(|| Command::Freeze);
    }

    /// Sends these bytes to every open socket, again and again, as fast as they are read, in pieces
    /// of this size.
    pub fn flood_sockets(&self, bytes: &[u8], piece: usize) {
        self.command(|| Command::Flood(bytes.to_vec(), piece));
    }

    /// The number of sockets opened so far.
    pub fn sockets_opened(&self) -> usize {
        *self.shared.sockets_opened.lock().unwrap()
    }

    /// All requests received so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The number of requests received for paths that begin with `path`.
    pub fn count(&self, path: &str) -> usize {
        self.requests()
            .iter()
            .filter(|seen| seen.target.starts_with(path))
            .count()
    }

    /// Waits until `count` requests for paths that begin with `path` were received.
    pub fn wait_for(&self, path: &str, count: usize, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut seen = self.shared.seen.lock().unwrap();
        while seen
            .iter()
            .filter(|seen| seen.target.starts_with(path))
            .count()
            < count
        {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{path} was not requested {count} times within {limit:?}"
            );
            seen = self
                .shared
                .more_received
                .wait_timeout(seen, left)
                .unwrap()
                .0;
        }
    }

    /// Stops: new connections are refused, and open ones are reset.
    pub fn stop(&mut self) {
        if let Some(listener) = self.listener.take() {
            let _ = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
        }
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        self.shared.sockets.lock().unwrap().clear();
    }

    /// Restarts on the same port.
    pub fn restart(&mut self) {
        // The old listener's `accept` may take a moment to release the port.
        let deadline = Instant::now() + Duration::from_secs(5);
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        self.listen(listener);
    }
}

impl Drop for FakePlex {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.stop();
    }
}

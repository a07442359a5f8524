//! A simulated Plex Media Server: real TCP, HTTP, TLS and WebSocket on a loopback port, with
//! scripted answers, notifications and faults.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, handshake::derive_accept_key, protocol::Role};

use super::{exporter::TOKEN, payloads};

/// What goes wrong with requests whose path begins with the given text.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status, content type and body.
    Answer(u16, &'static str, String),
    /// A whole response, byte for byte.
    Raw(Vec<u8>),
    /// A redirect.
    Redirect(String),
    /// The right answer, late.
    Delay(Duration),
    /// Never an answer.
    Stall,
    /// The connection is reset.
    Reset,
    /// The answer breaks off in the middle.
    Truncate,
    /// An answer of so many bytes; chunked, or compressed to nearly nothing.
    Oversize { bytes: usize, gzip: bool },
    /// The right answer, in chunks.
    Chunked,
    /// The right answer, one byte at a time, so slowly.
    Trickle(Duration),
}

/// An answer as Plex gives it to a bad token.
pub fn unauthorized() -> Fault {
    html(401, "Unauthorized")
}

/// An HTML error page like Plex's own.
pub fn html(status: u16, title: &str) -> Fault {
    let body = format!(
        "<html><head><title>{title}</title></head><body><h1>{status} {title}</h1></body></html>"
    );
    Fault::Answer(status, "text/html", body)
}

/// What the simulated server has and does.
pub struct World {
    pub server: Value,
    pub libraries: Vec<Value>,
    /// Item counts, by library id and metadata type (0 without).
    pub counts: HashMap<(u64, u64), u64>,
    /// `addedAt` of the newest item, by library id.
    pub newest: HashMap<u64, u64>,
    pub sessions: Vec<Value>,
    /// Answers to `/library/metadata/{id}`.
    pub metadata: HashMap<u64, Value>,
    pub resources: Vec<Value>,
    pub bandwidth: Vec<Value>,
    pub activities: Vec<Value>,
    pub accounts: Vec<Value>,
    /// `Release` of `/updater/status`.
    pub releases: Vec<Value>,
    /// Faults, by the beginning of the path.
    pub faults: Vec<(String, Fault)>,
    /// The base path of a reverse proxy in front.
    pub base_path: String,
    pub token: String,
    /// Whether pings are answered.
    pub pongs: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            server: payloads::server(),
            libraries: vec![
                payloads::library(1, "movie", "Movies", 3_600_000, 5_000),
                payloads::library(2, "show", "TV Shows", 7_200_000, 6_000),
                payloads::library(3, "artist", "Music", 1_800_500, 7_000),
                payloads::library(4, "photo", "Photos", 0, 8_000),
            ],
            counts: HashMap::from([
                ((1, 0), 357),
                ((2, 4), 1_234),
                ((3, 10), 9_876),
                ((4, 0), 55),
            ]),
            newest: HashMap::from([(1, 1_785_000_001), (2, 1_785_000_002)]),
            sessions: Vec::new(),
            metadata: HashMap::from([(101, payloads::metadata(101, 1, "4k"))]),
            resources: vec![payloads::resources_row(payloads::epoch(), 12.5, 50.0)],
            bandwidth: Vec::new(),
            activities: Vec::new(),
            accounts: vec![
                json!({"id": 0, "name": ""}),
                json!({"id": 1, "name": "alice"}),
                json!({"id": 2_001, "name": "bob"}),
                json!({"id": 3_001, "name": "carol"}),
            ],
            releases: Vec::new(),
            faults: Vec::new(),
            base_path: String::new(),
            token: TOKEN.to_owned(),
            pongs: true,
        }
    }
}

impl World {
    pub fn fault(&mut self, path: &str, fault: Fault) {
        self.mend(path);
        self.faults.push((path.to_owned(), fault));
    }

    pub fn mend(&mut self, path: &str) {
        self.faults.retain(|(own, _)| own != path);
    }

    /// Puts a session into the list, in place of the one with its key.
    pub fn play(&mut self, session: Value) {
        let key = session["sessionKey"].clone();
        self.stop(&key);
        self.sessions.push(session);
    }

    pub fn stop(&mut self, key: &Value) {
        self.sessions
            .retain(|session| session["sessionKey"] != *key);
    }

    /// Changes the session with this key.
    pub fn change(&mut self, key: u64, changes: Value) {
        for session in &mut self.sessions {
            if session["sessionKey"] == json!(key.to_string()) {
                *session = payloads::with(session.take(), changes.clone());
            }
        }
    }

    fn list(elements: &[Value], name: &str) -> Value {
        // An empty list has no key at all.
        if elements.is_empty() {
            json!({"size": 0})
        } else {
            json!({"size": elements.len(), name: elements})
        }
    }

    /// What Plex says to a request for `target`, path and query; nothing is 404.
    pub fn answer_to(&self, target: &str) -> Option<Value> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self.answer(path, &query)
    }

    /// What goes wrong with requests for `target`.
    pub fn fault_of(&self, target: &str) -> Option<&Fault> {
        let hit = self
            .faults
            .iter()
            .find(|(own, _)| target.starts_with(own.as_str()) && (own != "/" || target == "/"));
        hit.map(|(_, fault)| fault)
    }

    fn answer(&self, path: &str, query: &HashMap<String, String>) -> Option<Value> {
        let number = |text: &str| text.parse::<u64>().ok();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        Some(match parts[..] {
            [""] => self.server.clone(),
            ["identity"] => {
                json!({"size": 0, "machineIdentifier": self.server["machineIdentifier"]})
            }
            ["media", "providers"] => {
                let mut directories = vec![json!({"hubKey": "/hubs", "title": "Home"})];
                let with_storage = query
                    .get("includeStorage")
                    .is_some_and(|value| value == "1");
                directories.extend(self.libraries.iter().cloned().map(|mut library| {
                    if !with_storage {
                        let fields = library.as_object_mut().unwrap();
                        fields.remove("durationTotal");
                        fields.remove("storageTotal");
                    }
                    library
                }));
                directories
                    .push(json!({"id": "playlists", "type": "playlist", "title": "Playlists"}));
                payloads::with(
                    self.server.clone(),
                    json!({"MediaProvider": [
                        {"identifier": "tv.plex.providers.epg.cloud:12", "id": 12, "Feature": [
                            {"type": "content", "Directory": [{"id": "77", "type": "show", "title": "Live TV"}]}]},
                        {"identifier": "com.plexapp.plugins.library", "Feature": [
                            {"type": "content", "key": "/library/sections", "Directory": directories},
                            {"type": "search"}]},
                    ]}),
                )
            }
            ["status", "sessions"] => Self::list(&self.sessions, "Metadata"),
            ["library", "metadata", id] => self.metadata.get(&number(id)?)?.clone(),
            ["library", "sections", id, "all"] => {
                let kind = query.get("type").and_then(|kind| number(kind)).unwrap_or(0);
                let id = number(id)?;
                self.libraries
                    .iter()
                    .find(|library| library["id"] == json!(id.to_string()))?;
                let total = self.counts.get(&(id, kind)).copied().unwrap_or(0);
                let newest = self.newest.get(&id).map(|added| json!({"addedAt": added}));
                payloads::with(
                    Self::list(newest.as_slice(), "Metadata"),
                    json!({"totalSize": total, "offset": 0, "librarySectionID": id}),
                )
            }
            ["statistics", _] if query.get("timespan").is_none_or(|span| span != "6") => {
                return None;
            }
            ["statistics", _] if self.server["myPlexSubscription"] != json!(true) => return None,
            ["statistics", "resources"] => Self::list(&self.resources, "StatisticsResources"),
            ["statistics", "bandwidth"] => Self::list(&self.bandwidth, "StatisticsBandwidth"),
            ["accounts"] => Self::list(&self.accounts, "Account"),
            ["updater", "status"] => Self::list(&self.releases, "Release"),
            ["activities"] => Self::list(&self.activities, "Activity"),
            _ => return None,
        })
    }
}

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    /// Path and query.
    pub target: String,
    pub head: String,
}

enum Order {
    Send(String),
    /// The TCP connection ends without a close frame.
    Drop,
    /// The connection stands, but nothing is read or sent any more.
    Freeze,
}

#[derive(Default)]
struct Shared {
    world: Mutex<World>,
    seen: Mutex<Vec<Seen>>,
    seen_more: Condvar,
    sockets: Mutex<Vec<Sender<Order>>>,
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
        self.order(|| Order::Send(text.clone()));
    }

    fn order(&self, order: impl Fn() -> Order) {
        self.shared
            .sockets
            .lock()
            .unwrap()
            .retain(|socket| socket.send(order()).is_ok());
    }

    /// Ends every socket without a word.
    pub fn drop_sockets(&self) {
        self.order(|| Order::Drop);
        self.shared.sockets.lock().unwrap().clear();
    }

    /// Lets every socket stand, deaf and mute.
    pub fn freeze_sockets(&self) {
        self.order(|| Order::Freeze);
    }

    /// How many sockets were opened so far.
    pub fn sockets_opened(&self) -> usize {
        *self.shared.sockets_opened.lock().unwrap()
    }

    /// Everything that was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often paths that begin so were asked for.
    pub fn count(&self, path: &str) -> usize {
        self.seen()
            .iter()
            .filter(|seen| seen.target.starts_with(path))
            .count()
    }

    /// Waits until paths that begin so were asked for so often.
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
                "{path} was not asked for {count} times within {limit:?}"
            );
            seen = self.shared.seen_more.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Stops: connections are refused, and those that stand are reset.
    pub fn stop(&mut self) {
        if let Some(listener) = self.listener.take() {
            let _ = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
        }
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        self.shared.sockets.lock().unwrap().clear();
    }

    /// Starts again on the same port.
    pub fn start_again(&mut self) {
        // The old listener's accept may take a moment to let go of the port.
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

trait Connection: Read + Write + Send {}
impl<T: Read + Write + Send> Connection for T {}

fn serve(
    mut connection: Box<dyn Connection>,
    tcp: &TcpStream,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    loop {
        let Some(head) = read_head(&mut connection)? else {
            return Ok(());
        };
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let seen = Seen {
            at: Instant::now(),
            target: target.clone(),
            head: head.clone(),
        };
        shared.seen.lock().unwrap().push(seen);
        shared.seen_more.notify_all();
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (own, value) = line.split_once(':')?;
                own.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let (fault, path, token) = {
            let world = shared.world.lock().unwrap();
            let path = target.strip_prefix(&world.base_path).map(str::to_owned);
            let fault = path.as_ref().and_then(|path| world.fault_of(path).cloned());
            (fault, path, world.token.clone())
        };
        if let Some(fault) = &fault
            && broken(fault, &mut connection, tcp, shared)?
        {
            return Ok(());
        }
        let target = path.as_deref().unwrap_or("/no/such/base/path");
        let path = target.split('?').next().unwrap_or_default();
        let admitted = path == "/identity" || header("X-Plex-Token").as_deref() == Some(&token);
        if !admitted {
            respond(&mut connection, 401, "text/html", b"<html><head><title>Unauthorized</title></head><body><h1>401 Unauthorized</h1></body></html>", None)?;
            continue;
        }
        if path == "/:/websockets/notifications" {
            let Some(key) = header("Sec-WebSocket-Key") else {
                respond(&mut connection, 400, "text/html", b"<html/>", None)?;
                continue;
            };
            let accept = derive_accept_key(key.as_bytes());
            write!(
                connection,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )?;
            connection.flush()?;
            return socket(connection, tcp, shared);
        }
        let answer = if header("Accept").is_some_and(|accept| accept.contains("application/json")) {
            shared.world.lock().unwrap().answer_to(target)
        } else {
            None
        };
        match answer {
            Some(answer) => {
                let body = json!({"MediaContainer": answer}).to_string();
                respond(
                    &mut connection,
                    200,
                    "application/json",
                    body.as_bytes(),
                    fault.as_ref(),
                )?;
            }
            None => respond(
                &mut connection,
                404,
                "text/html",
                b"<html><head><title>Not Found</title></head></html>",
                None,
            )?,
        }
    }
}

fn read_head(connection: &mut Box<dyn Connection>) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if connection.read(&mut byte)? == 0 || head.len() > 16_384 {
            return Ok(None);
        }
        if head.is_empty() && !byte[0].is_ascii_alphabetic() {
            // TLS, spoken to a port that speaks plain HTTP.
            connection.write_all(
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            )?;
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// Plays a fault in place of an answer; true when the connection is over.
fn broken(
    fault: &Fault,
    connection: &mut Box<dyn Connection>,
    tcp: &TcpStream,
    shared: &Shared,
) -> io::Result<bool> {
    match fault {
        Fault::Answer(status, kind, body) => {
            write!(
                connection,
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )?;
            connection.flush()?;
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Raw(response) => {
            connection.write_all(response)?;
            connection.flush()?;
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Redirect(location) => {
            write!(
                connection,
                "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )?;
            connection.flush()?;
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Delay(delay) => {
            std::thread::sleep(*delay);
            Ok(false)
        }
        Fault::Stall => {
            while !shared.stopped.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(true)
        }
        Fault::Reset => {
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Truncate => {
            write!(
                connection,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"MediaContainer\":{{\"size\":"
            )?;
            connection.flush()?;
            tcp.shutdown(Shutdown::Both)?;
            Ok(true)
        }
        Fault::Oversize { bytes, gzip } => {
            oversize(connection, *bytes, *gzip)?;
            Ok(true)
        }
        Fault::Chunked | Fault::Trickle(_) => Ok(false),
    }
}

fn oversize(connection: &mut Box<dyn Connection>, bytes: usize, gzip: bool) -> io::Result<()> {
    let encoding = if gzip {
        "Content-Encoding: gzip\r\n"
    } else {
        ""
    };
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{encoding}Transfer-Encoding: chunked\r\n\r\n"
    )?;
    let spaces = vec![b' '; 64 * 1024];
    if gzip {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..bytes / spaces.len() {
            packed.write_all(&spaces)?;
        }
        let packed = packed.finish()?;
        write!(connection, "{:x}\r\n", packed.len())?;
        connection.write_all(&packed)?;
        connection.write_all(b"\r\n0\r\n\r\n")?;
    } else {
        for _ in 0..bytes / spaces.len() {
            write!(connection, "{:x}\r\n", spaces.len())?;
            connection.write_all(&spaces)?;
            connection.write_all(b"\r\n")?;
        }
        connection.write_all(b"0\r\n\r\n")?;
    }
    connection.flush()
}

fn respond(
    connection: &mut Box<dyn Connection>,
    status: u16,
    kind: &str,
    body: &[u8],
    fault: Option<&Fault>,
) -> io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nCache-Control: no-cache\r\nX-Plex-Protocol: 1.0\r\n"
    );
    match fault {
        Some(Fault::Chunked) => {
            head.push_str("Transfer-Encoding: chunked\r\n\r\n");
            connection.write_all(head.as_bytes())?;
            for chunk in body.chunks(7) {
                write!(connection, "{:x}\r\n", chunk.len())?;
                connection.write_all(chunk)?;
                connection.write_all(b"\r\n")?;
            }
            connection.write_all(b"0\r\n\r\n")?;
        }
        Some(Fault::Trickle(pause)) => {
            head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            connection.write_all(head.as_bytes())?;
            for byte in body {
                connection.write_all(&[*byte])?;
                connection.flush()?;
                std::thread::sleep(*pause);
            }
        }
        _ => {
            head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            let mut answer = head.into_bytes();
            answer.extend_from_slice(body);
            connection.write_all(&answer)?;
        }
    }
    connection.flush()
}

fn socket(
    connection: Box<dyn Connection>,
    tcp: &TcpStream,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let (orders, inbox): (Sender<Order>, Receiver<Order>) = unbounded();
    shared.sockets.lock().unwrap().push(orders);
    *shared.sockets_opened.lock().unwrap() += 1;
    tcp.set_read_timeout(Some(Duration::from_millis(4)))?;
    let mut socket = WebSocket::from_raw_socket(connection, Role::Server, None);
    let mut frozen = false;
    while !shared.stopped.load(Ordering::Acquire) {
        loop {
            match inbox.try_recv() {
                Ok(Order::Send(text)) if !frozen => {
                    socket.send(Message::text(text)).map_err(io::Error::other)?;
                }
                Ok(Order::Send(_)) => {}
                Ok(Order::Drop) => return tcp.shutdown(Shutdown::Both),
                Ok(Order::Freeze) => frozen = true,
                Err(crossbeam_channel::TryRecvError::Empty) => break,
                Err(crossbeam_channel::TryRecvError::Disconnected) => {
                    return tcp.shutdown(Shutdown::Both);
                }
            }
        }
        if frozen || !shared.world.lock().unwrap().pongs {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        match socket.read() {
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

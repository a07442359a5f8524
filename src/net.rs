//! Connections to Plex: name resolution, TCP and TLS, each within a deadline.
//!
//! HTTP and WebSocket both dial here, so that they share every setting and every error. Proxy
//! variables (`http_proxy` and its like) are ignored for both alike: the exporter stands beside
//! its server.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::bounded;
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{config::TlsOptions, server_url::ServerUrl, threads, tls};

/// Stack of a thread that resolves a name; the C library's resolver takes some tens of kilobytes.
const RESOLVER_STACK: usize = 256 * 1024;

/// Opens connections to the Plex server.
#[derive(Clone)]
pub struct Dialer {
    server: ServerUrl,
    tls: Option<TlsPeer>,
}

#[derive(Clone)]
struct TlsPeer {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// Why a connection could not be opened.
#[derive(Debug)]
pub enum DialError {
    /// The host name has no address, or the resolver failed.
    Resolve {
        /// The host in `PLEX_SERVER`.
        host: String,
        /// What the resolver says; `None` when it knows the name, but no address of it.
        error: Option<io::Error>,
    },
    /// No address accepted the TCP connection.
    Connect(io::Error),
    /// The deadline passed while connecting or shaking hands.
    Timeout,
    /// The TLS handshake failed.
    Tls {
        /// The name that the certificate had to bear.
        name: String,
        /// What was wrong.
        error: rustls::Error,
    },
    /// The connection was lost during the TLS handshake.
    TlsConnectionLost(io::Error),
}

impl fmt::Display for DialError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, error } => {
                write!(formatter, "cannot resolve `{host}` (")?;
                match error {
                    Some(error) => error.fmt(formatter)?,
                    None => formatter.write_str("no address")?,
                }
                formatter.write_str(if host.ends_with(".plex.direct") {
                    "); many routers reject responses that point into the home network (DNS \
                     rebinding protection): allow plex.direct there, or use the server's LAN \
                     address in PLEX_SERVER and this name in PLEX_TLS_SERVER_NAME"
                } else {
                    "); check the host in PLEX_SERVER, or use the server's IP address"
                })
            }
            Self::Connect(error) => write!(
                formatter,
                "cannot connect ({error}): is Plex running, and are host and port in PLEX_SERVER \
                 right (Plex listens on 32400)?"
            ),
            Self::Timeout => formatter.write_str("no connection within the time limit"),
            Self::Tls { name, error } => {
                write!(formatter, "TLS: {}", tls::explain_error(error, name))
            }
            Self::TlsConnectionLost(error) => write!(
                formatter,
                "the connection was lost during the TLS handshake ({error}): is this the TLS \
                 port? A Plex that speaks plain HTTP wants http:// in PLEX_SERVER"
            ),
        }
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { error, .. } => error.as_ref().map(|error| error as _),
            Self::Connect(error) | Self::TlsConnectionLost(error) => Some(error),
            Self::Tls { error, .. } => Some(error),
            Self::Timeout => None,
        }
    }
}

/// Why the TLS variables do not fit together.
#[derive(Debug)]
pub enum DialerError {
    /// The URL's host cannot be in a certificate.
    HostIsNoName,
    /// TLS could not be set up.
    Tls(tls::TlsSetupError),
}

impl fmt::Display for DialerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostIsNoName => formatter.write_str(
                "PLEX_SERVER: its host cannot be in a certificate; set PLEX_TLS_SERVER_NAME to \
                 the name that is",
            ),
            Self::Tls(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for DialerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::HostIsNoName => None,
            Self::Tls(error) => Some(error),
        }
    }
}

impl Dialer {
    /// Prepares the connections to `server`.
    ///
    /// # Errors
    /// An error in the TLS variables.
    pub fn new(server: &ServerUrl, options: &TlsOptions) -> Result<Self, DialerError> {
        let tls = if server.is_tls() {
            let name = match &options.server_name {
                Some(name) => name.clone(),
                None => ServerName::try_from(server.host().to_owned())
                    .map_err(|_| DialerError::HostIsNoName)?,
            };
            Some(TlsPeer {
                config: tls::client_config(options).map_err(DialerError::Tls)?,
                name,
            })
        } else {
            None
        };
        Ok(Self {
            server: server.clone(),
            tls,
        })
    }

    /// Where the connections go.
    #[must_use]
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Opens a connection, the TLS handshake included.
    ///
    /// # Errors
    /// The step that failed.
    pub fn dial(&self, deadline: Instant) -> Result<Stream, DialError> {
        let addresses = self.resolve(deadline)?;
        let tcp = connect(&addresses, deadline)?;
        self.tls_handshake(tcp, deadline)
    }

    /// The addresses of the server's host.
    ///
    /// # Errors
    /// When it has none, or the resolver takes too long.
    pub fn resolve(&self, deadline: Instant) -> Result<Vec<SocketAddr>, DialError> {
        let (host, port) = (self.server.host(), self.server.port());
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![(address, port).into()]);
        }
        // The resolver of the C library cannot be interrupted: it runs in a thread of its own that
        // is left behind when it takes too long (it ends by its own time-out).
        let (sender, receiver) = bounded(1);
        let name = host.to_owned();
        threads::spawn("resolve", RESOLVER_STACK, move || {
            let addresses = (name.as_str(), port)
                .to_socket_addrs()
                .map(Iterator::collect);
            // Nobody receives it when the deadline has passed.
            let _ = sender.send(addresses);
        })
        .map_err(DialError::Connect)?;
        let found: io::Result<Vec<SocketAddr>> = receiver
            .recv_deadline(deadline)
            .map_err(|_| DialError::Timeout)?;
        match found {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            outcome => Err(DialError::Resolve {
                host: host.to_owned(),
                error: outcome.err(),
            }),
        }
    }

    /// Shakes hands over `tcp` where the URL asks for TLS.
    ///
    /// # Errors
    /// Why the handshake failed.
    pub fn tls_handshake(&self, tcp: TcpStream, deadline: Instant) -> Result<Stream, DialError> {
        let tcp = DeadlineStream::new(tcp, deadline);
        let Some(peer) = &self.tls else {
            return Ok(Stream::Plain(tcp));
        };
        let failed = |error: rustls::Error| DialError::Tls {
            name: peer.name.to_str().into_owned(),
            error,
        };
        let connection =
            ClientConnection::new(Arc::clone(&peer.config), peer.name.clone()).map_err(failed)?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
                let tls_error = error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<rustls::Error>());
                return Err(match tls_error {
                    Some(error) => failed(error.clone()),
                    None if is_timeout(&error) => DialError::Timeout,
                    None => DialError::TlsConnectionLost(error),
                });
            }
        }
        Ok(Stream::Tls(Box::new(stream)))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Dialer")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Connects to the first address that accepts, sharing the time fairly among those left.
///
/// # Errors
/// The last address's failure.
pub fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, DialError> {
    let mut last = DialError::Timeout;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(DialError::Timeout);
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => {
                // Requests and notifications are small: waiting to fill a segment only delays them.
                stream.set_nodelay(true).map_err(DialError::Connect)?;
                return Ok(stream);
            }
            Err(error) if is_timeout(&error) => last = DialError::Timeout,
            Err(error) => last = DialError::Connect(error),
        }
    }
    Err(last)
}

/// Whether an I/O error means that the time ran out. Linux reports a socket time-out as
/// `WouldBlock`.
#[must_use]
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// A connection to Plex, plain or encrypted.
#[derive(Debug)]
pub enum Stream {
    /// `http` and `ws`.
    Plain(DeadlineStream),
    /// `https` and `wss`.
    Tls(Box<StreamOwned<ClientConnection, DeadlineStream>>),
}

impl Stream {
    fn timed(&mut self) -> &mut DeadlineStream {
        match self {
            Self::Plain(timed) => timed,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// From now on no read or write goes beyond `deadline`, however many bytes trickle in.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.timed().deadline = deadline;
    }

    /// Whether the peer has neither closed the idle connection nor sent anything unrequested.
    pub fn is_idle(&mut self) -> bool {
        let tcp = &self.timed().tcp;
        let mut byte = [0];
        tcp.set_nonblocking(true).is_ok()
            && matches!(tcp.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            && tcp.set_nonblocking(false).is_ok()
    }

    /// The certificate the server showed, if the connection is encrypted.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream
                .conn
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(AsRef::as_ref),
        }
    }

    /// Ends the connection in both directions; a blocked read returns.
    pub fn shut_down(&mut self) {
        // An error means that it has ended already.
        let _ = self.timed().tcp.shutdown(Shutdown::Both);
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A TCP stream whose reads and writes fail at a deadline.
///
/// A socket time-out alone starts anew with every byte, so a peer that sends one byte now and then
/// would block a thread for ever.
#[derive(Debug)]
pub struct DeadlineStream {
    tcp: TcpStream,
    deadline: Option<Instant>,
}

impl DeadlineStream {
    /// `tcp`, with `deadline` as the end of every read and write.
    #[must_use]
    pub fn new(tcp: TcpStream, deadline: Instant) -> Self {
        Self {
            tcp,
            deadline: Some(deadline),
        }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        match self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
        {
            Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

/// Repeats what a signal interrupted. A socket call with a time-out is interrupted even when the
/// process is stopped and continued (a paused container), and that is no error.
fn uninterrupted<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            self.tcp.set_read_timeout(self.left()?)?;
            (&self.tcp).read(buffer)
        })
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        uninterrupted(|| {
            self.tcp.set_write_timeout(self.left()?)?;
            (&self.tcp).write(buffer)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair(deadline: Instant) -> (DeadlineStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (DeadlineStream::new(client, deadline), server)
    }

    #[test]
    fn a_peer_that_sends_a_byte_now_and_then_does_not_extend_the_deadline() {
        let start = Instant::now();
        let (mut stream, mut peer) = pair(start + Duration::from_millis(200));
        let dripping = std::thread::spawn(move || {
            while peer.write_all(b"x").is_ok() && start.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(is_timeout(&error), "{error}");
        let took = start.elapsed();
        assert!((200..1_000).contains(&took.as_millis()), "{took:?}");
        drop(stream);
        dripping.join().unwrap();
    }

    #[test]
    fn a_peer_that_does_not_read_ends_a_write_at_the_deadline() {
        let (mut stream, _peer) = pair(Instant::now() + Duration::from_millis(100));
        // More than any socket buffer holds.
        let error = stream.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert!(is_timeout(&error), "{error}");
        // And once it has passed, nothing is even tried.
        assert!(is_timeout(&stream.read(&mut [0]).unwrap_err()));
    }

    #[test]
    fn of_several_addresses_the_first_that_accepts_is_used() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let stream = connect(&[closed, open], deadline).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert!(matches!(
            connect(&[closed], deadline),
            Err(DialError::Connect(_))
        ));
        assert!(matches!(
            connect(&[open], Instant::now()),
            Err(DialError::Timeout)
        ));
    }
}

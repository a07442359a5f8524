//! Connections to Plex: name resolution, TCP and TLS, each within a deadline.
//!
//! HTTP and WebSocket both dial here, so that they share every setting and every error. Proxy
//! variables (such as `http_proxy`) are ignored: the exporter runs close to its server.

mod error;
mod stream;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::bounded;
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{
    server_url::ServerUrl,
    threads,
    tls::{self, TlsOptions},
};

pub use error::{DialError, DialerError};
pub use stream::{DeadlineStream, Stream, is_timeout};

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

impl Dialer {
    /// Prepares the connections to `server`.
    ///
    /// # Errors
    /// An error in the configuration of TLS.
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
        // is abandoned when it takes too long (it ends by its own timeout).
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
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match found {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            outcome => Err(DialError::Resolve {
                host: host.to_owned(),
                error: outcome.err(),
            }),
        }
    }

    /// Performs the TLS handshake over `tcp`, if the URL requires TLS.
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

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Duration};

    use super::*;

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

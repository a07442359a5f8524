//! Why a connection to Plex could not be opened, and the fix.

use std::{fmt, io};

use super::is_timeout;
use crate::tls;

/// Why a connection could not be opened.
#[derive(Debug)]
pub enum DialError {
    /// The host name has no address, or the resolver failed.
    Resolve {
        /// The host in `PLEX_SERVER`.
        host: String,
        /// The resolver's error; `None` when it knows the name, but no address.
        error: Option<io::Error>,
    },
    /// No address accepted the TCP connection.
    Connect(io::Error),
    /// The deadline passed while connecting or during the handshake.
    Timeout,
    /// The TLS handshake failed.
    Tls {
        /// The name that the certificate must have.
        name: String,
        /// The cause.
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
                    Some(error) if is_timeout(error) => {
                        return formatter.write_str(
                            "the DNS server does not answer); check it, or use the server's IP \
                             address in PLEX_SERVER",
                        );
                    }
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
                 correct (Plex listens on 32400)?"
            ),
            Self::Timeout => formatter.write_str("no connection within the time limit"),
            Self::Tls { name, error } => {
                write!(formatter, "TLS: {}", tls::explain_error(error, name))
            }
            Self::TlsConnectionLost(error) => write!(
                formatter,
                "the connection was lost during the TLS handshake ({error}): is this the TLS \
                 port? if Plex serves plain HTTP there, begin PLEX_SERVER with http://"
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

/// Why a dialer could not be set up.
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
                "its host cannot be in a certificate; set PLEX_TLS_SERVER_NAME to the name that is",
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

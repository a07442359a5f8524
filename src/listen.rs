//! `LISTEN_ADDRESS`: where the metrics server listens, and how the health probe reaches it.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
};

use crate::secret::quoted;

/// An address to listen on; without a host, all interfaces of both IP versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// As written, an IPv6 literal without its brackets.
    host: Option<String>,
    port: u16,
}

/// Why a text is no address to listen on; the text itself is the first field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidListenAddress {
    /// No colon.
    NoPort(String),
    /// What follows the last colon is not a port number.
    InvalidPort(String),
    /// An IPv6 address without brackets.
    NoBrackets(String),
    /// Neither a host name nor an address.
    InvalidHost(String),
}

impl fmt::Display for InvalidListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const EXAMPLE: &str = "write :9594 for all interfaces or 127.0.0.1:9594 for one";
        match self {
            Self::NoPort(value) => write!(formatter, "{} has no port; {EXAMPLE}", quoted(value)),
            Self::InvalidPort(value) => write!(
                formatter,
                "{} does not end in a port number; {EXAMPLE}",
                quoted(value)
            ),
            Self::NoBrackets(value) => write!(
                formatter,
                "{}: an IPv6 address needs brackets; write it as in [::1]:9594",
                quoted(value)
            ),
            Self::InvalidHost(value) => write!(
                formatter,
                "{} names no host or address; {EXAMPLE}",
                quoted(value)
            ),
        }
    }
}

impl std::error::Error for InvalidListenAddress {}

impl ListenAddress {
    /// Reads `host:port`, `[v6]:port` or `:port`.
    ///
    /// # Errors
    /// What is invalid and the fix.
    pub fn parse(value: &str) -> Result<Self, InvalidListenAddress> {
        use InvalidListenAddress::{InvalidHost, InvalidPort, NoBrackets, NoPort};

        let (host, port) = value
            .rsplit_once(':')
            .ok_or_else(|| NoPort(value.to_owned()))?;
        // `parse` alone takes a sign.
        let port = Some(port)
            .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| InvalidPort(value.to_owned()))?;
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(NoBrackets(value.to_owned()));
        }
        let host = match bare.unwrap_or(host) {
            "" => None,
            name if name.contains(['/', '*', ' ', '[', ']']) => {
                return Err(InvalidHost(value.to_owned()));
            }
            name => Some(name.to_owned()),
        };
        Ok(Self { host, port })
    }

    /// Opens the listening socket.
    ///
    /// # Errors
    /// The OS error for the last address tried.
    pub fn bind(&self) -> io::Result<TcpListener> {
        match &self.host {
            Some(host) => TcpListener::bind((host.as_str(), self.port)),
            // The IPv6 wildcard takes IPv4 too, unless the host was built or booted without IPv6.
            None => TcpListener::bind((Ipv6Addr::UNSPECIFIED, self.port)).or_else(|error| {
                match error.kind() {
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
                    _ => TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)),
                }
            }),
        }
    }

    /// Addresses at which a process on the same host reaches the server.
    ///
    /// # Errors
    /// When the host name does not resolve.
    pub fn local_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let loopback = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, self.port)),
        ];
        match &self.host {
            None => Ok(loopback.into()),
            Some(host) => Ok((host.as_str(), self.port)
                .to_socket_addrs()?
                .flat_map(|address| match address {
                    wildcard if wildcard.ip().is_unspecified() => loopback.to_vec(),
                    address => vec![address],
                })
                .collect()),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(formatter, "[{host}]:{}", self.port),
            Some(host) => write!(formatter, "{host}:{}", self.port),
            None => write!(formatter, ":{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read_and_shown_again() {
        for value in [
            ":9594",
            "127.0.0.1:9594",
            "[::1]:9594",
            "localhost:0",
            "0.0.0.0:80",
        ] {
            assert_eq!(ListenAddress::parse(value).unwrap().to_string(), value);
        }
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for value in [
            "",
            "9594",
            ":",
            ":x",
            ":+1",
            ":70000",
            "::1:9594",
            "*:9594",
            "http://x:1",
        ] {
            assert!(ListenAddress::parse(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn the_probe_reaches_a_wildcard_by_loopback() {
        let addresses = ListenAddress::parse("0.0.0.0:9594")
            .unwrap()
            .local_addresses()
            .unwrap();
        assert_eq!(addresses[0].to_string(), "127.0.0.1:9594");
    }
}

//! `LISTEN_ADDRESS`: where the metrics server listens, and how the health probe reaches it.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
};

/// An address to listen on; without a host, all interfaces of both IP versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// As written, an IPv6 literal without its brackets.
    host: Option<String>,
    port: u16,
}

impl ListenAddress {
    /// Reads `host:port`, `[v6]:port` or `:port`.
    ///
    /// # Errors
    /// What is wrong and the mend.
    pub fn parse(value: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "write :9594 for all interfaces or 127.0.0.1:9594 for one";
        let (host, port) = value
            .rsplit_once(':')
            .ok_or_else(|| format!("`{value}` has no port; {EXAMPLE}"))?;
        let port = port
            .parse()
            .map_err(|_| format!("`{value}` does not end in a port number; {EXAMPLE}"))?;
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(format!(
                "`{value}`: an IPv6 address needs brackets, as in [::1]:9594"
            ));
        }
        let host = match bare.unwrap_or(host) {
            "" => None,
            name if name.contains(['/', '*', ' ', '[', ']']) => {
                return Err(format!("`{value}` names no host or address; {EXAMPLE}"));
            }
            name => Some(name.to_owned()),
        };
        Ok(Self { host, port })
    }

    /// Opens the listening socket.
    ///
    /// # Errors
    /// The operating system's, for the last address tried.
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
    fn mistakes_name_the_mend() {
        for value in [
            "",
            "9594",
            ":",
            ":x",
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

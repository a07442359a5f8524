//! The probe: `plex-exporter health`.
//!
//! Where the marker alone does not decide, it requests `GET /health`.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::marker::{Found, inspect};
use crate::{config::ProbeConfig, listen::ListenAddress, net::DeadlineStream};

/// How long the probe waits for `GET /health`: the server's own limit is 1 s.
const HTTP_TIMEOUT: Duration = Duration::from_secs(3);
/// The response header of `GET /health` that says whether Plex has responded since the start. Until
/// then the exporter serves, but a wrong URL or token must not look healthy.
pub const PLEX_RESPONDED: &str = "Plex-Responded";

/// Why the exporter is not healthy.
#[derive(Debug)]
pub enum Unhealthy {
    /// The marker's process has ended.
    Killed(PathBuf),
    /// The exporter runs, and Plex has not responded to it yet.
    PlexHasNotResponded,
    /// `LISTEN_ADDRESS` has no address.
    Resolve(ListenAddress, io::Error),
    /// No response from `GET /health`.
    NoResponse(SocketAddr, io::Error),
    /// A response, but not 200.
    Status(SocketAddr, String),
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(path) => write!(
                formatter,
                "{} was left by a process that no longer runs",
                path.display()
            ),
            Self::PlexHasNotResponded => formatter.write_str(
                "the exporter runs, but Plex has not responded to it yet; its log says why",
            ),
            Self::Resolve(listen, error) => write!(formatter, "{listen}: {error}"),
            Self::NoResponse(address, error) => write!(
                formatter,
                "the exporter is not running: it holds no marker, and GET /health on {address}: {error}"
            ),
            Self::Status(address, status) => {
                write!(formatter, "GET /health on {address} responded {status}")
            }
        }
    }
}

impl std::error::Error for Unhealthy {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve(_, error) | Self::NoResponse(_, error) => Some(error),
            Self::Killed(_) | Self::PlexHasNotResponded | Self::Status(..) => None,
        }
    }
}

/// Checks whether the running exporter is healthy.
///
/// # Errors
/// Why it is not.
pub fn probe(config: &ProbeConfig) -> Result<(), Unhealthy> {
    match inspect(&config.health_file) {
        Found::Held => Ok(()),
        Found::Stale(pid) if !is_running(pid) => Err(Unhealthy::Killed(config.health_file.clone())),
        Found::Stale(_) | Found::Empty | Found::NoMarker => probe_http(&config.listen),
    }
}

/// Whether there is a process with this id, be it another program that got the id since.
fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Requests `GET /health` from each address of the server until one responds.
fn probe_http(listen: &ListenAddress) -> Result<(), Unhealthy> {
    let addresses = listen
        .local_addresses()
        .and_then(|addresses| {
            if addresses.is_empty() {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            }
            Ok(addresses)
        })
        .map_err(|error| Unhealthy::Resolve(listen.clone(), error))?;
    let mut last = Ok(());
    for address in addresses {
        match get_health(address) {
            Ok(head) => return judge(address, &head),
            Err(error) => last = Err(Unhealthy::NoResponse(address, error)),
        }
    }
    last
}

fn get_health(address: SocketAddr) -> io::Result<String> {
    let deadline = Instant::now() + HTTP_TIMEOUT;
    let stream = TcpStream::connect_timeout(&address, HTTP_TIMEOUT)?;
    let mut stream = DeadlineStream::new(stream, deadline);
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut head = Vec::new();
    stream.take(1024).read_to_end(&mut head)?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn judge(address: SocketAddr, head: &str) -> Result<(), Unhealthy> {
    let status_line = head.lines().next().unwrap_or_default();
    if status_line.split(' ').nth(1) != Some("200") {
        return Err(Unhealthy::Status(address, format!("`{status_line}`")));
    }
    let no_response = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case(PLEX_RESPONDED) && value.trim() == "no"
        })
    });
    if no_response {
        Err(Unhealthy::PlexHasNotResponded)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_without_a_response_of_plex_is_not_healthy() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        for (head, healthy) in [
            ("HTTP/1.1 200 OK\r\nplex-responded: yes\r\n\r\nok\n", true),
            ("HTTP/1.1 200 OK\r\n\r\nok\n", true),
            ("HTTP/1.1 200 OK\r\nPlex-Responded: no\r\n\r\nok\n", false),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(judge(address, head).is_ok(), healthy, "{head}");
        }
    }
}

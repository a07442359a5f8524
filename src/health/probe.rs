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
use crate::{
    config::ProbeConfig,
    listen::ListenAddress,
    net::{DeadlineStream, is_timeout},
};

/// How long the probe waits for `GET /health`: the server's own limit is 1 s.
const HTTP_TIMEOUT: Duration = Duration::from_secs(3);
/// The response header of `GET /health` that says whether Plex has responded since the start. Until
/// then the exporter serves, but a wrong URL or token must not look healthy. With too many connections
/// it is in the 503: the exporter is healthy, however busy clients keep it.
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
    /// The exporter's event loop hangs.
    Hangs(SocketAddr),
    /// What responds is not an exporter.
    AnotherProgram(SocketAddr, String),
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
            Self::Resolve(listen, error) => {
                write!(formatter, "LISTEN_ADDRESS {listen} has no address: {error}")
            }
            Self::NoResponse(address, error) if is_timeout(error) => write!(
                formatter,
                "the exporter hangs, or another program listens on {address}: no response to GET \
                 /health within {} s",
                HTTP_TIMEOUT.as_secs()
            ),
            Self::NoResponse(address, error) => write!(
                formatter,
                "the exporter is not running: it holds no marker, and GET /health on {address}: {error}"
            ),
            Self::Hangs(address) => write!(
                formatter,
                "GET /health on {address} responds with 503: the exporter hangs, or this is \
                 another program"
            ),
            Self::AnotherProgram(address, response) => write!(
                formatter,
                "another program listens on {address} ({response}): the exporter is not running, \
                 or its LISTEN_ADDRESS is not this one"
            ),
        }
    }
}

impl std::error::Error for Unhealthy {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve(_, error) | Self::NoResponse(_, error) => Some(error),
            Self::Killed(_)
            | Self::PlexHasNotResponded
            | Self::Hangs(_)
            | Self::AnotherProgram(..) => None,
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

/// Requests `GET /health` from each address of the server until the exporter responds: of two
/// addresses of a name, another program may have the first.
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
    let mut why = None;
    for address in addresses {
        let result = get_health(address)
            .map_err(|error| Unhealthy::NoResponse(address, error))
            .and_then(|head| judge(address, &head));
        match result {
            Ok(()) => return Ok(()),
            Err(Unhealthy::PlexHasNotResponded) => return Err(Unhealthy::PlexHasNotResponded),
            Err(Unhealthy::NoResponse(..)) if why.is_some() => {}
            Err(error) => why = Some(error),
        }
    }
    why.map_or(Ok(()), Err)
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

/// Judges the response to `GET /health`. Only the exporter's has [`PLEX_RESPONDED`].
fn judge(address: SocketAddr, head: &str) -> Result<(), Unhealthy> {
    let status_line = head.lines().next().unwrap_or_default();
    let another = |response: String| Err(Unhealthy::AnotherProgram(address, response));
    if head.is_empty() {
        return another("it closes the connection without a response".to_owned());
    }
    if !status_line.starts_with("HTTP/1.") {
        return another("its response is not HTTP".to_owned());
    }
    let responded = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(PLEX_RESPONDED)
            .then(|| value.trim())
    });
    match (status_line.split(' ').nth(1), responded) {
        (Some("200" | "503"), Some("yes")) => Ok(()),
        (Some("200" | "503"), Some(_)) => Err(Unhealthy::PlexHasNotResponded),
        (Some("503"), None) => Err(Unhealthy::Hangs(address)),
        _ => another(format!("it responds to GET /health with `{status_line}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_exporter_to_which_plex_has_responded_is_healthy() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let healthy = |head: &str| judge(address, head).map_err(|why| why.to_string());
        let responded = "HTTP/1.1 200 OK\r\nplex-responded: yes\r\n\r\nok\n";
        assert_eq!(healthy(responded), Ok(()));
        let busy = "HTTP/1.1 503 Service Unavailable\r\nPlex-Responded: yes\r\n\r\n";
        assert_eq!(healthy(busy), Ok(()));
        for (head, why) in [
            (
                "HTTP/1.1 200 OK\r\nPlex-Responded: no\r\n\r\nok\n",
                "not responded",
            ),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "hangs"),
            ("HTTP/1.1 200 OK\r\n\r\nok\n", "another program"),
            ("HTTP/1.0 404 Not Found\r\n\r\n", "404 Not Found"),
            ("SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
            ("\u{15}\u{3}\u{1}", "not HTTP"),
            ("", "another program"),
        ] {
            assert!(healthy(head).unwrap_err().contains(why), "{head}");
        }
    }
}

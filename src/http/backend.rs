//! tiny_http, and the private connection through which it receives requests.
//!
//! The connection is made once and kept; then the listener is shut down, so that nobody else ever
//! connects and no shortage of file descriptors can make an `accept` fail.

use std::{
    io::{self, Read, Write},
    mem::ManuallyDrop,
    net::Shutdown,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    sync::{Mutex, PoisonError},
};

use tiny_http::{Method, Request, Response, Server};

use super::request_head::RequestHead;
use crate::random;

/// tiny_http without a network of its own.
pub struct Backend {
    /// Never dropped: its `drop` panics if the address is not a path.
    server: ManuallyDrop<Server>,
    // Held while one request is parsed. Both ends are in this process, so that takes microseconds.
    connection: Mutex<UnixStream>,
}

impl Backend {
    /// Starts tiny_http and connects to it.
    ///
    /// # Errors
    /// The OS error, when there is no socket or no thread.
    pub fn start() -> io::Result<Self> {
        // An abstract address needs no writable directory.
        let name = format!(
            "plex-exporter-{}-{:x}",
            std::process::id(),
            random::number()
        );
        let address = SocketAddr::from_abstract_name(name)?;
        let listener = UnixListener::bind_addr(&address)?;
        // A UnixListener has no `shutdown`, a stream has; both are a socket.
        let listening = UnixStream::from(OwnedFd::from(listener.try_clone()?));
        let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
        let backend = Self {
            server: ManuallyDrop::new(server),
            connection: Mutex::new(UnixStream::connect_addr(&address)?),
        };
        // Once a request arrives over the connection, it has been accepted.
        discard(backend.parse(&RequestHead {
            method: "HEAD".to_owned(),
            path: "/".to_owned(),
            gzip: false,
            more_follows: false,
        })?);
        listening.shutdown(Shutdown::Both)?;
        // tiny_http reports the end of its listener as if it were a request that failed.
        match backend.server.recv() {
            Err(_) => Ok(backend),
            Ok(_) => Err(io::Error::other("a request before any client connected")),
        }
    }

    /// Has tiny_http parse a request: the head as it was accepted, without what only concerns the
    /// client's connection. [`RequestHead`] holds nothing that tiny_http would not parse.
    ///
    /// # Errors
    /// When tiny_http has failed.
    pub fn parse(&self, head: &RequestHead) -> io::Result<Request> {
        let accept = if head.gzip {
            "Accept-Encoding: gzip\r\n"
        } else {
            ""
        };
        let text = format!(
            "{} {} HTTP/1.1\r\nHost: plex-exporter\r\n{accept}\r\n",
            head.method, head.path
        );
        // A panic ends the process, so nobody ever sees a poisoned lock.
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connection.write_all(text.as_bytes())?;
        self.server.recv()
    }
}

/// Has tiny_http write the response to a request: head and body, or only the head for `HEAD`.
///
/// # Errors
/// The writer's.
pub fn respond<R: Read>(
    request: Request,
    response: Response<R>,
    writer: impl Write,
) -> io::Result<()> {
    let written = response
        // Without a limit here, tiny_http sends anything larger than 32 KiB in chunks.
        .with_chunked_threshold(usize::MAX)
        .raw_print(
            writer,
            request.http_version().clone(),
            request.headers(),
            *request.method() == Method::Head,
            None,
        );
    discard(request);
    written
}

/// Drops a request. One that still had its own writer would respond over the private connection.
fn discard(request: Request) {
    drop(request.into_writer());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::request_head::{Parsed, parse};

    #[test]
    fn concurrent_requests_are_not_mixed_up() {
        let backend = Backend::start().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let backend = &backend;
                scope.spawn(move || {
                    for round in 0..50 {
                        let path = format!("/{thread}/{round}");
                        let head = format!("GET {path} HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n");
                        let Parsed::Complete(head) = parse(head.as_bytes()) else {
                            panic!("{head}");
                        };
                        let request = backend.parse(&head).unwrap();
                        assert_eq!(request.url(), path);
                        let mut written = Vec::new();
                        let response = Response::from_string(&path);
                        respond(request, response, &mut written).unwrap();
                        let text = String::from_utf8(written).unwrap();
                        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
                        assert!(text.ends_with(&format!("\r\n\r\n{path}")), "{text}");
                    }
                });
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// tiny_http does not report a head that it cannot parse.
        #[test]
        fn every_head_that_is_accepted_from_a_client_is_parsed_by_tiny_http(
            method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
            path in "/[!-~]{0,40}",
            field in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
            value in "[ -~\u{80}-\u{ff}]{0,40}",
        ) {
            let backend = Backend::start().unwrap();
            let text = format!("{method} {path} HTTP/1.1\r\n{field}: {value}\r\n\r\n");
            if let Parsed::Complete(head) = parse(text.as_bytes()) {
                for _ in 0..2 {
                    let request = backend.parse(&head).unwrap();
                    prop_assert_eq!(request.method().as_str(), &head.method);
                    prop_assert_eq!(request.url(), &head.path);
                    discard(request);
                }
            }
        }
    }
}

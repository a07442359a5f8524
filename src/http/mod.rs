//! The metrics server: tiny_http behind a front that keeps the limits.
//!
//! tiny_http 0.12 has no timeouts and no limits, and one failed `accept` ends its listener for good.
//! So it does not face the network:
//!
//! 1. The front ([`server`]) accepts up to 64 connections ([`connections`]; the oldest one whose
//!    request is incomplete gives way to the next) and reads one request head from each, at most
//!    8 KiB within 5 s ([`client`]).
//! 2. It rejects whatever exceeds a limit; every other head goes over a private socket to tiny_http
//!    ([`backend`]), which parses it into a request.
//! 3. [`routes`] decides on the response; clients that want a scrape at the same time share one
//!    ([`scrapes`]).
//! 4. tiny_http writes the response, head and body, straight to the client, which has 10 s to take it.
//! 5. Scrapes on their way to clients have a memory budget ([`response_budget`]): when a new one does
//!    not fit, clients too slow for their deadline are cut off, or the newest one is shared.

mod accept_log;
mod backend;
mod client;
mod connections;
pub mod request_head;
mod response_budget;
mod routes;
mod scrapes;
mod server;

pub use server::Server;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{metrics::process::ProcessReader, state_handle::StateHandle};

    #[test]
    fn while_the_event_loop_does_not_respond_every_response_is_503_within_seconds() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Queries are received and never answered.
        let (state, _queries) = StateHandle::channel();
        let server = Server::start(listener, state, ProcessReader::new(0.0)).unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for path in ["/metrics", "/health", "/metrics", "/health"] {
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                    let mut response = String::new();
                    stream.read_to_string(&mut response).unwrap();
                    assert!(response.starts_with("HTTP/1.1 503 "), "{path}: {response}");
                });
            }
        });
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
        for thread in server.stop() {
            thread.join().unwrap();
        }
    }
}

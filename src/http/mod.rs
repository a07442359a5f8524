//! The metrics server: tiny_http, behind a guard that faces the network in its place.
//!
//! tiny_http 0.12 has no time-outs and no limits, and its listener dies for good with the first
//! failed `accept`. So it never sees the network: [`guard`] accepts connections, keeps every limit,
//! and hands each request, read whole and written anew, to tiny_http over a private connection
//! ([`inner`]).
//!
//! | module | one thing |
//! |---|---|
//! | `guard` | connections: accept, deadlines, 503 when there are too many |
//! | `head` | the head of a request, read out of a buffer |
//! | `scrapes` | one scrape at a time, shared by those who wait for it |
//! | `ledger` | the memory of scrapes that clients are slow to take |
//! | `inner` | tiny_http and the private connections to it |
//! | `routes` | what is answered |

mod guard;
pub mod head;
mod inner;
mod ledger;
mod routes;
mod scrapes;

pub use guard::Guard;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{clock::Timestamp, event_loop::StateHandle};

    #[test]
    fn while_the_owner_is_silent_every_answer_is_503_and_comes_in_bounded_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Questions are taken and never answered.
        let (owner, _questions) = StateHandle::channel(Timestamp::read());
        let guard = Guard::start(listener, &owner).unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for path in ["/metrics", "/health", "/metrics", "/health"] {
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
                });
            }
        });
        assert!(
            begun.elapsed() < Duration::from_secs(6),
            "{:?}",
            begun.elapsed()
        );
        for thread in guard.stop() {
            thread.join().unwrap();
        }
    }
}

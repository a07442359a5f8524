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

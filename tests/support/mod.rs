//! Shared by tests, demo and benchmarks: a simulated Plex, the exporter as a process, and a parser
//! of its pages.

#![allow(
    dead_code,
    reason = "each of the three programs uses its own part of this"
)]
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a failed expectation is a failed test"
)]

pub mod core;
pub mod evening;
pub mod exporter;
pub mod fake_plex;
pub mod page_watch;
pub mod payloads;
pub mod pure;
pub mod samples;
pub mod tls;

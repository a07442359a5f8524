//! The real binary against a simulated Plex: one module a concern.

#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs
)]

#[path = "blackbox/abuse.rs"]
mod abuse;
#[path = "blackbox/assets.rs"]
mod assets;
#[path = "blackbox/check.rs"]
mod check;
#[path = "blackbox/cli.rs"]
mod cli;
#[path = "blackbox/contained.rs"]
mod contained;
#[path = "blackbox/faults.rs"]
mod faults;
#[path = "blackbox/http.rs"]
mod http;
#[path = "blackbox/metrics.rs"]
mod metrics;
#[path = "blackbox/recorded.rs"]
mod recorded;
#[path = "blackbox/sessions.rs"]
mod sessions;
#[path = "blackbox/simulation.rs"]
mod simulation;
mod support;
#[path = "blackbox/tls.rs"]
mod tls;

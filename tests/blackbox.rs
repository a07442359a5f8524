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
#[path = "blackbox/budget.rs"]
mod budget;
#[path = "blackbox/cardinality.rs"]
mod cardinality;
#[path = "blackbox/check.rs"]
mod check;
#[path = "blackbox/cli.rs"]
mod cli;
#[path = "blackbox/contained.rs"]
mod contained;
#[path = "blackbox/cpu.rs"]
mod cpu;
#[path = "blackbox/decoding.rs"]
mod decoding;
#[path = "blackbox/exporter_metrics.rs"]
mod exporter_metrics;
#[path = "blackbox/faults.rs"]
mod faults;
#[path = "blackbox/health.rs"]
mod health;
#[path = "blackbox/hiding.rs"]
mod hiding;
#[path = "blackbox/http.rs"]
mod http;
#[path = "blackbox/items.rs"]
mod items;
#[path = "blackbox/labels.rs"]
mod labels;
#[path = "blackbox/lasting_metrics.rs"]
mod lasting_metrics;
#[path = "blackbox/latency.rs"]
mod latency;
#[path = "blackbox/libraries.rs"]
mod libraries;
#[path = "blackbox/library_metrics.rs"]
mod library_metrics;
#[path = "blackbox/logs.rs"]
mod logs;
#[path = "blackbox/media_metrics.rs"]
mod media_metrics;
#[path = "blackbox/memory.rs"]
mod memory;
#[path = "blackbox/outages.rs"]
mod outages;
#[path = "blackbox/recorded.rs"]
mod recorded;
#[path = "blackbox/server_metrics.rs"]
mod server_metrics;
#[path = "blackbox/session_labels.rs"]
mod session_labels;
#[path = "blackbox/session_metrics.rs"]
mod session_metrics;
#[path = "blackbox/sessions.rs"]
mod sessions;
#[path = "blackbox/simulation.rs"]
mod simulation;
#[path = "blackbox/statistics.rs"]
mod statistics;
#[path = "blackbox/statistics_metrics.rs"]
mod statistics_metrics;
#[path = "blackbox/stderr.rs"]
mod stderr;
mod support;
#[path = "blackbox/tls.rs"]
mod tls;
#[path = "blackbox/token.rs"]
mod token;
#[path = "blackbox/transcode_metrics.rs"]
mod transcode_metrics;

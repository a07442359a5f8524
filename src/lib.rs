//! plex-exporter: a Prometheus exporter for Plex Media Server.
//!
//! ```text
//!            notifications            requests / responses               scrapes
//! Plex ──ws──▶ [notify] ──Event──▶ ┌──────────────────┐ ◀──Event── [poll-…] ◀──http── Plex
//!                                  │ main: event loop │
//!  SIGTERM ──▶ [signals] ──stop──▶ │ owns the state   │ ◀─Query── [accept], [scraper] ◀── Prometheus
//!                                  └──────────────────┘
//! ```
//!
//! # Module map
//!
//! Imports point one way: from the edges down to the values.
//!
//! | layer | module | responsibility |
//! |---|---|---|
//! | commands | [`cli`], [`check`] | arguments and usage; the `check` command |
//! | edges | [`http`] | the metrics server |
//! | | [`notify`], [`poller`] | the threads that talk to Plex |
//! | | [`health`], [`systemd`] | health marker and probe; readiness and watchdog |
//! | event loop | [`state_handle`] | queries to the event loop, with a limit on the wait |
//! | | [`event_loop`] | the one `select!`: applies events, dispatches requests, renders scrapes |
//! | | [`render`], [`metrics`] | state → exposition; metric catalogue, text encoding, process metrics |
//! | state | [`state`], [`event`] | the pure core: what is known, and how events change it |
//! | Plex | [`plex`] | the protocol: requests, responses, notifications |
//! | | [`net`], [`tls`] | connections to Plex, each within a deadline |
//! | values | [`config`], [`secret`], [`server_url`], [`listen`] | the validated environment |
//! | | [`logging`], [`threads`], [`clock`], [`random`], [`build_info`] | what every part uses |
//!
//! # Invariants
//!
//! - State changes only in the event loop.
//! - Time enters the state as a parameter; only the edges read a clock.
//! - No lock is held across I/O with Plex or a client.
//! - Every thread has a name, a bounded stack and a way to be stopped. [`run`] joins it, unless it
//!   is blocked in a request when the process exits.
//! - A panic in any thread ends the process.
//! - Every channel is bounded and documents what happens when it is full.
//! - The token lives in one [`secret::Secret`], whose `Debug` is redacted.

#![forbid(unsafe_code)]
#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the module map is for the reader of this code; nobody else links to this crate"
)]

mod build_info;
pub mod check;
pub mod cli;
mod clock;
pub mod config;
mod event;
mod event_loop;
pub mod health;
mod http;
mod listen;
pub mod logging;
mod metrics;
mod net;
mod notify;
mod plex;
mod poller;
mod random;
mod render;
mod secret;
mod server_url;
mod state;
mod state_handle;
mod systemd;
mod threads;
mod tls;

/// What tests, benchmarks and fuzz targets call without a process around it. Not an interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        clock::Timestamp,
        event::{Completed, Event},
        http::request_head,
        metrics::{catalogue::CATALOGUE, process::Process},
        plex::{
            client::decode as decode_response,
            error::PlexError,
            notification::{KINDS, decode as decode_notification},
            request::{Id, ItemsQuery, PlexRequest, PlexResponse},
        },
        render::render,
        state::State,
    };
}

use std::{fmt, io, time::Duration};

use crossbeam_channel::{Receiver, bounded};
use log::{info, warn};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};

use crate::{
    clock::Timestamp, config::Config, health::Marker, metrics::process::ProcessReader, net::Dialer,
    plex::client::Client, poller::Poller, state::State, state_handle::StateHandle,
    systemd::Systemd,
};

/// Threads get so long to end; one that hangs in a request is left behind.
const JOIN_LIMIT: Duration = Duration::from_millis(300);
/// Events that may wait for the owner. When there are more, who sends them waits.
const EVENTS: usize = 256;

/// Why the exporter could not run.
#[derive(Debug)]
pub enum RunError {
    /// A error in the configuration that shows only when it is used.
    Config(String),
    /// The listen address could not be opened.
    Listen(String),
    /// The operating system refused a thread, a socket or a signal handler.
    System(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text) | Self::Listen(text) => formatter.write_str(text),
            Self::System(error) => write!(formatter, "the operating system refuses: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Exports metrics until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start.
pub fn run(config: &Config) -> Result<(), RunError> {
    threads::end_process_on_panic();
    let (stop, signals) = stop_on_signals()?;
    let dialer = Dialer::new(&config.server, &config.tls).map_err(RunError::Config)?;
    let listener = config
        .listen
        .bind()
        .map_err(|error| listen_error(config, &error))?;
    // Only now: another exporter on the same port keeps its marker.
    let mut marker = Marker::new(&config.health_file);
    log_startup(config, &listener);

    let (events, received) = bounded(EVENTS);
    let (state_handle, queries) = StateHandle::channel();
    let process = ProcessReader::new(Timestamp::read().unix_seconds);
    let server = http::Server::start(listener, state_handle, process)?;
    let client = Client::new(dialer.clone(), config.token.clone());
    let (poller, mut threads) = Poller::start(&client, &events)?;
    let (notify_stop, notify_stopped) = bounded(0);
    let token = config.token.clone();
    threads.push(threads::spawn(
        "notify",
        threads::WORKER_STACK,
        move || {
            notify::run(&dialer, &token, &events, &notify_stopped);
        },
    )?);

    let state = State::new(config.hide, Timestamp::read());
    let mut systemd = Systemd::from_env();
    systemd.ready();
    let signal = event_loop::run(
        state,
        &poller,
        &mut marker,
        &mut systemd,
        &received,
        &queries,
        &stop,
    );
    systemd.stopping();
    info!("{}, ending", signal.unwrap_or("all threads are gone"));

    drop(marker);
    drop((poller, received, queries, notify_stop));
    threads.extend(server.stop());
    signals.close();
    threads::join_within(threads, JOIN_LIMIT);
    Ok(())
}

/// A channel that tells of SIGTERM and SIGINT.
fn stop_on_signals() -> io::Result<(Receiver<&'static str>, Handle)> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let handle = signals.handle();
    let (sender, receiver) = bounded(1);
    threads::spawn("signals", threads::SCRAPER_STACK, move || {
        for signal in signals.forever() {
            let name = if signal == SIGINT {
                "SIGINT"
            } else {
                "SIGTERM"
            };
            // Full means that one is on its way already.
            let _ = sender.try_send(name);
        }
    })?;
    Ok((receiver, handle))
}

fn listen_error(config: &Config, error: &io::Error) -> RunError {
    let mend = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program (or another plex-exporter) uses it: stop that one, or choose another \
             port"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need root: choose a higher one",
        _ => "write :9594 for all interfaces, or an address of this machine",
    };
    RunError::Listen(format!(
        "LISTEN_ADDRESS: cannot listen on {}: {error}; {mend}",
        config.listen
    ))
}

fn log_startup(config: &Config, listener: &std::net::TcpListener) {
    info!("{}", cli::version());
    if let Ok(address) = listener.local_addr() {
        info!(
            "metrics on http://{address}/metrics, Plex at {}",
            config.server
        );
    }
    if config.tls.skip_verification && config.server.is_tls() {
        warn!(
            "SKIP_TLS_VERIFICATION is set: ANY certificate is accepted, and whoever sits between \
             here and Plex can read the token; PLEX_CA_FILE or PLEX_TLS_SERVER_NAME are safe ways"
        );
    }
}

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
//! | values | [`config`], [`server_url`], [`listen`], [`files`] | the validated environment |
//! | | [`secret`], [`token`] | the token: its type and redaction; its rotation |
//! | | [`logging`], [`output`], [`stderr`] | what leaves the process as text, and by which queue |
//! | | [`panic_hook`] | a panic ends the process, with a line that says so |
//! | | [`cpu_budget`] | limits on the CPU time of threads |
//! | | [`threads`], [`clock`], [`random`], [`build_info`] | what every part uses |
//!
//! # Invariants
//!
//! - State changes only in the event loop.
//! - Time enters the state as a parameter; only the edges read a clock.
//! - No lock is held across I/O with Plex or a client.
//! - Every thread has a name, a bounded stack and a way to be stopped. [`run`] joins it, unless it
//!   is blocked in a request, or pauses, when the process exits.
//! - A panic in any thread ends the process.
//! - Every channel is bounded and documents what happens when it is full.
//! - The token lives in one [`secret::Secret`], whose `Debug` is redacted, and every text on its way
//!   to standard output or standard error passes [`output::Lines`], which replaces it.
//! - Nothing waits for the reader of standard error ([`stderr`]).

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
mod cpu_budget;
mod event;
mod event_loop;
mod files;
pub mod health;
mod http;
mod listen;
pub mod logging;
mod metrics;
mod net;
mod notify;
pub mod output;
pub mod panic_hook;
mod plex;
mod poller;
mod random;
mod render;
mod secret;
mod server_url;
mod state;
mod state_handle;
pub mod stderr;
mod systemd;
mod threads;
mod tls;
mod token;

/// For tests, benchmarks and fuzz targets that run in one process. Not a public interface.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        clock::Timestamp,
        event::{Completed, Event},
        http::request_head,
        metrics::{catalogue::CATALOGUE, process::Process},
        plex::{
            clean_json::CleanJson,
            client::decode as decode_response,
            error::PlexError,
            id::Id,
            notification::{KINDS, decode as decode_notification},
            request::{ItemsQuery, PlexRequest, PlexResponse},
        },
        render::render,
        state::{
            State,
            actions::{Actions, LogLine},
        },
    };
}

use std::{error::Error, fmt, io, net::TcpListener, process, sync::Arc, thread, time::Duration};

use crossbeam_channel::{Receiver, bounded};
use log::{info, warn};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    clock::Timestamp,
    config::Config,
    health::Marker,
    listen::ListenAddress,
    metrics::process::ProcessReader,
    plex::client::Client,
    poller::Poller,
    state::{State, titles::TITLES_AT_ONCE},
    state_handle::StateHandle,
    systemd::Systemd,
    token::Token,
};

/// Threads have this long to end; one that is blocked in a request ends with the process.
const JOIN_LIMIT: Duration = Duration::from_millis(300);
/// After the first signal the process has this long to end by itself.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(650);
/// Events that may wait for the event loop; when there are more, the sender waits. They are few
/// because of their size: a notification of 1 MB takes about as much again when it is decoded.
const EVENTS: usize = 8;

/// Why the exporter could not run.
#[derive(Debug)]
pub enum RunError {
    /// The listen address could not be opened.
    Listen(ListenAddress, io::Error),
    /// The OS gave no thread, no socket or no signal handler.
    System(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => {
                let fix = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program (or another plex-exporter) uses it: stop that one, or \
                         choose another port"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need root: choose a higher one"
                    }
                    _ => "write :9594 for all interfaces, or an address of this machine",
                };
                write!(
                    formatter,
                    "LISTEN_ADDRESS: cannot listen on {address}: {error}; {fix}"
                )
            }
            Self::System(error) => write!(formatter, "OS error: {error}"),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen(_, error) | Self::System(error) => Some(error),
        }
    }
}

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
    let marker = Arc::new(Marker::new(&config.health_file));
    let stop = stop_on_signals(&marker)?;
    let listener = config
        .listen
        .bind()
        .map_err(|error| RunError::Listen(config.listen.clone(), error))?;
    // Only now: another exporter on the same port keeps its marker.
    marker.remove_stale();
    log_startup(config, &listener);

    let (events, received) = bounded(EVENTS);
    let (state_handle, queries) = StateHandle::channel();
    let process = ProcessReader::new(Timestamp::read().unix_seconds);
    let server = http::Server::start(listener, state_handle, process)?;
    let (token, token_replaced) = Token::new(config.token.clone(), config.token_file.clone());
    let client = Client::new(config.dialer.clone(), token.clone());
    let (poller, mut threads) = Poller::start(&client, &events, TITLES_AT_ONCE)?;
    let (notify_stop, notify_stopped) = bounded(0);
    let dialer = config.dialer.clone();
    threads.push(threads::spawn(
        "notify",
        threads::WORKER_STACK,
        move || {
            notify::run(&dialer, &token, &token_replaced, &events, &notify_stopped);
        },
    )?);

    let state = State::new(config.hide, Timestamp::read());
    let mut systemd = Systemd::from_env();
    systemd.ready();
    let signal = event_loop::run(
        state,
        &poller,
        &marker,
        &mut systemd,
        &received,
        &queries,
        &stop,
    );
    systemd.stopping();
    info!("{}, shutting down", signal.unwrap_or("all workers exited"));

    marker.remove();
    drop((poller, received, queries, notify_stop));
    threads.extend(server.stop());
    threads::join_within(threads, JOIN_LIMIT);
    Ok(())
}

/// A channel that receives the name of the first SIGTERM or SIGINT. After [`SHUTDOWN_LIMIT`] the
/// process ends whatever hangs.
fn stop_on_signals(marker: &Arc<Marker>) -> io::Result<Receiver<&'static str>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let marker = Arc::clone(marker);
    let (sender, receiver) = bounded(1);
    threads::spawn("signals", threads::SCRAPER_STACK, move || {
        let name = match signals.forever().next() {
            Some(SIGINT) => "SIGINT",
            Some(_) => "SIGTERM",
            None => return,
        };
        // The receiver is gone when the exporter could not start, and then it ends anyway.
        let _ = sender.send(name);
        thread::sleep(SHUTDOWN_LIMIT);
        marker.remove();
        process::exit(0);
    })?;
    Ok(receiver)
}

fn log_startup(config: &Config, listener: &TcpListener) {
    info!("{}", cli::version());
    if let Ok(address) = listener.local_addr() {
        info!(
            "metrics on http://{address}/metrics, Plex at {}",
            config.dialer.server()
        );
    }
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if config.tls.skip_verification && config.dialer.server().is_tls() {
        warn!(
            "SKIP_TLS_VERIFICATION is set: ANY certificate is accepted, and whoever sits between \
             here and Plex can read the token; PLEX_CA_FILE or PLEX_TLS_SERVER_NAME are safe ways"
        );
    }
}

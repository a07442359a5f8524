//! `plex-exporter check`: checks everything the exporter needs, and reports to a person.
//!
//! Each step is one line. A failed step names the cause and the fix; steps that depend on it are
//! skipped. Features that not every Plex offers are `info`, with the metrics that will be absent.

mod connection;
mod explain;
mod report;

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use self::{connection::check_connection, report::Report};
use crate::{
    config::{Config, ConfigError},
    plex::{
        client::{Client, REQUEST_TIMEOUT},
        error::PlexError,
        lenient::Text,
        request::{PlexRequest, PlexResponse},
        socket::{Received, Socket},
        wire,
    },
    token::Token,
};

/// After this many requests that timed out, the optional ones are skipped: nobody waits for them.
const MAX_TIMEOUTS: u32 = 2;

/// Checks everything; true if everything that is required works.
///
/// # Errors
/// When the report cannot be written.
pub fn run(config: Result<Config, ConfigError>, out: impl Write) -> io::Result<bool> {
    let mut report = Report::new(out);
    match config {
        Ok(config) => {
            report.ok("PLEX_SERVER", &config.dialer.server().to_string())?;
            check_server(&config, &mut report)?;
        }
        Err(errors) => {
            for error in errors.to_string().lines() {
                report.fail("configuration", error)?;
            }
        }
    }
    Ok(!report.failed())
}

fn check_server(config: &Config, report: &mut Report<impl Write>) -> io::Result<()> {
    if !check_connection(config, report)? {
        return Ok(());
    }
    let (token, _) = Token::new(config.token.clone(), None);
    let mut requests = Requests {
        client: Client::new(config.dialer.clone(), token),
        timeouts: 0,
    };
    let Some(server) = check_token(&mut requests, report)? else {
        return Ok(());
    };
    check_sessions(&mut requests, report)?;
    check_libraries(&mut requests, report)?;
    check_statistics(&mut requests, &server, report)?;
    check_accounts(&mut requests, report)?;
    check_updates(&mut requests, report)?;
    check_socket(config, report)
}

/// The requests of the steps.
struct Requests {
    client: Client,
    /// Those that timed out.
    timeouts: u32,
}

impl Requests {
    fn send(&mut self, request: &PlexRequest) -> Result<PlexResponse, PlexError> {
        let result = self.client.fetch(request).result;
        self.timeouts += u32::from(matches!(result, Err(PlexError::Timeout)));
        result
    }

    /// Requests what not every Plex offers; the error says why there is nothing.
    fn send_optional(&mut self, request: &PlexRequest) -> Result<PlexResponse, String> {
        if self.timeouts >= MAX_TIMEOUTS {
            return Err("skipped, because Plex did not respond to the requests before".to_owned());
        }
        self.send(request).map_err(|error| match error {
            PlexError::NotFound => "not offered by this server (404)".to_owned(),
            error => explain::response(&error),
        })
    }
}

/// The token, the version and Plex Pass; `None` if the remaining steps cannot run.
fn check_token(
    requests: &mut Requests,
    report: &mut Report<impl Write>,
) -> io::Result<Option<wire::Server>> {
    let server = match requests.send(&PlexRequest::Server) {
        Ok(PlexResponse::Server(server)) if server.machine_identifier.get().is_some() => server,
        Ok(_) => {
            let text = PlexError::not_plex().to_string();
            return report.fail("HTTP", &text).map(|()| None);
        }
        Err(error) => {
            let step = match error {
                PlexError::Unauthorized | PlexError::Forbidden => "token",
                _ => "HTTP",
            };
            return report
                .fail(step, &explain::first_response(&error))
                .map(|()| None);
        }
    };
    report.ok("HTTP", "Plex responds")?;
    report.ok("token", "accepted")?;
    let or_unknown = |text: &Text| text.get().unwrap_or("unknown").to_owned();
    let text = format!(
        "Plex Media Server {} on {}, `{}`",
        or_unknown(&server.version),
        or_unknown(&server.platform),
        or_unknown(&server.friendly_name)
    );
    report.ok("version", &text)?;
    if server.my_plex_subscription.is_true() {
        report.ok("Plex Pass", "yes")?;
    } else {
        report.info("Plex Pass", "no: host load and bytes sent are absent")?;
    }
    Ok(Some(server))
}

fn check_sessions(requests: &mut Requests, report: &mut Report<impl Write>) -> io::Result<()> {
    match requests.send(&PlexRequest::Sessions) {
        Ok(PlexResponse::Sessions(wire::Sessions { sessions })) => {
            report.ok("administrator", "the token may see live sessions")?;
            report.ok("sessions", &format!("{} live", sessions.as_slice().len()))
        }
        Err(PlexError::Unauthorized | PlexError::Forbidden) => report.fail(
            "administrator",
            "the token may not see live sessions: it belongs to a shared or managed user; use the \
             token of the server's administrator",
        ),
        Ok(_) => Ok(()),
        Err(error) => report.fail("sessions", &explain::response(&error)),
    }
}

fn check_libraries(requests: &mut Requests, report: &mut Report<impl Write>) -> io::Result<()> {
    let providers = match requests.send(&PlexRequest::Providers) {
        Ok(PlexResponse::Providers(providers)) => providers,
        Ok(_) => return Ok(()),
        Err(error) => return report.fail("libraries", &explain::response(&error)),
    };
    let Some(libraries) = providers.libraries() else {
        let text = "not listed yet: Plex is starting; check again in a minute";
        return report.info("libraries", text);
    };
    let titles: Vec<&str> = libraries
        .iter()
        .map(|(_, library)| library.title.or_empty())
        .collect();
    if titles.is_empty() {
        let text = "none: add one in Plex, or use the token of the server's administrator";
        report.info("libraries", text)
    } else {
        let text = format!("{}: {}", titles.len(), titles.join(", "));
        report.ok("libraries", &text)
    }
}

/// What needs Plex Pass.
fn check_statistics(
    requests: &mut Requests,
    server: &wire::Server,
    report: &mut Report<impl Write>,
) -> io::Result<()> {
    let steps = [
        (
            PlexRequest::Resources,
            "host load",
            "plex_host_… and plex_process_… are absent",
        ),
        (
            PlexRequest::Bandwidth,
            "bytes sent",
            "plex_transmit_bytes_total, plex_network_… and plex_user_transmit_bytes_total are absent",
        ),
    ];
    for (request, step, absent) in steps {
        if !server.my_plex_subscription.is_true() {
            report.info(step, &format!("{absent}: they need Plex Pass"))?;
            continue;
        }
        match requests.send_optional(&request) {
            Ok(PlexResponse::Resources(load)) if load.samples.as_slice().is_empty() => {
                report.info(step, &format!("{absent} until Plex has samples of it"))?;
            }
            Ok(_) => report.ok(step, "supplied")?,
            Err(why) => report.info(step, &format!("{absent}: {why}"))?,
        }
    }
    Ok(())
}

fn check_accounts(requests: &mut Requests, report: &mut Report<impl Write>) -> io::Result<()> {
    match requests.send_optional(&PlexRequest::Accounts) {
        Ok(PlexResponse::Accounts(accounts)) => {
            let accounts = accounts.accounts.as_slice();
            let named = accounts
                .iter()
                .filter(|account| account.name.get().is_some());
            report.ok("users", &format!("{} with access", named.count()))
        }
        Ok(_) => Ok(()),
        Err(why) => report.info(
            "users",
            &format!(
                "plex_user_play_starts_total has no series before a user's first play, and \
                 plex_user_transmit_bytes_total counts everybody as `unknown`: {why}"
            ),
        ),
    }
}

fn check_updates(requests: &mut Requests, report: &mut Report<impl Write>) -> io::Result<()> {
    match requests.send_optional(&PlexRequest::Updater) {
        Ok(PlexResponse::Updater(updater)) => {
            let text = if updater.has_pending_release() {
                "Plex offers a newer version"
            } else {
                "Plex offers no newer version"
            };
            report.ok("updates", text)
        }
        Ok(_) => Ok(()),
        Err(why) => report.info(
            "updates",
            &format!("plex_update_available is absent: {why}"),
        ),
    }
}

fn check_socket(config: &Config, report: &mut Report<impl Write>) -> io::Result<()> {
    let mut socket = match Socket::open(&config.dialer, &config.token) {
        Ok(socket) => socket,
        Err(error) => {
            let why = explain::socket(&error, "no response to the upgrade");
            let text = format!("{why}; until then sessions are polled every few seconds");
            return report.fail("notifications", &text);
        }
    };
    report.ok("notifications", "connected")?;
    let sent = Instant::now();
    // If this fails, the frame that closed the connection says more.
    let _ = socket.ping();
    let answer = wait_for_pong(&mut socket, sent + REQUEST_TIMEOUT);
    socket.close();
    match answer {
        Ok(()) => {
            let took = sent.elapsed().as_millis();
            report.ok("ping", &format!("answered within {took} ms"))
        }
        Err(error) => report.fail("ping", &explain::socket(&error, "not answered")),
    }
}

fn wait_for_pong(socket: &mut Socket, deadline: Instant) -> Result<(), PlexError> {
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        if let Received::Pong = socket.receive(left.max(Duration::from_millis(1)))? {
            return Ok(());
        }
    }
    Err(PlexError::Timeout)
}

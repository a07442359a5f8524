//! `plex-exporter check`: checks everything the exporter needs, and reports to a person.
//!
//! Each step is one line. A failed step names the cause and the fix; steps that depend on it are
//! skipped. Features that not every Plex offers are `info`, with the metrics that will be absent.

mod connection;
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
        request::{PlexRequest, PlexResponse},
        socket::{Received, Socket},
        wire,
    },
    token::Token,
};

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
    let client = Client::new(config.dialer.clone(), token);
    let Some(server) = check_token(&client, report)? else {
        return Ok(());
    };
    check_sessions(&client, report)?;
    check_libraries(&client, report)?;
    check_statistics(&client, &server, report)?;
    check_accounts(&client, report)?;
    check_updates(&client, report)?;
    check_socket(config, report)
}

/// The token, the version and Plex Pass; `None` if the remaining steps cannot run.
fn check_token(
    client: &Client,
    report: &mut Report<impl Write>,
) -> io::Result<Option<wire::Server>> {
    let server = match client.fetch(&PlexRequest::Server).result {
        Ok(PlexResponse::Server(server)) if server.machine_identifier.get().is_some() => server,
        Ok(_) => {
            let text = PlexError::not_plex().to_string();
            return report.fail("HTTP", &text).map(|()| None);
        }
        Err(error) => {
            let (step, text) = match error {
                PlexError::Unauthorized | PlexError::Forbidden => ("token", error.to_string()),
                PlexError::Status(503) => (
                    "HTTP",
                    "Plex is starting or under maintenance (503): wait a minute and check again"
                        .to_owned(),
                ),
                error => ("HTTP", error.to_string()),
            };
            return report.fail(step, &text).map(|()| None);
        }
    };
    report.ok("HTTP", "Plex responds")?;
    report.ok("token", "accepted")?;
    let text = format!(
        "Plex Media Server {} on {}, `{}`",
        server.version.or_empty(),
        server.platform.or_empty(),
        server.friendly_name.or_empty()
    );
    report.ok("version", &text)?;
    if server.my_plex_subscription.is_true() {
        report.ok("Plex Pass", "yes")?;
    } else {
        report.info("Plex Pass", "no: host load and bytes sent are absent")?;
    }
    Ok(Some(server))
}

fn check_sessions(client: &Client, report: &mut Report<impl Write>) -> io::Result<()> {
    match client.fetch(&PlexRequest::Sessions).result {
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
        Err(error) => report.fail("sessions", &error.to_string()),
    }
}

fn check_libraries(client: &Client, report: &mut Report<impl Write>) -> io::Result<()> {
    let providers = match client.fetch(&PlexRequest::Providers).result {
        Ok(PlexResponse::Providers(providers)) => providers,
        Ok(_) => return Ok(()),
        Err(error) => return report.fail("libraries", &error.to_string()),
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

/// What needs Plex Pass. Without one, some servers respond with 404 and some with an empty
/// container.
fn check_statistics(
    client: &Client,
    server: &wire::Server,
    report: &mut Report<impl Write>,
) -> io::Result<()> {
    let steps = [
        (
            PlexRequest::Resources,
            "host load",
            "plex_host_… and plex_process_…",
        ),
        (
            PlexRequest::Bandwidth,
            "bytes sent",
            "plex_transmit_bytes_total, plex_network_… and plex_user_transmit_bytes_total",
        ),
    ];
    for (request, step, metrics) in steps {
        match client.fetch(&request).result {
            Ok(_) if server.my_plex_subscription.is_true() => report.ok(step, "supplied")?,
            Ok(_) | Err(PlexError::NotFound) => {
                report.info(step, &format!("needs Plex Pass; {metrics} are absent"))?;
            }
            Err(error) => {
                let why = why_not_offered(&error);
                report.info(step, &format!("{why}; {metrics} are absent"))?;
            }
        }
    }
    Ok(())
}

fn check_accounts(client: &Client, report: &mut Report<impl Write>) -> io::Result<()> {
    match client.fetch(&PlexRequest::Accounts).result {
        Ok(PlexResponse::Accounts(accounts)) => {
            let accounts = accounts.accounts.as_slice();
            let named = accounts
                .iter()
                .filter(|account| account.name.get().is_some());
            report.ok("users", &format!("{} with access", named.count()))
        }
        Ok(_) => Ok(()),
        Err(error) => report.info(
            "users",
            &format!(
                "{}; plex_user_play_starts_total has no series before a user's first play, and \
                 plex_user_transmit_bytes_total counts everybody as `unknown`",
                why_not_offered(&error)
            ),
        ),
    }
}

fn check_updates(client: &Client, report: &mut Report<impl Write>) -> io::Result<()> {
    match client.fetch(&PlexRequest::Updater).result {
        Ok(PlexResponse::Updater(updater)) => {
            let text = if updater.has_pending_release() {
                "Plex offers a newer version"
            } else {
                "Plex offers no newer version"
            };
            report.ok("updates", text)
        }
        Ok(_) => Ok(()),
        Err(error) => {
            let why = why_not_offered(&error);
            report.info(
                "updates",
                &format!("{why}; plex_update_available is absent"),
            )
        }
    }
}

/// Why an optional endpoint supplied nothing.
fn why_not_offered(error: &PlexError) -> String {
    match error {
        PlexError::NotFound => "not offered by this server (404)".to_owned(),
        PlexError::Unauthorized | PlexError::Forbidden => {
            "not offered to this token: use that of the server's administrator".to_owned()
        }
        error => error.to_string(),
    }
}

fn check_socket(config: &Config, report: &mut Report<impl Write>) -> io::Result<()> {
    let mut socket = match Socket::open(&config.dialer, &config.token) {
        Ok(socket) => socket,
        Err(error) => {
            let text = format!("{error}; until then sessions are polled every few seconds");
            return report.fail("notifications", &text);
        }
    };
    report.ok("notifications", "connected")?;
    let sent = Instant::now();
    let answered = socket.ping().is_ok() && wait_for_pong(&mut socket, sent + REQUEST_TIMEOUT);
    socket.close();
    if answered {
        let took = sent.elapsed().as_millis();
        report.ok("ping", &format!("answered within {took} ms"))
    } else {
        let text = format!(
            "not answered within {} s: a reverse proxy in front of Plex must pass WebSocket frames \
             on in both directions",
            REQUEST_TIMEOUT.as_secs()
        );
        report.fail("ping", &text)
    }
}

fn wait_for_pong(socket: &mut Socket, deadline: Instant) -> bool {
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        match socket.receive(left.max(Duration::from_millis(1))) {
            Ok(Received::Pong) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

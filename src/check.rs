//! `plex-exporter check`: one pass over everything the exporter needs, for a person to read.

use std::{
    fmt,
    io::{self, Write},
    time::{Duration, Instant},
};

use rustls::{
    CertificateError, Error,
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};

use crate::{
    config::{Config, ConfigError, TlsOptions},
    logging::Sanitized,
    net::{self, Dialer, Stream},
    plex::{
        client::{Client, REQUEST_TIMEOUT},
        error::PlexError,
        request::{PlexRequest, PlexResponse},
        socket::{DEAD_AFTER, Received, Socket},
        wire,
    },
    state::libraries::library_directories,
};

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// Worth knowing, but nothing the exporter needs.
    Remark,
    Wrong,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ok => "ok",
            Self::Remark => "remark",
            Self::Wrong => "WRONG",
        })
    }
}

/// Writes the report and remembers whether anything was wrong.
struct Report<W> {
    out: W,
    wrong: bool,
}

impl<W: Write> Report<W> {
    fn line(&mut self, verdict: Verdict, step: &str, text: &str) -> io::Result<()> {
        self.wrong |= verdict == Verdict::Wrong;
        writeln!(self.out, "{verdict:<8}{step:<20}{}", Sanitized(text))?;
        self.out.flush()
    }

    fn ok(&mut self, step: &str, text: &str) -> io::Result<()> {
        self.line(Verdict::Ok, step, text)
    }

    fn wrong(&mut self, step: &str, text: &str) -> io::Result<()> {
        self.line(Verdict::Wrong, step, text)
    }
}

/// Checks everything; true when all that is required works.
///
/// # Errors
/// When the report cannot be written.
pub fn run(config: Result<Config, ConfigError>, out: impl Write) -> io::Result<bool> {
    let mut report = Report { out, wrong: false };
    match config {
        Ok(config) => {
            report.ok("PLEX_SERVER", &config.server.to_string())?;
            check_server(&config, &mut report)?;
        }
        Err(errors) => {
            for error in errors.to_string().lines() {
                report.wrong("configuration", error)?;
            }
        }
    }
    Ok(!report.wrong)
}

fn check_server(config: &Config, report: &mut Report<impl Write>) -> io::Result<()> {
    let dialer = match Dialer::new(&config.server, &config.tls) {
        Ok(dialer) => dialer,
        Err(error) => return report.wrong("configuration", &error),
    };
    if !check_connection(config, &dialer, report)? {
        return Ok(());
    }
    let client = Client::new(dialer.clone(), config.token.clone());
    if !check_token(&client, report)? {
        return Ok(());
    }
    check_sessions(&client, report)?;
    check_libraries(&client, report)?;
    check_statistics(&client, report)?;
    check_socket(config, &dialer, report)
}

/// Name, TCP, TLS; false when there is no way to go on.
fn check_connection(
    config: &Config,
    dialer: &Dialer,
    report: &mut Report<impl Write>,
) -> io::Result<bool> {
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let addresses = match dialer.resolve(deadline) {
        Ok(addresses) => addresses,
        Err(error) => return report.wrong("name", &error.to_string()).map(|()| false),
    };
    let list: Vec<String> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    report.ok("name", &list.join(", "))?;
    let tcp = match net::connect(&addresses, deadline) {
        Ok(tcp) => tcp,
        Err(error) => {
            return report
                .wrong("TCP", &PlexError::from(error).to_string())
                .map(|()| false);
        }
    };
    report.ok(
        "TCP",
        &format!("port {} accepts connections", config.server.port()),
    )?;
    if !config.server.is_tls() {
        let text = "not used: the token travels in clear text, so keep it within your network";
        return report.line(Verdict::Remark, "TLS", text).map(|()| true);
    }
    match dialer.tls_handshake(tcp, deadline) {
        Ok(stream) => {
            let names = names_of(&stream).join(", ");
            if config.tls.skip_verification {
                let text = format!(
                    "NOT VERIFIED because of SKIP_TLS_VERIFICATION; the certificate is for {names}"
                );
                report.line(Verdict::Remark, "TLS", &text)?;
            } else {
                report.ok("TLS", &format!("the certificate is valid, for {names}"))?;
            }
            Ok(true)
        }
        Err(error) => {
            let mut text = error.to_string();
            if let Some(names) = unverified_names(config) {
                text = format!("{text} (the certificate is for {})", names.join(", "));
            }
            report.wrong("TLS", &text).map(|()| false)
        }
    }
}

/// The names in the certificate that the server showed.
fn names_of(stream: &Stream) -> Vec<String> {
    let nobody = ServerName::try_from("nobody.invalid");
    let (Some(certificate), Ok(nobody)) = (stream.certificate(), nobody) else {
        return Vec::new();
    };
    let certificate = CertificateDer::from(certificate);
    let parsed = ParsedCertificate::try_from(&certificate);
    // A mismatch lists what the certificate is for, so that no parser of our own is needed.
    match parsed.and_then(|parsed| verify_server_name(&parsed, &nobody)) {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        })) => presented,
        _ => Vec::new(),
    }
}

/// The names in a certificate that was refused.
fn unverified_names(config: &Config) -> Option<Vec<String>> {
    let options = TlsOptions {
        skip_verification: true,
        ..config.tls.clone()
    };
    let dialer = Dialer::new(&config.server, &options).ok()?;
    let stream = dialer.dial(Instant::now() + REQUEST_TIMEOUT).ok()?;
    Some(names_of(&stream)).filter(|names| !names.is_empty())
}

/// The token, the version, Plex Pass; false when there is no way to go on.
fn check_token(client: &Client, report: &mut Report<impl Write>) -> io::Result<bool> {
    let server = match client.fetch(&PlexRequest::Server).result {
        Ok(PlexResponse::Server(server)) if server.machine_identifier.get().is_some() => server,
        Ok(_) => {
            let text = PlexError::not_plex().to_string();
            return report.wrong("token", &text).map(|()| false);
        }
        Err(error) => return report.wrong("token", &error.to_string()).map(|()| false),
    };
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
        let text = "no: host load and bytes sent will be absent";
        report.line(Verdict::Remark, "Plex Pass", text)?;
    }
    Ok(true)
}

fn check_sessions(client: &Client, report: &mut Report<impl Write>) -> io::Result<()> {
    match client.fetch(&PlexRequest::Sessions).result {
        Ok(PlexResponse::Sessions(wire::Sessions { sessions })) => {
            report.ok("administrator", "the token may see live sessions")?;
            report.ok("sessions", &format!("{} live", sessions.as_slice().len()))
        }
        Err(PlexError::Unauthorized | PlexError::Forbidden) => report.wrong(
            "administrator",
            "the token may not see live sessions: it is of a shared or managed user; use the \
             token of the server's administrator",
        ),
        Ok(_) => Ok(()),
        Err(error) => report.wrong("sessions", &error.to_string()),
    }
}

fn check_libraries(client: &Client, report: &mut Report<impl Write>) -> io::Result<()> {
    match client.fetch(&PlexRequest::Providers).result {
        Ok(PlexResponse::Providers(providers)) => {
            let libraries = library_directories(&providers).unwrap_or_default();
            let titles: Vec<&str> = libraries
                .iter()
                .map(|(_, library)| library.title.or_empty())
                .collect();
            if titles.is_empty() {
                let text = "none: the server has none yet, or the token sees none";
                report.line(Verdict::Remark, "libraries", text)
            } else {
                report.ok(
                    "libraries",
                    &format!("{}: {}", titles.len(), titles.join(", ")),
                )
            }
        }
        Ok(_) => Ok(()),
        Err(error) => report.wrong("libraries", &error.to_string()),
    }
}

fn check_statistics(client: &Client, report: &mut Report<impl Write>) -> io::Result<()> {
    for (fetch, step) in [
        (PlexRequest::Resources, "host load"),
        (PlexRequest::Bandwidth, "bytes sent"),
    ] {
        match client.fetch(&fetch).result {
            Ok(_) => report.ok(step, "supplied")?,
            Err(PlexError::NotFound) => {
                report.line(Verdict::Remark, step, "not offered: it needs Plex Pass")?;
            }
            Err(error) => report.wrong(step, &error.to_string())?,
        }
    }
    Ok(())
}

fn check_socket(
    config: &Config,
    dialer: &Dialer,
    report: &mut Report<impl Write>,
) -> io::Result<()> {
    let mut socket = match Socket::open(dialer, &config.token) {
        Ok(socket) => socket,
        Err(error) => return report.wrong("notifications", &error.to_string()),
    };
    report.ok("notifications", "the WebSocket stands")?;
    let begun = Instant::now();
    let answered = socket.ping().is_ok() && wait_for_pong(&mut socket, begun + REQUEST_TIMEOUT);
    socket.close();
    if answered {
        report.ok(
            "ping",
            &format!("answered within {} ms", begun.elapsed().as_millis()),
        )
    } else {
        let text = format!(
            "not answered: the connection is given up after {} s of silence, and made anew",
            DEAD_AFTER.as_secs()
        );
        report.line(Verdict::Remark, "ping", &text)
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

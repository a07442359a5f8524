//! The steps of a connection: name resolution, TCP, TLS.

use std::{
    io::{self, Write},
    time::Instant,
};

use rustls::{
    CertificateError, Error,
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};

use super::{explain, report::Report};
use crate::{
    config::Config,
    net::{self, DialError, Dialer, Stream},
    plex::client::REQUEST_TIMEOUT,
    tls::{self, TlsOptions},
};

/// Name resolution, TCP and TLS; false if the remaining steps cannot run.
pub(super) fn check_connection(
    config: &Config,
    report: &mut Report<impl Write>,
) -> io::Result<bool> {
    let dialer = &config.dialer;
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let addresses = match dialer.resolve(deadline) {
        Ok(addresses) => addresses,
        Err(error) => {
            return report
                .fail("name resolution", &error.to_string())
                .map(|()| false);
        }
    };
    let list: Vec<String> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    report.ok("name resolution", &list.join(", "))?;
    let tcp = match net::connect(&addresses, deadline) {
        Ok(tcp) => tcp,
        Err(error) => return report.fail("TCP", &explain::tcp(&error)).map(|()| false),
    };
    let port = dialer.server().port();
    report.ok("TCP", &format!("port {port} accepts connections"))?;
    if !dialer.server().is_tls() {
        let text = "not used: the token is sent in clear text, so keep it within your network";
        return report.info("TLS", text).map(|()| true);
    }
    match dialer.tls_handshake(tcp, deadline) {
        Ok(stream) => {
            let names = names_of(&stream).join(", ");
            if config.tls.skip_verification {
                let text = format!(
                    "NOT VERIFIED because of SKIP_TLS_VERIFICATION; the certificate is for {names}"
                );
                report.info("TLS", &text)?;
            } else {
                report.ok("TLS", &format!("the certificate is valid, for {names}"))?;
            }
            Ok(true)
        }
        Err(error) => {
            let mut text = explain::tls(&error);
            if is_rejected_whatever_its_names(&error)
                && let Some(names) = unverified_names(config)
            {
                text = format!("{text} (the certificate is for {})", names.join(", "));
            }
            report.fail("TLS", &text).map(|()| false)
        }
    }
}

/// Whether the certificate was rejected before its names were compared.
fn is_rejected_whatever_its_names(error: &DialError) -> bool {
    match error {
        DialError::Tls {
            error: Error::InvalidCertificate(problem),
            ..
        } => !matches!(problem, CertificateError::NotValidForNameContext { .. }),
        _ => false,
    }
}

/// The names in the certificate that the server presented.
fn names_of(stream: &Stream) -> Vec<String> {
    let nobody = ServerName::try_from("nobody.invalid");
    let (Some(certificate), Ok(nobody)) = (stream.certificate(), nobody) else {
        return Vec::new();
    };
    let certificate = CertificateDer::from(certificate);
    let parsed = ParsedCertificate::try_from(&certificate);
    // A mismatch lists the names in the certificate, so that no parser of our own is needed.
    match parsed.and_then(|parsed| verify_server_name(&parsed, &nobody)) {
        Err(Error::InvalidCertificate(problem)) => tls::presented_names(&problem)
            .into_iter()
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// The names in a certificate that was rejected.
fn unverified_names(config: &Config) -> Option<Vec<String>> {
    let options = TlsOptions {
        skip_verification: true,
        ..config.tls.clone()
    };
    let dialer = Dialer::new(config.dialer.server(), &options).ok()?;
    let stream = dialer.dial(Instant::now() + REQUEST_TIMEOUT).ok()?;
    Some(names_of(&stream)).filter(|names| !names.is_empty())
}

//! What a person can do about a failed handshake.

use rustls::{AlertDescription, CertificateError, Error};

/// Explains a failed handshake and its fix. `name` is the expected name.
#[must_use]
pub fn explain_error(error: &Error, name: &str) -> String {
    match error {
        Error::InvalidCertificate(problem) => explain_certificate(problem, name),
        Error::InvalidMessage(_) => {
            "the response is not TLS: if this port speaks plain HTTP, begin PLEX_SERVER with \
             http:// in place of https://"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server requires a client certificate, and the exporter has none: exempt it there, \
             or set PLEX_SERVER to the address of Plex itself"
                .to_owned()
        }
        Error::AlertReceived(_) | Error::PeerIncompatible(_) => {
            "the server rejected the handshake: it must offer TLS 1.2 or 1.3, and PLEX_SERVER (or \
             PLEX_TLS_SERVER_NAME) must be a name that it serves"
                .to_owned()
        }
        Error::PeerMisbehaved(_) => {
            "the server violates the TLS protocol: is something other than Plex on this port?"
                .to_owned()
        }
        other => format!("{other}: is something other than Plex on this port?"),
    }
}

fn explain_certificate(problem: &CertificateError, name: &str) -> String {
    match problem {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            match presented_names(problem) {
                names if names.is_empty() => format!(
                    "the certificate is not for `{name}`, nor for any other name (it has no subject \
                     alternative name): give Plex one that is, or set SKIP_TLS_VERIFICATION=true"
                ),
                names => format!(
                    "the certificate is not for `{name}` (it is for {}): use a name it bears in \
                     PLEX_SERVER, or set PLEX_TLS_SERVER_NAME to one",
                    names.join(", ")
                ),
            }
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of `{name}` has expired: renew it, or set \
             SKIP_TLS_VERIFICATION=true until then (and check this machine's clock)"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of `{name}` is not valid yet: check the clocks of both machines"
        ),
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::Other(_) => format!(
            "the certificate of `{name}` is signed by an untrusted issuer: set PLEX_CA_FILE to \
             the signing CA (or to the self-signed certificate itself)"
        ),
        CertificateError::Revoked => format!("the certificate of `{name}` is revoked: renew it"),
        CertificateError::BadEncoding => format!(
            "the certificate of `{name}` is damaged: renew it, or set SKIP_TLS_VERIFICATION=true"
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!(
                "the certificate of `{name}` is not for servers: give Plex one that is, or set \
                 SKIP_TLS_VERIFICATION=true"
            )
        }
        _ => format!(
            "the certificate of `{name}` is rejected: set PLEX_CA_FILE to it, give Plex another, \
             or set SKIP_TLS_VERIFICATION=true"
        ),
    }
}

/// The names in a certificate, each once, as a mismatch lists them.
#[must_use]
pub fn presented_names(problem: &CertificateError) -> Vec<&str> {
    let CertificateError::NotValidForNameContext { presented, .. } = problem else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for name in presented {
        // webpki writes them as `DnsName("plex.example")` and `IpAddress(192.0.2.1)`.
        let bare = name
            .split_once('(')
            .map_or(name.as_str(), |(_, value)| value)
            .trim_end_matches(')')
            .trim_matches('"');
        if !names.contains(&bare) {
            names.push(bare);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn names_of_certificates_are_shown_bare_and_once() {
        let problem = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("plex").unwrap(),
            presented: vec![
                "DnsName(\"nas.example\")".to_owned(),
                "IpAddress(192.168.1.10)".to_owned(),
                "DnsName(\"nas.example\")".to_owned(),
            ],
        };
        assert_eq!(presented_names(&problem), ["nas.example", "192.168.1.10"]);
    }

    #[test]
    fn a_failed_handshake_is_explained_in_prose() {
        for error in [
            Error::AlertReceived(rustls::AlertDescription::ProtocolVersion),
            Error::PeerIncompatible(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13),
            Error::PeerMisbehaved(rustls::PeerMisbehaved::InvalidCertCompression),
            CertificateError::NotValidForNameContext {
                expected: ServerName::try_from("plex").unwrap(),
                presented: vec!["DnsName(\"nas.example\")".to_owned()],
            }
            .into(),
            CertificateError::BadEncoding.into(),
        ] {
            let text = explain_error(&error, "plex");
            let debug = ["(\"", "Dns", "Alert", "Tls12", "Compression", "{", "::"];
            assert!(debug.iter().all(|part| !text.contains(part)), "{text}");
        }
    }
}

//! One TLS configuration for HTTP and WebSocket.
//!
//! Revocation is not checked: a private CA rarely publishes a list, and fetching one would be a
//! connection to somewhere else than Plex.

use std::{error::Error as StdError, fmt, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use crate::config::TlsOptions;

/// Why TLS could not be set up.
#[derive(Debug)]
pub enum TlsSetupError {
    /// A certificate in `PLEX_CA_FILE` is no certificate, whatever its PEM block says.
    InvalidCertificate(Error),
    /// The verifier rejects the certificates in `PLEX_CA_FILE`.
    Verifier(VerifierBuilderError),
    /// The provider lacks a protocol version. It does not happen with ring.
    Provider(Error),
}

impl fmt::Display for TlsSetupError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidCertificate(_) => formatter.write_str(
                "PLEX_CA_FILE: a certificate in it is damaged or of an unknown kind; copy the \
                 file again",
            ),
            Self::Verifier(error) => {
                write!(formatter, "PLEX_CA_FILE: {error}; copy the file again")
            }
            Self::Provider(error) => write!(formatter, "TLS cannot be set up: {error}"),
        }
    }
}

impl StdError for TlsSetupError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::InvalidCertificate(error) | Self::Provider(error) => Some(error),
            Self::Verifier(error) => Some(error),
        }
    }
}

/// Builds the client configuration: TLS 1.2 or later, the ring provider, and the roots asked for.
///
/// # Errors
/// When `PLEX_CA_FILE` holds what is no certificate.
pub fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::Provider)?;
    let custom = |trust| {
        let provider = Arc::clone(&provider);
        Arc::new(Verifier { trust, provider })
    };
    let mut config = if options.skip_verification {
        builder
            .dangerous()
            .with_custom_certificate_verifier(custom(Trust::Anything))
            .with_no_client_auth()
    } else if let Some(certificates) = &options.ca {
        builder
            .dangerous()
            .with_custom_certificate_verifier(custom(Trust::file(certificates, &provider)?))
            .with_no_client_auth()
    } else {
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    // One server, reconnected to now and then: a few sessions are plenty (the default keeps 256).
    config.resumption = rustls::client::Resumption::in_memory_sessions(4);
    Ok(Arc::new(config))
}

/// What a person can do about a failed handshake. `name` is the name that was expected.
#[must_use]
pub fn explain_error(error: &Error, name: &str) -> String {
    match error {
        Error::InvalidCertificate(problem) => explain_certificate(problem, name),
        Error::InvalidMessage(_) => {
            "the response is not TLS: if this port speaks plain HTTP, begin PLEX_SERVER with \
             http:// in place of https://"
                .to_owned()
        }
        Error::AlertReceived(_) | Error::PeerIncompatible(_) => {
            "the server rejected the handshake: it must offer TLS 1.2 or 1.3, and PLEX_SERVER (or \
             PLEX_TLS_SERVER_NAME) must be a name that it serves"
                .to_owned()
        }
        Error::PeerMisbehaved(_) => {
            "the server breaks the rules of TLS: is something else than Plex on this port?"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn explain_certificate(problem: &CertificateError, name: &str) -> String {
    match problem {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the certificate is not for `{name}`{}: use a name it bears in PLEX_SERVER, or \
                 set PLEX_TLS_SERVER_NAME to one",
                match presented_names(problem) {
                    names if names.is_empty() => String::new(),
                    names => format!(" (it is for {})", names.join(", ")),
                }
            )
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

/// The names a certificate bears, as a mismatch lists them.
#[must_use]
pub fn presented_names(problem: &CertificateError) -> Vec<&str> {
    match problem {
        CertificateError::NotValidForNameContext { presented, .. } => presented
            .iter()
            // webpki writes them as `DnsName("plex.example")` and `IpAddress(192.0.2.1)`.
            .map(|name| {
                name.split_once('(')
                    .map_or(name.as_str(), |(_, value)| value)
                    .trim_end_matches(')')
                    .trim_matches('"')
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// What makes a server's certificate good.
#[derive(Debug)]
enum Trust {
    /// Nothing has to: `SKIP_TLS_VERIFICATION`.
    Anything,
    /// What the CAs in `PLEX_CA_FILE` signed, and the certificates in it themselves.
    ///
    /// webpki rejects a CA certificate as a server's own, and that is just what `openssl req -x509`
    /// makes. A certificate that the user put into the file is therefore trusted byte for byte,
    /// provided that it bears the name; the server still has to prove that it holds the key.
    File {
        /// Each with a verifier that trusts it alone.
        pinned: Vec<(CertificateDer<'static>, Arc<WebPkiServerVerifier>)>,
        /// `None` where no certificate in the file is one of a CA.
        issuers: Option<Arc<WebPkiServerVerifier>>,
    },
}

impl Trust {
    fn file(
        certificates: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsSetupError> {
        let mut roots = RootCertStore::empty();
        let mut pinned = Vec::new();
        for certificate in certificates {
            let mut own = RootCertStore::empty();
            own.add(certificate.clone())
                .map_err(TlsSetupError::InvalidCertificate)?;
            // A trust anchor is an issuer whatever its own extensions say, so a server's certificate
            // must not become one: whoever holds its key could sign for any name.
            if is_ca(certificate) {
                roots.extend(own.roots.iter().cloned());
            }
            pinned.push((certificate.clone(), issued_by(own, provider)?));
        }
        let issuers = if roots.is_empty() {
            None
        } else {
            Some(issued_by(roots, provider)?)
        };
        Ok(Self::File { pinned, issuers })
    }
}

fn issued_by(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsSetupError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(TlsSetupError::Verifier)
}

/// Whether the basic constraints of a certificate (RFC 5280, 4.2.1.9) make it one of a CA. Neither
/// rustls nor webpki tells.
fn is_ca(certificate: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BOOLEAN: u8 = 0x01;
    const OCTET_STRING: u8 = 0x04;
    const EXTENSIONS: u8 = 0xa3;
    const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];

    let find = || {
        let (certificate, _) = der_element(certificate, SEQUENCE)?;
        let (mut fields, _) = der_element(certificate, SEQUENCE)?;
        while *fields.first()? != EXTENSIONS {
            fields = der_any(fields)?.2;
        }
        let (extensions, _) = der_element(fields, EXTENSIONS)?;
        let (mut extensions, _) = der_element(extensions, SEQUENCE)?;
        loop {
            let (extension, rest) = der_element(extensions, SEQUENCE)?;
            let (_, id, mut value) = der_any(extension)?;
            if id == BASIC_CONSTRAINTS {
                if let Some((_critical, rest)) = der_element(value, BOOLEAN) {
                    value = rest;
                }
                let (value, _) = der_element(value, OCTET_STRING)?;
                let (constraints, _) = der_element(value, SEQUENCE)?;
                return Some(der_element(constraints, BOOLEAN)?.0 != [0]);
            }
            extensions = rest;
        }
    };
    find().unwrap_or(false)
}

/// The content of the element that `der` begins with, if its tag is `tag`, and what follows it.
fn der_element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    der_any(der)
        .filter(|(found, ..)| *found == tag)
        .map(|(_, content, rest)| (content, rest))
}

/// Tag and content of the element that `der` begins with, and what follows it.
fn der_any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = der else {
        return None;
    };
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // The length itself takes up to three bytes; no certificate is larger.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| (length << 8) | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let issued = |by: &WebPkiServerVerifier| {
            by.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        let Trust::File { pinned, issuers } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        if let Some((_, own)) = pinned.iter().find(|(pinned, _)| pinned == end_entity) {
            return match issued(own) {
                // A CA in the place of a server's certificate, or one that somebody else signed.
                // That it has not expired is checked before either.
                Err(Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::Other(_),
                )) => {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                    Ok(ServerCertVerified::assertion())
                }
                verdict => verdict,
            };
        }
        match issuers {
            Some(issuers) => issued(issuers),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    #[test]
    fn only_basic_constraints_make_a_ca() {
        for (constraints, expected) in [
            (IsCa::NoCa, false),
            (IsCa::ExplicitNoCa, false),
            (IsCa::Ca(BasicConstraints::Unconstrained), true),
            (IsCa::Ca(BasicConstraints::Constrained(0)), true),
        ] {
            let mut params = CertificateParams::new(vec!["plex.example".to_owned()]).unwrap();
            params.is_ca = constraints;
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(is_ca(certificate.der()), expected);
            // No prefix of it makes the reader panic, or believe anything.
            for end in 0..certificate.der().len() {
                assert!(!is_ca(&certificate.der()[..end]));
            }
        }
    }

    #[test]
    fn names_of_certificates_are_shown_bare() {
        let problem = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("plex").unwrap(),
            presented: vec![
                "DnsName(\"nas.example\")".to_owned(),
                "IpAddress(192.168.1.10)".to_owned(),
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

//! MaybeObject TLS configuration for HTTP and WebSocket.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use crate::config::TlsOptions;

/// Builds the client configuration: TLS 1.2 or later, the ring provider, and the roots asked for.
///
/// # Errors
/// When `PLEX_CA_FILE` holds a certificate that cannot serve as a trust anchor.
pub fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let trust = if options.skip_verification {
        Trust::Anything
    } else if let Some(certificates) = &options.ca {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.clone()).map_err(|error| {
                format!("PLEX_CA_FILE: a certificate in it cannot be used: {error}")
            })?;
        }
        Trust::PinnedOrIssued(certificates.clone(), issued_by(roots, &provider)?)
    } else {
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        Trust::Issued(issued_by(roots, &provider)?)
    };
    let verifier = Arc::new(Verifier { trust, provider });
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // MaybeObject server, reconnected to now and then: a few sessions are plenty (the default keeps 256).
    config.resumption = rustls::client::Resumption::in_memory_sessions(4);
    Ok(Arc::new(config))
}

fn issued_by(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| format!("PLEX_CA_FILE: {error}"))
}

/// What a person can do about a failed handshake. `name` is the name that was expected.
#[must_use]
pub fn explain_error(error: &Error, name: &str) -> String {
    match error {
        Error::InvalidCertificate(problem) => match problem {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "{problem}; the certificate is not for `{name}`: use a name it bears in \
                     PLEX_SERVER, or set PLEX_TLS_SERVER_NAME to one"
                )
            }
            CertificateError::UnknownIssuer
            | CertificateError::Other(_)
            | CertificateError::BadSignature => format!(
                "the certificate of `{name}` is signed by nobody this exporter trusts: set \
                 PLEX_CA_FILE to the signing CA (or to the self-signed certificate itself)"
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
                "the certificate of `{name}` has expired: renew it, or set \
                 SKIP_TLS_VERIFICATION=true until then (and check this machine's clock)"
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
                "the certificate of `{name}` is not valid yet: check the clocks of both machines"
            ),
            other => format!(
                "the certificate of `{name}` is refused ({other}): mend it, set PLEX_CA_FILE, or \
                 set SKIP_TLS_VERIFICATION=true"
            ),
        },
        Error::InvalidMessage(_) => {
            "the answer is not TLS: if this port speaks plain HTTP, begin PLEX_SERVER with \
             http:// in place of https://"
                .to_owned()
        }
        Error::AlertReceived(alert) => format!("the server broke the handshake off ({alert:?})"),
        other => other.to_string(),
    }
}

/// What makes a server's certificate good.
#[derive(Debug)]
enum Trust {
    /// Nothing has to: `SKIP_TLS_VERIFICATION`.
    Anything,
    /// The roots, built in or from `PLEX_CA_FILE`.
    Issued(Arc<WebPkiServerVerifier>),
    /// What the CAs in `PLEX_CA_FILE` signed, and the certificates in it as they stand.
    ///
    /// webpki refuses a CA certificate as a server's own, and that is just what `openssl req -x509`
    /// makes. A certificate the owner put into the file by hand is therefore trusted byte for byte,
    /// provided that it bears the name; the server still has to prove that it holds the key.
    PinnedOrIssued(Vec<CertificateDer<'static>>, Arc<WebPkiServerVerifier>),
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
        let issued = |roots: &WebPkiServerVerifier| {
            roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match &self.trust {
            Trust::Anything => Ok(ServerCertVerified::assertion()),
            Trust::Issued(roots) => issued(roots),
            Trust::PinnedOrIssued(pinned, roots) => match issued(roots) {
                Err(Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::Other(_),
                )) if pinned.iter().any(|pinned| pinned == end_entity) => {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                    Ok(ServerCertVerified::assertion())
                }
                verdict => verdict,
            },
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

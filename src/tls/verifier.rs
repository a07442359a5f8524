//! Verification of the server's certificate where rustls's default does not serve: against
//! `PLEX_CA_FILE`, or not at all.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{basic_constraints::is_ca, error::TlsSetupError};

/// Which server certificates are accepted.
#[derive(Debug)]
pub(super) enum Trust {
    /// Any certificate: `SKIP_TLS_VERIFICATION`.
    Anything,
    /// What the CAs in `PLEX_CA_FILE` signed, and the certificates in it themselves.
    ///
    /// webpki rejects a CA certificate as a server's own, and that is just what `openssl req -x509`
    /// makes. A certificate that the user put into the file is therefore trusted byte for byte,
    /// provided that it has the expected name; the server still has to prove that it holds the key.
    File {
        /// Each with a verifier that trusts it alone.
        pinned: Vec<(CertificateDer<'static>, Arc<WebPkiServerVerifier>)>,
        /// `None` where no certificate in the file is one of a CA.
        issuers: Option<Arc<WebPkiServerVerifier>>,
    },
}

impl Trust {
    /// The certificates in `PLEX_CA_FILE`.
    pub fn file(
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

#[derive(Debug)]
pub(super) struct Verifier {
    pub trust: Trust,
    pub provider: Arc<CryptoProvider>,
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

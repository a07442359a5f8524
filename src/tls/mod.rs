//! One TLS configuration for HTTP and WebSocket.
//!
//! Revocation is not checked: a private CA rarely publishes a list, and fetching one would be a
//! connection to somewhere else than Plex.

mod basic_constraints;
mod error;
mod explain;
mod verifier;

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};

use self::verifier::{Trust, Verifier};

pub use error::TlsSetupError;
pub use explain::{explain_error, presented_names};

/// How Plex's certificate is verified.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Accept any certificate.
    pub skip_verification: bool,
    /// Trust these in place of the built-in roots.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// Expect this name in place of the URL's host.
    pub server_name: Option<ServerName<'static>>,
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

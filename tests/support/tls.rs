//! Generated certificates, and the server's side of TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// A server's certificate and what a client has to trust for it.
pub struct Identity {
    pub config: Arc<ServerConfig>,
    /// PEM of the CA, or of the self-signed certificate itself.
    pub trust: String,
}

fn server_config(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Arc::new(
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap(),
    )
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

/// A self-signed certificate for `name`; `ca` makes it one of a CA, as `openssl req -x509` does.
pub fn self_signed(name: &str, ca: bool) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = params(name);
    params.is_ca = if ca {
        IsCa::Ca(BasicConstraints::Unconstrained)
    } else {
        IsCa::ExplicitNoCa
    };
    let certificate = params.self_signed(&key).unwrap();
    Identity {
        config: server_config(vec![certificate.der().clone()], &key),
        trust: certificate.pem(),
    }
}

/// A certificate for `name`, signed by a CA made for it.
pub fn signed_by_ca(name: &str) -> Identity {
    signed(params(name))
}

/// The same, but out of date.
pub fn expired(name: &str) -> Identity {
    let mut params = params(name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    signed(params)
}

/// The same, signed by a certificate for `name` that is not one of a CA.
pub fn signed_by_no_ca(name: &str) -> Identity {
    let mut issuer = params(name);
    issuer.is_ca = IsCa::ExplicitNoCa;
    signed_by(issuer, params(name))
}

fn signed(params: CertificateParams) -> Identity {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    signed_by(ca, params)
}

fn signed_by(issuer: CertificateParams, params: CertificateParams) -> Identity {
    let ca = CertifiedIssuer::self_signed(issuer, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    Identity {
        config: server_config(vec![certificate.der().clone()], &key),
        trust: ca.pem(),
    }
}

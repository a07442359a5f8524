//! Why TLS could not be set up.

use std::{error::Error as StdError, fmt};

use rustls::{Error, client::VerifierBuilderError};

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
                "a certificate in it is damaged or of an unknown kind; copy the file again",
            ),
            Self::Verifier(error) => {
                write!(formatter, "{error}; copy the file again")
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

//! What is invalid in the environment, and the fix.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    files::FileError,
    secret::{InvalidToken, quoted},
    token::TokenFileError,
};

/// All errors found in the environment, one line each.
#[derive(Debug)]
pub struct ConfigError(pub(super) Vec<InvalidVariable>);

/// An invalid variable, and the fix.
#[derive(Debug)]
pub(super) struct InvalidVariable {
    pub name: &'static str,
    pub error: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, InvalidVariable { name, error }) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(formatter, "{line_end}{name}: {error}")?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

/// Why the value of a variable is invalid. The value is repeated only where it cannot be a token
/// that was put into the wrong variable.
#[derive(Debug)]
pub enum InvalidValue {
    /// A value that is none of the documented ones, and what these are.
    Unknown(String, &'static str),
    /// Not UTF-8.
    NotText,
    /// Neither a host name nor an address.
    NotAServerName,
    /// Required, and absent.
    TokenMissing,
    /// `PLEX_TOKEN` is not a valid token.
    Token(InvalidToken),
    /// The token file does not hold a valid token.
    TokenFile(PathBuf, TokenFileError),
    /// `PLEX_CA_FILE` was not read.
    CaFile(PathBuf, FileError),
    /// `PLEX_CA_FILE` is damaged.
    Pem(PathBuf, rustls::pki_types::pem::Error),
    /// `PLEX_CA_FILE` holds no certificate.
    NoCertificate(PathBuf),
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(value, known) => write!(formatter, "{} {known}", quoted(value)),
            Self::NotText => formatter.write_str("is not UTF-8 text; write it as plain text"),
            Self::NotAServerName => formatter.write_str(
                "is not a host name or IP address; write the name that is in the certificate, \
                 without scheme and port",
            ),
            Self::TokenMissing => formatter.write_str(
                "is not set; set it, or PLEX_TOKEN_FILE, to the token of the server's \
                 administrator (the README says how to find it)",
            ),
            Self::Token(error) => error.fmt(formatter),
            Self::TokenFile(path, error) => write!(formatter, "{}: {error}", shown(path)),
            Self::CaFile(path, error) => write!(
                formatter,
                "{}: cannot read the file: {error}; give a readable PEM file",
                shown(path)
            ),
            Self::Pem(path, error) => write!(
                formatter,
                "{}: not valid PEM: {error}; copy the file again",
                shown(path)
            ),
            Self::NoCertificate(path) => write!(
                formatter,
                "{}: no certificate in it; it must have a BEGIN CERTIFICATE block (PEM, not DER)",
                shown(path)
            ),
        }
    }
}

impl Error for InvalidValue {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Token(error) => Some(error),
            Self::TokenFile(_, error) => Some(error),
            Self::CaFile(_, error) => Some(error),
            Self::Pem(_, error) => Some(error),
            Self::Unknown(..)
            | Self::NotText
            | Self::NotAServerName
            | Self::TokenMissing
            | Self::NoCertificate(_) => None,
        }
    }
}

/// A path for an error message; a token in place of one has no slash.
fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    if path.contains('/') {
        path
    } else {
        quoted(&path)
    }
}

//! Values of single variables.

use std::path::PathBuf;

use log::LevelFilter;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::error::InvalidValue;
use crate::files;

/// Which label values are replaced by `hidden`, in metrics and logs alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HiddenLabels {
    /// The `user` label.
    pub user: bool,
    /// The three title labels.
    pub title: bool,
    /// The `device` label.
    pub device: bool,
}

/// The certificates in the PEM file at `path`.
pub(super) fn read_certificates(
    path: PathBuf,
) -> Result<Vec<CertificateDer<'static>>, InvalidValue> {
    let pem = match files::read(&path) {
        Ok((pem, _)) => pem,
        Err(error) => return Err(InvalidValue::CaFile(path, error)),
    };
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if certificates.is_empty() => Err(InvalidValue::NoCertificate(path)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(InvalidValue::Pem(path, error)),
    }
}

pub(super) fn parse_flag(value: &str) -> Result<bool, InvalidValue> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(InvalidValue::Unknown(
            value.to_owned(),
            "is neither true nor false; use one of them",
        )),
    }
}

pub(super) fn parse_level(value: &str) -> Result<LevelFilter, InvalidValue> {
    match value.parse() {
        Ok(LevelFilter::Off) | Err(_) => Err(InvalidValue::Unknown(
            value.to_owned(),
            "is not a level; use error, warn, info, debug or trace",
        )),
        Ok(level) => Ok(level),
    }
}

pub(super) fn parse_hidden(value: &str) -> Result<HiddenLabels, InvalidValue> {
    let mut hidden = HiddenLabels::default();
    for word in value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        match word {
            "user" => hidden.user = true,
            "title" => hidden.title = true,
            "device" => hidden.device = true,
            _ => {
                return Err(InvalidValue::Unknown(
                    word.to_owned(),
                    "cannot be hidden; use user, title or device",
                ));
            }
        }
    }
    Ok(hidden)
}

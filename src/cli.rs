//! Command-line arguments and the text of `--help`.

use std::{
    ffi::OsString,
    fmt::{self, Write as _},
    io,
};

use flate2::read::GzDecoder;

use crate::{build_info, config::VARIABLES, secret::quoted};

/// A command of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Export metrics until a signal arrives.
    Run,
    /// Report whether the running exporter is healthy.
    Health,
    /// Check everything the exporter needs and report it to a person.
    Check,
    /// Write a file that is built into the binary.
    Print(Asset),
    /// Print the version.
    Version,
    /// Print the usage.
    Help,
}

/// A file built into the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asset {
    /// The Grafana dashboard.
    Dashboard,
    /// The Prometheus alert rules.
    Alerts,
    /// The systemd service.
    SystemdUnit,
}

impl Asset {
    /// Every asset, by its name on the command line.
    const BY_NAME: [(&'static str, Self); 3] = [
        ("dashboard", Self::Dashboard),
        ("alerts", Self::Alerts),
        ("systemd-unit", Self::SystemdUnit),
    ];

    /// The file, as the build script compressed it.
    fn compressed(self) -> &'static [u8] {
        match self {
            Self::Dashboard => include_bytes!(concat!(env!("OUT_DIR"), "/dashboard.json.gz")),
            Self::Alerts => include_bytes!(concat!(env!("OUT_DIR"), "/alerts.yml.gz")),
            Self::SystemdUnit => {
                include_bytes!(concat!(env!("OUT_DIR"), "/plex-exporter.service.gz"))
            }
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn write_to(self, out: &mut impl io::Write) -> io::Result<()> {
        io::copy(&mut GzDecoder::new(self.compressed()), out)?;
        out.flush()
    }
}

/// Why the arguments are invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgumentError {
    /// `print` without the name of a file.
    PrintWhat,
    /// Anything else.
    Unknown(String),
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrintWhat => {
                let names = Asset::BY_NAME.map(|(name, _)| name).join(", ");
                write!(formatter, "`print` needs one of {names}")
            }
            Self::Unknown(arguments) => {
                write!(formatter, "unknown arguments: {}", quoted(arguments))
            }
        }
    }
}

impl std::error::Error for ArgumentError {}

/// Parses the arguments that follow the program's name.
///
/// # Errors
/// Which arguments are unknown; the usage belongs below it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ArgumentError> {
    let arguments: Vec<String> = arguments
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let unknown = || ArgumentError::Unknown(words.join(" "));
    match words[..] {
        [] => Ok(Command::Run),
        ["health"] => Ok(Command::Health),
        ["check"] => Ok(Command::Check),
        ["print"] => Err(ArgumentError::PrintWhat),
        ["print", name] => Asset::BY_NAME
            .into_iter()
            .find(|(own, _)| *own == name)
            .map(|(_, asset)| Command::Print(asset))
            .ok_or_else(unknown),
        ["--version" | "-V"] => Ok(Command::Version),
        ["--help" | "-h"] => Ok(Command::Help),
        _ => Err(unknown()),
    }
}

/// The text of `--version`.
#[must_use]
pub fn version() -> String {
    format!(
        "plex-exporter {} ({}, rustc {})",
        build_info::VERSION,
        build_info::REVISION,
        build_info::RUST_VERSION
    )
}

/// The text of `--help`.
#[must_use]
pub fn usage() -> String {
    let mut text = String::from(
        "Prometheus exporter for Plex Media Server\n\
         \n\
         Usage:\n\
         \x20 plex-exporter                export metrics\n\
         \x20 plex-exporter health         exit 0 when the running exporter is healthy\n\
         \x20 plex-exporter check          check everything the exporter needs and explain how to fix it\n\
         \x20 plex-exporter print FILE     write dashboard, alerts or systemd-unit to standard output\n\
         \x20 plex-exporter --version\n\
         \x20 plex-exporter --help\n\
         \n\
         Environment:\n",
    );
    for variable in &VARIABLES {
        let default = if variable.default.is_empty() {
            String::new()
        } else {
            format!(" [{}]", variable.default)
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {:<23} {}{default}",
            variable.name, variable.meaning
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Command, ArgumentError> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn every_command_is_parsed_and_nothing_else() {
        assert_eq!(parse_words(&[]), Ok(Command::Run));
        assert_eq!(parse_words(&["health"]), Ok(Command::Health));
        assert_eq!(
            parse_words(&["print", "alerts"]),
            Ok(Command::Print(Asset::Alerts))
        );
        for unknown in [
            &["helth"][..],
            &["health", "x"],
            &["print"],
            &["print", "x"],
            &["print", "alerts", "x"],
            &["--verbose"],
        ] {
            assert!(parse_words(unknown).is_err(), "{unknown:?}");
        }
    }

    #[test]
    fn every_file_is_printed_byte_for_byte() {
        for (asset, file) in [
            (Asset::Dashboard, &include_bytes!("../dashboard.json")[..]),
            (Asset::Alerts, include_bytes!("assets/alerts.yml")),
            (
                Asset::SystemdUnit,
                include_bytes!("assets/plex-exporter.service"),
            ),
        ] {
            let mut printed = Vec::new();
            asset.write_to(&mut printed).unwrap();
            assert!(printed == file, "{asset:?}");
        }
    }

    #[test]
    fn usage_lists_every_variable() {
        let usage = usage();
        for variable in &VARIABLES {
            assert!(usage.contains(variable.name));
        }
    }
}

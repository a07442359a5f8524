//! Command-line arguments and the text of `--help`.

use std::{ffi::OsString, fmt::Write as _};

use crate::{build_info, config::VARIABLES};

/// What the user asks the program to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Export metrics until a signal comes.
    Run,
    /// Say whether the running exporter is healthy.
    Health,
    /// Try everything the exporter needs, for a person to read.
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
    /// The file's text.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Dashboard => include_str!("../dashboard.json"),
            Self::Alerts => include_str!("assets/alerts.yml"),
            Self::SystemdUnit => include_str!("assets/plex-exporter.service"),
        }
    }
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// A line that says what was not understood; the usage belongs below it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let arguments: Vec<String> = arguments
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => Ok(Command::Run),
        ["health"] => Ok(Command::Health),
        ["check"] => Ok(Command::Check),
        ["print", "dashboard"] => Ok(Command::Print(Asset::Dashboard)),
        ["print", "alerts"] => Ok(Command::Print(Asset::Alerts)),
        ["print", "systemd-unit"] => Ok(Command::Print(Asset::SystemdUnit)),
        ["--version" | "-V"] => Ok(Command::Version),
        ["--help" | "-h"] => Ok(Command::Help),
        ["print"] => Err("`print` needs one of dashboard, alerts, systemd-unit".to_owned()),
        _ => Err(format!(
            "arguments not understood: {}",
            words.join(" ").escape_debug()
        )),
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
         \x20 plex-exporter check          try everything the exporter needs and explain\n\
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

    fn parse_words(words: &[&str]) -> Result<Command, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn every_command_is_understood_and_nothing_else() {
        assert_eq!(parse_words(&[]), Ok(Command::Run));
        assert_eq!(parse_words(&["health"]), Ok(Command::Health));
        assert_eq!(
            parse_words(&["print", "alerts"]),
            Ok(Command::Print(Asset::Alerts))
        );
        for wrong in [
            &["helth"][..],
            &["health", "x"],
            &["print"],
            &["print", "x"],
            &["--verbose"],
        ] {
            assert!(parse_words(wrong).is_err(), "{wrong:?}");
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

//! The log: lines on standard error with an RFC 3339 time, and nothing from our packages.

use std::{
    fmt::{self, Write as _},
    io::{self, LineWriter},
};

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};

/// Installs the logger. Call it before any thread is started: the zone can only be read then.
///
/// Only this crate's records pass the filter. ureq and tungstenite log requests with all their
/// headers at trace level, and one of those headers is the token.
pub fn init(level: LevelFilter) {
    let mut config = ConfigBuilder::new();
    config
        .add_filter_allow_str(env!("CARGO_CRATE_NAME"))
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off);
    // Without TZ the promise is UTC, whatever /etc/localtime says. A zone whose data is missing
    // leaves UTC as well.
    if std::env::var_os("TZ").is_some_and(|zone| !zone.is_empty()) {
        let _ = config.set_time_offset_to_local();
    }
    // simplelog writes a record in pieces; one write a line keeps lines whole in a shared stream.
    let sink = LineWriter::new(io::stderr());
    // It fails only when a logger is set already, and then that one stays.
    let _ = WriteLogger::init(level, config.build(), sink);
}

/// Shows text that came from outside without letting it forge a log line: control characters
/// (line breaks, escape codes) are written as escapes.
#[derive(Debug, Clone, Copy)]
pub struct Sanitized<'a>(pub &'a str);

impl fmt::Display for Sanitized<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| {
            // U+2028 and U+2029 are line breaks to some viewers; the bidirectional marks reorder.
            if character.is_control() || matches!(character, '\u{2028}'..='\u{202e}') {
                write!(formatter, "{}", character.escape_unicode())
            } else {
                formatter.write_char(character)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_forge_a_line() {
        let shown = Sanitized("Alien\n2026 [ERROR] \u{1b}[2J é").to_string();
        assert_eq!(shown, "Alien\\u{a}2026 [ERROR] \\u{1b}[2J é");
    }
}

//! The log: lines on standard error with an RFC 3339 time, and nothing from dependencies.

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};

use crate::stderr;

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
    // simplelog locks its writer for each record; the queue behind this one never blocks, so the
    // lock is held for the formatting alone. It fails only when a logger is set already.
    let _ = WriteLogger::init(level, config.build(), stderr::writer());
}

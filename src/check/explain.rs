//! What a person can do about a failed step.
//!
//! The texts of [`PlexError`] and [`DialError`] assume nothing about the server. A step knows more:
//! after `/` has responded, the address is that of a Plex which accepts the token.

use crate::{
    net::DialError,
    plex::{client::REQUEST_TIMEOUT, error::PlexError},
};

/// Why there is no TCP connection.
pub(super) fn tcp(error: &DialError) -> String {
    match error {
        DialError::Timeout => format!(
            "no connection within {}: is the host in PLEX_SERVER correct and running, and does no \
             firewall drop the packets?",
            limit()
        ),
        error => error.to_string(),
    }
}

/// Why the TLS handshake failed.
pub(super) fn tls(error: &DialError) -> String {
    match error {
        DialError::Timeout => format!(
            "no handshake within {}: if this port speaks plain HTTP, begin PLEX_SERVER with http:// \
             in place of https://; otherwise Plex hangs, so restart it",
            limit()
        ),
        error => {
            let text = error.to_string();
            text.strip_prefix("TLS: ").unwrap_or(&text).to_owned()
        }
    }
}

/// Why the first request failed.
pub(super) fn first_response(error: &PlexError) -> String {
    match error {
        PlexError::Unauthorized => format!(
            "{error}. If a reverse proxy in front of Plex asks for a password, exempt the exporter \
             there"
        ),
        PlexError::Status(503) => starting(),
        error => error.to_string(),
    }
}

/// Why a request failed after `/` has responded.
pub(super) fn response(error: &PlexError) -> String {
    match error {
        PlexError::Unauthorized | PlexError::Forbidden => {
            "the token lacks rights here: use that of the server's administrator, not that of a \
             shared or managed user"
                .to_owned()
        }
        PlexError::NotFound => {
            "not found (404): update Plex, or have the reverse proxy in front of \
                                it pass on every path"
                .to_owned()
        }
        PlexError::Status(503) => starting(),
        PlexError::Status(status @ 300..=399) => format!(
            "the server redirects ({status}): the reverse proxy in front of Plex must pass on every \
             path"
        ),
        PlexError::Timeout => format!(
            "no response within {}: Plex is busy or hangs; check again, and restart it if this \
             persists",
            limit()
        ),
        PlexError::ConnectionLost(_) => "the connection was lost: Plex may be restarting; check \
                                         again in a minute, and see its log if this persists"
            .to_owned(),
        PlexError::TooLarge => "the response exceeds the size limit, larger than any that Plex \
                                sends: restart Plex, and report this if it persists"
            .to_owned(),
        error => error.to_string(),
    }
}

/// Why there is no notification socket, or why it ended. `missing` is said of a timeout.
pub(super) fn socket(error: &PlexError, missing: &str) -> String {
    match error {
        PlexError::Timeout => format!(
            "{missing} within {}: a reverse proxy in front of Plex must pass on WebSocket \
             connections in both directions; without one, restart Plex",
            limit()
        ),
        PlexError::ConnectionLost(cause) => format!(
            "{cause}; if it does not restart, a reverse proxy in front of it must pass on WebSocket \
             connections and keep them open"
        ),
        PlexError::TooLarge => "a message exceeds the size limit, larger than any that Plex sends: \
                                a reverse proxy in front of Plex must pass on WebSocket connections \
                                unchanged"
            .to_owned(),
        error => response(error),
    }
}

fn starting() -> String {
    "Plex is starting or under maintenance (503): wait a minute and check again".to_owned()
}

fn limit() -> String {
    format!("{} s", REQUEST_TIMEOUT.as_secs())
}

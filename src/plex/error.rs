//! Why a request to Plex failed, and what the user can do about it.

use std::fmt;

use crate::net::DialError;

/// A failed request. `Display` says what is wrong and the mend; no variant holds the token.
#[derive(Debug)]
pub enum PlexError {
    /// No connection: name not resolved, or refused.
    Connect(String),
    /// The connection was reset or closed before the answer was whole.
    ConnectionLost(String),
    /// The answer was not whole within the time limit.
    Timeout,
    /// The TLS handshake failed; the text holds the mend.
    Tls(String),
    /// 401: the token is wrong, revoked, or (older servers) not the administrator's.
    Unauthorized,
    /// 403: the token is not the administrator's.
    Forbidden,
    /// 404: no such item, a feature without licence, or not Plex at that address.
    NotFound,
    /// Any other status that is not 2xx, redirects included: they are never followed, because the
    /// token would go along.
    Status(u16),
    /// The answer is larger than any that Plex sends.
    TooLarge,
    /// The answer is not what Plex sends: not HTTP, not JSON, or not a `MediaContainer`.
    Decode(String),
}

impl PlexError {
    /// Every reason label there is.
    pub const REASONS: [&'static str; 9] = [
        "connect",
        "timeout",
        "tls",
        "unauthorized",
        "forbidden",
        "not_found",
        "status",
        "too_large",
        "decode",
    ];

    /// The error for an answer that is a `MediaContainer`, but says of no server that it is its own:
    /// any JSON could be an empty one, and Plex always says who it is.
    #[must_use]
    pub fn not_plex() -> Self {
        Self::Decode(
            "the answer names no Plex server: is PLEX_SERVER the address of Plex itself?"
                .to_owned(),
        )
    }

    /// The `reason` label in the exporter's own metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) | Self::ConnectionLost(_) => "connect",
            Self::Timeout => "timeout",
            Self::Tls(_) => "tls",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Decode(_) => "decode",
        }
    }

    /// The error for a response status, unless it is 2xx.
    #[must_use]
    pub fn from_status(status: u16) -> Option<Self> {
        match status {
            200..=299 => None,
            401 => Some(Self::Unauthorized),
            403 => Some(Self::Forbidden),
            404 => Some(Self::NotFound),
            other => Some(Self::Status(other)),
        }
    }

    /// Whether there was no connection at all: true for every request alike, so one message is enough
    /// for all of them.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Tls(_))
    }
}

impl From<DialError> for PlexError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Timeout => Self::Timeout,
            DialError::Tls(text) => Self::Tls(text),
            DialError::Resolve(text) => Self::Connect(text),
            DialError::Connect(error) => Self::Connect(format!(
                "cannot connect ({error}): is Plex running, and are host and port in PLEX_SERVER \
                 right (Plex listens on 32400)?"
            )),
        }
    }
}

impl fmt::Display for PlexError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(text)
            | Self::ConnectionLost(text)
            | Self::Tls(text)
            | Self::Decode(text) => formatter.write_str(text),
            Self::Timeout => formatter.write_str(
                "no answer within the time limit: Plex is busy or hangs, or a firewall drops \
                 the packets",
            ),
            Self::Unauthorized => formatter.write_str(
                "Plex refuses the token (401): check PLEX_TOKEN or PLEX_TOKEN_FILE; it must be \
                 the token of the server's administrator",
            ),
            Self::Forbidden => formatter.write_str(
                "the token lacks rights (403): use the token of the server's administrator, not \
                 that of a shared or managed user",
            ),
            Self::NotFound => formatter.write_str(
                "not found (404): is PLEX_SERVER the address of Plex itself, with the base path \
                 of the reverse proxy if there is one?",
            ),
            Self::Status(503) => formatter
                .write_str("Plex is starting or under maintenance (503): it will be asked again"),
            Self::Status(status @ 300..=399) => write!(
                formatter,
                "the server redirects ({status}), and redirects are not followed because the \
                 token would go along: set PLEX_SERVER to the final address"
            ),
            Self::Status(status) => write!(formatter, "the server answers with status {status}"),
            Self::TooLarge => formatter.write_str("the answer exceeds the size limit"),
        }
    }
}

impl std::error::Error for PlexError {}

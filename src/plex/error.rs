//! Why a request to Plex failed, and what the user can do about it.

use std::{error::Error, fmt};

use crate::net::DialError;

/// The cause of an error: another error, or a message.
pub type Cause = Box<dyn Error + Send + Sync>;

/// A failed request. `Display` says what failed and the fix; no variant holds the token.
#[derive(Debug)]
pub enum PlexError {
    /// No connection: name not resolved, or refused.
    Connect(Cause),
    /// The connection was reset or closed before the response was complete.
    ConnectionLost(Cause),
    /// The response was not complete within the time limit.
    Timeout,
    /// The TLS handshake failed.
    Tls(Cause),
    /// 401: the token is invalid, revoked, or (older servers) not the administrator's.
    Unauthorized,
    /// 403: the token is not the administrator's.
    Forbidden,
    /// 404: no such item, a feature without licence, or not Plex at that address.
    NotFound,
    /// Any other status that is not 2xx, redirects included: they are never followed, because the
    /// token would go along.
    Status(u16),
    /// The response is larger than any that Plex sends.
    TooLarge,
    /// The response is not what Plex sends: not HTTP, not JSON, or not a `MediaContainer`.
    Decode(Cause),
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

    /// The error for a `MediaContainer` that names no server: any JSON object could be an empty
    /// one, and Plex always names itself.
    #[must_use]
    pub fn not_plex() -> Self {
        Self::Decode(
            "the response names no Plex server: is PLEX_SERVER the address of Plex itself?".into(),
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

    /// Whether Plex did not respond at all.
    #[must_use]
    pub fn is_no_response(&self) -> bool {
        self.is_unreachable() || matches!(self, Self::ConnectionLost(_) | Self::Timeout)
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
            DialError::Tls { .. } | DialError::TlsConnectionLost(_) => Self::Tls(error.into()),
            DialError::Resolve { .. } | DialError::Connect(_) => Self::Connect(error.into()),
        }
    }
}

impl fmt::Display for PlexError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause)
            | Self::ConnectionLost(cause)
            | Self::Tls(cause)
            | Self::Decode(cause) => cause.fmt(formatter),
            Self::Timeout => formatter.write_str(
                "no response within the time limit: Plex is busy or hangs (restart it if this \
                 persists), or a firewall drops the packets",
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
            Self::Status(503) => {
                formatter.write_str("Plex is starting or under maintenance (503): retrying")
            }
            Self::Status(status @ 300..=399) => write!(
                formatter,
                "the server redirects ({status}), and redirects are not followed because the \
                 token would go along: set PLEX_SERVER to the final address"
            ),
            Self::Status(429) => formatter.write_str(
                "the server limits requests (429): exempt the exporter from the limit of the \
                 reverse proxy",
            ),
            Self::Status(status @ (502 | 504)) => write!(
                formatter,
                "the reverse proxy in front of Plex gets no response from it ({status}): is Plex \
                 running, and does the proxy lead to it?"
            ),
            Self::Status(status @ 500..) => write!(
                formatter,
                "the server fails with status {status}: see the log of Plex, and restart it if this \
                 persists"
            ),
            Self::Status(status) => write!(
                formatter,
                "the server responds with status {status}: does PLEX_SERVER lead to Plex itself, \
                 and does a reverse proxy in front of it pass on requests unchanged?"
            ),
            Self::TooLarge => formatter.write_str(
                "the response exceeds the size limit, larger than any that Plex sends: does \
                 PLEX_SERVER lead to Plex itself?",
            ),
        }
    }
}

impl Error for PlexError {
    /// `Display` shows the cause itself, so the chain continues with what caused that.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(cause)
            | Self::ConnectionLost(cause)
            | Self::Tls(cause)
            | Self::Decode(cause) => cause.source(),
            Self::Timeout
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::Status(_)
            | Self::TooLarge => None,
        }
    }
}

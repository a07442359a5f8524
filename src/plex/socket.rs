//! The notification WebSocket: upgrade, frames, pings, and the detection of a dead connection.

use std::{
    io,
    time::{Duration, Instant},
};

use tungstenite::{
    Error, Message, WebSocket,
    client::{IntoClientRequest, client_with_config},
    error::{CapacityError, ProtocolError},
    handshake::HandshakeError,
    http::{HeaderName, HeaderValue},
    protocol::WebSocketConfig,
};

use super::{
    client::{REQUEST_TIMEOUT, common_headers},
    error::PlexError,
    request::Endpoint,
};
use crate::{
    net::{Dialer, Stream, is_timeout},
    secret::Secret,
};

/// The largest message that is accepted; Plex's are a few kilobytes.
const MAX_MESSAGE: usize = 1_000_000;
/// After this long without a frame Plex is pinged. A server with nothing to send is silent for hours.
pub const PING_AFTER: Duration = Duration::from_secs(15);
/// A ping without a response is repeated after this.
const PING_AGAIN: Duration = Duration::from_secs(10);
/// After this long without a frame, pings included, the connection is dead. Together with
/// `notify::WAIT`, after which it is noticed, that stays below 45 s.
pub const DEAD_AFTER: Duration = Duration::from_secs(38);

/// An open notification socket.
#[derive(Debug)]
pub struct Socket {
    inner: WebSocket<Stream>,
    /// When a frame of any kind was last received.
    last_received: Instant,
    pinged: Option<Instant>,
}

/// The result of waiting for a frame.
#[derive(Debug)]
pub enum Received {
    /// The text of a frame.
    Text(String),
    /// A frame that is not UTF-8 text.
    Undecodable,
    /// The response to a ping.
    Pong,
    /// A ping, or nothing until the limit.
    Nothing,
}

impl Socket {
    /// Connects and upgrades, all within [`REQUEST_TIMEOUT`].
    ///
    /// # Errors
    /// Why not. Redirects are not followed.
    pub fn open(dialer: &Dialer, token: &Secret) -> Result<Self, PlexError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let url = dialer
            .server()
            .websocket(Endpoint::Notifications.template());
        let mut request = url
            .into_client_request()
            .map_err(|error| PlexError::Connect(error.into()))?;
        for (name, value) in common_headers(token) {
            // Secret is visible ASCII and the rest are constants: both always fit.
            let (Ok(name), Ok(mut value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(value),
            ) else {
                continue;
            };
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(8 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(64 * 1024)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = dialer.dial(deadline)?;
        match client_with_config(request, stream, Some(config)) {
            Ok((inner, _)) => Ok(Self {
                inner,
                last_received: Instant::now(),
                pinged: None,
            }),
            Err(HandshakeError::Failure(error)) => Err(upgrade_error(error)),
            // The stream's deadline passed within the upgrade.
            Err(HandshakeError::Interrupted(_)) => Err(PlexError::Timeout),
        }
    }

    /// Waits for a frame, but no longer than `limit`; pings when it is time to.
    ///
    /// # Errors
    /// Why the connection is over.
    pub fn receive(&mut self, limit: Duration) -> Result<Received, PlexError> {
        self.keep_alive()?;
        self.inner
            .get_mut()
            .set_deadline(Some(Instant::now() + limit));
        match self.inner.read() {
            Ok(message) => {
                self.last_received = Instant::now();
                self.pinged = None;
                match message {
                    Message::Text(text) => Ok(Received::Text(text.as_str().to_owned())),
                    Message::Pong(_) => Ok(Received::Pong),
                    Message::Close(_) => Err(closed()),
                    _ => Ok(Received::Nothing),
                }
            }
            // One invalid byte in a title costs its frame, not the connection.
            Err(Error::Utf8(_)) => {
                self.last_received = Instant::now();
                Ok(Received::Undecodable)
            }
            // The limit passed, perhaps within a frame: what was read of it is kept.
            Err(Error::Io(error)) if is_timeout(&error) => Ok(Received::Nothing),
            Err(error) => Err(frame_error(error)),
        }
    }

    fn keep_alive(&mut self) -> Result<(), PlexError> {
        let now = Instant::now();
        let silence = now - self.last_received;
        if silence >= DEAD_AFTER {
            return Err(PlexError::Timeout);
        }
        let due = self
            .pinged
            .map_or(self.last_received + PING_AFTER, |pinged| {
                pinged + PING_AGAIN
            });
        if now >= due {
            self.pinged = Some(now);
            self.ping()?;
        }
        Ok(())
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// When the connection is over.
    pub fn ping(&mut self) -> Result<(), PlexError> {
        self.inner
            .get_mut()
            .set_deadline(Some(Instant::now() + REQUEST_TIMEOUT));
        self.inner
            .send(Message::Ping(Vec::new().into()))
            .map_err(frame_error)
    }

    /// Sends a close frame without waiting for the response, and closes the connection.
    pub fn close(mut self) {
        self.inner
            .get_mut()
            .set_deadline(Some(Instant::now() + Duration::from_millis(100)));
        let _ = self.inner.close(None);
        let _ = self.inner.flush();
        self.inner.get_mut().shut_down();
    }
}

fn closed() -> PlexError {
    PlexError::ConnectionLost("Plex closed the connection (it does so when it restarts)".into())
}

fn upgrade_error(error: Error) -> PlexError {
    match error {
        Error::Http(response) => {
            let status = response.status().as_u16();
            match PlexError::from_status(status) {
                Some(PlexError::Unauthorized) => PlexError::Unauthorized,
                Some(PlexError::Forbidden) => PlexError::Forbidden,
                Some(PlexError::Status(status @ (300..=399 | 503))) => PlexError::Status(status),
                _ => PlexError::Decode(
                    format!(
                        "the server responds to the WebSocket upgrade with status {status}: a \
                         reverse proxy in front of Plex must pass on the Upgrade and Connection \
                         headers"
                    )
                    .into(),
                ),
            }
        }
        Error::Protocol(ProtocolError::HttparseError(_) | ProtocolError::WrongHttpVersion) => {
            PlexError::Decode(
                "the response is not HTTP: if this port speaks TLS, begin PLEX_SERVER with https://"
                    .into(),
            )
        }
        Error::Protocol(error) => PlexError::Decode(
            format!(
                "the WebSocket upgrade failed ({error}): a reverse proxy in front of Plex must \
                 pass on the Upgrade and Connection headers"
            )
            .into(),
        ),
        other => frame_error(other),
    }
}

fn frame_error(error: Error) -> PlexError {
    match error {
        Error::Io(error) if is_timeout(&error) => PlexError::Timeout,
        Error::Io(error) => PlexError::ConnectionLost(error.into()),
        Error::ConnectionClosed | Error::AlreadyClosed => closed(),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            PlexError::ConnectionLost(io::Error::from(io::ErrorKind::ConnectionReset).into())
        }
        Error::Capacity(CapacityError::MessageTooLong { .. }) => PlexError::TooLarge,
        other => PlexError::Decode(other.into()),
    }
}

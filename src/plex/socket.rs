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
    protocol::{CloseFrame, WebSocketConfig},
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
/// After this long without a frame Plex is pinged, the first time at once. A server with nothing to
/// send is silent for hours.
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
    /// Whether a frame has ever arrived.
    proven: bool,
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
                proven: false,
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
                self.proven = true;
                match message {
                    Message::Text(text) => Ok(Received::Text(text.as_str().to_owned())),
                    Message::Pong(_) => Ok(Received::Pong),
                    Message::Close(frame) => Err(closed(frame.as_ref())),
                    _ => Ok(Received::Nothing),
                }
            }
            // One invalid byte in a title costs its frame, not the connection.
            Err(Error::Utf8(_)) => {
                self.last_received = Instant::now();
                self.proven = true;
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
        let due = match self.pinged {
            Some(pinged) => pinged + PING_AGAIN,
            None if self.proven => self.last_received + PING_AFTER,
            None => now,
        };
        if now >= due {
            self.pinged = Some(now);
            self.ping()?;
        }
        Ok(())
    }

    /// Whether the server has sent a frame. A proxy may accept a connection that leads nowhere.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven
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

/// The connection was closed, with what the close frame says, if there was one and it says something.
fn closed(frame: Option<&CloseFrame>) -> PlexError {
    let said = match frame {
        Some(frame) if frame.reason.is_empty() => format!(" with code {}", frame.code),
        Some(frame) => format!(" with code {}, `{}`", frame.code, frame.reason),
        None => String::new(),
    };
    PlexError::ConnectionLost(
        format!("Plex closed the connection{said} (it does so when it restarts)").into(),
    )
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
        Error::Protocol(ProtocolError::HandshakeIncomplete) => closed(None),
        Error::Protocol(ProtocolError::HttparseError(_) | ProtocolError::WrongHttpVersion) => {
            PlexError::Decode(
                "the response to the WebSocket upgrade is not HTTP: a reverse proxy in front of \
                 Plex must pass on the Upgrade and Connection headers"
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
        Error::Io(error) => lost(&error),
        Error::ConnectionClosed | Error::AlreadyClosed => closed(None),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            lost(&io::ErrorKind::ConnectionReset.into())
        }
        Error::Capacity(CapacityError::MessageTooLong { .. }) => PlexError::TooLarge,
        other => PlexError::Decode(
            format!(
                "{other}: a reverse proxy in front of Plex must pass on WebSocket connections \
                 unchanged"
            )
            .into(),
        ),
    }
}

fn lost(error: &io::Error) -> PlexError {
    PlexError::ConnectionLost(
        format!("the connection was lost ({error}): Plex may be restarting").into(),
    )
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        sync::mpsc,
        thread,
    };

    use tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };

    use super::*;
    use crate::{server_url::ServerUrl, tls::TlsOptions};

    const SOON: Duration = Duration::from_secs(5);

    /// Opens a socket to a server that handles one connection with `serve`.
    fn open(serve: impl FnOnce(TcpStream) + Send + 'static) -> Result<Socket, PlexError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || serve(listener.accept().unwrap().0));
        let server = ServerUrl::parse(&url).unwrap();
        let dialer = Dialer::new(&server, &TlsOptions::default()).unwrap();
        Socket::open(
            &dialer,
            &Secret::new("t0ken-of-socket-tests".into()).unwrap(),
        )
    }

    /// Opens a socket to a server that upgrades the connection and hands it to `serve`.
    fn upgraded(serve: impl FnOnce(WebSocket<TcpStream>) + Send + 'static) -> Socket {
        open(|stream| serve(tungstenite::accept(stream).unwrap())).unwrap()
    }

    /// The error that a raw HTTP response to the upgrade causes.
    fn refused(response: &'static str) -> PlexError {
        open(|mut stream| {
            let mut head = [0; 4_096];
            let _ = stream.read(&mut head).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
        })
        .unwrap_err()
    }

    #[test]
    fn the_upgrade_is_a_request_for_the_notification_endpoint_with_the_token() {
        let (sender, head) = mpsc::channel();
        let result = open(move |mut stream| {
            let mut bytes = vec![0; 4_096];
            let length = stream.read(&mut bytes).unwrap();
            bytes.truncate(length);
            sender.send(String::from_utf8(bytes).unwrap()).unwrap();
        });
        assert!(result.is_err(), "the server closes without a response");
        let head = head.recv_timeout(SOON).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /:/websockets/notifications http/1.1\r\n"));
        for field in [
            "x-plex-token: t0ken-of-socket-tests",
            "x-plex-client-identifier: plex-exporter",
            "upgrade: websocket",
        ] {
            assert!(
                head.contains(&format!("\r\n{field}\r\n")),
                "{field} in {head}"
            );
        }
    }

    #[test]
    fn frames_are_received_in_order_and_an_invalid_one_costs_only_itself() {
        let mut socket = upgraded(|mut server| {
            let text = OpCode::Data(Data::Text);
            server.send(Message::text("first")).unwrap();
            let invalid = Frame::message(b"caf\xe9".to_vec(), text, true);
            server.send(Message::Frame(invalid)).unwrap();
            server.send(Message::binary(vec![1, 2])).unwrap();
            server.send(Message::text("last")).unwrap();
            server.close(None).unwrap();
            while server.read().is_ok() {}
        });
        let mut received = Vec::new();
        let error = loop {
            match socket.receive(SOON) {
                Ok(frame) => received.push(format!("{frame:?}")),
                Err(error) => break error,
            }
        };
        assert_eq!(
            received,
            [
                "Text(\"first\")",
                "Undecodable",
                "Nothing",
                "Text(\"last\")"
            ]
        );
        assert!(matches!(error, PlexError::ConnectionLost(_)), "{error:?}");
    }

    #[test]
    fn a_frame_that_arrives_in_pieces_survives_the_limit_of_a_receive() {
        let (go_on, wait) = mpsc::channel();
        let mut socket = upgraded(move |mut server| {
            // Final text frame of five bytes, unmasked.
            let stream = server.get_mut();
            stream.write_all(b"\x81\x05he").unwrap();
            wait.recv().unwrap();
            stream.write_all(b"llo").unwrap();
            let _ = wait.recv();
        });
        let first = socket.receive(Duration::from_millis(50)).unwrap();
        assert!(matches!(first, Received::Nothing), "{first:?}");
        go_on.send(()).unwrap();
        let second = socket.receive(SOON).unwrap();
        assert!(matches!(&second, Received::Text(text) if text == "hello"));
    }

    #[test]
    fn a_server_is_pinged_at_once_and_when_it_is_silent_and_its_pong_proves_the_connection() {
        let mut socket = upgraded(|mut server| while server.read().is_ok() {});
        for _ in 0..2 {
            let received = socket.receive(SOON).unwrap();
            assert!(matches!(received, Received::Pong), "{received:?}");
            assert!(socket.is_proven() && socket.last_received.elapsed() < PING_AFTER);
            assert_eq!(socket.pinged, None);
            socket.last_received -= PING_AFTER;
        }
    }

    #[test]
    fn a_ping_is_repeated_only_after_a_pause_and_a_dead_connection_is_given_up() {
        let (sender, pings) = mpsc::channel();
        let mut socket = upgraded(move |mut server| {
            // Reads the frames itself, so that no pong is sent.
            let mut header = [0; 6];
            while server.get_mut().read_exact(&mut header).is_ok() {
                assert_eq!(header[..2], [0x89, 0x80], "an empty ping");
                sender.send(()).unwrap();
            }
        });
        let short = Duration::from_millis(20);
        for _ in 0..3 {
            assert!(matches!(socket.receive(short).unwrap(), Received::Nothing));
        }
        pings.recv_timeout(SOON).unwrap();
        assert!(
            pings.recv_timeout(short).is_err() && !socket.is_proven(),
            "one ping for three waits"
        );
        socket.pinged = socket.pinged.and_then(|at| at.checked_sub(PING_AGAIN));
        assert!(matches!(socket.receive(short).unwrap(), Received::Nothing));
        pings.recv_timeout(SOON).unwrap();
        socket.last_received -= DEAD_AFTER;
        assert!(matches!(socket.receive(short), Err(PlexError::Timeout)));
    }

    #[test]
    fn a_message_beyond_the_limit_ends_the_connection() {
        let mut socket = upgraded(|mut server| {
            let _ = server.send(Message::text("x".repeat(MAX_MESSAGE + 1)));
            let _ = server.read();
        });
        let error = socket.receive(SOON).unwrap_err();
        assert!(matches!(error, PlexError::TooLarge), "{error:?}");
    }

    #[test]
    fn a_refused_upgrade_names_its_reason() {
        for (response, reason) in [
            (
                "HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n",
                "unauthorized",
            ),
            ("HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n", "forbidden"),
            ("HTTP/1.1 302 X\r\nLocation: /x\r\n\r\n", "status"),
            ("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "status"),
            ("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", "decode"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "decode"),
            ("\x15\x03\x01\x00\x02\x02\x46", "decode"),
            ("", "connect"),
        ] {
            assert_eq!(refused(response).reason(), reason, "{response:?}");
        }
    }

    #[test]
    fn closing_sends_a_close_frame_and_does_not_wait_for_the_reply() {
        let (sender, closed) = mpsc::channel();
        let socket = upgraded(move |mut server| {
            sender.send(server.read()).unwrap();
            // No reply; until the client shuts the connection down.
            let _ = server.get_mut().read(&mut [0; 64]);
        });
        let begun = Instant::now();
        socket.close();
        assert!(begun.elapsed() < Duration::from_secs(1));
        let frame = closed.recv_timeout(SOON).unwrap().unwrap();
        assert!(matches!(frame, Message::Close(_)), "{frame:?}");
    }
}

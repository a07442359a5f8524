//! Notifications to systemd for a `Type=notify` service: ready, stopping, and the watchdog.
//!
//! The protocol is one datagram a message to the socket in `NOTIFY_SOCKET` (sd_notify(3)). Without
//! that variable nothing is sent.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::{ffi::OsStrExt, net::SocketAddr, net::UnixDatagram},
    },
    time::{Duration, Instant},
};

/// The socket of systemd, if it started this process.
#[derive(Debug, Default)]
pub struct Systemd {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The watchdog is fed every half of its interval.
    interval: Option<Duration>,
    fed: Option<Instant>,
}

impl Systemd {
    /// Reads `NOTIFY_SOCKET` and `WATCHDOG_USEC`.
    #[must_use]
    pub fn from_env() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|path| {
            let address = match path.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                _ => SocketAddr::from_pathname(&path),
            };
            let socket = UnixDatagram::unbound().ok()?;
            // A full socket must not block the event loop.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address.ok()?))
        });
        let ours =
            env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let interval = env::var("WATCHDOG_USEC")
            .ok()
            .filter(|_| ours && socket.is_some())
            .and_then(|text| text.parse().ok())
            .map(|microseconds: u64| Duration::from_micros(microseconds) / 2);
        Self {
            socket,
            interval,
            fed: None,
        }
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            // Without systemd there is nothing to do about it.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }

    /// The service is ready.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// The service is stopping.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Feeds the watchdog when it is due. Only the event loop calls this, which proves that it
    /// runs.
    pub fn alive(&mut self, now: Instant) {
        if let Some(interval) = self.interval
            && self.fed.is_none_or(|fed| now >= fed + interval)
        {
            self.fed = Some(now);
            self.send("WATCHDOG=1");
        }
    }

    /// The longest time that the event loop may wait.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.interval
    }
}

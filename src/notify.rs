//! The thread that listens to Plex's notifications, and connects again when they stop.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::debug;

use crate::{
    event::Event,
    net::Dialer,
    plex::{
        error::PlexError,
        notification::{self, Notification},
        socket::{Received, Socket},
    },
    random,
    secret::Secret,
};

/// The first pause between connections; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A connection that stood for so long was a good one: the next pause is short again.
const LASTED: Duration = Duration::from_secs(30);
/// How long to wait for a frame before looking whether to stop or to ping.
const WAIT: Duration = Duration::from_secs(5);

/// Runs until `stop` is closed. Events go to `events`; when that is full, this thread waits, and
/// TCP makes Plex wait in turn.
pub fn run(dialer: &Dialer, token: &Secret, events: &Sender<Event>, stop: &Receiver<()>) {
    let mut backoff = Backoff::default();
    loop {
        let opened = Instant::now();
        let error = match Socket::open(dialer, token) {
            Ok(socket) => {
                if events.send(Event::SocketUp).is_err() {
                    return;
                }
                match listen(socket, events, stop) {
                    Some(error) => error,
                    None => return,
                }
            }
            Err(error) => error,
        };
        let pause = backoff.next(opened.elapsed());
        debug!(
            "notifications: connecting again in {} ms",
            pause.as_millis()
        );
        if events.send(Event::SocketDown(error)).is_err()
            || stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout)
        {
            return;
        }
    }
}

/// Passes frames on until the connection is over; `None` when the program ends.
fn listen(mut socket: Socket, events: &Sender<Event>, stop: &Receiver<()>) -> Option<PlexError> {
    loop {
        match socket.receive(WAIT) {
            Ok(Received::Text(text)) => {
                let Some(notification) = notification::decode(&text) else {
                    debug!(
                        "notifications: a frame of {} bytes makes no sense",
                        text.len()
                    );
                    continue;
                };
                events.send(Event::Notification(notification)).ok()?;
            }
            Ok(Received::Undecodable) => {
                let notification = Notification::undecodable();
                events.send(Event::Notification(notification)).ok()?;
            }
            Ok(Received::Pong | Received::Nothing) => {}
            Err(error) => return Some(error),
        }
        if stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected) {
            socket.close();
            return None;
        }
    }
}

/// How long to wait before connecting again.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after a connection that stood (or was attempted) for `stood`.
    fn next(&mut self, stood: Duration) -> Duration {
        if stood >= LASTED {
            self.failures = 0;
        }
        let pause = MIN_PAUSE
            .saturating_mul(1 << self.failures.min(5))
            .min(MAX_PAUSE);
        self.failures += 1;
        // Up to a fifth less, so that several exporters do not come back as one.
        let jitter = f64::from(u8::try_from(random::number() % 201).unwrap_or(0)) / 1_000.0;
        pause.mul_f64(1.0 - jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_begin_anew_only_after_a_good_connection() {
        let mut backoff = Backoff::default();
        let short = Duration::from_millis(1);
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let pause = backoff.next(short).as_secs_f64();
            assert!(
                pause <= expected && pause >= expected * 0.79,
                "{pause} for {expected}"
            );
        }
        assert!(backoff.next(LASTED) <= MIN_PAUSE);
        assert!(backoff.next(short) > MIN_PAUSE);
    }
}

//! The thread that receives Plex's notifications and reconnects when the connection is lost.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};
use log::debug;

use crate::{
    cpu_budget::{self, Limit},
    event::{Delivery, Event},
    net::Dialer,
    plex::{
        error::PlexError,
        notification::{self, Notification},
        socket::{Received, Socket},
    },
    random,
    token::Token,
};

/// The first pause between connections; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// After a connection that lasted this long, the next pause is short again.
const LASTED: Duration = Duration::from_secs(30);
/// How long to wait for a frame before checking whether to stop or to ping.
const WAIT: Duration = Duration::from_secs(5);

/// Plex sends some ten frames a second, each of which takes up to 50 µs in all threads.
const CPU_LIMIT: Limit = Limit {
    share: 25,
    burst: Duration::from_millis(100),
    response: Duration::ZERO,
};
/// A connection that was paused for this long without catching up is given up: what it reports is old.
const MAX_PAUSED: Duration = Duration::from_secs(10);
/// The next one counts as connected only after this long, and only if it keeps up.
const PROBATION: Duration = Duration::from_secs(15);

/// Runs until `stop` is closed. Events go to `events`; when that is full, this thread waits, and
/// TCP makes Plex wait in turn. A message on `token_replaced` cuts the pause before the next
/// connection short.
pub fn run(
    dialer: &Dialer,
    token: &Token,
    token_replaced: &Receiver<()>,
    events: &Sender<Delivery>,
    stop: &Receiver<()>,
) {
    let mut backoff = Backoff::default();
    let account = cpu_budget::limit(CPU_LIMIT);
    let mut trust = Trust::default();
    let send = |event| {
        let delivery = Delivery {
            event,
            permit: None,
            account: account.clone(),
        };
        events.send(delivery).is_ok()
    };
    loop {
        // A message about the token that is used now.
        let _ = token_replaced.try_recv();
        let used = token.current();
        let mut proven = None;
        let error = match Socket::open(dialer, &used) {
            Ok(socket) => match listen(socket, &mut trust, &mut proven, &send, stop) {
                Some(error) => error,
                None => return,
            },
            Err(error) => error,
        };
        let pause =
            if matches!(error, PlexError::Unauthorized) && token.refused(&used, Instant::now()) {
                Duration::ZERO
            } else {
                let pause = backoff.next(proven.map_or(Duration::ZERO, |at| at.elapsed()));
                pause.max(cpu_budget::pause_between())
            };
        debug!("notifications: reconnecting in {} ms", pause.as_millis());
        if !send(Event::SocketDown(error)) {
            return;
        }
        select! {
            recv(stop) -> _ => return,
            recv(token_replaced) -> _ => {}
            default(pause) => {}
        }
    }
}

/// What a connection has to show before it counts as connected. The first one has to show nothing.
#[derive(Debug, Default)]
struct Trust {
    /// The last one was given up because it did not keep up.
    lags: bool,
    /// The last one died without a frame: a proxy may accept connections that lead nowhere.
    mute: bool,
}

/// Sends each frame to the event loop until the connection is lost; `None` at shutdown. `proven` is the
/// moment of the first one. Before it counts as connected, the frames are ignored.
fn listen(
    mut socket: Socket,
    trust: &mut Trust,
    proven: &mut Option<Instant>,
    send: &impl Fn(Event) -> bool,
    stop: &Receiver<()>,
) -> Option<PlexError> {
    cpu_budget::reset_pauses();
    let opened = Instant::now();
    let mut connected = false;
    let mut received = Ok(Received::Nothing);
    loop {
        if socket.is_proven() {
            proven.get_or_insert_with(Instant::now);
            trust.mute = false;
        }
        let pauses = cpu_budget::pauses();
        trust.lags &= !pauses.is_zero() || opened.elapsed() < PROBATION;
        if !connected && !trust.lags && !trust.mute {
            connected = true;
            if !send(Event::SocketUp) {
                return None;
            }
        }
        let notification = match received {
            Ok(Received::Text(text)) => {
                let decoded = notification::decode(&text);
                if decoded.is_none() {
                    let length = text.len();
                    debug!("notifications: ignoring an undecodable frame ({length} bytes)");
                }
                decoded
            }
            Ok(Received::Undecodable) => Some(Notification::undecodable()),
            Ok(Received::Pong | Received::Nothing) => None,
            Err(error) => {
                trust.mute = proven.is_none();
                return Some(error);
            }
        };
        if let Some(notification) = notification
            && connected
            && !send(Event::Notification(notification))
        {
            return None;
        }
        if stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected) {
            socket.close();
            return None;
        }
        if pauses >= MAX_PAUSED {
            trust.lags = true;
            socket.close();
            return Some(PlexError::ConnectionLost(
                "given up: Plex sends more than the exporter has CPU time for (or is it another \
                 program?); sessions are polled meanwhile"
                    .into(),
            ));
        }
        received = socket.receive(WAIT);
    }
}

/// How long to wait before reconnecting.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after a connection, or an attempt at one, that lasted `lasted`.
    fn next(&mut self, lasted: Duration) -> Duration {
        if lasted >= LASTED {
            self.failures = 0;
        }
        let pause = MIN_PAUSE
            .saturating_mul(1 << self.failures.min(5))
            .min(MAX_PAUSE);
        self.failures += 1;
        // Up to a fifth less, so that several exporters do not reconnect at the same moment.
        let jitter = f64::from(u8::try_from(random::number() % 201).unwrap_or(0)) / 1_000.0;
        pause.mul_f64(1.0 - jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_are_short_again_only_after_a_connection_that_lasted() {
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

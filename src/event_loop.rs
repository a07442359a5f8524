//! The event loop: the one thread that owns the state, in one `select!`.

use std::{collections::VecDeque, time::Duration};

use crossbeam_channel::{Receiver, select};
use log::{debug, error, log};

use crate::{
    clock::Timestamp,
    event::{Completed, Delivery, Event},
    health::Marker,
    plex::error::PlexError,
    poller::Poller,
    render,
    state::{State, actions::Actions},
    state_handle::{Page, Queries, Query},
    stderr,
    systemd::Systemd,
};

/// With nothing due, the loop runs this often anyway: to feed the watchdog and to check the marker.
const IDLE: Duration = Duration::from_secs(5);
/// From this many plays on, a page has room for [`CROWD_PAGE`] from the start.
const CROWD: usize = 1_200;
/// What is not written to takes no memory, and from 32 MiB on the C library always maps a buffer of
/// its own and returns it to the system at once. A smaller one it may keep, between other things.
const CROWD_PAGE: usize = 33 * 1024 * 1024;

/// Runs the loop until `stop` receives a reason, which it returns, or every other thread has ended.
pub fn run<T>(
    mut state: State,
    poller: &Poller,
    marker: &Marker,
    systemd: &mut Systemd,
    events: &Receiver<Delivery>,
    queries: &Queries,
    stop: &Receiver<T>,
) -> Option<T> {
    let mut page_length = 0;
    let idle = systemd
        .watchdog_interval()
        .map_or(IDLE, |interval| interval.min(IDLE));
    let actions = state.tick(Timestamp::read());
    dispatch(actions, &mut state, poller);
    loop {
        let wait = state.next_deadline().map_or(idle, |deadline| {
            deadline
                .saturating_duration_since(Timestamp::read().monotonic)
                .min(idle)
        });
        let actions = select! {
            recv(events) -> delivery => match delivery {
                Ok(Delivery { event, permit, account }) => {
                    let now = Timestamp::read();
                    let actions = state.apply(event, now);
                    drop(permit);
                    account.charge(now.monotonic.elapsed());
                    actions
                }
                Err(_) => return None,
            },
            recv(queries.receiver) -> query => {
                match query {
                    Ok(Query::Scrape(process, mut buffer, reply)) => {
                        let now = Timestamp::read();
                        state.prepare_scrape(now);
                        state.dropped_log_lines = stderr::dropped();
                        let plays = state.sessions.live().len() + state.sessions.kept().0;
                        // A little more than last time, so that it rarely has to grow.
                        buffer.reserve(if plays < CROWD {
                            page_length + page_length / 16
                        } else {
                            CROWD_PAGE
                        });
                        let text = render::render(&state, &process, now, buffer);
                        page_length = text.len();
                        let rendered = now.monotonic;
                        // Whoever asked may have given up.
                        let _ = reply.try_send(Page { text, rendered });
                    }
                    Ok(Query::Ping(reply)) => drop(reply.try_send(())),
                    Err(_) => return None,
                }
                state.tick(Timestamp::read())
            },
            recv(stop) -> reason => return reason.ok(),
            default(wait) => state.tick(Timestamp::read()),
        };
        dispatch(actions, &mut state, poller);
        let now = Timestamp::read().monotonic;
        systemd.alive(now);
        if state.server.is_some() {
            queries.plex_responded();
            marker.keep(now);
        }
    }
}

/// Sends the requests to the poller and logs the lines.
fn dispatch(actions: Actions, state: &mut State, poller: &Poller) {
    let mut requests = VecDeque::from(actions.requests);
    let mut log_lines = actions.log_lines;
    while let Some(request) = requests.pop_front() {
        debug!("requesting {}", request.path());
        if let Err(request) = poller.send(request) {
            // Cannot happen while the state limits the requests in flight. If it does, the request has
            // failed like any other.
            error!(
                "bug: the lane for {} is full",
                request.endpoint().template()
            );
            let now = Timestamp::read();
            let failed = Event::Completed(Completed {
                request,
                started: now.monotonic,
                requests: 0,
                result: Err(PlexError::Timeout),
            });
            let actions = state.apply(failed, now);
            requests.extend(actions.requests);
            log_lines.extend(actions.log_lines);
        }
    }
    for line in log_lines {
        log!(line.level, "{}", line.text);
    }
}

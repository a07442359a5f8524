//! The owner of the state: one thread, one `select!`.

use std::{collections::VecDeque, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::{debug, error, log};

use crate::{
    clock::Timestamp,
    event::{Completed, Event},
    health::Marker,
    metrics::process::Process,
    plex::error::PlexError,
    poller::Poller,
    render,
    state::{State, actions::Actions},
    systemd::Systemd,
};

/// How long anybody waits for the owner to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// With nothing due, the owner looks after its affairs this often anyway.
const IDLE: Duration = Duration::from_secs(15);

/// What the metrics server asks the owner.
#[derive(Debug)]
pub enum Query {
    /// Write a scrape.
    Scrape(Process, Sender<String>),
    /// Are you there?
    Ping(Sender<()>),
}

/// Asks the owner, with a limit on the wait.
#[derive(Debug, Clone)]
pub struct StateHandle {
    queries: Sender<Query>,
    /// Seconds since the epoch.
    started: f64,
}

/// Why the owner did not answer: it is busy, or gone.
#[derive(Debug)]
pub struct Unresponsive;

impl StateHandle {
    /// The handle, and what it asks through. The channel is short: when it is full, the owner is
    /// behind, and who asks is told so after [`ANSWER_TIMEOUT`].
    #[must_use]
    pub fn channel(started: Timestamp) -> (Self, Receiver<Query>) {
        let (queries, receiver) = bounded(8);
        (
            Self {
                queries,
                started: started.unix_seconds,
            },
            receiver,
        )
    }

    /// A scrape.
    ///
    /// # Errors
    /// When the owner is silent.
    pub fn scrape(&self) -> Result<String, Unresponsive> {
        let process = Process::read(self.started);
        self.ask(|reply| Query::Scrape(process, reply))
    }

    /// A sign of life.
    ///
    /// # Errors
    /// When the owner is silent.
    pub fn ping(&self) -> Result<(), Unresponsive> {
        self.ask(Query::Ping)
    }

    fn ask<T>(&self, query: impl FnOnce(Sender<T>) -> Query) -> Result<T, Unresponsive> {
        let (reply, answer) = bounded(1);
        self.queries
            .send_timeout(query(reply), ANSWER_TIMEOUT)
            .map_err(|_| Unresponsive)?;
        answer
            .recv_timeout(ANSWER_TIMEOUT)
            .map_err(|_| Unresponsive)
    }
}

/// Runs the loop until `stop` says so; returns what it said.
pub fn run<T>(
    mut state: State,
    poller: &Poller,
    marker: &mut Marker,
    systemd: &mut Systemd,
    events: &Receiver<Event>,
    queries: &Receiver<Query>,
    stop: &Receiver<T>,
) -> Option<T> {
    let mut page_length = 0;
    let idle = systemd
        .watchdog_interval()
        .map_or(IDLE, |watchdog_interval| watchdog_interval.min(IDLE));
    let actions = state.tick(Timestamp::read());
    dispatch(actions, &mut state, poller);
    loop {
        let wait = state.next_deadline().map_or(idle, |deadline| {
            deadline
                .saturating_duration_since(Timestamp::read().monotonic)
                .min(idle)
        });
        let actions = select! {
            recv(events) -> event => match event {
                Ok(event) => state.apply(event, Timestamp::read()),
                Err(_) => return None,
            },
            recv(queries) -> query => {
                match query {
                    Ok(Query::Scrape(process, reply)) => {
                        let now = Timestamp::read();
                        state.prepare_scrape(now);
                        let page = render::render(&state, &process, now, page_length);
                        // A little more than last time, so that it rarely has to grow.
                        page_length = page.len() + page.len() / 16;
                        // Who asked may have gone.
                        let _ = reply.try_send(page);
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
        systemd.alive(Timestamp::read().monotonic);
        if state.server.is_some() {
            marker.write();
        }
    }
}

/// Hands the requests to the poller and logs the lines.
fn dispatch(actions: Actions, state: &mut State, poller: &Poller) {
    let mut requests = VecDeque::from(actions.requests);
    let mut log_lines = actions.log_lines;
    while let Some(request) = requests.pop_front() {
        debug!("requesting {}", request.path());
        if let Err(request) = poller.send(request) {
            // Cannot happen while the state limits what is in flight. If it does, the request has
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

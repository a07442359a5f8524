//! The owner of the state: one thread, one `select!`.

use std::{collections::VecDeque, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::{debug, error, log};

use crate::{
    clock::Now,
    event::{Event, Fetched},
    health::Marker,
    metrics::{self, process::Process},
    plex::{error::PlexError, request::Fetch},
    poller::Poller,
    state::State,
    systemd::Systemd,
};

/// How long anybody waits for the owner to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// With nothing due, the owner looks after its affairs this often anyway.
const IDLE: Duration = Duration::from_secs(15);

/// What the metrics server asks the owner.
#[derive(Debug)]
pub enum Question {
    /// Write a scrape.
    Scrape(Process, Sender<String>),
    /// Are you there?
    Ping(Sender<()>),
}

/// Asks the owner, with a limit on the wait.
#[derive(Debug, Clone)]
pub struct Owner {
    questions: Sender<Question>,
    /// Seconds since the epoch.
    started: f64,
}

/// Why the owner did not answer: it is busy, or gone.
#[derive(Debug)]
pub struct Silent;

impl Owner {
    /// The handle, and what it asks through. The channel is short: when it is full, the owner is
    /// behind, and who asks is told so after [`ANSWER_TIMEOUT`].
    #[must_use]
    pub fn channel(started: Now) -> (Self, Receiver<Question>) {
        let (questions, receiver) = bounded(8);
        (
            Self {
                questions,
                started: started.wall,
            },
            receiver,
        )
    }

    /// A scrape.
    ///
    /// # Errors
    /// When the owner is silent.
    pub fn scrape(&self) -> Result<String, Silent> {
        let process = Process::read(self.started);
        self.ask(|reply| Question::Scrape(process, reply))
    }

    /// A sign of life.
    ///
    /// # Errors
    /// When the owner is silent.
    pub fn ping(&self) -> Result<(), Silent> {
        self.ask(Question::Ping)
    }

    fn ask<T>(&self, question: impl FnOnce(Sender<T>) -> Question) -> Result<T, Silent> {
        let (reply, answer) = bounded(1);
        self.questions
            .send_timeout(question(reply), ANSWER_TIMEOUT)
            .map_err(|_| Silent)?;
        answer.recv_timeout(ANSWER_TIMEOUT).map_err(|_| Silent)
    }
}

/// Runs the loop until `stop` says so; returns what it said.
pub fn run<T>(
    mut state: State,
    poller: &Poller,
    marker: &mut Marker,
    systemd: &mut Systemd,
    events: &Receiver<Event>,
    questions: &Receiver<Question>,
    stop: &Receiver<T>,
) -> Option<T> {
    let mut page_length = 0;
    let idle = systemd
        .patience()
        .map_or(IDLE, |patience| patience.min(IDLE));
    let fetches = state.tick(Now::read());
    carry_out(fetches, &mut state, poller);
    loop {
        let wait = state.next_deadline().map_or(idle, |deadline| {
            deadline
                .saturating_duration_since(Now::read().mono)
                .min(idle)
        });
        let fetches = select! {
            recv(events) -> event => match event {
                Ok(event) => state.apply(event, Now::read()),
                Err(_) => return None,
            },
            recv(questions) -> question => {
                match question {
                    Ok(Question::Scrape(process, reply)) => {
                        let now = Now::read();
                        state.settle(now);
                        let page = metrics::render(&state, &process, now, page_length);
                        // A little more than last time, so that it rarely has to grow.
                        page_length = page.len() + page.len() / 16;
                        // Who asked may have gone.
                        let _ = reply.try_send(page);
                    }
                    Ok(Question::Ping(reply)) => drop(reply.try_send(())),
                    Err(_) => return None,
                }
                state.tick(Now::read())
            },
            recv(stop) -> reason => return reason.ok(),
            default(wait) => state.tick(Now::read()),
        };
        carry_out(fetches, &mut state, poller);
        systemd.alive(Now::read().mono);
        if state.server.is_some() {
            marker.write();
        }
    }
}

/// Logs what there is to say and hands the fetches to the poller.
fn carry_out(fetches: Vec<Fetch>, state: &mut State, poller: &Poller) {
    let mut fetches = VecDeque::from(fetches);
    while let Some(fetch) = fetches.pop_front() {
        debug!("asking for {}", fetch.path());
        if let Err(fetch) = poller.ask(fetch) {
            // Cannot happen as long as the state limits what is in flight. If it does, the fetch
            // has failed like any other.
            error!("bug: the lane for {} is full", fetch.endpoint().template());
            let now = Now::read();
            let result = Err(PlexError::Timeout);
            let failed = Event::Fetched(Fetched {
                fetch,
                started: now.mono,
                requests: 0,
                result,
            });
            fetches.extend(state.apply(failed, now));
        }
    }
    for message in state.take_messages() {
        log!(message.level, "{}", message.text);
    }
}

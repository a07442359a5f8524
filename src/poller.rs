//! The threads that send HTTP requests to Plex, one lane for each kind.
//!
//! What is fetched, and when, the state decides. Lanes keep the kinds apart: a library that takes
//! ten seconds to count holds up neither the sessions nor the check whether Plex is there.

use std::{io, thread::JoinHandle, time::Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    event::{Completed, Event},
    plex::{client::Client, request::PlexRequest},
    state::schedule::TITLES_AT_ONCE,
    threads::{WORKER_STACK, spawn},
};

/// The state never has more than three fetches of a lane in flight; a lane holds a few more.
const LANE_CAPACITY: usize = 8;

/// Hands fetches to the lanes. Dropping it ends them, each after the request it is at.
#[derive(Debug)]
pub struct Poller {
    server: Sender<PlexRequest>,
    sessions: Sender<PlexRequest>,
    titles: Sender<PlexRequest>,
    libraries: Sender<PlexRequest>,
    statistics: Sender<PlexRequest>,
}

impl Poller {
    /// Starts the lanes. Results go to `events`; when that is full, a lane waits.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        client: &Client,
        events: &Sender<Event>,
    ) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let mut threads = Vec::new();
        let mut lane = |name: &str, workers: usize| {
            let (sender, receiver) = bounded(LANE_CAPACITY);
            for _ in 0..workers {
                let (client, events, receiver) = (client.clone(), events.clone(), receiver.clone());
                threads.push(spawn(name, WORKER_STACK, move || {
                    work(&client, &events, &receiver);
                })?);
            }
            Ok::<_, io::Error>(sender)
        };
        let poller = Self {
            server: lane("poll-server", 1)?,
            sessions: lane("poll-sessions", 1)?,
            titles: lane("poll-titles", TITLES_AT_ONCE)?,
            libraries: lane("poll-libraries", 1)?,
            statistics: lane("poll-statistics", 1)?,
        };
        Ok((poller, threads))
    }

    /// Hands a fetch to its lane, without waiting.
    ///
    /// # Errors
    /// The fetch, when the lane is full.
    pub fn send(&self, request: PlexRequest) -> Result<(), PlexRequest> {
        let lane = match request {
            PlexRequest::Server => &self.server,
            PlexRequest::Sessions => &self.sessions,
            PlexRequest::Metadata(_) => &self.titles,
            PlexRequest::Providers
            | PlexRequest::Items(_)
            | PlexRequest::Activities
            | PlexRequest::Accounts
            | PlexRequest::Updater => &self.libraries,
            PlexRequest::Resources | PlexRequest::Bandwidth => &self.statistics,
        };
        lane.try_send(request)
            .map_err(crossbeam_channel::TrySendError::into_inner)
    }
}

fn work(client: &Client, events: &Sender<Event>, lane: &Receiver<PlexRequest>) {
    for request in lane {
        let started = Instant::now();
        let outcome = client.fetch(&request);
        let fetched = Completed {
            request,
            started,
            requests: outcome.requests,
            result: outcome.result,
        };
        if events.send(Event::Completed(fetched)).is_err() {
            // The owner is gone: the program ends.
            return;
        }
    }
}

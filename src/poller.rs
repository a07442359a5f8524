//! The threads that send HTTP requests to Plex, in one lane for each kind.
//!
//! The state decides what is requested, and when. Lanes keep the kinds apart: a library that takes
//! ten seconds to count delays neither the sessions nor the check whether Plex is up.

use std::{
    io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    cpu_budget::{self, Limit},
    event::{Completed, Delivery, Event},
    plex::{client::Client, request::PlexRequest},
    threads::{WORKER_STACK, spawn},
};

/// The state never has more than three requests of a lane in flight; a lane holds a few more.
const LANE_CAPACITY: usize = 8;

/// The limit on the CPU time of a thread of a lane. 10 MB take some 100 ms.
const fn limit(share: u32, burst: u64) -> Limit {
    Limit {
        share,
        burst: Duration::from_millis(burst),
        response: Duration::from_millis(150),
    }
}

/// Hands requests to the lanes. Dropping it ends them, each after the request in progress and the
/// pause before it.
#[derive(Debug)]
pub struct Poller {
    server: Sender<PlexRequest>,
    sessions: Sender<PlexRequest>,
    titles: Sender<PlexRequest>,
    libraries: Sender<PlexRequest>,
    statistics: Sender<PlexRequest>,
}

impl Poller {
    /// Starts the lanes, with `title_workers` threads for metadata. Results go to `events`; when that is
    /// full, a lane waits.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        client: &Client,
        events: &Sender<Delivery>,
        title_workers: usize,
    ) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let mut threads = Vec::new();
        let mut lane = |name: &str, workers: usize, limit: Limit| {
            let (sender, receiver) = bounded(LANE_CAPACITY);
            for _ in 0..workers {
                let (client, events, receiver) = (client.clone(), events.clone(), receiver.clone());
                threads.push(spawn(name, WORKER_STACK, move || {
                    work(&client, &events, &receiver, limit);
                })?);
            }
            Ok::<_, io::Error>(sender)
        };
        let poller = Self {
            server: lane("poll-server", 1, limit(12, 250))?,
            sessions: lane("poll-sessions", 1, limit(100, 500))?,
            titles: lane("poll-titles", title_workers, limit(8, 150))?,
            libraries: lane("poll-libraries", 1, limit(12, 250))?,
            statistics: lane("poll-statistics", 1, limit(12, 100))?,
        };
        Ok((poller, threads))
    }

    /// Hands a request to its lane, without waiting.
    ///
    /// # Errors
    /// The request, when the lane is full.
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

fn work(client: &Client, events: &Sender<Delivery>, lane: &Receiver<PlexRequest>, limit: Limit) {
    let account = cpu_budget::limit(limit);
    for request in lane {
        // Here and not within the response, which would time out.
        thread::sleep(cpu_budget::pause_between());
        let started = Instant::now();
        let outcome = client.fetch(&request);
        let completed = Completed {
            request,
            started,
            requests: outcome.requests,
            result: outcome.result,
        };
        let delivery = Delivery {
            event: Event::Completed(completed),
            permit: outcome.permit,
            account: account.clone(),
        };
        if events.send(delivery).is_err() {
            // The event loop has ended: shutdown.
            return;
        }
    }
}

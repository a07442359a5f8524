//! Between Plex and the exporter: requests in lanes, the socket, and what goes wrong.

use std::collections::{BTreeMap, VecDeque};

use plex_exporter::internals::{Completed, Event, PlexError, PlexRequest, decode_response};

use crate::{
    plays::{Millis, Phase},
    plex::{Health, ResponseContent},
    world::{Report, Step, World},
};

/// Everything is known again this long after a fault: the request of everything, and its retries.
pub const SETTLED: Millis = 45_000;
/// The exporter gives up after this time.
const TIMEOUT: Millis = 10_000;

struct InFlight {
    request: PlexRequest,
    lane: usize,
    started: Millis,
    written: Millis,
    run: u64,
    response: Option<(Result<String, PlexError>, ResponseContent)>,
}

#[derive(Default)]
pub struct Network {
    lanes: [(u32, VecDeque<PlexRequest>); 5],
    in_flight: BTreeMap<u64, InFlight>,
    next: u64,
    /// Responses take this long at most.
    slow: Millis,
    pub socket_up: bool,
    /// Counts connections.
    pub socket: u64,
    /// The connection is dead, and the exporter does not know.
    pub half_open: bool,
    retry: Millis,
    last_arrival: Millis,
    /// Plex cannot be reached, although it goes on.
    pub cut: bool,
    /// Nothing was wrong since then.
    pub well_since: Millis,
    faults: u64,
    /// What ends with the fault.
    restarts: bool,
}

/// Its lane, and how many workers that has.
fn lane(request: &PlexRequest) -> (usize, u32) {
    match request {
        PlexRequest::Server => (0, 1),
        PlexRequest::Sessions => (1, 1),
        PlexRequest::Metadata(_) => (2, 2),
        PlexRequest::Resources | PlexRequest::Bandwidth => (3, 1),
        _ => (4, 1),
    }
}

impl World {
    /// Whether clients can play.
    pub fn plex_serves(&self) -> bool {
        self.network.cut || self.plex.health != Health::Unreachable
    }

    /// Whether nothing was wrong for `duration`, and Plex answers at once.
    pub fn well_for(&self, duration: Millis) -> bool {
        self.network
            .well_since
            .checked_add(duration)
            .is_some_and(|since| since <= self.now)
    }

    fn reachable(&self) -> bool {
        !self.network.cut && self.plex.health != Health::Unreachable
    }

    pub fn send_request(&mut self, request: PlexRequest) {
        let (index, workers) = lane(&request);
        self.network.lanes[index].1.push_back(request);
        assert!(
            self.network.lanes[index].1.len() <= 8,
            "lane {index} is full"
        );
        self.work(index, workers);
    }

    fn work(&mut self, index: usize, workers: u32) {
        while self.network.lanes[index].0 < workers
            && let Some(request) = self.network.lanes[index].1.pop_front()
        {
            self.network.lanes[index].0 += 1;
            let latency = match self.network.slow {
                0 => self.dice.between(2, 40),
                slow => self.dice.between(50, slow),
            };
            let latency = if self.reachable() { latency } else { 2 };
            let written = self.dice.below(latency + 1);
            let id = self.network.next;
            self.network.next += 1;
            let in_flight = InFlight {
                request,
                lane: index,
                started: self.now,
                written: self.now + written,
                run: self.plex.run,
                response: None,
            };
            self.network.in_flight.insert(id, in_flight);
            self.later(written, Step::Written { request: id });
            self.later(latency.min(TIMEOUT), Step::Arrived { request: id });
        }
    }

    pub fn response_written(&mut self, id: u64) {
        let Some(in_flight) = self.network.in_flight.get(&id) else {
            return;
        };
        let response = match self.plex.health {
            Health::Well if self.reachable() => {
                let (plays, clients) = (&self.plays, &self.clients);
                self.plex
                    .answer(&in_flight.request, plays, clients, self.now)
            }
            Health::Status(401) => (Err(PlexError::Unauthorized), ResponseContent::default()),
            Health::Status(status) => (Err(PlexError::Status(status)), ResponseContent::default()),
            _ => (
                Err(PlexError::Connect("connection refused".into())),
                ResponseContent::default(),
            ),
        };
        if let Some(in_flight) = self.network.in_flight.get_mut(&id) {
            in_flight.response = Some(response);
        }
    }

    pub fn response_arrives(&mut self, id: u64) {
        let Some(in_flight) = self.network.in_flight.remove(&id) else {
            return;
        };
        let lost =
            in_flight.run != self.plex.run || (in_flight.response.is_some() && !self.reachable());
        let (result, content) = match in_flight.response {
            _ if lost => (
                Err(PlexError::ConnectionLost("reset".into())),
                ResponseContent::default(),
            ),
            None => (Err(PlexError::Timeout), ResponseContent::default()),
            Some(response) => response,
        };
        let result = result.and_then(|body| decode_response(&in_flight.request, body.as_bytes()));
        let success = result.is_ok();
        let event = Event::Completed(Completed {
            request: in_flight.request.clone(),
            started: self.moment(in_flight.started),
            requests: 1,
            result,
        });
        self.event(event);
        if success {
            match in_flight.request {
                PlexRequest::Sessions => {
                    self.listing_arrived(&content, in_flight.started, in_flight.written)
                }
                PlexRequest::Bandwidth => self.plex.rows_arrived(&content),
                PlexRequest::Providers => self.oracle.libraries_arrived(&self.plex),
                _ => {}
            }
        }
        self.network.lanes[in_flight.lane].0 -= 1;
        self.work(in_flight.lane, if in_flight.lane == 2 { 2 } else { 1 });
    }

    /// Sends a frame; false when there is no socket to send it to.
    pub fn send_frame(&mut self, text: String, about: Option<(usize, Report)>) -> bool {
        if !self.network.socket_up || self.network.half_open || !self.reachable() {
            return false;
        }
        let delay = self.dice.between(1, 12);
        // In order.
        let arrival = (self.now + delay).max(self.network.last_arrival);
        self.network.last_arrival = arrival;
        let socket = self.network.socket;
        self.later(
            arrival - self.now,
            Step::Frame {
                text,
                socket,
                about,
            },
        );
        true
    }

    pub fn try_socket(&mut self) {
        if self.network.socket_up {
            return;
        }
        self.tally.request();
        if self.reachable() && matches!(self.plex.health, Health::Well | Health::Status(500)) {
            self.network.socket_up = true;
            self.network.half_open = false;
            self.network.socket += 1;
            self.network.retry = 1_000;
            self.tally.change(2);
            self.event(Event::SocketUp);
        } else {
            let error = match self.plex.health {
                Health::Status(status) if self.reachable() => PlexError::Status(status),
                _ => PlexError::Connect("connection refused".into()),
            };
            self.event(Event::SocketDown(error));
            self.retry_socket();
        }
    }

    fn retry_socket(&mut self) {
        let pause = self.network.retry.max(1_000);
        self.network.retry = (pause * 2).min(30_000);
        let jitter = self.dice.below(pause / 4);
        self.later(pause - jitter, Step::SocketTry);
    }

    pub fn drop_socket(&mut self) {
        if self.network.socket_up {
            self.network.socket_up = false;
            self.network.half_open = false;
            self.tally.change(2);
            let error = PlexError::ConnectionLost("reset by peer".into());
            self.event(Event::SocketDown(error));
            self.retry_socket();
        }
    }

    pub fn socket_found_dead(&mut self, socket: u64) {
        if self.network.socket == socket {
            self.drop_socket();
        }
    }

    /// Something goes wrong.
    pub fn fault(&mut self) {
        let pause = self.dice.spread(1_800_000, 36_000_000);
        self.later(pause, Step::Fault);
        if self.network.well_since == Millis::MAX || self.closing {
            return;
        }
        self.network.faults += 1;
        self.figures.faults += 1;
        let length = match self.dice.below(11) {
            0 | 1 => self.restart_plex(),
            2 | 3 => self.cut_network(),
            4 => {
                self.drop_socket();
                1
            }
            5 => {
                self.network.half_open = self.network.socket_up;
                let socket = self.network.socket;
                let found = self.dice.between(1_000, 45_000);
                self.later(found, Step::SocketDead { socket });
                found
            }
            6 => {
                let status = [401, 500, 503][self.dice.below(3) as usize];
                self.plex.health = Health::Status(status);
                self.tally.change(40);
                self.dice.spread(5_000, 900_000)
            }
            7 => {
                self.network.slow = self.dice.spread(200, 10_000);
                self.tally.change(40);
                self.dice.spread(60_000, 1_800_000)
            }
            8 => {
                self.step_clocks();
                return;
            }
            _ => {
                self.change_libraries();
                return;
            }
        };
        self.network.well_since = Millis::MAX;
        let run = self.network.faults;
        self.later(length, Step::FaultOver { run });
    }

    pub fn fault_over(&mut self, run: u64) {
        if self.network.faults != run {
            return;
        }
        self.network.well_since = self.now;
        self.network.slow = 0;
        self.network.cut = false;
        self.plex.health = Health::Well;
        if std::mem::take(&mut self.network.restarts) {
            self.plex_is_back();
        }
    }

    /// Whatever is wrong is over now.
    pub fn fault_ends(&mut self) {
        let run = self.network.faults;
        self.fault_over(run);
    }

    fn restart_plex(&mut self) -> Millis {
        self.figures.restarts += 1;
        self.tally.change(12);
        self.plex.health = Health::Unreachable;
        self.plex.run += 1;
        self.plex.listed.clear();
        self.plex.activities.running.clear();
        self.plex.next_key = 1;
        self.network.restarts = true;
        self.drop_socket();
        for number in 0..self.clients.len() {
            if let Some(id) = self.clients[number].playing {
                // The client waits.
                self.change(id, Phase::Buffering, None);
                self.clients[number].mind += 1;
            }
        }
        self.dice.spread(2_000, 3_000_000)
    }

    /// Clients go on after a restart, or have given up.
    fn plex_is_back(&mut self) {
        // A session may have been about to be listed when Plex went down.
        self.plex.listed.clear();
        for number in 0..self.clients.len() {
            let Some(id) = self.clients[number].playing else {
                continue;
            };
            if self.plays[id].began.is_none() || self.dice.one_in(3) {
                self.end(id);
                self.vanished(id);
                self.get_up(number);
                continue;
            }
            self.plays[id].set_transcode(None, self.now);
            let key = self.plex.take_key();
            let far = self.plays[id].offset(self.now) > 120_000;
            if far && !self.clients[number].constant_id && self.dice.one_in(4) {
                // From the beginning, as another play.
                let item = self.plays[id].item;
                self.end(id);
                self.vanished(id);
                self.begin(number, item, key, 0);
                continue;
            }
            self.plays[id].key = key;
            self.notify(id, "buffering", false);
            let lag = self.dice.below(800);
            self.later(lag, Step::List { id });
            let wait = self.dice.between(100, 3_000);
            self.decide(number, wait);
        }
    }

    fn cut_network(&mut self) -> Millis {
        self.figures.outages += 1;
        self.tally.change(12);
        self.network.cut = true;
        if self.dice.one_in(2) {
            self.drop_socket();
        } else {
            self.network.half_open = self.network.socket_up;
            let socket = self.network.socket;
            let found = self.dice.between(5_000, 45_000);
            self.later(found, Step::SocketDead { socket });
        }
        self.dice.spread(1_000, 3_000_000)
    }

    fn step_clocks(&mut self) {
        let steps = [-86_400, -3_600, 3_600, 86_400];
        let step = steps[self.dice.below(4) as usize];
        if self.dice.one_in(2) {
            self.clock_error += step;
        } else {
            self.plex.clock_error += step;
        }
        self.figures.clock_steps += 1;
    }

    fn change_libraries(&mut self) {
        // Nobody plays from the last two: others must keep their name while they play.
        let number = 5 + self.dice.below(2);
        if let Some((_, _, there)) = self.plex.libraries.get_mut(&number) {
            *there ^= true;
        }
        self.tally.libraries_change();
        let entry = format!(
            r#"{{"identifier":"com.plexapp.plugins.library","sectionID":"{number}","itemID":"1","type":1,"state":5}}"#
        );
        self.send_frame(
            crate::wire::frame("timeline", "TimelineEntry", &entry),
            None,
        );
    }
}

//! The simulated world: what happens when, and what the exporter is sent.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

use plex_exporter::{
    config::HiddenLabels,
    internals::{Actions, Event, Timestamp, decode_notification},
};

use crate::{
    clients::{Client, party},
    core::{Core, timestamp},
    dice::Dice,
    figures::Figures,
    network::Network,
    oracle::Oracle,
    plays::{Item, Millis, Phase, Play, PlayId},
    plex::Plex,
    tally::Tally,
    wire,
};

/// What is due.
#[derive(Debug)]
pub enum Step {
    Client {
        number: usize,
        mind: u64,
    },
    /// A client reports where it is.
    Report {
        id: PlayId,
    },
    List {
        id: PlayId,
    },
    Unlist {
        key: u64,
        id: PlayId,
    },
    LateStop {
        id: PlayId,
    },
    /// A notification arrives, if its socket still exists.
    Frame {
        text: String,
        socket: u64,
        about: Option<(PlayId, Report)>,
    },
    /// Plex writes the response, or it arrives.
    Written {
        request: u64,
    },
    Arrived {
        request: u64,
    },
    Fault,
    FaultOver {
        run: u64,
    },
    SocketTry,
    /// A transcode that no session carries goes on.
    Download {
        transcode: u64,
        left: u64,
    },
    SocketDead {
        socket: u64,
    },
    ActivitiesBegin,
    /// An activity reports progress or its end.
    Activity {
        number: u64,
        left: u64,
    },
    Traffic,
    Scrape,
    Minute,
}

/// What a notification reports of a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Where it is; true for a change.
    State(Phase, bool),
    Stopped,
}

pub struct World {
    pub dice: Dice,
    base: Instant,
    pub now: Millis,
    /// Seconds by which the exporter's machine is wrong.
    pub clock_error: i64,
    queue: BinaryHeap<Reverse<(Millis, u64, usize)>>,
    steps: Vec<Option<Step>>,
    free: Vec<usize>,
    sequence: u64,
    pub core: Core,
    pub clients: Vec<Client>,
    pub plays: Vec<Play>,
    pub plex: Plex,
    pub network: Network,
    pub oracle: Oracle,
    pub tally: Tally,
    pub figures: Figures,
    pub next_item: u64,
    pub scrape_interval: Millis,
    next_transcode: u64,
    /// Scrapes and viewers end here, so that the last page can be complete.
    pub closing: bool,
}

impl World {
    /// A page is read every `scrape_interval` milliseconds, and up to twice that.
    pub fn new(seed: u64, viewers: usize, scrape_interval: Millis) -> Self {
        let base = Instant::now();
        let mut world = Self {
            dice: Dice::new(seed),
            base,
            now: 0,
            clock_error: 0,
            queue: BinaryHeap::new(),
            steps: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            core: Core::new(HiddenLabels::default(), timestamp(base, 0, 1.8e9)),
            clients: (0..viewers).map(Client::new).collect(),
            plays: Vec::new(),
            plex: Plex::new(37),
            network: Network::default(),
            oracle: Oracle::default(),
            tally: Tally::default(),
            figures: Figures::default(),
            next_item: 0,
            scrape_interval,
            next_transcode: 0,
            closing: false,
        };
        for number in 0..viewers {
            let pause = world.dice.spread(30_000, 43_200_000);
            world.decide(number, pause);
        }
        world.later(7_000, Step::Scrape);
        world.later(60_000, Step::Minute);
        world.later(5_000, Step::Traffic);
        world.later(50, Step::SocketTry);
        world.later(
            1_000,
            Step::Download {
                transcode: 0,
                left: 0,
            },
        );
        world.later(20_000, Step::ActivitiesBegin);
        world.later(3_600_000, Step::Fault);
        world
    }

    pub fn timestamp(&self) -> Timestamp {
        let unix = 1_800_000_000 + self.clock_error;
        timestamp(self.base, self.now, unix as f64 + self.now as f64 / 1_000.0)
    }

    pub fn moment(&self, at: Millis) -> Instant {
        timestamp(self.base, at, 0.0).monotonic
    }

    pub fn later(&mut self, pause: Millis, step: Step) {
        self.sequence += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.steps.push(None);
            self.steps.len() - 1
        });
        self.steps[index] = Some(step);
        self.queue
            .push(Reverse((self.now + pause, self.sequence, index)));
    }

    /// Lets everything happen until `end`.
    pub fn run_until(&mut self, end: Millis) {
        let actions = self.core.tick(self.timestamp());
        self.take(actions);
        loop {
            let next = self.queue.peek().map_or(end, |Reverse((at, ..))| *at);
            // Rounded up: the exporter never wakes up early.
            let due = self.core.deadline().map(|due| {
                let since = due.saturating_duration_since(self.base);
                (since.as_nanos().div_ceil(1_000_000)) as Millis
            });
            if let Some(due) = due.filter(|due| *due <= next && *due <= end) {
                self.now = self.now.max(due);
                let actions = self.core.tick(self.timestamp());
                self.take(actions);
                continue;
            }
            if next >= end {
                break;
            }
            let Some(Reverse((at, _, index))) = self.queue.pop() else {
                break;
            };
            self.now = at;
            self.free.push(index);
            if let Some(step) = self.steps[index].take() {
                self.happen(step);
            }
        }
        self.now = end;
    }

    /// Hands an event to the exporter.
    pub fn event(&mut self, event: Event) {
        self.figures.events += 1;
        let actions = self.core.apply(event, self.timestamp());
        self.take(actions);
    }

    fn take(&mut self, actions: Actions) {
        for line in &actions.log_lines {
            self.tally.log(line);
        }
        for request in actions.requests {
            self.tally.request();
            self.send_request(request);
        }
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Client { number, mind } => {
                if self.clients[number].mind == mind && !self.closing {
                    self.client_acts(number);
                }
            }
            Step::Report { id } => self.report(id),
            Step::List { id } => {
                let play = &self.plays[id];
                if play.ended.is_none() && self.clients[play.client].playing == Some(id) {
                    self.plex.listed.insert(play.key, id);
                    self.plays[id].entered = Some(self.now);
                    self.tally.live(self.plex.listed.len());
                } else if let Some(before) = self.plex.listed.get(&play.key)
                    && self.plays[*before].ended.is_some()
                {
                    // It was over before it was listed, and so is the one before.
                    self.plex.listed.remove(&play.key);
                }
            }
            Step::Unlist { key, id } => {
                if self.plex.listed.get(&key) == Some(&id) {
                    self.plex.listed.remove(&key);
                }
            }
            Step::LateStop { id } => self.say_stopped(id),
            Step::Frame {
                text,
                socket,
                about,
            } => self.frame_arrives(&text, socket, about),
            Step::Written { request } => self.response_written(request),
            Step::Arrived { request } => self.response_arrives(request),
            Step::Fault => self.fault(),
            Step::FaultOver { run } => self.fault_over(run),
            Step::SocketTry => self.try_socket(),
            Step::SocketDead { socket } => self.socket_found_dead(socket),
            Step::Download { transcode, left } => self.download(transcode, left),
            Step::ActivitiesBegin => self.activities_begin(),
            Step::Activity { number, left } => self.activity_goes_on(number, left),
            Step::Traffic => self.traffic(),
            Step::Scrape => self.scrape(),
            Step::Minute => {
                let live = self.plex.listed.len();
                self.tally
                    .minute(self.now, live, self.network.socket_up, self.plex.health);
                if self.now.is_multiple_of(3_600_000) {
                    self.check_collections();
                }
                if !self.closing && self.now.is_multiple_of(4 * 86_400_000) {
                    for (number, pause) in party(&self.clients, &mut self.dice) {
                        self.decide(number, pause);
                    }
                }
                self.later(60_000, Step::Minute);
            }
        }
    }

    pub fn new_transcode(&mut self) -> u64 {
        self.next_transcode += 1;
        self.next_transcode
    }

    pub fn add_play(&mut self, number: usize, item: Item, key: u64) -> PlayId {
        let id = self.plays.len();
        let client = &mut self.clients[number];
        let session_id = if client.constant_id {
            format!("own-{number}")
        } else {
            format!("random-{id}")
        };
        client.playing = Some(id);
        self.plays
            .push(Play::new(number, item, key, session_id, self.now));
        self.oracle.created(id);
        id
    }

    /// A client changes its phase or position, and says so.
    pub fn change(&mut self, id: PlayId, phase: Phase, offset: Option<Millis>) {
        let now = self.now;
        if let Some(offset) = offset {
            self.plays[id].seek(offset, now);
        }
        self.plays[id].change(phase, now);
        if !self.notify(id, phase.word(), true) {
            self.plays[id].known.mark_lost(now, offset.is_some());
        }
    }

    /// Sends a `playing` frame; whether it will arrive, as far as is known.
    pub fn notify(&mut self, id: PlayId, word: &str, change: bool) -> bool {
        let play = &self.plays[id];
        let text = wire::playing(play, word, self.now);
        let reported = Report::State(play.phase, change);
        let silent = self.clients[play.client].silent;
        let sent = !silent && self.send_frame(text, Some((id, reported)));
        if sent && change {
            self.plays[id].known.on_its_way.get_or_insert(self.now);
        }
        sent
    }

    pub fn say_stopped(&mut self, id: PlayId) {
        let text = wire::playing(&self.plays[id], "stopped", self.now);
        let silent = self.clients[self.plays[id].client].silent;
        if silent || !self.send_frame(text, Some((id, Report::Stopped))) {
            self.oracle.stop_lost(id);
        } else {
            self.oracle.stops_on_their_way.insert(id);
        }
    }

    pub fn transcode_frame(&mut self, kind: &str, transcode: u64, id: PlayId) {
        let element = wire::transcode(transcode, &self.plays[id]);
        let text = wire::frame(
            &format!("transcodeSession.{kind}"),
            "TranscodeSession",
            &element,
        );
        self.send_frame(text, None);
    }

    fn report(&mut self, id: PlayId) {
        let play = &self.plays[id];
        if play.ended.is_some() {
            return;
        }
        let (number, word) = (play.client, play.phase.word());
        if self.plex_serves() {
            self.notify(id, word, false);
            if let Some(transcode) = self.plays[id].transcode {
                self.transcode_frame("update", transcode, id);
            }
        }
        let cadence = self.clients[number].cadence + self.dice.below(200);
        self.later(cadence, Step::Report { id });
    }

    fn frame_arrives(&mut self, text: &str, socket: u64, about: Option<(PlayId, Report)>) {
        let arrives =
            self.network.socket_up && self.network.socket == socket && !self.network.half_open;
        if let Some((id, reported)) = about {
            self.on_report(id, reported, arrives);
        }
        if arrives {
            self.figures.frames += 1;
            let notification = decode_notification(text).expect("a notification");
            self.event(Event::Notification(notification));
        }
    }

    /// Everybody stops, nothing goes wrong any more, and what ended is forgotten.
    pub fn close(&mut self) {
        self.closing = true;
        self.fault_ends();
        self.run_until(self.now + 60_000);
        for number in 0..self.clients.len() {
            if let Some(id) = self.clients[number].playing.take() {
                self.end(id);
                self.say_stopped(id);
                self.unlist(id, 0);
            }
        }
        self.run_until(self.now + 2 * 3_600_000);
        self.check_collections();
        for (name, size, _) in self.core.collections() {
            if [
                "live sessions",
                "ended plays",
                "pending sessions",
                "series of plays",
                "rows of bytes sent",
                "titles",
                "running activities",
            ]
            .contains(&name)
            {
                assert_eq!(size, 0, "{name} are left");
            }
        }
    }

    fn check_collections(&mut self) {
        for (name, size, limit) in self.core.collections() {
            assert!(size <= limit, "{size} {name}, at most {limit}");
            let (largest, _) = self.figures.collections.entry(name).or_insert((0, limit));
            *largest = size.max(*largest);
        }
    }

    /// A download is no session: its updates come every few seconds.
    fn download(&mut self, transcode: u64, left: u64) {
        if left == 0 {
            let transcode = self.new_transcode();
            let (pause, updates) = (
                self.dice.spread(3_600_000, 86_400_000),
                self.dice.between(10, 600),
            );
            return self.later(
                pause,
                Step::Download {
                    transcode,
                    left: updates,
                },
            );
        }
        if self.plex_serves() {
            let element = wire::download(transcode);
            self.send_frame(
                wire::frame("transcodeSession.update", "TranscodeSession", &element),
                None,
            );
        }
        self.later(
            5_000,
            Step::Download {
                transcode,
                left: left - 1,
            },
        );
    }

    fn traffic(&mut self) {
        for number in 0..self.clients.len() {
            let Some(id) = self.clients[number].playing else {
                continue;
            };
            if self.plex_serves() && self.plays[id].phase == Phase::Playing {
                let bytes = self.plays[id].item.bitrate() * 3_750;
                self.plex.send(&self.clients[number], bytes, self.now);
            }
        }
        self.later(30_000, Step::Traffic);
    }
}

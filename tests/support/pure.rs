//! The state with a simulated Plex in simulated time: hours pass in milliseconds.

use std::time::{Duration, Instant};

use plex_exporter::{
    config::HiddenLabels,
    internals::{
        Actions, Completed, Event, PlexError, PlexRequest, PlexResponse, Timestamp,
        decode_notification, decode_response,
    },
};
use serde_json::{Value, json};

use super::{
    core::Core,
    fake_plex::{Fault, World},
    page_watch::PageWatch,
    samples::Samples,
};

/// A request without a response so far.
struct InFlight {
    due: Instant,
    request: PlexRequest,
    started: Instant,
}

/// The state and its simulated Plex.
pub struct Pure {
    pub world: World,
    core: Core,
    /// How long Plex takes to respond.
    pub delay: Duration,
    /// Everything that was requested, and when.
    pub requests: Vec<(Duration, String)>,
    /// Every line that was logged from INFO on.
    pub log: Vec<String>,
    begun: Timestamp,
    now: Duration,
    in_flight: Vec<InFlight>,
    watch: PageWatch,
}

impl Pure {
    /// An exporter that starts now and has no socket yet.
    pub fn new(world: World) -> Self {
        Self::hiding(world, HiddenLabels::default())
    }

    pub fn hiding(world: World, hide: HiddenLabels) -> Self {
        let begun = Timestamp {
            monotonic: Instant::now() + Duration::from_secs(100),
            unix_seconds: 1_800_000_000.0,
        };
        let mut pure = Self {
            world,
            core: Core::new(hide, begun),
            delay: Duration::from_millis(1),
            requests: Vec::new(),
            log: Vec::new(),
            begun,
            now: Duration::ZERO,
            in_flight: Vec::new(),
            watch: PageWatch::default(),
        };
        pure.tick();
        pure
    }

    /// The same with a connected socket, after the first responses.
    pub fn connected(world: World) -> Self {
        let mut pure = Self::new(world);
        pure.apply(Event::SocketUp);
        pure.wait(3.0);
        pure
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.now
    }

    fn timestamp(&self) -> Timestamp {
        self.begun.after(self.now)
    }

    fn tick(&mut self) {
        let actions = self.core.tick(self.timestamp());
        self.dispatch(actions);
    }

    fn dispatch(&mut self, actions: Actions) {
        let lines = actions.log_lines.into_iter();
        let lines = lines.filter(|line| line.level <= log::Level::Info);
        self.log
            .extend(lines.map(|line| format!("{} {}", line.level, line.text)));
        for request in actions.requests {
            let target = request.path();
            let stalls = matches!(self.world.fault_of(&target), Some(Fault::Stall));
            let late = match self.world.fault_of(&target) {
                Some(Fault::Delay(late)) => *late,
                _ => Duration::ZERO,
            };
            let delay = if stalls {
                Duration::from_secs(10)
            } else {
                self.delay + late
            };
            self.requests.push((self.now, target));
            let started = self.timestamp().monotonic;
            self.in_flight.push(InFlight {
                due: started + delay,
                request,
                started,
            });
        }
    }

    fn response(&self, request: &PlexRequest) -> Result<PlexResponse, PlexError> {
        let target = request.path();
        match self.world.fault_of(&target) {
            Some(Fault::Response(200, _, body)) => {
                return decode_response(request, body.as_bytes());
            }
            Some(Fault::Response(status, ..)) => {
                return Err(PlexError::from_status(*status).unwrap());
            }
            Some(Fault::Stall) => return Err(PlexError::Timeout),
            Some(Fault::Reset) => return Err(PlexError::Connect("refused".into())),
            _ => {}
        }
        match self.world.response_to(&target) {
            Some(response) => {
                let body = json!({"MediaContainer": response}).to_string();
                decode_response(request, body.as_bytes())
            }
            None => Err(PlexError::NotFound),
        }
    }

    /// Lets time pass: responses arrive and deadlines are met, each at its moment.
    pub fn wait(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        loop {
            let response = self.in_flight.iter().map(|request| request.due).min();
            let next = [response, self.core.deadline()].into_iter().flatten().min();
            let next = next.map(|next| next.saturating_duration_since(self.begun.monotonic));
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.timestamp().monotonic;
            match self.in_flight.iter().position(|request| request.due <= now) {
                Some(at) => {
                    let InFlight {
                        request, started, ..
                    } = self.in_flight.remove(at);
                    let result = self.response(&request);
                    self.apply(Event::Completed(Completed {
                        request,
                        started,
                        requests: 1,
                        result,
                    }));
                }
                None => self.tick(),
            }
        }
        self.now = until;
    }

    pub fn apply(&mut self, event: Event) {
        let actions = self.core.apply(event, self.timestamp());
        self.dispatch(actions);
    }

    /// Plex sends a frame.
    pub fn push(&mut self, frame: &Value) {
        let notification = decode_notification(&frame.to_string()).unwrap();
        self.apply(Event::Notification(notification));
    }

    pub fn socket_down(&mut self) {
        self.apply(Event::SocketDown(PlexError::ConnectionLost(
            "closed".into(),
        )));
    }

    /// A scrape.
    pub fn page(&mut self) -> Samples {
        let page = self.core.page(self.timestamp());
        self.watch.read(&page, |_| false);
        Samples::parse(&page)
    }

    /// The number of requests for paths that begin with `path` in the last `seconds`.
    pub fn requested(&self, path: &str, seconds: f64) -> usize {
        let since = self.now.saturating_sub(Duration::from_secs_f64(seconds));
        let recent = self.requests.iter().filter(|(at, _)| *at >= since);
        recent
            .filter(|(_, target)| target.starts_with(path))
            .count()
    }
}

//! Drives the state in unit tests: a clock, a scripted Plex, and a record of what was requested.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{State, actions::Actions};
use crate::{
    clock::Timestamp,
    config::HiddenLabels,
    event::{Completed, Event},
    plex::{
        client,
        error::PlexError,
        notification,
        request::{PlexRequest, PlexResponse},
    },
};

/// How long Plex takes to respond.
const LATENCY: Duration = Duration::from_millis(10);

/// A request times out after this.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What Plex responds at an endpoint.
pub enum Reply {
    /// A `MediaContainer`.
    Container(Value),
    Status(u16),
    /// The connection is refused.
    Refused,
    /// Nothing, until the request times out.
    Hangs,
}

pub struct Driver {
    pub state: State,
    /// By endpoint; all others respond with 404.
    pub replies: BTreeMap<&'static str, Reply>,
    /// The paths requested so far, with the second of each.
    requested: Vec<(f64, String)>,
    /// The lines logged so far.
    pub log: Vec<String>,
    begun: Timestamp,
    now: Duration,
    /// When the response comes, when the request was sent, and which it is.
    in_flight: Vec<(Instant, Instant, PlexRequest)>,
}

impl Driver {
    /// An exporter that has just started.
    pub fn start() -> Self {
        let begun = Timestamp {
            monotonic: Instant::now() + Duration::from_hours(24),
            unix_seconds: 1_800_000_000.0,
        };
        let server = json!({"machineIdentifier": "m1", "friendlyName": "Attic", "version": "1",
            "platform": "Linux", "myPlexSubscription": true, "transcoderActiveVideoSessions": 0});
        let providers = json!({"MediaProvider": [{"identifier": "com.plexapp.plugins.library",
            "Feature": [{"type": "content", "Directory": [
                {"id": "1", "type": "movie", "title": "Films"}]}]}]});
        let mut driver = Self {
            state: State::new(HiddenLabels::default(), begun),
            replies: BTreeMap::from([
                ("/", Reply::Container(server)),
                ("/media/providers", Reply::Container(providers)),
                ("/status/sessions", Reply::Container(json!({}))),
                ("/activities", Reply::Container(json!({}))),
                ("/accounts", Reply::Container(json!({}))),
                ("/updater/status", Reply::Container(json!({}))),
                ("/statistics/resources", Reply::Container(json!({}))),
                ("/statistics/bandwidth", Reply::Container(json!({}))),
                (
                    "/library/sections/{id}/all",
                    Reply::Container(json!({"totalSize": 7})),
                ),
            ]),
            requested: Vec::new(),
            log: Vec::new(),
            begun,
            now: Duration::ZERO,
            in_flight: Vec::new(),
        };
        let actions = driver.state.tick(begun);
        driver.dispatch(actions);
        driver
    }

    /// The same with a connected socket, five seconds later.
    pub fn connected() -> Self {
        let mut driver = Self::start();
        driver.apply(Event::SocketUp);
        driver.run(5.0);
        driver
    }

    /// With these sessions, in place of those before.
    pub fn list(&mut self, sessions: &[Value]) {
        let sessions = json!({"Metadata": sessions});
        self.replies
            .insert("/status/sessions", Reply::Container(sessions));
    }

    /// Changes a field of the response of an endpoint.
    pub fn set(&mut self, endpoint: &str, field: &str, value: Value) {
        if let Some(Reply::Container(container)) = self.replies.get_mut(endpoint) {
            container[field] = value;
        }
    }

    pub fn timestamp(&self) -> Timestamp {
        self.begun.after(self.now)
    }

    pub fn now(&self) -> Instant {
        self.timestamp().monotonic
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.now.as_secs_f64()
    }

    pub fn apply(&mut self, event: Event) {
        let actions = self.state.apply(event, self.timestamp());
        self.dispatch(actions);
    }

    /// Plex sends a frame.
    pub fn notify(&mut self, kind: &str, array: &str, element: &Value) {
        let frame = json!({"NotificationContainer": {"type": kind, array: [element]}});
        let notification = notification::decode(&frame.to_string()).unwrap();
        self.apply(Event::Notification(notification));
    }

    /// A `playing` notification.
    pub fn playing(&mut self, key: &str, item: &str, state: &str) {
        self.notify(
            "playing",
            "PlaySessionStateNotification",
            &json!({"sessionKey": key, "ratingKey": item, "state": state}),
        );
    }

    pub fn socket_down(&mut self) {
        let lost = PlexError::ConnectionLost("closed".into());
        self.apply(Event::SocketDown(lost));
    }

    /// The response to a request for `path` comes now.
    pub fn respond(&mut self, path: &str) {
        let asked = |(_, _, request): &(_, _, PlexRequest)| request.path() == path;
        let index = self.in_flight.iter().position(asked).unwrap();
        self.complete(index);
    }

    fn complete(&mut self, index: usize) {
        let (_, started, request) = self.in_flight.remove(index);
        let result = self.reply(&request);
        self.apply(Event::Completed(Completed {
            request,
            started,
            requests: 1,
            result,
        }));
    }

    /// Lets time pass, with every response and deadline at its moment.
    pub fn run(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        loop {
            let response = self.in_flight.iter().map(|(due, ..)| *due).min();
            let next = response
                .into_iter()
                .chain(self.state.next_deadline())
                .min()
                .map(|next| next.saturating_duration_since(self.begun.monotonic));
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now();
            let due = self.in_flight.iter().position(|(due, ..)| *due <= now);
            if let Some(index) = due {
                self.complete(index);
            } else {
                let actions = self.state.tick(self.timestamp());
                self.dispatch(actions);
                let next = self.state.next_deadline();
                assert!(next.is_none_or(|next| next > self.now()), "it would spin");
            }
        }
        self.now = until;
    }

    fn reply(&self, request: &PlexRequest) -> Result<PlexResponse, PlexError> {
        match self.replies.get(request.endpoint().template()) {
            Some(Reply::Container(container)) => {
                let body = json!({"MediaContainer": container}).to_string();
                client::decode(request, body.as_bytes())
            }
            Some(Reply::Status(status)) => Err(PlexError::from_status(*status).unwrap()),
            Some(Reply::Hangs) => Err(PlexError::Timeout),
            Some(Reply::Refused) => Err(PlexError::Connect("refused".into())),
            None => Err(PlexError::NotFound),
        }
    }

    fn dispatch(&mut self, actions: Actions) {
        for request in actions.requests {
            self.requested.push((self.seconds(), request.path()));
            let reply = self.replies.get(request.endpoint().template());
            let latency = match reply {
                Some(Reply::Hangs) => TIMEOUT,
                _ => LATENCY,
            };
            let now = self.now();
            self.in_flight.push((now + latency, now, request));
        }
        let lines = actions.log_lines.into_iter();
        self.log
            .extend(lines.map(|line| format!("{} {}", line.level, line.text)));
    }

    /// How many requests Plex has not responded to.
    pub fn requests_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// When paths that begin with `path` were requested in the last `seconds`, rounded to
    /// milliseconds and counted from now.
    pub fn requests(&self, path: &str, seconds: f64) -> Vec<f64> {
        let now = self.seconds();
        self.requested
            .iter()
            .filter(|(at, own)| *at >= now - seconds && own.split('?').next() == Some(path))
            .map(|(at, _)| ((at - now) * 1_000.0).round() / 1_000.0)
            .collect()
    }
}

/// A session as Plex lists it, playing directly.
pub fn session(key: &str, item: &str, offset: u64) -> Value {
    json!({"sessionKey": key, "ratingKey": item, "key": format!("/library/metadata/{item}"),
        "type": "movie", "title": format!("Film {item}"), "librarySectionID": "1",
        "duration": 7_200_000, "viewOffset": offset, "User": {"id": "1", "title": "alice"},
        "Player": {"state": "playing", "machineIdentifier": "p1", "local": true},
        "Session": {"id": format!("s{key}"), "bandwidth": 3_000, "location": "lan"},
        "Media": [{"id": "9", "bitrate": 2_000, "videoResolution": "1080", "selected": true,
            "Part": [{"decision": "directplay", "selected": true}]}]})
}

//! Bytes as a script: each step is one byte that says what happens, and some that say how.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use plex_exporter::{
    config::HiddenLabels,
    internals::{
        Actions, Completed, Event, PlexError, PlexRequest, Timestamp,
        decode_notification as decode_frame, decode_response as decode,
    },
};
use serde_json::{Value, json};

use crate::{
    core::Core,
    page_watch::PageWatch,
    payloads::{error, frame, playing, session, transcode},
};

/// A long script finds nothing that a shorter one does not, and takes its time.
const MAX_STEPS: usize = 200;

/// What is left of the script. At its end, everything is 0.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub fn below(&mut self, limit: u8) -> u64 {
        u64::from(self.byte() % limit)
    }

    pub fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()].clone()
    }

    /// Raw bytes, with their length before them.
    fn raw(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()) << 8 | usize::from(self.byte());
        let (raw, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        raw
    }
}

struct Run {
    core: Core,
    watch: PageWatch,
    now: Timestamp,
    /// The `server_id` of the last page.
    server: String,
    /// In flight, the oldest first.
    requests: VecDeque<(PlexRequest, Instant)>,
}

pub fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    let hide = script.byte();
    let hide = HiddenLabels {
        user: hide & 1 != 0,
        title: hide & 2 != 0,
        device: hide & 4 != 0,
    };
    let now = Timestamp {
        monotonic: Instant::now(),
        unix_seconds: 1.8e9,
    };
    let mut run = Run {
        core: Core::new(hide, now),
        watch: PageWatch::default(),
        now,
        server: String::new(),
        requests: VecDeque::new(),
    };
    run.wake();
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        run.step(&mut script);
    }
    run.scrape();
    for (name, size, limit) in run.core.collections() {
        assert!(size <= limit, "{size} {name}, at most {limit}");
    }
}

impl Run {
    fn take(&mut self, actions: Actions) {
        for request in actions.requests {
            self.requests.push_back((request, self.now.monotonic));
        }
        assert!(
            self.requests.len() <= 64,
            "too much in flight: {:?}",
            self.requests
        );
    }

    fn wake(&mut self) {
        let actions = self.core.tick(self.now);
        self.take(actions);
    }

    fn event(&mut self, event: Event) {
        let actions = self.core.apply(event, self.now);
        self.take(actions);
    }

    fn frame(&mut self, text: &str) {
        if let Some(notification) = decode_frame(text) {
            self.event(Event::Notification(notification));
        }
    }

    fn scrape(&mut self) {
        let page = self.core.page(self.now);
        // Another server starts everything afresh, and so does the first when it comes back.
        let server = page.lines().find(|line| line.starts_with("plex_up{"));
        let server = server
            .and_then(|line| line.split_once("server_id="))
            .expect("a server")
            .1;
        let server = server.split('}').next().unwrap_or_default();
        if self.server != server {
            self.server = server.to_owned();
            self.watch = PageWatch::default();
        }
        self.watch.read(&page, |_| true);
    }

    /// Ends the request at `index`, whether it is in flight or not.
    fn complete(&mut self, request: PlexRequest, started: Instant, body: Result<&[u8], PlexError>) {
        let result = body.and_then(|body| decode(&request, body));
        let server = request == PlexRequest::Server;
        self.event(Event::Completed(Completed {
            request,
            started,
            requests: 1,
            result,
        }));
        if server {
            // Another server may answer, and the first one again before the next page.
            self.scrape();
        }
    }

    fn step(&mut self, script: &mut Script) {
        match script.below(12) {
            0 => {
                let milliseconds =
                    script.one_of(&[1, 90, 400, 1_600, 9_000, 14_000, 31_000, 61_000, 3_000_000]);
                // A page costs more than all the rest, so one is read where most has changed.
                self.scrape();
                self.pass(Duration::from_millis(milliseconds));
                self.scrape();
            }
            1 | 2 => {
                let entries: Vec<Value> = (0..=script.below(3)).map(|_| playing(script)).collect();
                self.frame(&frame("playing", "PlaySessionStateNotification", &entries));
            }
            3..=5 => self.answer(script),
            6 => {
                let kind = script.one_of(&[
                    "transcodeSession.start",
                    "transcodeSession.update",
                    "transcodeSession.end",
                ]);
                let transcode = transcode(script);
                self.frame(&frame(kind, "TranscodeSession", &[transcode]));
            }
            7 => self.library_frame(script),
            8 => self.event(Event::SocketUp),
            9 => self.event(Event::SocketDown(error(script))),
            10 => {
                let text = String::from_utf8_lossy(script.raw()).into_owned();
                self.frame(&text);
            }
            _ => {
                // What somebody recorded.
                let request = script.one_of(&[
                    PlexRequest::Sessions,
                    PlexRequest::Providers,
                    PlexRequest::Server,
                    PlexRequest::Bandwidth,
                    PlexRequest::Resources,
                    PlexRequest::Activities,
                    PlexRequest::Accounts,
                    PlexRequest::Updater,
                ]);
                let body = script.raw();
                self.requests.retain(|(other, _)| *other != request);
                self.complete(request, self.now.monotonic, Ok(body));
            }
        }
    }

    /// Time passes, and the state wakes up when it wants to.
    fn pass(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        let mut woken = 0;
        while let Some(due) = self.core.deadline().filter(|due| *due <= end.monotonic) {
            self.now = self.now.after(due - self.now.monotonic);
            self.wake();
            woken += 1;
            assert!(woken < 20_000, "woken {woken} times in {duration:?}");
        }
        self.now = end;
    }

    fn answer(&mut self, script: &mut Script) {
        let index = usize::from(script.byte()) % self.requests.len().max(1);
        let Some((request, started)) = self.requests.remove(index) else {
            return;
        };
        if script.below(6) == 0 {
            let error = error(script);
            return self.complete(request, started, Err(error));
        }
        let container = match request {
            PlexRequest::Server => json!({
                "machineIdentifier": script.one_of(&["one", "one", "one", "two"]), "friendlyName": "Attic",
                "myPlexSubscription": script.below(3) != 0, "version": "1",
                "transcoderActiveVideoSessions": script.below(4),
            }),
            PlexRequest::Sessions => {
                let sessions: Vec<Value> = (0..script.below(5)).map(|_| session(script)).collect();
                json!({"Metadata": sessions})
            }
            PlexRequest::Providers => {
                let kinds = ["movie", "show", "artist", "photo"];
                let libraries: Vec<Value> = (0..script.below(5))
                    .map(|_| json!({"id": script.below(6).to_string(), "type": script.one_of(&kinds),
                        "title": script.one_of(&["A", "B"]), "durationTotal": 7, "storageTotal": script.below(9)}))
                    .collect();
                json!({"MediaProvider": [{"identifier": "com.plexapp.plugins.library",
                    "Feature": [{"type": "content", "Directory": libraries}]}]})
            }
            PlexRequest::Metadata(_) => json!({"Metadata": [{"Media": [{"id": 1, "videoResolution":
                script.one_of(&["4k", "1080", "sd"]), "bitrate": script.below(200), "container": "mkv"}]}]}),
            PlexRequest::Items(_) => json!({"size": 1, "totalSize": script.below(9)}),
            PlexRequest::Resources => {
                json!({"StatisticsResources": [{"at": script.byte(), "hostCpuUtilization": 7}]})
            }
            PlexRequest::Bandwidth => {
                let rows: Vec<Value> = (0..script.below(6))
                    .map(|_| {
                        json!({"accountID": script.below(3), "deviceID": script.below(2),
                        "at": script.below(9), "lan": script.below(2) == 1, "bytes": script.byte()})
                    })
                    .collect();
                json!({"StatisticsBandwidth": rows})
            }
            PlexRequest::Activities => {
                json!({"Activity": [{"uuid": script.below(4).to_string(), "type": "library.update"}]})
            }
            PlexRequest::Accounts => {
                json!({"Account": [{"id": script.below(3), "name": script.one_of(&["ann", "bob", ""])}]})
            }
            PlexRequest::Updater => {
                json!({"Release": [{"state": script.one_of(&["done", "available"])}]})
            }
        };
        let body = json!({"MediaContainer": container}).to_string();
        self.complete(request, started, Ok(body.as_bytes()));
    }

    fn library_frame(&mut self, script: &mut Script) {
        let (kind, array, entry) = match script.below(4) {
            0 => (
                "timeline",
                "TimelineEntry",
                json!({"identifier": "com.plexapp.plugins.library",
                "sectionID": script.below(7), "state": script.one_of(&[5, 9, 1]), "type": script.below(12)}),
            ),
            1 => (
                "activity",
                "ActivityNotification",
                json!({"event": script.one_of(&["started", "ended"]),
                "uuid": script.below(5).to_string(), "Activity": {"type": "library.update.section",
                "Context": {"librarySectionID": script.below(6).to_string()}}}),
            ),
            2 => (
                "provider.content.change",
                "MediaProviderContentNotification",
                json!({"type": script.below(12)}),
            ),
            _ => (
                script.one_of(&["update.statechange", "reachability", "status"]),
                "Nothing",
                json!({}),
            ),
        };
        self.frame(&frame(kind, array, &[entry]));
    }
}

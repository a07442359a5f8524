//! Any order of events, and an evening of the real binary with faults: what must hold of every page
//! whatever happens. (`tests/soak.rs` holds the pages against the truth.)

use std::time::{Duration, Instant};

use plex_exporter::{
    config::HiddenLabels,
    internals::{
        Completed, Event, PlexError, PlexRequest, Timestamp, decode_notification as decode_frame,
        decode_response as decode,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    core::Core, evening::Evening, exporter::Setup, fake_plex::FakePlex, page_watch::PageWatch,
    payloads,
};

/// Scenes, a lost socket, and a restart of Plex in between.
#[test]
fn an_evening_with_trouble_has_sound_pages_and_costs_less_than_two_percent_of_a_core() {
    const SECONDS: u64 = 30;
    let mut plex = FakePlex::default();
    let exporter = Setup::new(&plex.url()).env("LOG_LEVEL", "info").start();
    let (begun, cpu) = (Instant::now(), exporter.cpu_seconds());
    let mut second = 0;
    while second < SECONDS {
        if second == 20 {
            plex.stop();
            plex.restart();
        }
        let part = Evening::resume(&plex, second);
        second = part.play_until(if second < 20 { 20 } else { SECONDS }, |now| {
            if now == 10 {
                plex.drop_sockets();
            }
            // Read by the exporter's own watch: no two samples alike, no counter falls.
            exporter.page();
        });
    }
    let share = (exporter.cpu_seconds() - cpu) / begun.elapsed().as_secs_f64();
    assert!(share < 0.02, "{:.1} % of a core", share * 100.0);
    // Started, Plex's version, connected; lost and connected twice; Plex gone and back.
    let lines = exporter.log();
    assert!(lines.len() <= 14, "{lines:#?}");
    for (index, line) in lines.iter().enumerate() {
        let text = |line: &String| line.split_once("] ").map(|(_, text)| text.to_owned());
        let before = index.checked_sub(1).map(|before| text(&lines[before]));
        assert_ne!(before, Some(text(line)), "logged twice in a row");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u16),
    List(Vec<(u8, u8, u8)>),
    Failure,
    Playing(u8, u8, u8),
    Transcode(u8, u8),
    Socket(bool),
    Libraries(u8),
    Rubbish(String),
}

const STATES: [&str; 6] = [
    "playing",
    "paused",
    "buffering",
    "stopped",
    "error",
    "levitating",
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u16..20_000).prop_map(Step::Wait),
        1 => (30_000u16..65_000).prop_map(Step::Wait),
        4 => prop::collection::vec((0u8..5, 0u8..4, 0u8..6), 0..5).prop_map(Step::List),
        1 => Just(Step::Failure),
        5 => (0u8..5, 0u8..4, 0u8..6).prop_map(|(key, item, state)| Step::Playing(key, item, state)),
        2 => (0u8..3, 0u8..4).prop_map(|(event, id)| Step::Transcode(event, id)),
        1 => any::<bool>().prop_map(Step::Socket),
        1 => (0u8..4).prop_map(Step::Libraries),
        1 => "\\PC{0,40}".prop_map(Step::Rubbish),
    ];
    prop::collection::vec(step, 0..60)
}

fn listed(sessions: &[(u8, u8, u8)]) -> Value {
    let sessions: Vec<Value> = sessions
        .iter()
        .map(|(key, item, state)| {
            let session = payloads::with(
                payloads::movie((*key).into(), (*item).into(), &format!("film {item}")),
                json!({"Player": {"state": STATES[usize::from(*state)]}}),
            );
            if state % 2 == 0 {
                payloads::transcoded(session, &format!("t{item}"))
            } else {
                session
            }
        })
        .collect();
    json!({"MediaContainer": {"Metadata": sessions}})
}

struct Run {
    core: Core,
    watch: PageWatch,
    now: Timestamp,
}

impl Run {
    fn event(&mut self, event: Event) {
        let _ = self.core.apply(event, self.now);
    }

    fn frame(&mut self, frame: &Value) {
        let notification = decode_frame(&frame.to_string()).unwrap();
        self.event(Event::Notification(notification));
    }

    fn complete(&mut self, request: PlexRequest, result: Result<&Value, PlexError>) {
        let result = result.and_then(|body| decode(&request, body.to_string().as_bytes()));
        self.event(Event::Completed(Completed {
            request,
            started: self.now.monotonic,
            requests: 1,
            result,
        }));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait(milliseconds) => {
                self.now = self.now.after(Duration::from_millis(milliseconds.into()));
            }
            Step::List(sessions) => self.complete(PlexRequest::Sessions, Ok(&listed(&sessions))),
            Step::Failure => self.complete(PlexRequest::Sessions, Err(PlexError::Timeout)),
            Step::Playing(key, item, which) => {
                let state = STATES[usize::from(which)];
                self.frame(&payloads::playing(key.into(), item.into(), state, 5));
            }
            Step::Transcode(event, id) => {
                let kind = ["start", "update", "end"][usize::from(event)];
                let kind = format!("transcodeSession.{kind}");
                let transcode = payloads::transcode(&format!("t{id}"));
                self.frame(&payloads::frame(&kind, "TranscodeSession", transcode));
            }
            Step::Socket(true) => self.event(Event::SocketUp),
            Step::Socket(false) => self.event(Event::SocketDown(PlexError::Timeout)),
            Step::Libraries(count) => {
                let libraries: Vec<_> = (0..count)
                    .map(|id| payloads::library(id.into(), "movie", "L", 1, 1))
                    .collect();
                let body = json!({"MediaContainer": {"MediaProvider": [{
                    "identifier": "com.plexapp.plugins.library",
                    "Feature": [{"type": "content", "Directory": libraries}],
                }]}});
                self.complete(PlexRequest::Providers, Ok(&body));
            }
            Step::Rubbish(text) => {
                if let Some(notification) = decode_frame(&text) {
                    self.event(Event::Notification(notification));
                }
            }
        }
        let _ = self.core.tick(self.now);
        let page = self.core.page(self.now);
        // A play may end, be forgotten and begin again between two pages.
        self.watch.read(&page, |_| true);
    }
}

proptest! {
    /// Any order of events: no panic, no spin, counters never fall, no two samples with the same
    /// name and labels, and no session without an end.
    #[test]
    fn the_state_survives_any_order_of_events(steps in steps()) {
        let now = Timestamp { monotonic: Instant::now(), unix_seconds: 1_800_000_000.0 };
        let core = Core::new(HiddenLabels::default(), now);
        let mut run = Run { core, watch: PageWatch::default(), now };
        for step in steps {
            run.step(step);
        }
        // No more notifications: everything ends, and then all traces expire.
        for minutes in [1, 1, 1, 30, 31] {
            run.now = run.now.after(Duration::from_secs(60 * minutes + 1));
            let _ = run.core.tick(run.now);
        }
        for (name, size, _) in run.core.collections() {
            if ["live sessions", "ended plays", "series of plays"].contains(&name) {
                prop_assert_eq!(size, 0, "{} are left", name);
            }
        }
    }
}

//! Answers to `/status/sessions`: any bytes are decoded or refused, and what is decoded is rendered
//! without two samples alike.
#![no_main]

use std::{collections::HashSet, time::Instant};

use libfuzzer_sys::fuzz_target;
use plex_exporter::{
    config::HiddenLabels,
    internals::{
        Completed, Event, PlexRequest, Process, State, Timestamp, decode_response, render,
    },
};

fuzz_target!(|bytes: &[u8]| {
    let now = Timestamp { monotonic: Instant::now(), unix_seconds: 1.8e9 };
    let mut state = State::new(HiddenLabels::default(), now);
    let result = decode_response(&PlexRequest::Sessions, bytes);
    let fetched = Completed { request: PlexRequest::Sessions, started: now.monotonic, requests: 1, result };
    state.apply(Event::Completed(fetched), now);
    state.prepare_scrape(now);
    let page = render(&state, &Process::default(), now, 0);
    let mut seen = HashSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.rsplit_once(' ').expect("a value").0;
        assert!(seen.insert(name), "twice: {name}");
    }
});

//! Answers to `/status/sessions`: any bytes are decoded or refused, and what is decoded is rendered
//! without two samples alike.
#![no_main]

use std::{collections::HashSet, time::Instant};

use libfuzzer_sys::fuzz_target;
use plex_exporter::{
    clock::Now,
    config::Hidden,
    event::{Event, Fetched},
    metrics::{process::Process, render},
    plex::{client::decode, request::Fetch},
    state::State,
};

fuzz_target!(|bytes: &[u8]| {
    let now = Now { mono: Instant::now(), wall: 1.8e9 };
    let mut state = State::new(Hidden::default(), now);
    let result = decode(&Fetch::Sessions, bytes);
    let fetched = Fetched { fetch: Fetch::Sessions, started: now.mono, requests: 1, result };
    state.apply(Event::Fetched(fetched), now);
    state.settle(now);
    let page = render(&state, &Process::default(), now, 0);
    let mut seen = HashSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.rsplit_once(' ').expect("a value").0;
        assert!(seen.insert(name), "twice: {name}");
    }
});

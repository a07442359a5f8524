//! Answers to `/status/sessions`: any bytes are decoded or refused, and what is decoded is shown
//! without two samples alike.
#![no_main]

#[path = "../../support/core.rs"]
mod core;
#[path = "../../support/page_watch.rs"]
mod page_watch;

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use plex_exporter::{
    config::HiddenLabels,
    internals::{Completed, Event, PlexRequest, decode_response},
};

fuzz_target!(|bytes: &[u8]| {
    let base = Instant::now();
    let now = core::timestamp(base, 0, 1.8e9);
    let mut core = core::Core::new(HiddenLabels::default(), now);
    core.tick(now);
    let completed = Completed {
        request: PlexRequest::Sessions,
        started: base,
        requests: 1,
        result: decode_response(&PlexRequest::Sessions, bytes),
    };
    core.apply(Event::Completed(completed), now);
    page_watch::PageWatch::default().read(&core.page(now), |_| false);
});

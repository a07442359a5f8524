//! Sequences of events: whatever Plex says in whatever order, the state does not panic, spin, show
//! two samples with the same labels, let a counter fall, or keep more than its limits.
#![no_main]

#[path = "../../../support/core.rs"]
mod core;
#[path = "../../../support/page_watch.rs"]
mod page_watch;
mod payloads;
mod script;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| script::run(bytes));

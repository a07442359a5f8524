//! Frames of the notification socket: any text is decoded or refused, and its type is a known one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plex_exporter::internals::{KINDS, decode_notification as decode};

fuzz_target!(|text: &str| {
    if let Some(notification) = decode(text) {
        assert!(KINDS.contains(&notification.kind));
    }
});

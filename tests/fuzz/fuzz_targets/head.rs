//! Heads of scrape requests: any bytes are parsed or rejected, and a path that gets through is plain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plex_exporter::internals::request_head::{MAX_HEAD, Parsed, parse};

fuzz_target!(|bytes: &[u8]| match parse(bytes) {
    Parsed::Complete(head) => assert!(head.path.bytes().all(|byte| byte.is_ascii_graphic())),
    Parsed::Partial => assert!(bytes.len() < MAX_HEAD),
    Parsed::Rejected(status) => assert!(matches!(status, 400 | 431)),
});

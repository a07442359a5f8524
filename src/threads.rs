//! Threads: every one has a name and a stack sized on purpose.

use std::{
    io,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

/// Stack of a thread that works: TLS handshakes, JSON and compression take some tens of kilobytes,
/// debug builds several times as much. Only touched pages become resident.
pub const WORKER_STACK: usize = 512 * 1024;
/// Stack of a thread that handles a connection of a scraper, of which there may be dozens.
pub const SCRAPER_STACK: usize = 128 * 1024;

/// Starts a named thread.
///
/// # Errors
/// When the OS cannot start a thread.
pub fn spawn(
    name: &str,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    Builder::new()
        .name(name.to_owned())
        .stack_size(stack)
        .spawn(work)
}

/// Waits for `threads` to end, but no longer than `limit` in all. One that is blocked in a request
/// ends with the process.
pub fn join_within(threads: Vec<JoinHandle<()>>, limit: Duration) {
    let deadline = Instant::now() + limit;
    for thread in threads {
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if thread.is_finished() {
            // A panic has ended the process already.
            let _ = thread.join();
        }
    }
}

//! Threads: every one has a name and a stack sized on purpose, and a panic in any ends the process.

use std::{
    io, panic,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use crate::stderr;

/// Stack of a thread that works: TLS handshakes, JSON and compression take some tens of kilobytes,
/// debug builds several times as much. Only touched pages become resident.
pub const WORKER_STACK: usize = 512 * 1024;
/// Stack of a thread that handles a connection of a scraper, of which there may be dozens.
pub const SCRAPER_STACK: usize = 128 * 1024;

/// Starts a named thread.
///
/// # Errors
/// When the operating system has no thread to give.
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

/// Makes a panic in any thread end the process: an exporter that lost a thread shows frozen or
/// missing metrics, one that ended is restarted. (In release builds panics abort anyway; this prints
/// a line first, and the token in it is redacted.)
///
/// The line goes past the logger, whose lock the panicking thread may hold.
pub fn end_process_on_panic() {
    panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let message = info.to_string().replace('\n', " ");
        stderr::print(&format!("[ERROR] bug: thread `{name}` panicked: {message}"));
        stderr::flush();
        std::process::abort();
    }));
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

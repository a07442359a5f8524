//! A panic in any thread ends the process: an exporter that lost a thread would show frozen or missing
//! metrics; one that ended is restarted.

use std::{panic, process, thread};

use crate::stderr;

/// Installs a hook that prints the panic as one redacted line and aborts. (Release builds abort on
/// panic anyway, but without that line.)
///
/// The line bypasses the logger, whose lock the panicking thread may hold.
pub fn install() {
    panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let message = info.to_string().replace('\n', " ");
        stderr::print(&format!("[ERROR] bug: thread `{name}` panicked: {message}"));
        stderr::flush();
        process::abort();
    }));
}

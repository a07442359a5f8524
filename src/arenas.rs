//! glibc's allocator: one arena for all threads.
//!
//! Every thread gets an arena of its own, and what it has freed stays in that. So a large listing that
//! is decoded in one thread and kept by another takes its memory twice, and three times after the
//! next thread's: 140 MiB instead of 60. The number of arenas can only be set before the process
//! starts. The static binaries have musl's allocator, which has no arenas.

use std::{env, os::unix::process::CommandExt as _, process::Command};

/// What glibc reads (`mallopt(3)`).
const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// Starts the program again with one arena, in the same process, unless the number was chosen
/// already. Where that fails, it goes on and takes more memory.
pub fn limit() {
    if !cfg!(target_env = "gnu") || env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    if let (Some(name), Ok(program)) = (arguments.next(), env::current_exe()) {
        let _ = Command::new(program)
            .arg0(name)
            .args(arguments)
            .env(VARIABLE, "1")
            .exec();
    }
}

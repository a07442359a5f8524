//! The health marker.
//!
//! It is a file that names its process and is *locked* by it (`flock`). The kernel releases the lock
//! when the process ends, however it ends, so the marker of a killed process is recognized as stale.
//!
//! Invariant: the process is written into the marker after the marker is locked. A marker that
//! names its process and is not locked is therefore stale, never one that is being created.

use std::{
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use log::warn;

/// How often a running exporter checks that its marker is still there.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// What a marker begins with; the process id and a line end follow.
const MAGIC: &str = "plex-exporter ";
/// A marker is at most this long.
const MAX_MARKER: u64 = 64;
/// The marker of this process: not written yet, held, or removed.
#[derive(Debug)]
pub struct Marker {
    path: PathBuf,
    /// Shared with the signals thread, which removes the marker when the event loop hangs.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Open while the marker exists; closing it releases the lock.
    held: Option<File>,
    checked: Option<Instant>,
    warned: bool,
    removed: bool,
}

impl Marker {
    /// Prepares the marker.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            state: Mutex::default(),
        }
    }

    /// Removes the marker of a killed process, which is not to be mistaken for that of this one.
    /// Call it only once the listen port is ours.
    pub fn remove_stale(&self) {
        if matches!(inspect(&self.path), Found::Stale(_) | Found::Empty)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(
                "cannot remove the stale health marker {}: {error}",
                self.path.display()
            );
        }
    }

    /// Writes the marker, and rewrites it when it has disappeared. Warns once if it cannot.
    pub fn keep(&self, now: Instant) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        let checked_lately = state
            .checked
            .is_some_and(|checked| now < checked + CHECK_INTERVAL);
        if checked_lately || state.removed {
            return;
        }
        state.checked = Some(now);
        if state.held.as_ref().is_some_and(|held| self.is(held)) {
            return;
        }
        match self.create() {
            Ok(file) => state.held = Some(file),
            Err(error) => {
                state.held = None;
                if !std::mem::replace(&mut state.warned, true) {
                    warn!(
                        "cannot write the health marker {}: {error}; `plex-exporter health` uses \
                         GET /health instead (set HEALTH_FILE to a path that is this exporter's \
                         own and writable, for example on a tmpfs)",
                        self.path.display()
                    );
                }
            }
        }
    }

    /// Removes the marker for good. If another thread is using it, it stays: its lock ends with the
    /// process.
    pub fn remove(&self) {
        if let Ok(mut state) = self.state.try_lock() {
            state.removed = true;
            if state.held.take().is_some_and(|held| self.is(&held)) {
                // Whoever reads the marker after this sees an unlocked one at worst.
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    /// Whether `file` is the one at the marker's path.
    fn is(&self, file: &File) -> bool {
        match (fs::symlink_metadata(&self.path), file.metadata()) {
            (Ok(found), Ok(ours)) => (found.dev(), found.ino()) == (ours.dev(), ours.ino()),
            _ => false,
        }
    }

    fn create(&self) -> io::Result<File> {
        // create_new follows no symbolic link: /tmp is everybody's.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.path)?;
        let locked = file.try_lock().map_err(io::Error::from);
        let written = locked
            .and_then(|()| file.write_all(format!("{MAGIC}{}\n", std::process::id()).as_bytes()));
        if let Err(error) = written {
            // The disk is full. What is left of the marker would be in the way of the next attempt.
            let _ = fs::remove_file(&self.path);
            return Err(error);
        }
        Ok(file)
    }
}

/// What is at the marker's path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The marker of a process that runs and holds it.
    Held,
    /// A marker that the process it names does not hold: it has ended, or this is a copy.
    Stale(u32),
    /// An empty file of this user: a marker that is being created, or whose process was killed then.
    Empty,
    /// Nothing, or something other than a marker of this user: a link, a directory, another file.
    NoMarker,
}

/// Inspects the marker without following links and without ever blocking.
pub(super) fn inspect(path: &Path) -> Found {
    let Ok(file) = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
    else {
        return Found::NoMarker;
    };
    let own =
        |found: &Metadata| fs::metadata("/proc/self").is_ok_and(|own| own.uid() == found.uid());
    let Some(found) = file
        .metadata()
        .ok()
        .filter(|found| found.is_file() && own(found))
    else {
        return Found::NoMarker;
    };
    let mut text = String::new();
    match (&file).take(MAX_MARKER).read_to_string(&mut text) {
        Ok(0) => return Found::Empty,
        Ok(_) => {}
        Err(_) => return Found::NoMarker,
    }
    let pid = text
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.strip_suffix('\n'))
        .and_then(|pid| pid.parse::<u32>().ok());
    let Some(pid) = pid else {
        return Found::NoMarker;
    };
    match file.try_lock_shared() {
        Ok(()) => Found::Stale(pid),
        Err(TryLockError::WouldBlock) if is_locked_by(pid, found.ino()) => Found::Held,
        // Somebody else locked it.
        Err(_) => Found::NoMarker,
    }
}

/// Whether process `pid` holds a lock on the file `inode`, by the kernel's own list (proc_locks(5)):
/// `1: FLOCK  ADVISORY  WRITE 1234 00:2f:5678 0 EOF`.
fn is_locked_by(pid: u32, inode: u64) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("FLOCK")
            && words.nth(2).is_some_and(|word| word.parse() == Ok(pid))
            && words
                .next()
                .and_then(|file| file.rsplit(':').next())
                .is_some_and(|word| word.parse() == Ok(inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("plex-exporter-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_marker_counts_only_while_its_process_holds_it() {
        let path = path("held");
        let marker = Marker::new(&path);
        assert_eq!(inspect(&path), Found::NoMarker);
        marker.keep(Instant::now());
        assert_eq!(inspect(&path), Found::Held);
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains(&std::process::id().to_string())
        );
        marker.remove();
        assert_eq!(inspect(&path), Found::NoMarker);
        marker.keep(Instant::now() + CHECK_INTERVAL);
        assert_eq!(inspect(&path), Found::NoMarker, "it is gone for good");
    }

    #[test]
    fn a_marker_that_was_deleted_or_replaced_is_written_again_where_it_can_be() {
        let path = path("deleted");
        let marker = Marker::new(&path);
        let start = Instant::now();
        marker.keep(start);
        fs::remove_file(&path).unwrap();
        marker.keep(start + CHECK_INTERVAL);
        assert_eq!(inspect(&path), Found::Held);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        marker.keep(start + 2 * CHECK_INTERVAL);
        assert_eq!(inspect(&path), Found::NoMarker);
        marker.remove();
        fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn a_stale_marker_is_removed_at_the_next_start_and_a_foreign_file_is_not() {
        let path = path("stale");
        for (text, found) in [
            ("plex-exporter 1\n", Found::Stale(1)),
            ("", Found::Empty),
            ("something else", Found::NoMarker),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(inspect(&path), found);
            Marker::new(&path).remove_stale();
            assert_eq!(path.exists(), found == Found::NoMarker, "{text}");
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_lock_of_another_process_does_not_make_a_marker_held() {
        let path = path("foreign-lock");
        // Process 1 exists everywhere, and does not hold this.
        fs::write(&path, "plex-exporter 1\n").unwrap();
        let locked = File::open(&path).unwrap();
        locked.try_lock().unwrap();
        assert_eq!(inspect(&path), Found::NoMarker);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_link_to_a_marker_is_no_marker() {
        let (target, link) = (path("target"), path("link"));
        let marker = Marker::new(&target);
        marker.keep(Instant::now());
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(inspect(&link), Found::NoMarker);
        fs::remove_file(link).unwrap();
        marker.remove();
    }

    #[test]
    fn the_marker_of_another_exporter_is_left_alone() {
        let path = path("other");
        let ours = Marker::new(&path);
        ours.keep(Instant::now());
        let theirs = Marker::new(&path);
        theirs.keep(Instant::now());
        theirs.remove();
        assert_eq!(inspect(&path), Found::Held);
        ours.remove();
    }
}

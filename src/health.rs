//! Health: the marker a running exporter holds, and the probe that looks for it.
//!
//! The marker is a file that names its process and is *locked* by it (`flock`). The kernel releases
//! the lock when the process ends, however it ends, so a marker left behind by a killed process is
//! recognised without knowing anything about process ids, also from another PID namespace.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use log::warn;

use crate::{config::ProbeConfig, listen::ListenAddress};

/// How long the probe waits for `GET /health`: the server's own limit is 1 s.
const HTTP_TIMEOUT: Duration = Duration::from_secs(3);

/// The marker of this process: not yet written, held, or given up.
#[derive(Debug)]
pub struct Marker {
    path: PathBuf,
    /// Held open for as long as the process is healthy; closing it releases the lock.
    held: Option<File>,
    tried: bool,
}

impl Marker {
    /// Prepares the marker and removes a stale one, so that nobody takes this exporter for healthy
    /// before it is. Call it only once the listen port is ours.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        if state_of(path) == MarkerState::Stale
            && let Err(error) = fs::remove_file(path)
        {
            warn!(
                "cannot remove the stale health marker {}: {error}",
                path.display()
            );
        }
        Self {
            path: path.to_owned(),
            held: None,
            tried: false,
        }
    }

    /// Writes the marker the first time this is called. Says why if it cannot.
    pub fn write(&mut self) {
        if std::mem::replace(&mut self.tried, true) {
            return;
        }
        match self.create() {
            Ok(file) => self.held = Some(file),
            Err(error) => warn!(
                "cannot write the health marker {}: {error}; `plex-exporter health` asks GET \
                 /health instead (set HEALTH_FILE to a path that is this exporter's own and \
                 writable, for example on a tmpfs)",
                self.path.display()
            ),
        }
    }

    fn create(&self) -> io::Result<File> {
        // create_new follows no symbolic link: /tmp is everybody's.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.path)?;
        file.try_lock().map_err(io::Error::from)?;
        writeln!(file, "plex-exporter {}", std::process::id())?;
        Ok(file)
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        if self.held.is_some() {
            // Whoever reads the marker after this sees an unlocked one at worst.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum MarkerState {
    Missing,
    Stale,
    Held,
}

fn state_of(path: &Path) -> MarkerState {
    match File::open(path).map(|file| file.try_lock_shared()) {
        Ok(Err(TryLockError::WouldBlock)) => MarkerState::Held,
        Err(error) if error.kind() == io::ErrorKind::NotFound => MarkerState::Missing,
        _ => MarkerState::Stale,
    }
}

/// Asks whether the running exporter is healthy.
///
/// # Errors
/// One line that says why it is not.
pub fn probe(config: &ProbeConfig) -> Result<(), String> {
    let path = config.health_file.display();
    match state_of(&config.health_file) {
        MarkerState::Held => Ok(()),
        _ if !can_be_written(&config.health_file) => ask(&config.listen),
        MarkerState::Missing => Err(format!(
            "{path} does not exist: the exporter is not running, or Plex has not answered yet"
        )),
        MarkerState::Stale => Err(format!("{path} was left by a process that no longer runs")),
    }
}

/// Whether an exporter could have written its marker: tried out beside it, under another name.
fn can_be_written(marker: &Path) -> bool {
    let mut name = marker.as_os_str().to_owned();
    name.push(format!(".probe-{}", std::process::id()));
    let trial = Path::new(&name);
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(trial)
        .is_ok();
    if created {
        let _ = fs::remove_file(trial);
    }
    created
}

fn ask(listen: &ListenAddress) -> Result<(), String> {
    let addresses = listen
        .local_addresses()
        .map_err(|error| format!("{listen}: {error}"))?;
    let mut last = format!("{listen} has no address");
    for address in addresses {
        let answer = TcpStream::connect_timeout(&address, HTTP_TIMEOUT).and_then(|mut stream| {
            stream.set_read_timeout(Some(HTTP_TIMEOUT))?;
            stream.set_write_timeout(Some(HTTP_TIMEOUT))?;
            stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.take(1024).read_to_string(&mut answer)?;
            Ok(answer)
        });
        match answer {
            Ok(answer) if answer.split(' ').nth(1) == Some("200") => return Ok(()),
            Ok(answer) => {
                let status = answer
                    .lines()
                    .next()
                    .unwrap_or("an empty answer")
                    .escape_debug();
                return Err(format!("GET /health on {address} answered {status}"));
            }
            Err(error) => last = format!("GET /health on {address}: {error}"),
        }
    }
    Err(last)
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
        let mut marker = Marker::new(&path);
        assert_eq!(state_of(&path), MarkerState::Missing);
        marker.write();
        assert_eq!(state_of(&path), MarkerState::Held);
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains(&std::process::id().to_string())
        );
        drop(marker);
        assert_eq!(state_of(&path), MarkerState::Missing);
    }

    #[test]
    fn a_marker_nobody_holds_is_stale_and_goes_at_the_next_start() {
        let path = path("stale");
        fs::write(&path, "plex-exporter 1\n").unwrap();
        assert_eq!(state_of(&path), MarkerState::Stale);
        drop(Marker::new(&path));
        assert_eq!(state_of(&path), MarkerState::Missing);
    }

    #[test]
    fn the_marker_of_another_exporter_is_left_alone() {
        let path = path("other");
        let mut ours = Marker::new(&path);
        ours.write();
        let mut theirs = Marker::new(&path);
        theirs.write();
        drop(theirs);
        assert_eq!(state_of(&path), MarkerState::Held);
    }
}

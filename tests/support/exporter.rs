//! The exporter, as a process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

pub use super::payloads::TOKEN;
use super::{fake_plex::FakePlex, page_watch::PageWatch, samples::Samples};

/// How long a test waits for what takes a moment.
pub const SOON: Duration = Duration::from_secs(5);

/// The path of the binary under test: `PLEX_EXPORTER_BIN`, or the one that Cargo built.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PLEX_EXPORTER_BIN") {
        return path.into();
    }
    if let Some(path) = option_env!("CARGO_BIN_EXE_plex-exporter") {
        return path.into();
    }
    // An example lies in `target/<profile>/examples`, the binary above it.
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("plex-exporter")
}

/// A running exporter. It is killed when dropped.
pub struct Exporter {
    pub child: Child,
    pub address: SocketAddr,
    pub health_file: PathBuf,
    log: Arc<Log>,
    /// Checks every page that a test reads.
    watch: Mutex<PageWatch>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    grown: Condvar,
}

/// How the exporter is started.
pub struct Setup {
    command: Command,
    health_file: PathBuf,
}

/// A path that no other test uses.
pub fn own_path(name: &str) -> PathBuf {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    std::env::temp_dir().join(format!(
        "plex-exporter-test-{}-{count}-{name}",
        std::process::id()
    ))
}

impl Setup {
    /// An exporter of the Plex at `server`, listening on a free port of the loopback.
    pub fn new(server: &str) -> Self {
        let health_file = own_path("healthy");
        let mut command = Command::new(binary());
        command
            .env_clear()
            .env("PLEX_SERVER", server)
            .env("PLEX_TOKEN", TOKEN)
            .env("LISTEN_ADDRESS", "127.0.0.1:0")
            .env("HEALTH_FILE", &health_file)
            .env("LOG_LEVEL", "debug");
        Self {
            command,
            health_file,
        }
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs `program`, which runs the exporter, with the same environment.
    pub fn under(mut self, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        self.command = command;
        self
    }

    /// Starts it; `health` and the end of the test expect its marker at `path`.
    pub fn start_with_marker(mut self, path: &std::path::Path) -> Exporter {
        path.clone_into(&mut self.health_file);
        self.start()
    }

    /// Starts it and waits until it listens.
    pub fn start(mut self) -> Exporter {
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the exporter starts");
        let log = Arc::new(Log::default());
        let (stderr, filling) = (child.stderr.take().unwrap(), Arc::clone(&log));
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                filling.lines.lock().unwrap().0.push(line);
                filling.grown.notify_all();
            }
            filling.lines.lock().unwrap().1 = true;
            filling.grown.notify_all();
        });
        let mut exporter = Exporter {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            health_file: self.health_file,
            log,
            watch: Mutex::default(),
        };
        let line = exporter.wait_for_log("metrics on http://");
        let address = line
            .split("metrics on http://")
            .nth(1)
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        exporter.address = address.parse().unwrap();
        exporter
    }

    /// Runs it to completion, within a minute: exit status, standard output, standard error.
    pub fn run(mut self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let child = self
            .command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let id = child.id().to_string();
        let (ended, output) = mpsc::channel();
        thread::spawn(move || ended.send(child.wait_with_output().unwrap()));
        let output = output
            .recv_timeout(Duration::from_mins(1))
            .unwrap_or_else(|_| {
                let _ = Command::new("kill").args(["-9", &id]).status();
                panic!("{arguments:?} does not end")
            });
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

/// An HTTP response.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }
}

/// Sends raw bytes and reads the response to its end.
pub fn request(address: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(bytes)?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    Ok(response)
}

/// Polls until `done` returns something; panics after `limit` with the description that `seen`
/// returns.
pub fn wait<T>(
    limit: Duration,
    mut done: impl FnMut() -> Option<T>,
    seen: impl Fn() -> String,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "not within {limit:?}; last seen: {}",
            seen()
        );
        thread::sleep(Duration::from_millis(3));
    }
}

impl Exporter {
    /// An exporter of `plex` with the notification socket connected and a first listing requested.
    pub fn connected(plex: &FakePlex) -> Self {
        let exporter = Setup::new(&plex.url()).start();
        exporter.until_value("plex_websocket_connected", &[], 1.0);
        plex.wait_for("/status/sessions", 1, SOON);
        exporter
    }

    /// The same, with the items of every library counted.
    pub fn with_libraries(plex: &FakePlex) -> Self {
        let exporter = Self::connected(plex);
        exporter.until("libraries counted", SOON, |samples| {
            samples.of("plex_library_items", &[]).len() == plex.world().libraries.len()
        });
        exporter
    }

    pub fn get(&self, path: &str) -> Response {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    pub fn send(&self, request_text: &str) -> Response {
        Response::parse(&request(self.address, request_text.as_bytes()).expect("a response"))
    }

    pub fn page(&self) -> String {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{}", response.head);
        // Series of plays may be removed and begin again between two pages.
        watch.read(response.text(), |_| true);
        response.text().to_owned()
    }

    pub fn scrape(&self) -> Samples {
        Samples::parse(&self.page())
    }

    /// Scrapes until `condition` holds, and returns that scrape.
    pub fn until(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&Samples) -> bool,
    ) -> Samples {
        wait(
            limit,
            || Some(self.scrape()).filter(|samples| condition(samples)),
            || {
                format!(
                    "{what} in\n{}\nlog:\n{}",
                    self.page(),
                    self.log().join("\n")
                )
            },
        )
    }

    /// Scrapes until a sample has a value.
    pub fn until_value(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Samples {
        self.until(
            &format!("{name} {labels:?} = {value}"),
            Duration::from_secs(10),
            |samples| {
                samples
                    .of(name, labels)
                    .iter()
                    .any(|sample| (sample.value - value).abs() < 1e-9)
            },
        )
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// Waits for a log line that contains `text`.
    pub fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_logs(text, 1).pop().unwrap()
    }

    /// Waits for `count` log lines that contain `text`.
    pub fn wait_for_logs(&self, text: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let found: Vec<String> = lines
                .0
                .iter()
                .filter(|line| line.contains(text))
                .cloned()
                .collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && !lines.1,
                "no `{text}` in\n{}",
                lines.0.join("\n")
            );
            lines = self
                .log
                .grown
                .wait_timeout(lines, left.min(Duration::from_millis(200)))
                .unwrap()
                .0;
        }
    }

    /// Sends a signal by name and waits for the process to end; also returns how long that took.
    pub fn stop_with(&mut self, signal: &str) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal(signal);
        let status = self.child.wait().unwrap();
        (status, begun.elapsed())
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// The `health` command for this exporter: exit status and standard error.
    pub fn health(&self) -> (Option<i32>, String) {
        let output = Command::new(binary())
            .arg("health")
            .env_clear()
            .env("HEALTH_FILE", &self.health_file)
            .env("LISTEN_ADDRESS", self.address.to_string())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// A number out of `/proc/<pid>/status`, such as `Threads` or `VmRSS` (kB).
    pub fn proc_status(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{field}:")))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// CPU seconds used so far, to the nanosecond, over all threads.
    pub fn cpu_seconds(&self) -> f64 {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id()))
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
            / 1e9
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Under a program that runs it (`unshare`), the exporter is a child of that program.
        let id = self.child.id();
        let below = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        for pid in below.unwrap_or_default().split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", pid]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.health_file);
    }
}

//! Standard error behind a queue, so that no thread ever waits for its reader.
//!
//! One thread writes. Where the reader is stuck (a log driver, a stopped terminal), lines beyond
//! [`MAX_QUEUED`] bytes are dropped and counted; where it has gone, every line is.

use std::{
    io::{self, Write},
    sync::{
        LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use log::warn;

use crate::{
    output::Lines,
    threads::{self, SCRAPER_STACK},
};

/// Bytes that may wait to be written: some 5,000 lines, as a busy server causes at level debug
/// within a moment.
const MAX_QUEUED: usize = 1024 * 1024;
/// A write to a terminal that another program made non-blocking is retried after this.
const RETRY: Duration = Duration::from_millis(20);
/// How long the end of the process waits for the queue to be written.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);

enum Message {
    Line(String),
    /// Everything before this is written.
    Flush(Sender<()>),
}

/// The queue. The channel itself has no limit: [`MAX_QUEUED`] bounds what is in it.
static QUEUE: LazyLock<Option<Sender<Message>>> = LazyLock::new(|| {
    let (sender, receiver) = unbounded();
    threads::spawn("log", SCRAPER_STACK, move || write_lines(&receiver))
        .ok()
        .map(|_| sender)
});
static QUEUED: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines that were dropped since the process started.
pub fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

/// A writer whose lines are queued, redacted and sanitized.
pub fn writer() -> Lines<impl FnMut(String) -> io::Result<()> + Send> {
    Lines::new(|line| {
        enqueue_line(line);
        Ok(())
    })
}

/// Queues `text`, of one or more lines, that is not a log record.
pub fn print(text: &str) {
    // It only queues, and that does not fail.
    let _ = writeln!(writer(), "{}", text.trim_end());
}

/// Waits until all that was queued is written, but no longer than 200 ms.
pub fn flush() {
    let (done, written) = bounded(1);
    if enqueue(Message::Flush(done)) {
        let _ = written.recv_timeout(FLUSH_LIMIT);
    }
}

fn enqueue_line(line: String) {
    let length = line.len();
    let fits = QUEUED.fetch_add(length, Relaxed) + length <= MAX_QUEUED;
    if !(fits && enqueue(Message::Line(line))) {
        QUEUED.fetch_sub(length, Relaxed);
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// Returns whether there is a thread that takes messages.
fn enqueue(message: Message) -> bool {
    QUEUE
        .as_ref()
        .is_some_and(|queue| queue.send(message).is_ok())
}

fn write_lines(queue: &Receiver<Message>) {
    let mut reported = 0;
    for message in queue {
        match message {
            Message::Flush(done) if dropped() > reported => {
                report(&mut reported);
                enqueue(Message::Flush(done));
            }
            Message::Flush(done) => drop(done.send(())),
            Message::Line(line) => {
                let written = write_line(line.as_bytes());
                QUEUED.fetch_sub(line.len(), Relaxed);
                if written.is_err() {
                    DROPPED.fetch_add(1, Relaxed);
                } else if queue.is_empty() && dropped() > reported {
                    report(&mut reported);
                }
            }
        }
    }
}

/// Logs how many lines were dropped since the last report.
fn report(reported: &mut u64) {
    let dropped = dropped();
    warn!(
        "log: {} lines were dropped, because nobody read standard error",
        dropped - *reported
    );
    *reported = dropped;
}

fn write_line(mut line: &[u8]) -> io::Result<()> {
    let mut stderr = io::stderr();
    while !line.is_empty() {
        match stderr.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

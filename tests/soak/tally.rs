//! What the exporter costs Plex, and what it logs.

use std::collections::{HashMap, VecDeque};

use log::Level;
use plex_exporter::internals::LogLine;

use crate::{plays::Millis, plex::Health};

#[derive(Default)]
struct Minute {
    requests: u64,
    live: usize,
    without_socket: bool,
}

#[derive(Default)]
pub struct Tally {
    hour: VecDeque<Minute>,
    now: Minute,
    pub requests: u64,
    pub most_idle: u64,
    pub most_live: u64,
    pub most_crowded: u64,
    /// Lines that changes so far can explain.
    allowed_lines: u64,
    pub lines: u64,
    /// What was last logged as failing, by subject.
    failing: HashMap<String, String>,
}

impl Tally {
    pub fn request(&mut self) {
        self.requests += 1;
        self.now.requests += 1;
    }

    pub fn live(&mut self, sessions: usize) {
        self.now.live = self.now.live.max(sessions);
    }

    /// Something changed that may explain up to `lines` lines.
    pub fn change(&mut self, lines: u64) {
        self.allowed_lines += lines;
    }

    /// A minute is over: the last hour is within the contract's limits.
    pub fn minute(&mut self, now: Millis, live: usize, socket_up: bool, health: Health) {
        self.live(live);
        self.now.without_socket |= !socket_up || health != Health::Well;
        self.hour.push_back(std::mem::take(&mut self.now));
        self.live(live);
        if self.hour.len() > 60 {
            self.hour.pop_front();
        }
        if self.hour.len() < 60 {
            return;
        }
        let requests: u64 = self.hour.iter().map(|minute| minute.requests).sum();
        let live = self
            .hour
            .iter()
            .map(|minute| minute.live)
            .max()
            .unwrap_or(0) as u64;
        let without_socket = self.hour.iter().any(|minute| minute.without_socket);
        let (limit, most) = match live {
            0 if without_socket => (1_000, &mut self.most_idle),
            0 => (900, &mut self.most_idle),
            1..=10 => (1_800, &mut self.most_live),
            // The contract has no number for more: in proportion.
            more => (1_800 * more / 10, &mut self.most_crowded),
        };
        *most = (*most).max(requests);
        assert!(
            requests <= limit,
            "{requests} requests in the hour before {now}, {live} live"
        );
    }

    /// What failed of a library that comes or goes is forgotten with it.
    pub fn libraries_change(&mut self) {
        self.failing
            .retain(|failing, _| !failing.starts_with("item count of library"));
        self.change(6);
    }

    pub fn log(&mut self, line: &LogLine) {
        if line.level > Level::Info {
            return;
        }
        self.lines += 1;
        let (subject, text) = line.text.split_once(": ").unwrap_or((&line.text, ""));
        if line.level == Level::Info {
            if text == "recovered" {
                let failed = self.failing.remove(subject);
                assert!(
                    failed.is_some(),
                    "recovered without having failed: {}",
                    line.text
                );
            } else if text == "connected" {
                // The socket's own word for it.
                self.failing
                    .retain(|failing, _| !failing.starts_with(subject));
            }
        } else {
            let before = self.failing.insert(subject.to_owned(), text.to_owned());
            assert_ne!(before.as_deref(), Some(text), "logged twice: {}", line.text);
        }
        assert!(
            self.lines <= self.allowed_lines + 20,
            "{} lines, changes explain {}: {}",
            self.lines,
            self.allowed_lines,
            line.text
        );
    }
}

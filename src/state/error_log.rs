//! Logs failures once per change and subject, not once per request.
//!
//! Invariant: "recovered" is logged only for a failure that was logged and is over.

use std::collections::BTreeMap;

use log::Level;

use super::actions::Effects;
use crate::{
    output::Sanitized,
    plex::{error::PlexError, id::Id, request::Endpoint},
};

/// What can fail independently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An endpoint.
    Endpoint(Endpoint),
    /// The item count of a library.
    Library(Id),
}

/// `/`: when this fails, Plex as a whole is failing.
const PLEX: Subject = Subject::Endpoint(Endpoint::Server);

impl Subject {
    /// The subject of its log lines; `title` is the library's.
    fn name(self, title: &str) -> String {
        match self {
            PLEX => "Plex".to_owned(),
            Self::Endpoint(endpoint) => {
                let what = match endpoint {
                    Endpoint::Sessions => "live sessions",
                    Endpoint::Metadata => "details of a title",
                    Endpoint::Providers => "libraries",
                    Endpoint::Items => "item counts",
                    Endpoint::Resources => "host load",
                    Endpoint::Bandwidth => "bytes sent",
                    Endpoint::Activities => "activities",
                    Endpoint::Accounts => "users",
                    Endpoint::Updater => "updates of Plex",
                    Endpoint::Notifications => "notifications",
                    Endpoint::Server => "Plex",
                };
                format!("{what} ({})", endpoint.template())
            }
            Self::Library(id) => format!("item count of library `{}` ({id})", Sanitized(title)),
        }
    }
}

#[derive(Debug)]
struct Failure {
    reason: &'static str,
    /// No connection at all, so that one line is enough for every subject.
    unreachable: bool,
    /// Whether this one was logged, rather than covered by another subject's line.
    logged: bool,
    name: String,
}

/// The current failures.
#[derive(Debug, Default)]
pub struct ErrorLog {
    failures: BTreeMap<Subject, Failure>,
}

impl ErrorLog {
    /// Records the outcome of a request about `subject`, and logs it if it changed.
    pub fn record(&mut self, subject: Subject, error: Option<&PlexError>, effects: &mut Effects) {
        self.record_titled(subject, "", error, effects);
    }

    /// As [`Self::record`], for a subject that has a title.
    pub fn record_titled(
        &mut self,
        subject: Subject,
        title: &str,
        error: Option<&PlexError>,
        effects: &mut Effects,
    ) {
        let Some(error) = error else {
            if let Some(failure) = self.failures.remove(&subject)
                && failure.logged
            {
                effects.log(Level::Info, format!("{}: recovered", failure.name));
            }
            return;
        };
        let (reason, unreachable) = (error.reason(), error.is_unreachable());
        let covering = self.covering(subject, reason, unreachable);
        let before = self.failures.get(&subject);
        if before
            .is_some_and(|before| before.reason == reason && (before.logged || covering.is_some()))
        {
            return;
        }
        let mut logged = covering.is_none();
        if let Some(other) = covering.filter(|_| subject == PLEX)
            && let Some(failure) = self.failures.get_mut(&other)
        {
            // The same outage, first seen by another request: from now on it is attributed to Plex.
            failure.logged = false;
            logged = true;
        } else if logged {
            let whole = if unreachable { PLEX } else { subject };
            let text = error.to_string();
            effects.log(
                Level::Warn,
                format!("{}: {}", whole.name(title), Sanitized(&text)),
            );
        }
        let name = if unreachable { PLEX } else { subject }.name(title);
        self.failures.insert(
            subject,
            Failure {
                reason,
                unreachable,
                logged,
                name,
            },
        );
    }

    /// The subject whose log line already covers this failure of `subject`.
    fn covering(&self, subject: Subject, reason: &str, unreachable: bool) -> Option<Subject> {
        self.failures
            .iter()
            .filter(|(other, failure)| **other != subject && failure.logged)
            .find(|(other, failure)| {
                let whole = **other == PLEX;
                (unreachable && failure.unreachable)
                    || (whole && failure.reason == reason)
                    // On an open connection, an outage shows as a timeout.
                    || (whole && failure.unreachable && reason == "timeout")
            })
            .map(|(other, _)| *other)
    }

    /// Logs once that this Plex does not offer `subject`, and what is missing without it.
    pub fn report_info(&mut self, subject: Subject, missing: &str, effects: &mut Effects) {
        const REASON: &str = "not offered";
        if self
            .failures
            .get(&subject)
            .is_none_or(|failure| failure.reason != REASON)
        {
            let name = subject.name("");
            effects.log(
                Level::Info,
                format!("{name}: not offered by this Plex; {missing}"),
            );
            let failure = Failure {
                reason: REASON,
                unreachable: false,
                logged: true,
                name,
            };
            self.failures.insert(subject, failure);
        }
    }

    /// Drops the failures of removed libraries.
    pub fn forget_libraries(&mut self, gone: impl Fn(Id) -> bool) {
        self.failures
            .retain(|subject, _| !matches!(subject, Subject::Library(id) if gone(*id)));
    }

    /// The number of subjects that fail.
    #[must_use]
    pub fn count(&self) -> usize {
        self.failures.len()
    }

    /// Drops the failure of `subject`; its recovery is logged elsewhere.
    pub fn forget(&mut self, subject: Subject) {
        self.failures.remove(&subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSIONS: Subject = Subject::Endpoint(Endpoint::Sessions);
    const SOCKET: Subject = Subject::Endpoint(Endpoint::Notifications);
    const LOAD: Subject = Subject::Endpoint(Endpoint::Resources);
    const BYTES: Subject = Subject::Endpoint(Endpoint::Bandwidth);

    fn refused() -> PlexError {
        PlexError::Connect("refused".into())
    }

    /// The lines that a sequence of outcomes logs.
    fn lines(outcomes: &[(Subject, Option<PlexError>)]) -> Vec<String> {
        let mut log = ErrorLog::default();
        let mut effects = Effects::default();
        for (subject, error) in outcomes {
            log.record(*subject, error.as_ref(), &mut effects);
        }
        effects
            .log_lines
            .into_iter()
            .map(|line| format!("{} {}", line.level, line.text))
            .collect()
    }

    #[test]
    fn a_change_is_logged_once() {
        let lines = lines(&[
            (PLEX, None),
            (PLEX, Some(refused())),
            (PLEX, Some(refused())),
            (PLEX, Some(PlexError::Unauthorized)),
            (PLEX, None),
            (PLEX, None),
        ]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[2].contains("recovered"));
    }

    #[test]
    fn one_endpoint_of_two_that_fails_is_logged_once_and_recovers_once() {
        let error = || Some(PlexError::Status(500));
        let mut outcomes = Vec::new();
        for _ in 0..5 {
            outcomes.extend([(LOAD, error()), (BYTES, None), (PLEX, None)]);
        }
        outcomes.push((LOAD, None));
        let lines = lines(&outcomes);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("WARN host load"));
        assert_eq!(
            lines[1],
            "INFO host load (/statistics/resources): recovered"
        );
    }

    #[test]
    fn one_line_says_that_plex_is_unreachable_and_one_that_it_recovered() {
        let lines = lines(&[
            (SESSIONS, Some(refused())),
            (SOCKET, Some(refused())),
            (PLEX, Some(refused())),
            (BYTES, Some(PlexError::Timeout)),
            (PLEX, None),
            (SESSIONS, None),
            (SOCKET, None),
            (BYTES, None),
        ]);
        assert_eq!(lines, ["WARN Plex: refused", "INFO Plex: recovered"]);
    }

    #[test]
    fn a_listener_that_refuses_while_open_connections_work_is_logged_once() {
        let mut outcomes = Vec::new();
        for _ in 0..5 {
            outcomes.extend([(SESSIONS, Some(refused())), (PLEX, None)]);
        }
        assert_eq!(lines(&outcomes), ["WARN Plex: refused"]);
    }

    #[test]
    fn what_still_fails_when_plex_recovers_is_logged() {
        let lines = lines(&[
            (PLEX, Some(refused())),
            (SESSIONS, Some(refused())),
            (PLEX, None),
            (SESSIONS, Some(PlexError::Forbidden)),
        ]);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[2].starts_with("WARN live sessions"));
    }

    #[test]
    fn what_is_forgotten_neither_counts_nor_recovers() {
        let mut log = ErrorLog::default();
        let mut effects = Effects::default();
        let library = |id: &str| Subject::Library(Id::parse(id).unwrap());
        let error = PlexError::Status(500);
        for subject in [SOCKET, library("1"), library("2")] {
            log.record(subject, Some(&error), &mut effects);
        }
        assert_eq!(log.count(), 3);
        log.forget(SOCKET);
        log.forget_libraries(|id| Some(id) == Id::parse("1"));
        assert_eq!(log.count(), 1);
        effects.log_lines.clear();
        for subject in [SOCKET, library("1"), library("2")] {
            log.record(subject, None, &mut effects);
        }
        let lines: Vec<_> = effects.log_lines.iter().map(|line| &*line.text).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains('2') && lines[0].ends_with("recovered"));
    }

    #[test]
    fn what_this_plex_does_not_offer_is_logged_once_and_is_no_recovery() {
        let mut log = ErrorLog::default();
        let mut effects = Effects::default();
        for _ in 0..3 {
            log.report_info(BYTES, "no bytes", &mut effects);
        }
        assert_eq!(effects.log_lines.len(), 1);
        assert_eq!(effects.log_lines[0].level, Level::Info);
        assert!(
            effects.log_lines[0]
                .text
                .ends_with("not offered by this Plex; no bytes")
        );
        log.record(BYTES, Some(&PlexError::Status(500)), &mut effects);
        log.report_info(BYTES, "no bytes", &mut effects);
        assert_eq!(effects.log_lines.len(), 3);
    }

    #[test]
    fn only_an_outage_of_plex_covers_the_timeout_of_an_endpoint() {
        let timeout = || Some(PlexError::Timeout);
        let lines = lines(&[(LOAD, timeout()), (BYTES, timeout()), (PLEX, None)]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        let status = || Some(PlexError::Status(503));
        let lines = self::lines(&[(PLEX, status()), (BYTES, status()), (LOAD, timeout())]);
        assert_eq!(lines.len(), 2, "503 is no outage of the network: {lines:?}");
    }
}

//! Says what is wrong once per change, not once per request.

use std::collections::BTreeMap;

use log::Level;

use super::effects::Effects;
use crate::{logging::Sanitized, plex::error::PlexError};

/// What can be in trouble on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subsystem {
    /// Plex itself.
    Plex,
    /// Live sessions.
    Sessions,
    /// Titles' metadata.
    Titles,
    /// The list of libraries.
    Libraries,
    /// Item counts.
    Items,
    /// Host load and bytes sent.
    Statistics,
    /// Background activities.
    Activities,
    /// Notifications.
    Socket,
}

impl Subsystem {
    fn name(self) -> &'static str {
        match self {
            Self::Plex => "Plex",
            Self::Sessions => "live sessions (/status/sessions)",
            Self::Titles => "details of a title (/library/metadata)",
            Self::Libraries => "libraries (/media/providers)",
            Self::Items => "item counts (/library/sections)",
            Self::Statistics => "host load and bandwidth (/statistics)",
            Self::Activities => "activities (/activities)",
            Self::Socket => "notifications (WebSocket)",
        }
    }
}

/// The error_log there are.
#[derive(Debug, Default)]
pub struct ErrorLog {
    /// By subsystem, the reason that was last told.
    reported: BTreeMap<Subsystem, &'static str>,
}

impl ErrorLog {
    /// Notes how a request about `subsystem` went, and says so if that is news.
    pub fn record(
        &mut self,
        subsystem: Subsystem,
        error: Option<&PlexError>,
        effects: &mut Effects,
    ) {
        match error {
            None => {
                if self.reported.remove(&subsystem).is_some() {
                    effects.log(Level::Info, format!("{}: works again", subsystem.name()));
                }
            }
            Some(error) => {
                // Whichever request is the first to find Plex unreachable, it is so for all.
                let subsystem = if error.is_unreachable() {
                    Subsystem::Plex
                } else {
                    subsystem
                };
                let plex_is_told =
                    subsystem != Subsystem::Plex && self.reported.contains_key(&Subsystem::Plex);
                if plex_is_told
                    && matches!(error, PlexError::Timeout | PlexError::ConnectionLost(_))
                {
                    // Plex itself is in trouble, and that was said.
                    return;
                }
                if self.reported.insert(subsystem, error.reason()) != Some(error.reason()) {
                    let text = error.to_string();
                    effects.log(
                        Level::Warn,
                        format!("{}: {}", subsystem.name(), Sanitized(&text)),
                    );
                }
            }
        }
    }

    /// Says a remark about `subsystem` once, until [`Self::note`] hears that it works.
    pub fn report_info(
        &mut self,
        subsystem: Subsystem,
        what: &'static str,
        text: &str,
        effects: &mut Effects,
    ) {
        if self.reported.insert(subsystem, what) != Some(what) {
            effects.log(Level::Info, format!("{}: {text}", subsystem.name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_said_once() {
        let mut error_log = ErrorLog::default();
        let mut effects = Effects::default();
        let refused = PlexError::Connect("refused".into());
        for error in [
            None,
            Some(&refused),
            Some(&refused),
            Some(&PlexError::Unauthorized),
            None,
            None,
        ] {
            error_log.record(Subsystem::Plex, error, &mut effects);
        }
        let levels: Vec<_> = effects
            .messages
            .iter()
            .map(|message| message.level)
            .collect();
        assert_eq!(levels, [Level::Warn, Level::Warn, Level::Info]);
    }

    #[test]
    fn whoever_finds_plex_unreachable_says_it_for_all() {
        let mut error_log = ErrorLog::default();
        let mut effects = Effects::default();
        let refused = PlexError::Connect("refused".into());
        for subsystem in [
            Subsystem::Libraries,
            Subsystem::Socket,
            Subsystem::Plex,
            Subsystem::Statistics,
        ] {
            error_log.record(subsystem, Some(&refused), &mut effects);
        }
        error_log.record(Subsystem::Plex, None, &mut effects);
        let told: Vec<_> = effects
            .messages
            .iter()
            .map(|message| message.text.as_str())
            .collect();
        assert_eq!(told, ["Plex: refused", "Plex: works again"]);
    }

    #[test]
    fn while_plex_is_down_nothing_else_complains_of_it() {
        let mut error_log = ErrorLog::default();
        let mut effects = Effects::default();
        error_log.record(Subsystem::Plex, Some(&PlexError::Timeout), &mut effects);
        error_log.record(Subsystem::Sessions, Some(&PlexError::Timeout), &mut effects);
        error_log.record(
            Subsystem::Socket,
            Some(&PlexError::ConnectionLost(String::new())),
            &mut effects,
        );
        assert_eq!(effects.messages.len(), 1);
        error_log.record(
            Subsystem::Sessions,
            Some(&PlexError::Forbidden),
            &mut effects,
        );
        assert_eq!(effects.messages.len(), 2);
    }
}

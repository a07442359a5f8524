//! Says what is wrong once per change, not once per request.

use std::collections::BTreeMap;

use log::Level;

use super::effects::Effects;
use crate::{logging::Clean, plex::error::PlexError};

/// What can be in trouble on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
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

impl Area {
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

/// The troubles there are.
#[derive(Debug, Default)]
pub struct Troubles {
    /// By area, the reason that was last told.
    told: BTreeMap<Area, &'static str>,
}

impl Troubles {
    /// Notes how a request about `area` went, and says so if that is news.
    pub fn note(&mut self, area: Area, error: Option<&PlexError>, effects: &mut Effects) {
        match error {
            None => {
                if self.told.remove(&area).is_some() {
                    effects.say(Level::Info, format!("{}: works again", area.name()));
                }
            }
            Some(error) => {
                // Whichever request is the first to find Plex unreachable, it is so for all.
                let area = if error.is_unreachable() {
                    Area::Plex
                } else {
                    area
                };
                let plex_is_told = area != Area::Plex && self.told.contains_key(&Area::Plex);
                if plex_is_told && matches!(error, PlexError::Timeout | PlexError::Broken(_)) {
                    // Plex itself is in trouble, and that was said.
                    return;
                }
                if self.told.insert(area, error.reason()) != Some(error.reason()) {
                    let text = error.to_string();
                    effects.say(Level::Warn, format!("{}: {}", area.name(), Clean(&text)));
                }
            }
        }
    }

    /// Says a remark about `area` once, until [`Self::note`] hears that it works.
    pub fn remark(&mut self, area: Area, what: &'static str, text: &str, effects: &mut Effects) {
        if self.told.insert(area, what) != Some(what) {
            effects.say(Level::Info, format!("{}: {text}", area.name()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_said_once() {
        let mut troubles = Troubles::default();
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
            troubles.note(Area::Plex, error, &mut effects);
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
        let mut troubles = Troubles::default();
        let mut effects = Effects::default();
        let refused = PlexError::Connect("refused".into());
        for area in [Area::Libraries, Area::Socket, Area::Plex, Area::Statistics] {
            troubles.note(area, Some(&refused), &mut effects);
        }
        troubles.note(Area::Plex, None, &mut effects);
        let told: Vec<_> = effects
            .messages
            .iter()
            .map(|message| message.text.as_str())
            .collect();
        assert_eq!(told, ["Plex: refused", "Plex: works again"]);
    }

    #[test]
    fn while_plex_is_down_nothing_else_complains_of_it() {
        let mut troubles = Troubles::default();
        let mut effects = Effects::default();
        troubles.note(Area::Plex, Some(&PlexError::Timeout), &mut effects);
        troubles.note(Area::Sessions, Some(&PlexError::Timeout), &mut effects);
        troubles.note(
            Area::Socket,
            Some(&PlexError::Broken(String::new())),
            &mut effects,
        );
        assert_eq!(effects.messages.len(), 1);
        troubles.note(Area::Sessions, Some(&PlexError::Forbidden), &mut effects);
        assert_eq!(effects.messages.len(), 2);
    }
}

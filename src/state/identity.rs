//! What tells one play from another.

use super::sanitize::truncate;
use crate::plex::wire::Session;

/// What tells one play from another under the same `sessionKey`, which Plex hands out again after
/// a restart, and keeps for the next episode. Empty parts are unknown and decide nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    item: Box<str>,
    user: Box<str>,
    player: Box<str>,
    /// `Session.id`: random per playback, or the player's own id, depending on the client.
    info: Box<str>,
}

impl Identity {
    /// The identity of a listed session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let user = session.user.get();
        let player = session.player.get();
        let text = |text: Option<&str>| Box::from(truncate(text.unwrap_or_default()));
        // The number of live TV may come later than its key, so the key decides where it is one of
        // a live session.
        let live = session.key.get().filter(|key| key.starts_with("/livetv/"));
        Self {
            item: text(
                live.or(session.rating_key.get())
                    .or(session.key.get())
                    .or(session.title.get()),
            ),
            user: text(user.and_then(|user| user.id.get().or(user.title.get()))),
            player: text(player.and_then(|player| player.machine_identifier.get())),
            info: text(session.session.get().and_then(|info| info.id.get())),
        }
    }

    /// Whether the other is certainly another item, user or player.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        differ(&self.item, &other.item)
            || differ(&self.user, &other.user)
            || differ(&self.player, &other.player)
    }

    /// Whether both have the same `Session.id`.
    #[must_use]
    pub fn same_info(&self, other: &Self) -> bool {
        !self.info.is_empty() && self.info == other.info
    }

    /// `Session.id`, empty where Plex does not tell.
    #[must_use]
    pub fn info(&self) -> &str {
        &self.info
    }
}

fn differ(one: &str, other: &str) -> bool {
    !one.is_empty() && !other.is_empty() && one != other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(json: &str) -> Identity {
        Identity::of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn unknown_parts_decide_nothing() {
        let full = identity(
            r#"{"ratingKey":"7","User":{"id":"1"},"Player":{"machineIdentifier":"m"},"Session":{"id":"s"}}"#,
        );
        assert!(!full.differs(&identity(r#"{"ratingKey":7}"#)));
        assert!(full.differs(&identity(r#"{"ratingKey":"8"}"#)));
        assert!(full.differs(&identity(r#"{"ratingKey":"7","User":{"id":2}}"#)));
        assert!(full.same_info(&identity(r#"{"Session":{"id":"s"}}"#)));
        assert!(!identity("{}").same_info(&identity("{}")));
    }

    #[test]
    fn live_tv_stays_the_same_item_when_its_number_comes_later() {
        let before = identity(r#"{"key":"/livetv/sessions/abc","title":"News"}"#);
        let after = identity(r#"{"key":"/livetv/sessions/abc","ratingKey":"99"}"#);
        assert!(!before.differs(&after));
    }
}

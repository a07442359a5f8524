//! What tells one play from another.

use crate::plex::wire::Session;

/// What tells one play from another under the same `sessionKey`, which Plex hands out again after
/// a restart, and keeps for the next episode. Empty parts are unknown and tell nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    item: Box<str>,
    user: Box<str>,
    player: Box<str>,
    link: Box<str>,
    playback: Box<str>,
}

impl Identity {
    /// The identity of a listed session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let user = session.user.get();
        let player = session.player.get();
        let text = |text: Option<&str>| Box::from(text.unwrap_or_default());
        Self {
            item: text(
                session
                    .rating_key
                    .get()
                    .or(session.key.get())
                    .or(session.title.get()),
            ),
            user: text(user.and_then(|user| user.id.get().or(user.title.get()))),
            player: text(player.and_then(|player| player.machine_identifier.get())),
            link: text(session.session.get().and_then(|link| link.id.get())),
            playback: text(player.and_then(|player| player.playback_session_id.get())),
        }
    }

    /// Whether the other is certainly another item, user or player.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        differ(&self.item, &other.item)
            || differ(&self.user, &other.user)
            || differ(&self.player, &other.player)
    }

    /// Whether the other is certainly another run of the same: ids that are new with every run, but
    /// may change for other reasons as well.
    #[must_use]
    pub fn differs_in_run(&self, other: &Self) -> bool {
        differ(&self.link, &other.link) || differ(&self.playback, &other.playback)
    }
}

fn differ(one: &str, other: &str) -> bool {
    !one.is_empty() && !other.is_empty() && one != other
}

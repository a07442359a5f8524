//! The identity of a play.

use super::texts::Texts;
use crate::plex::{id::Id, wire::Session};

/// What distinguishes a play from others under the same `sessionKey`, which Plex reassigns after a
/// restart, and keeps for the next episode. Empty parts are unknown and are not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity(Texts<6>);

/// The parts of an [`Identity`].
struct Parts<'a> {
    rating_key: &'a str,
    key: &'a str,
    title: &'a str,
    user: &'a str,
    player: &'a str,
    /// `Session.id`: random per playback, or the player's own id, depending on the client.
    info: &'a str,
}

impl Identity {
    /// The identity of a listed session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let user = session.user.get();
        let player = session.player.get();
        let parts = [
            session.rating_key.get(),
            session.key.get(),
            session.title.get(),
            user.and_then(|user| user.id.get().or(user.title.get())),
            player.and_then(|player| player.machine_identifier.get()),
            session.session.get().and_then(|info| info.id.get()),
        ];
        Self(Texts::of(parts.map(Option::unwrap_or_default)))
    }

    fn parts(&self) -> Parts<'_> {
        let [rating_key, key, title, user, player, info] = self.0.all();
        Parts {
            rating_key,
            key,
            title,
            user,
            player,
            info,
        }
    }

    /// Whether the other is certainly another item, user or player.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        let (own, other) = (self.parts(), other.parts());
        own.is_other_item(&other)
            || differ(own.user, other.user)
            || differ(own.player, other.player)
    }

    /// Whether both have the same `Session.id`.
    #[must_use]
    pub fn same_info(&self, other: &Self) -> bool {
        !self.info().is_empty() && self.info() == other.info()
    }

    /// Whether both have a `Session.id` of their own.
    #[must_use]
    pub fn other_info(&self, other: &Self) -> bool {
        differ(self.info(), other.info())
    }

    /// `Session.id`, empty where Plex omits it.
    #[must_use]
    pub fn info(&self) -> &str {
        self.parts().info
    }
}

impl Parts<'_> {
    fn is_live_tv(&self) -> bool {
        self.key.starts_with("/livetv/")
    }

    fn is_other_item(&self, other: &Self) -> bool {
        let same_kind = self.is_live_tv() == other.is_live_tv();
        if self.is_live_tv() && same_kind {
            // The rating key of a programme appears later than the key of its channel, as a URI or
            // as a number, and one of each says nothing.
            let same_form =
                Id::parse(self.rating_key).is_some() == Id::parse(other.rating_key).is_some();
            return self.key != other.key
                || (same_form && differ(self.rating_key, other.rating_key));
        }
        let numbered = !self.rating_key.is_empty() && !other.rating_key.is_empty();
        let keyed = !self.key.is_empty() && !other.key.is_empty();
        if numbered {
            self.rating_key != other.rating_key
        } else if keyed && same_kind {
            self.key != other.key
        } else if keyed {
            // A recording in progress may be listed under both kinds of keys.
            differ(self.title, other.title)
        } else {
            let named = self.rating_key.is_empty() && other.rating_key.is_empty();
            named && differ(self.title, other.title)
        }
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
    fn unknown_parts_are_not_compared() {
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
        let named = identity(r#"{"key":"/livetv/sessions/abc","ratingKey":"com.gracenote://7"}"#);
        assert!(!named.differs(&after) && !after.differs(&named));
        assert!(after.differs(&identity(
            r#"{"key":"/livetv/sessions/def","ratingKey":"99"}"#
        )));
        let before = identity(r#"{"title":"News","live":1}"#);
        assert!(!before.differs(&identity(r#"{"title":"News","ratingKey":"99","key":"/x"}"#)));
    }

    #[test]
    fn the_next_programme_of_a_channel_is_another_item() {
        let programme = |number: &str| {
            identity(&format!(
                r#"{{"key":"/livetv/sessions/abc","ratingKey":"{number}"}}"#
            ))
        };
        assert!(programme("99").differs(&programme("100")));
        assert!(programme("com.gracenote://7").differs(&programme("com.gracenote://8")));
    }

    #[test]
    fn live_tv_differs_from_the_film_that_had_its_session_key_before() {
        let film = identity(r#"{"ratingKey":"7","key":"/library/metadata/7","title":"Film"}"#);
        let live = identity(r#"{"key":"/livetv/sessions/abc","title":"News"}"#);
        assert!(film.differs(&live) && live.differs(&film));
    }

    #[test]
    fn an_item_is_told_by_its_number_and_without_one_by_its_key_or_title() {
        let differs = |one, other| identity(one).differs(&identity(other));
        let numbered = r#"{"ratingKey":"7","key":"/a","title":"A"}"#;
        assert!(!differs(
            numbered,
            r#"{"ratingKey":"7","key":"/b","title":"B"}"#
        ));
        assert!(!differs(r#"{"key":"/a","title":"A"}"#, numbered));
        assert!(differs(r#"{"key":"/b","title":"A"}"#, numbered));
        assert!(differs(r#"{"key":"/b"}"#, r#"{"key":"/a"}"#));
        assert!(!differs(
            r#"{"key":"/a","title":"B"}"#,
            r#"{"key":"/a","title":"A"}"#
        ));
        assert!(differs(r#"{"title":"A"}"#, r#"{"title":"B"}"#));
        // One has a number, the other a title: nothing can be compared.
        assert!(!differs(
            r#"{"ratingKey":"7","title":"A"}"#,
            r#"{"title":"B"}"#
        ));
    }
}

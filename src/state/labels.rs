//! The label values of a play, derived from `/status/sessions`.

use super::{
    classify,
    sanitize::{normalize_resolution, normalize_token},
    texts::Texts,
};
use crate::{config::HiddenLabels, plex::wire::Session};

/// `library`, `library_id` and `library_type` of items in no known library.
pub const UNKNOWN_LIBRARY: [&str; 3] = ["unknown", "0", "unknown"];

/// The label values of a play that follow from its session.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "labels, not a state machine")]
pub struct LabelValues {
    pub media_type: Box<str>,
    pub title: Box<str>,
    pub child_title: Box<str>,
    pub grandchild_title: Box<str>,
    pub stream_type: Box<str>,
    pub stream_resolution: Box<str>,
    pub device: Box<str>,
    pub device_type: Box<str>,
    pub user: Box<str>,
    pub transcode_type: &'static str,
    pub subtitle_action: Box<str>,
    pub location: Box<str>,
    pub local: bool,
    pub player: Box<str>,
    pub relayed: bool,
    pub secure: bool,
    pub live: bool,
}

impl LabelValues {
    /// The label values of a listed session, except those that depend on its transcode
    /// (`stream_type`, `transcode_type`, `subtitle_action`), because notifications change
    /// transcodes too.
    #[must_use]
    pub fn of(session: &Session, hide: HiddenLabels) -> Self {
        let player = session.player.get();
        let reported = session.session.get().and_then(|info| info.location.get());
        let local = player.and_then(|player| player.local.get());
        let location = classify::location(reported, local);
        let [title, child_title, grandchild_title] = titles(session);
        let user = session.user.get().map_or("", |user| user.title.or_empty());
        let device = player.map_or("", |player| player.device.or_empty());
        let shown = |hidden: bool, text: &str| Box::from(if hidden { "hidden" } else { text });
        Self {
            media_type: match session.kind.get().map(normalize_token) {
                Some(kind) if !kind.is_empty() => kind.into(),
                _ => "unknown".into(),
            },
            title: shown(hide.title, title),
            child_title: shown(hide.title, child_title),
            grandchild_title: shown(hide.title, grandchild_title),
            stream_resolution: session
                .media
                .get()
                .map(|media| normalize_resolution(media.video_resolution.or_empty()).into())
                .unwrap_or_default(),
            device: shown(hide.device, device),
            device_type: player.map_or("", |player| player.product.or_empty()).into(),
            user: shown(hide.user, user),
            player: shown(
                hide.device,
                player.map_or("", |player| player.title.or_empty()),
            ),
            relayed: player.is_some_and(|player| player.relayed.is_true()),
            secure: player.is_some_and(|player| player.secure.is_true()),
            live: session.live.is_true(),
            local: local.unwrap_or(location == "lan"),
            location: location.into(),
            ..Self::default()
        }
    }
}

/// The encoded label sets of a play.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedLabels {
    /// `session`, `user`, `location`, each with what separates it from the one before.
    pub(super) network: Texts<3>,
    /// Of `plex_session_info`.
    pub info: Box<str>,
    /// Of `plex_session_media_info`, once the file is known or known to stay unknown.
    pub media: Option<Box<str>>,
    /// Of `plex_transcode_cause`.
    pub causes: Vec<Box<str>>,
    /// Of `plex_transcode_session_info`, for a play that has a transcode.
    pub transcode: Option<Box<str>>,
}

impl EncodedLabels {
    /// `session`, `user`, `location`.
    #[must_use]
    pub fn network(&self) -> &str {
        self.network.until(2)
    }

    /// `session`, `user`.
    #[must_use]
    pub fn viewer(&self) -> &str {
        self.network.until(1)
    }

    /// `session`.
    #[must_use]
    pub fn session(&self) -> &str {
        self.network.until(0)
    }
}

/// `title`, `child_title`, `grandchild_title`: show, season, episode; artist, album, track;
/// otherwise the title alone. An episode of no known show (live TV) has its title alone, too.
fn titles(session: &Session) -> [&str; 3] {
    let nested = matches!(session.kind.get(), Some("episode" | "track"))
        && (session.grandparent_title.get().is_some() || session.parent_title.get().is_some());
    if nested {
        [
            session.grandparent_title.or_empty(),
            session.parent_title.or_empty(),
            session.title.or_empty(),
        ]
    } else {
        [session.title.or_empty(), "", ""]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_comes_from_its_own_field() {
        let session = |player: &str| -> Session {
            serde_json::from_str(&format!(
                r#"{{"type":"Episode","title":"Pilot","parentTitle":"Season 1","live":"1",
                "grandparentTitle":"Show","User":{{"title":"alice"}},"Player":{{{player}}},
                "Session":{{"location":"cellular"}},"Media":[{{"videoResolution":"720p"}}]}}"#
            ))
            .unwrap()
        };
        let all = r#""title":"Kitchen","device":"TV","product":"Plex","#;
        let shown = HiddenLabels::default();
        for (field, flags) in [
            ("local", [true, false, false]),
            ("relayed", [false, true, false]),
            ("secure", [false, false, true]),
        ] {
            let labels = LabelValues::of(&session(&format!(r#"{all}"{field}":true"#)), shown);
            assert_eq!(
                [labels.local, labels.relayed, labels.secure],
                flags,
                "{field}"
            );
            assert!(labels.live);
            assert_eq!(
                [
                    &*labels.media_type,
                    &labels.user,
                    &labels.player,
                    &labels.device,
                    &labels.device_type,
                    &labels.location,
                    &labels.stream_resolution,
                ],
                [
                    "episode", "alice", "Kitchen", "TV", "Plex", "cellular", "720"
                ]
            );
        }
        let hide = HiddenLabels {
            user: true,
            title: true,
            device: true,
        };
        let hidden = LabelValues::of(&session(&all[..all.len() - 1]), hide);
        for value in [&hidden.title, &hidden.user, &hidden.player, &hidden.device] {
            assert_eq!(&**value, "hidden");
        }
        assert_eq!(&*hidden.device_type, "Plex", "the program is not hidden");
    }
}

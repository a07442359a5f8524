//! What `/` says about the server itself.

use super::classify::is;
use crate::plex::{lenient::Text, wire};

/// The server, as `/` describes it.
#[derive(Debug, Default, PartialEq)]
pub struct Server {
    pub name: String,
    pub id: String,
    pub version: String,
    pub platform: String,
    pub platform_version: String,
    pub plex_pass: bool,
    /// Whether plex.tv can reach the server from outside, where Plex reports it.
    pub remote_access: Option<bool>,
    /// Whether it is signed in to plex.tv, where Plex reports it.
    pub signed_in: Option<bool>,
}

impl Server {
    /// Takes the values from a response of `/`.
    #[must_use]
    pub fn of(server: &wire::Server) -> Self {
        let text = |text: &Text| text.or_empty().to_owned();
        let is_state = |text: &Text, state: &str| text.get().map(|text| is(Some(text), state));
        Self {
            name: text(&server.friendly_name),
            id: text(&server.machine_identifier),
            version: text(&server.version),
            platform: text(&server.platform),
            platform_version: text(&server.platform_version),
            plex_pass: server.my_plex_subscription.is_true(),
            remote_access: is_state(&server.my_plex_mapping_state, "mapped"),
            signed_in: is_state(&server.my_plex_signin_state, "ok"),
        }
    }
}

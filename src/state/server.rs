//! What `/` says about the server itself.

use std::time::{Duration, Instant};

use super::classify::is;
use crate::plex::{lenient::Text, wire};

/// Another server is asked for everything at once this many times …
const PROMPT_TURNS: u32 = 3;
/// … and then ever later, from twice this time …
const TURN_PAUSE: Duration = Duration::from_secs(15);
/// … to this. A server that has responded for as long does not take turns.
const LONGEST_TURN_PAUSE: Duration = Duration::from_mins(10);

/// How often in a row another server responded. Behind one address, several may take turns.
#[derive(Debug, Default)]
pub struct Turns {
    count: u32,
    last: Option<Instant>,
}

impl Turns {
    /// Another server responds at `now`: after which pause it is asked for everything.
    pub fn taken(&mut self, now: Instant) -> Duration {
        let last = self.last.replace(now);
        if last.is_none_or(|last| now >= last + LONGEST_TURN_PAUSE) {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        match self.count.checked_sub(PROMPT_TURNS) {
            None | Some(0) => Duration::ZERO,
            Some(late) => (TURN_PAUSE * (1 << late.min(8))).min(LONGEST_TURN_PAUSE),
        }
    }

    /// Whether several servers respond in turns.
    #[must_use]
    pub fn are_taken(&self) -> bool {
        self.count > PROMPT_TURNS
    }

    /// What there is to say about the last one, if anything.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        match self.count {
            ..=PROMPT_TURNS => Some(
                "Plex: another server responds now (its machine identifier differs); all metrics \
                 start anew under its server_id",
            ),
            count if count == PROMPT_TURNS + 1 => Some(
                "Plex: several servers respond in turns, so most metrics are absent; let \
                 PLEX_SERVER name one of them",
            ),
            _ => None,
        }
    }
}

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

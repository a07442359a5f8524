//! Text that is repeated for every session and library.

use crate::{
    plex::wire::escaped,
    state::{libraries::Libraries, server::Server},
};

/// The names of the server and of libraries, which are repeated for every session and every library: what
/// of [`MAX_WEIGHT`](crate::plex::wire::MAX_WEIGHT) they take.
#[derive(Debug, Clone, Copy)]
pub struct RepeatedText {
    pub(super) per_session: usize,
    pub(super) libraries: usize,
}

impl RepeatedText {
    /// Names of this length have no weight.
    const USUAL: usize = 100;

    /// `server` is in every sample, and the longest of `libraries` may be that of every session.
    #[must_use]
    pub fn of(server: Option<&Server>, libraries: &Libraries) -> Self {
        let server = server.map_or(0, |server| escaped(&server.name) + escaped(&server.id));
        let titles = libraries.iter().map(|(_, library)| escaped(&library.title));
        let names = server + titles.max().unwrap_or(0);
        Self {
            // Seven to twelve samples of a session.
            per_session: names.saturating_sub(Self::USUAL) / 2,
            // Eight samples of a library.
            libraries: libraries.iter().len() * names / 3,
        }
    }
}

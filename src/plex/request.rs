//! Requests to Plex, and their responses.

use super::{id::Id, wire};

/// The kinds of request, for the exporter's own metrics: templates, so that ids make no series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// The server itself.
    Server,
    /// The libraries.
    Providers,
    /// The live sessions.
    Sessions,
    /// One library item.
    Metadata,
    /// The items of a library.
    Items,
    /// Host load.
    Resources,
    /// Bytes sent.
    Bandwidth,
    /// Background activities.
    Activities,
    /// Who may use the server.
    Accounts,
    /// Updates of the server.
    Updater,
    /// The notification socket.
    Notifications,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Server,
        Self::Providers,
        Self::Sessions,
        Self::Metadata,
        Self::Items,
        Self::Resources,
        Self::Bandwidth,
        Self::Activities,
        Self::Accounts,
        Self::Updater,
        Self::Notifications,
    ];

    /// The path with `{id}` in place of numbers.
    #[must_use]
    pub fn template(self) -> &'static str {
        match self {
            Self::Server => "/",
            Self::Providers => "/media/providers",
            Self::Sessions => "/status/sessions",
            Self::Metadata => "/library/metadata/{id}",
            Self::Items => "/library/sections/{id}/all",
            Self::Resources => "/statistics/resources",
            Self::Bandwidth => "/statistics/bandwidth",
            Self::Activities => "/activities",
            Self::Accounts => "/accounts",
            Self::Updater => "/updater/status",
            Self::Notifications => "/:/websockets/notifications",
        }
    }
}

/// Which items of a library to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemsQuery {
    /// The library.
    pub library: Id,
    /// Plex's metadata type (4 episode, 7 and 10 track); all of the section's own without one.
    pub metadata_type: Option<u8>,
}

/// One request to Plex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlexRequest {
    /// `/`
    Server,
    /// `/media/providers?includeStorage=1`
    Providers,
    /// `/status/sessions`
    Sessions,
    /// `/library/metadata/{id}`
    Metadata(Id),
    /// `/library/sections/{id}/all`
    Items(ItemsQuery),
    /// `/statistics/resources?timespan=6`
    Resources,
    /// `/statistics/bandwidth?timespan=6`
    Bandwidth,
    /// `/activities`
    Activities,
    /// `/accounts`
    Accounts,
    /// `/updater/status`
    Updater,
}

impl PlexRequest {
    /// Its kind.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Self::Server => Endpoint::Server,
            Self::Providers => Endpoint::Providers,
            Self::Sessions => Endpoint::Sessions,
            Self::Metadata(_) => Endpoint::Metadata,
            Self::Items(_) => Endpoint::Items,
            Self::Resources => Endpoint::Resources,
            Self::Bandwidth => Endpoint::Bandwidth,
            Self::Activities => Endpoint::Activities,
            Self::Accounts => Endpoint::Accounts,
            Self::Updater => Endpoint::Updater,
        }
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            // timespan 6 is the live window, about two minutes of seconds; without it Plex ≥ Dec
            // 2024 responds with nothing.
            Self::Resources => "/statistics/resources?timespan=6".to_owned(),
            Self::Bandwidth => "/statistics/bandwidth?timespan=6".to_owned(),
            // Durations and sizes are in the response only on request.
            Self::Providers => "/media/providers?includeStorage=1".to_owned(),
            Self::Metadata(id) => format!("/library/metadata/{id}"),
            Self::Items(query) => {
                let kind = match query.metadata_type {
                    Some(kind) => format!("type={kind}&"),
                    None => String::new(),
                };
                format!(
                    "/library/sections/{}/all?{kind}sort=addedAt:desc\
                     &X-Plex-Container-Start=0&X-Plex-Container-Size=1",
                    query.library
                )
            }
            Self::Server | Self::Sessions | Self::Activities | Self::Accounts | Self::Updater => {
                self.endpoint().template().to_owned()
            }
        }
    }

    /// Headers of this request alone. Some servers honour paging only in the query, some only here.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Items(_) => vec![
                ("X-Plex-Container-Start", "0".to_owned()),
                ("X-Plex-Container-Size", "1".to_owned()),
            ],
            _ => Vec::new(),
        }
    }
}

/// A decoded response; the variants are those of [`PlexRequest`].
#[derive(Debug)]
#[expect(missing_docs, reason = "as in PlexRequest")]
pub enum PlexResponse {
    Server(wire::Server),
    Providers(wire::Providers),
    Sessions(wire::Sessions),
    Metadata(wire::Metadata),
    Items(wire::Items),
    Resources(wire::Resources),
    Bandwidth(wire::Bandwidth),
    Activities(wire::Activities),
    Accounts(wire::Accounts),
    Updater(wire::Updater),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paging_is_in_query_and_headers() {
        let request = PlexRequest::Items(ItemsQuery {
            library: Id::parse("2").unwrap(),
            metadata_type: Some(4),
        });
        assert_eq!(
            request.path(),
            "/library/sections/2/all?type=4&sort=addedAt:desc\
             &X-Plex-Container-Start=0&X-Plex-Container-Size=1"
        );
        assert_eq!(request.headers().len(), 2);
    }
}

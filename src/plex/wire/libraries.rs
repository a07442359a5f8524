//! Libraries, their items, and the metadata of an item.

use serde::Deserialize;

use super::media::Media;
use crate::plex::{
    id::Id,
    lenient::{Flag, LenientVec, Number, Selectable, Selected, Text, streamed},
};

/// `/media/providers?includeStorage=1`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Providers {
    /// Of the local library, live TV and online services: the local library.
    #[serde(rename = "MediaProvider", deserialize_with = "streamed")]
    pub own: Selected<Provider>,
    /// Present only while the server starts.
    #[serde(rename = "startState")]
    pub start_state: Text,
}

impl Providers {
    /// The libraries of Plex's own provider. `None` when the response does not tell: a server that is
    /// starting lists nothing, and that does not mean that everything was deleted.
    #[must_use]
    pub fn libraries(&self) -> Option<Vec<(Id, &Directory)>> {
        const KINDS: [&str; 5] = ["movie", "show", "artist", "photo", "homevideo"];
        let libraries: Vec<_> = self
            .content()
            .into_iter()
            .flat_map(|content| content.directories.as_slice())
            .filter(|directory| KINDS.iter().any(|kind| directory.kind.is(kind)))
            .filter_map(|directory| Some((Id::parse(directory.id.get()?)?, directory)))
            .collect();
        let starting = self.start_state.get().is_some();
        (!starting || !libraries.is_empty()).then_some(libraries)
    }

    /// What Plex's own provider lists.
    #[must_use]
    pub fn content(&self) -> Option<&Feature> {
        let own = self.own.get().filter(|provider| provider.is_selected())?;
        own.content.get().filter(|feature| feature.is_selected())
    }
}

/// One media provider.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// `com.plexapp.plugins.library` is the local library.
    pub identifier: Text,
    /// Of what it offers: its content.
    #[serde(rename = "Feature")]
    pub content: Selected<Feature>,
}

impl Selectable for Provider {
    fn is_selected(&self) -> bool {
        self.identifier.is("com.plexapp.plugins.library")
    }
}

/// One feature of a provider.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// `content` lists the libraries.
    #[serde(rename = "type")]
    pub kind: Text,
    /// Libraries, and other entries such as Home and Playlists.
    #[serde(rename = "Directory")]
    pub directories: LenientVec<Directory, 4_000>,
}

impl Selectable for Feature {
    fn is_selected(&self) -> bool {
        self.kind.is("content")
    }
}

/// One entry of the `content` feature.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Directory {
    /// A number for libraries; `playlists` or absent for other entries.
    pub id: Text,
    /// `movie`, `show`, `artist`, `photo`, `homevideo` are libraries.
    #[serde(rename = "type")]
    pub kind: Text,
    /// The library's name.
    pub title: Text,
    /// Milliseconds of everything in it; only with `includeStorage=1`.
    pub duration_total: Number,
    /// Bytes of everything in it; only with `includeStorage=1`.
    pub storage_total: Number,
    /// When it was last scanned.
    pub scanned_at: Number,
    /// When it last changed.
    pub updated_at: Number,
    /// Whether it is being scanned.
    pub refreshing: Flag,
}

/// `/library/sections/{id}/all` with paging, sorted: the count and the newest item.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Items {
    /// Elements in this response.
    pub size: Number,
    /// Elements in the section; only when paging was understood.
    pub total_size: Number,
    /// The newest item.
    #[serde(rename = "Metadata", deserialize_with = "streamed")]
    pub newest: LenientVec<NewestItem, 1>,
}

impl Items {
    /// How many items the section has. `size` counts those of this page, which are all of them where
    /// Plex does not understand paging.
    #[must_use]
    pub fn count(&self) -> Option<f64> {
        /// No server has as many.
        const ABSURD: f64 = 1e12;
        let count = self.total_size.get().or(self.size.get());
        count.filter(|count| (0.0..ABSURD).contains(count))
    }
}

/// An item of a section.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NewestItem {
    /// When it was added.
    pub added_at: Number,
}

/// `/library/metadata/{id}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// The section of all of them; absent for what is in none.
    #[serde(rename = "librarySectionID")]
    pub library_section_id: Text,
    /// One item for one id.
    #[serde(rename = "Metadata", deserialize_with = "streamed")]
    pub items: LenientVec<Item, 1>,
}

/// One library item.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Item {
    /// The section's number.
    #[serde(rename = "librarySectionID")]
    pub library_section_id: Text,
    /// Its versions, as they are on disk.
    #[serde(rename = "Media")]
    pub media: LenientVec<Media, 32>,
}

//! What the other threads tell the owner.

use std::time::Instant;

use crate::plex::{
    error::PlexError,
    notification::Notification,
    request::{PlexRequest, PlexResponse},
};

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A fetch that the state asked for is over.
    Completed(Completed),
    /// The notification socket stands.
    SocketUp,
    /// The notification socket fell, or could not be opened.
    SocketDown(PlexError),
    /// Plex sent a frame.
    Notification(Notification),
}

/// The end of a fetch.
#[derive(Debug)]
pub struct Completed {
    /// What was asked.
    pub fetch: PlexRequest,
    /// When the request was sent. What Plex says is true for a moment after this.
    pub started: Instant,
    /// Requests that were sent.
    pub requests: u8,
    /// The answer, or why there is none.
    pub result: Result<PlexResponse, PlexError>,
}

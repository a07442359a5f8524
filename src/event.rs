//! What the other threads report to the event loop.

use std::time::Instant;

use crate::plex::{
    error::PlexError,
    notification::Notification,
    request::{PlexRequest, PlexResponse},
};

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// A request that the state asked for is over.
    Completed(Completed),
    /// The notification socket is connected.
    SocketUp,
    /// The notification socket was lost, or could not be opened.
    SocketDown(PlexError),
    /// Plex sent a frame.
    Notification(Notification),
}

/// The end of a request.
#[derive(Debug)]
pub struct Completed {
    /// What was requested.
    pub request: PlexRequest,
    /// When it was sent. What Plex says is true for a moment after this.
    pub started: Instant,
    /// HTTP requests that were sent for it.
    pub requests: u8,
    /// The response, or why there is none.
    pub result: Result<PlexResponse, PlexError>,
}

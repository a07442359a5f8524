//! What the other threads report to the event loop.

use std::time::Instant;

use crate::{
    cpu_budget::Account,
    plex::{
        error::PlexError,
        large_body::Permit,
        notification::Notification,
        request::{PlexRequest, PlexResponse},
    },
};

/// An event on its way to the event loop.
#[derive(Debug)]
pub struct Delivery {
    /// What happened.
    pub event: Event,
    /// The permit for a large response, dropped once it was applied.
    pub permit: Option<Permit>,
    /// What applying it takes is charged to the thread that sends it.
    pub account: Account,
}

/// An event.
#[derive(Debug)]
pub enum Event {
    /// A request of the state has completed.
    Completed(Completed),
    /// The notification socket is connected.
    SocketUp,
    /// The notification socket was lost, or could not be opened.
    SocketDown(PlexError),
    /// Plex sent a frame.
    Notification(Notification),
}

/// A completed request.
#[derive(Debug)]
pub struct Completed {
    /// The request.
    pub request: PlexRequest,
    /// When it was sent: the response describes a moment after this.
    pub started: Instant,
    /// HTTP requests that were sent for it.
    pub requests: u8,
    /// The response, or why there is none.
    pub result: Result<PlexResponse, PlexError>,
}

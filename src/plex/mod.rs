//! Plex Media Server on the wire: requests, responses, notifications, and how they are decoded.
//!
//! Nothing in here knows metrics or holds state.

mod bounded_json;
pub mod clean_json;
pub mod client;
pub mod error;
pub mod id;
pub mod large_body;
pub mod lenient;
pub mod notification;
pub mod request;
pub mod socket;
mod transport;
pub mod wire;

//! Plex Media Server on the wire: what is asked, how it is asked, and how answers are decoded.
//!
//! Nothing in here knows metrics or keeps state.

mod clean_json;
pub mod client;
pub mod error;
pub mod lenient;
pub mod notification;
pub mod request;
pub mod socket;
mod transport;
pub mod wire;

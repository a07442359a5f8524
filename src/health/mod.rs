//! Health: the marker that a running exporter holds, and the probe that looks for it.

mod marker;
mod probe;

pub use marker::Marker;
pub use probe::{PLEX_RESPONDED, Unhealthy, probe};

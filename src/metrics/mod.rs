//! The exposition: what the metrics are called, how samples become text, and the standard process
//! metrics. Nothing in here knows the state.

pub mod catalogue;
mod histogram;
pub mod process;
mod text;

pub use histogram::Histogram;
pub use text::{TextWriter, encode_labels};

//! The exposition: what the metrics are called, how samples become text, and the standard process
//! metrics. Nothing in here knows the state.

pub mod catalogue;
mod encode;
mod histogram;
pub mod process;
mod text;

pub use encode::encode_labels;
pub use histogram::Histogram;
pub use text::TextWriter;

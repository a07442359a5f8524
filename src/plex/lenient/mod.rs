//! Decoding that survives Plex's type drift.
//!
//! The same field is a string in one response, a number in the next and absent in a third (see the
//! tests). So no scalar ever fails to decode: what is invalid counts as absent. And every element
//! of a list is decoded from its own slice of the text, so that an invalid one costs only itself.

mod list;
mod scalar;

pub(super) use list::{Elements, streamed};
pub use list::{LenientVec, MaybeObject, Raw, Selectable, Selected};
pub use scalar::{Flag, Number, Text, truncate};

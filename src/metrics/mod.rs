//! The metrics: their table, the text of their labels, and a scrape as a function of the state.

mod catalogue;
pub mod labels;
pub mod process;
mod render;
mod text;

pub use catalogue::{CATALOGUE, Desc, Kind};
pub use render::render;

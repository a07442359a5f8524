//! What this binary was built from.

/// The version in Cargo.toml.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The git revision, or `unknown` for a build outside a checkout.
pub const REVISION: &str = env!("PLEX_EXPORTER_REVISION");
/// The compiler's version.
pub const RUST_VERSION: &str = env!("PLEX_EXPORTER_RUSTVERSION");

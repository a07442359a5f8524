//! Random numbers, where any will do.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// A random number; the standard library seeds its hashers with the system's. Not for secrets.
#[must_use]
pub fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}

//! Random numbers for jitter, not for secrets.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// A random number; the standard library seeds its hashers from the OS.
#[must_use]
pub fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}

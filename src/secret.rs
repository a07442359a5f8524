//! The Plex token, and the only type that holds it.

use std::fmt;

/// A token that cannot be printed by accident: `Debug` is redacted and there is no `Display`.
///
/// Invariant: the value is one or more visible ASCII characters, so it can stand in a header.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a token, or says what is wrong with it without repeating it.
    ///
    /// # Errors
    /// When the value is empty or holds anything but visible ASCII.
    pub fn new(value: String) -> Result<Self, &'static str> {
        if value.is_empty() {
            Err("is empty")
        } else if value.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(value))
        } else {
            Err("holds white space or characters that no Plex token has")
        }
    }

    /// The token itself. Only the two places that write it into a request header call this.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_token() {
        let secret = Secret::new("sT0ken-123".into()).unwrap();
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "[redacted] Some([redacted])"
        );
    }

    #[test]
    fn a_token_that_would_break_a_header_is_refused() {
        for bad in ["", "a b", "a\r\nX: y", "tök"] {
            assert!(Secret::new(bad.into()).is_err(), "{bad:?}");
        }
    }
}

//! Numeric ids of Plex's items and libraries.

use std::fmt;

/// The id of an item or a library: only digits, so that it is safe in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

/// Longer text is not an id, even if it begins with zeros.
const MAX_DIGITS: usize = 20;

impl Id {
    /// Parses digits; anything else (a sign, a URI, nothing) is no id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_number = text.len() <= MAX_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok().map(Self))?
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_an_id() {
        assert_eq!(Id::parse("1036").unwrap().to_string(), "1036");
        for bad in [
            "",
            "-2",
            "+3",
            "1/../2",
            "com.gracenote://x",
            "٣",
            "99999999999999999999999",
            "000000000000000000001",
        ] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
    }
}

//! Bounds for label values, so that unexpected values from Plex or a client cannot create series
//! without limit.

use std::borrow::Cow;

use crate::plex::lenient::Number;

/// The longest token that is kept, in bytes.
const MAX_TOKEN: usize = 32;

/// Normalizes a token of Plex (decision, codec, location, type): trimmed and in lower case. A
/// short, well-formed token passes even if it is unknown; anything else becomes `other`.
#[must_use]
pub fn normalize_token(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let well_formed = text.len() <= MAX_TOKEN
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !well_formed {
        Cow::Borrowed("other")
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// Normalizes a resolution: `4k`, `1080`, `sd`. Sessions also send `1080p`.
#[must_use]
pub fn normalize_resolution(text: &str) -> Cow<'_, str> {
    match normalize_token(text) {
        Cow::Borrowed(token) => Cow::Borrowed(without_p(token)),
        Cow::Owned(token) => Cow::Owned(without_p(&token).to_owned()),
    }
}

fn without_p(token: &str) -> &str {
    token
        .strip_suffix('p')
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .unwrap_or(token)
}

/// A bandwidth or bitrate in kbit/s, unless it is one of Plex's markers for "no limit" (10,000,000
/// and above).
#[must_use]
pub fn plausible_kbps(number: Number) -> Option<f64> {
    const UNLIMITED: f64 = 10_000_000.0;
    number.non_negative().filter(|kbps| *kbps < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documented_values_pass_and_variants_are_normalized() {
        for (text, expected) in [
            ("4k", "4k"),
            ("4K", "4k"),
            ("720p", "720"),
            (" 1080P ", "1080"),
            ("SD", "sd"),
            ("p", "p"),
        ] {
            assert_eq!(normalize_resolution(text), expected);
        }
        for (text, expected) in [
            ("Transcode", "transcode"),
            ("library.update.section", "library.update.section"),
            ("*", "other"),
            ("a\nb", "other"),
            ("", ""),
        ] {
            assert_eq!(normalize_token(text), expected);
        }
    }

    proptest! {
        #[test]
        fn a_token_is_always_short_and_plain(text in "\\PC{0,60}") {
            let token = normalize_token(&text);
            prop_assert!(token.len() <= MAX_TOKEN && token.is_ascii() && !token.contains('"'));
        }
    }
}

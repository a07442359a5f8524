//! Bounds for label values: what Plex (or a client) makes up cannot create series without end.

use std::borrow::Cow;

use crate::plex::lenient::Number;

/// An unknown word has at most this many bytes.
const MAX_TOKEN: usize = 32;

/// A word of Plex's vocabulary (decision, codec, location, type): lower case, without outer white
/// space. A short, well-formed word passes even when it is new; anything else becomes `other`.
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

/// A resolution: `4k`, `1080`, `sd`. Sessions also say `1080p`, which is the same.
#[must_use]
pub fn normalize_resolution(text: &str) -> Cow<'_, str> {
    match normalize_token(text) {
        Cow::Borrowed(word) => Cow::Borrowed(without_p(word)),
        Cow::Owned(word) => Cow::Owned(without_p(&word).to_owned()),
    }
}

fn without_p(word: &str) -> &str {
    word.strip_suffix('p')
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .unwrap_or(word)
}

/// A bandwidth or bitrate in kbit/s, unless it is one of Plex's markers for "no limit" (10,000,000
/// and above) or beyond reason.
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
    fn documented_values_pass_and_drift_is_folded() {
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
        fn a_word_is_always_short_and_plain(text in "\\PC{0,60}") {
            let word = normalize_token(&text);
            prop_assert!(word.len() <= MAX_TOKEN && word.is_ascii() && !word.contains('"'));
        }
    }
}

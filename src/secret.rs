//! The Plex token: the only type that holds it, and its removal from every text that leaves the
//! process.

use std::{borrow::Cow, fmt, sync::RwLock};

/// Replaces a token in text.
pub const REDACTED: &str = "[redacted]";
/// Shorter values are not Plex tokens (those have 20 characters), and replacing a word such as
/// `token` or `t` would garble every line.
const MIN_REDACTED: usize = 8;
/// The same, for a value with a digit in it: that is not a word.
const MIN_REDACTED_WITH_DIGIT: usize = 4;
/// A token is replaced once in a while, so these are years of tokens.
const MAX_KNOWN: usize = 64;

/// Every token this process has been given. Locked only briefly, to search it or to add to it.
static KNOWN: RwLock<Vec<Box<str>>> = RwLock::new(Vec::new());

/// A token that cannot be printed by accident: `Debug` is redacted and there is no `Display`.
///
/// Invariant: the value is one or more visible ASCII characters, so it can stand in a header.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a text cannot be a token. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidToken {
    /// There is nothing in it.
    Empty,
    /// White space, a control character, or anything beyond ASCII.
    InvalidCharacter,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "the token is empty; copy it again",
            Self::InvalidCharacter => {
                "the token holds white space or characters that no Plex token has; copy it again"
            }
        })
    }
}

impl std::error::Error for InvalidToken {}

impl Secret {
    /// Takes a token; from now on, [`redact`] replaces it.
    ///
    /// # Errors
    /// When the value is empty or holds anything but visible ASCII.
    pub fn new(value: String) -> Result<Self, InvalidToken> {
        // Even if it is invalid: mostly it is a real token with a line break in it.
        value.split_whitespace().for_each(remember);
        if value.is_empty() {
            Err(InvalidToken::Empty)
        } else if value.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(value))
        } else {
            Err(InvalidToken::InvalidCharacter)
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
        formatter.write_str(REDACTED)
    }
}

/// Makes [`redact`] replace `token`.
fn remember(token: &str) {
    let long_enough = token.len() >= MIN_REDACTED
        || (token.len() >= MIN_REDACTED_WITH_DIGIT
            && token.bytes().any(|byte| byte.is_ascii_digit()));
    let mut known = match KNOWN.write() {
        Ok(known) => known,
        Err(poisoned) => poisoned.into_inner(),
    };
    if long_enough && !known.iter().any(|known| **known == *token) {
        if known.len() == MAX_KNOWN {
            known.remove(0);
        }
        known.push(token.into());
        // A token that contains another goes first, so that nothing of it is left.
        known.sort_by_key(|token| std::cmp::Reverse(token.len()));
    }
}

/// `text` without any token this process has been given.
///
/// Neither the case of letters, which labels may change, nor invisible characters hide a token;
/// where there are any of those, they are left out.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let known = match KNOWN.read() {
        Ok(known) => known,
        Err(poisoned) => poisoned.into_inner(),
    };
    if !text.chars().all(is_plain) {
        let plain: String = text
            .chars()
            .filter(|character| is_plain(*character))
            .collect();
        if known.iter().any(|token| find(&plain, token).is_some()) {
            return Cow::Owned(without(&known, &plain).into_owned());
        }
    }
    without(&known, text)
}

/// Whether a character cannot be in the middle of a token unseen: printable ASCII, a letter or a digit.
fn is_plain(character: char) -> bool {
    matches!(character, ' '..='~') || (!character.is_ascii() && character.is_alphanumeric())
}

fn without<'a>(known: &[Box<str>], text: &'a str) -> Cow<'a, str> {
    known.iter().fold(Cow::Borrowed(text), |text, token| {
        let Some(mut at) = find(&text, token) else {
            return text;
        };
        let (mut rest, mut without) = (&*text, String::new());
        loop {
            without.push_str(&rest[..at]);
            without.push_str(REDACTED);
            rest = &rest[at + token.len()..];
            match find(rest, token) {
                Some(next) => at = next,
                None => break,
            }
        }
        without.push_str(rest);
        Cow::Owned(without)
    })
}

/// Where `token` begins in `text`, in letters of any case.
fn find(text: &str, token: &str) -> Option<usize> {
    text.as_bytes()
        .windows(token.len())
        .position(|part| part.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether a word in `text` could be a token in the wrong variable: an error message must not
/// repeat it, even if [`redact`] does not know it as a token.
///
/// Words, host names and addresses do not count: a token mixes digits and letters, or lower and
/// upper case, over at least eight characters.
#[must_use]
pub fn may_be_token(text: &str) -> bool {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || "_-".contains(character)))
        .filter(|word| word.len() >= MIN_REDACTED)
        .any(|word| {
            let has = |class: fn(&u8) -> bool| word.bytes().any(|byte| class(&byte));
            let letters = has(u8::is_ascii_alphabetic);
            (has(u8::is_ascii_digit) && letters)
                || (has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase))
        })
}

/// `value` as an error message may repeat it.
#[must_use]
pub fn quoted(value: &str) -> String {
    if may_be_token(value) {
        "the value".to_owned()
    } else {
        format!("`{value}`")
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
    fn a_token_that_would_break_a_header_is_rejected() {
        for bad in ["", "a b", "a\r\nX: y", "tök"] {
            assert!(Secret::new(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_token_ever_given_is_redacted_and_words_are_not() {
        for token in [
            "0ldSecretTokenOfTests",
            "NewSecretTokenOfTests",
            "NewSecretTokenOfTestsAndMore",
            "broken0neOfTests\n",
            "lower-case-0ne",
            "token",
        ] {
            let _ = Secret::new(token.to_owned());
        }
        assert_eq!(
            redact(
                "the token 0ldSecretTokenOfTests, NewSecretTokenOfTestsAndMore; \
                 broken0neOfTests/NewSecretTokenOfTests: LOWER-CASE-0NE."
            ),
            "the token [redacted], [redacted]; [redacted]/[redacted]: [redacted]."
        );
    }

    #[test]
    fn invisible_characters_do_not_hide_a_token() {
        let token = "T0kenThatIsBroken";
        let _ = Secret::new(token.to_owned());
        for invisible in "\u{0}\u{8}\u{1b}\u{7f}\u{ad}\u{34f}\u{61c}\u{200b}\u{202e}\u{2060}\u{fe0f}\u{feff}\u{e0020}".chars()
        {
            let everywhere: String = token.chars().flat_map(|character| [invisible, character]).collect();
            let text = format!("a é {everywhere} {token} b");
            assert_eq!(redact(&text), "a é [redacted] [redacted] b", "{invisible:?}");
            let harmless = format!("a{invisible} T0ken b");
            assert_eq!(redact(&harmless), harmless);
        }
    }

    #[test]
    fn what_may_be_a_token_is_not_quoted() {
        for value in ["xYz12abcDEF_-ghiJKLmn", "--token=abcdefgh1", "SecretToken"] {
            assert_eq!(quoted(value), "the value");
        }
        for value in [
            "helth",
            "--verbose",
            "192.168.1.10:9594",
            "loud",
            "user,shoe",
        ] {
            assert_eq!(quoted(value), format!("`{value}`"));
        }
    }
}

//! Repairs JSON on its way into the decoder, so that one broken value costs only itself.
//!
//! Titles come from file names and ID3 tags, and Plex passes on what it finds there. A decoder
//! rejects the whole document for one invalid byte; this reader replaces it first:
//!
//! - in strings: bytes that are not UTF-8 and lone surrogate escapes become U+FFFD, raw control
//!   characters a space, and a backslash that begins no escape is escaped;
//! - outside: a word that is neither a literal nor a number within reason becomes `null`.
//!
//! It streams, holds a few bytes, and leaves the structure alone.

use std::io::{self, Read};

/// Longer numbers than this, or with larger exponents than [`MAX_EXPONENT`], are not decoded.
const MAX_NUMBER: usize = 64;
/// With at most 64 digits before it, such an exponent is still a finite number.
const MAX_EXPONENT: u32 = 200;
/// U+FFFD
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Where in the document it is.
#[derive(Debug)]
enum Place {
    /// Between tokens.
    Structure,
    /// In a number, a literal, or something that is neither.
    Word,
    /// In a string.
    Text,
    /// In a character of a string: its bytes so far, and how many there will be.
    Character { expected: usize },
    /// In an escape sequence of a string.
    Escape,
}

/// A reader of JSON that repairs what `inner` reads.
#[derive(Debug)]
pub struct CleanJson<R> {
    inner: R,
    place: Place,
    /// The bytes of an unfinished word, character or escape.
    held: Vec<u8>,
    /// Repaired bytes that were not read yet.
    ready: Vec<u8>,
    read: usize,
    ended: bool,
}

impl<R> CleanJson<R> {
    /// Repairs what `inner` reads.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            place: Place::Structure,
            held: Vec::new(),
            ready: Vec::new(),
            read: 0,
            ended: false,
        }
    }

    fn take(&mut self, byte: u8) {
        match self.place {
            Place::Structure => match byte {
                b'"' => {
                    self.ready.push(byte);
                    self.place = Place::Text;
                }
                b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                    self.ready.push(byte);
                }
                _ => {
                    self.held.push(byte);
                    self.place = Place::Word;
                }
            },
            Place::Word => match byte {
                b'"' | b'{' | b'}' | b'[' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                    self.end_word();
                    self.take(byte);
                }
                // A word that is too long becomes `null`; its rest is skipped.
                _ if self.held.len() <= MAX_NUMBER => self.held.push(byte),
                _ => {}
            },
            Place::Text => self.take_text(byte),
            Place::Character { expected } => {
                if byte & 0xc0 == 0x80 {
                    self.held.push(byte);
                    if self.held.len() == expected {
                        self.end_character();
                    }
                } else {
                    self.end_character();
                    self.take(byte);
                }
            }
            Place::Escape => self.take_escape(byte),
        }
    }

    fn take_text(&mut self, byte: u8) {
        let expected = match byte {
            b'"' => {
                self.ready.push(byte);
                self.place = Place::Structure;
                return;
            }
            b'\\' => {
                self.held.push(byte);
                self.place = Place::Escape;
                return;
            }
            0..0x20 => return self.ready.push(b' '),
            0x20..0x80 => return self.ready.push(byte),
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => return self.ready.extend(REPLACEMENT),
        };
        self.held.push(byte);
        self.place = Place::Character { expected };
    }

    /// A character is complete, or truncated.
    fn end_character(&mut self) {
        if std::str::from_utf8(&self.held).is_ok() {
            self.ready.append(&mut self.held);
        } else {
            self.ready.extend(REPLACEMENT);
            self.held.clear();
        }
        self.place = Place::Text;
    }

    /// `held` begins with a backslash, and `byte` follows.
    fn take_escape(&mut self, byte: u8) {
        let (unit, second) = (self.held.len() % 6, self.held.len() >= 6);
        let fits = match unit {
            0 => byte == b'\\',
            1 => byte == b'u' || (!second && b"\"\\/bfnrt".contains(&byte)),
            _ => byte.is_ascii_hexdigit(),
        };
        if !fits {
            // The first half of a surrogate pair without a second, a backslash that begins no
            // escape, or one that breaks off.
            let rest = if second {
                self.held.split_off(6)
            } else {
                Vec::new()
            };
            self.end_escape();
            self.place = Place::Text;
            for byte in rest {
                self.take(byte);
            }
            return self.take(byte);
        }
        self.held.push(byte);
        match (self.held.len(), self.held[1]) {
            (2, b'u') => {}
            // The first half of a surrogate pair waits for the second.
            (6, _) if matches!(self.unit(0), Some(0xd800..0xdc00)) => {}
            (2 | 6 | 12, _) => self.end_escape(),
            _ => {}
        }
    }

    /// The code unit of the escape that begins at `at`.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = std::str::from_utf8(self.held.get(at + 2..at + 6)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    }

    /// An escape is complete, or truncated.
    fn end_escape(&mut self) {
        let is_low = |unit| matches!(unit, Some(0xdc00..0xe000));
        let is_high = |unit| matches!(unit, Some(0xd800..0xdc00));
        match self.held.len() {
            2 if self.held[1] != b'u' => self.ready.extend(&self.held),
            6 if !is_low(self.unit(0)) && !is_high(self.unit(0)) => self.ready.extend(&self.held),
            6 => self.ready.extend(b"\\ufffd"),
            12 if is_low(self.unit(6)) => self.ready.extend(&self.held),
            12 => {
                // The second is not a second half: it is a character of its own, or another first
                // half.
                self.ready.extend(b"\\ufffd");
                self.held.drain(..6);
                if is_high(self.unit(0)) {
                    return;
                }
                return self.end_escape();
            }
            // A backslash that begins no escape is kept as a character.
            _ => {
                self.ready.push(b'\\');
                self.ready.extend(&self.held);
            }
        }
        self.held.clear();
        self.place = Place::Text;
    }

    fn end_word(&mut self) {
        let word = &self.held;
        let literal = matches!(&word[..], b"true" | b"false" | b"null");
        if literal || is_number(word) {
            self.ready.append(&mut self.held);
        } else {
            self.ready.extend(b"null");
            self.held.clear();
        }
        self.place = Place::Structure;
    }
}

/// How many bytes at the beginning of `text`, which is within a string, are ASCII that means itself.
pub(super) fn plain_text(text: &[u8]) -> usize {
    let plain = |byte: &&u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    text.iter().take_while(plain).count()
}

/// Whether `word` is a number of JSON's, and one that an `f64` can hold.
fn is_number(word: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = word.strip_prefix(b"-").unwrap_or(word);
    let whole = digits(rest);
    if word.len() > MAX_NUMBER || whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    let [b'e' | b'E', exponent @ ..] = rest else {
        return rest.is_empty();
    };
    let ([b'+' | b'-', exponent @ ..] | exponent) = exponent;
    let small = std::str::from_utf8(exponent).is_ok_and(|text| {
        text.parse::<u32>()
            .is_ok_and(|exponent| exponent <= MAX_EXPONENT)
    });
    !exponent.is_empty() && digits(exponent) == exponent.len() && small
}

impl<R: Read> Read for CleanJson<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.ready.len() && !self.ended {
            self.ready.clear();
            self.read = 0;
            let mut chunk = [0; 4_096];
            let length = self.inner.read(&mut chunk)?;
            let mut rest = &chunk[..length];
            while let [byte, after @ ..] = rest {
                // Most of a response is such text.
                let plain = match self.place {
                    Place::Text => plain_text(rest),
                    _ => 0,
                };
                if plain > 0 {
                    self.ready.extend_from_slice(&rest[..plain]);
                    rest = &rest[plain..];
                } else {
                    self.take(*byte);
                    rest = after;
                }
            }
            if length == 0 {
                self.ended = true;
                match self.place {
                    Place::Word => self.end_word(),
                    Place::Character { .. } => self.end_character(),
                    // The document is truncated, which the decoder reports.
                    _ => self.ready.append(&mut self.held),
                }
            }
        }
        let rest = &self.ready[self.read..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Reads in pieces of `size` bytes.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len()).min(self.0.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn clean(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut cleaned = Vec::new();
        CleanJson::new(Pieces(bytes, size))
            .read_to_end(&mut cleaned)
            .unwrap();
        cleaned
    }

    fn decoded(bytes: &[u8]) -> Value {
        let whole = clean(bytes, 4_096);
        assert_eq!(whole, clean(bytes, 1), "{bytes:?}");
        serde_json::from_slice(&whole)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&whole)))
    }

    #[test]
    fn a_truncated_document_is_utf_8_as_well() {
        for bytes in [&b"\"\xe2\x82"[..], b"\"\xf4\xa2", b"\"\xc3"] {
            assert_eq!(clean(bytes, 4_096), "\"\u{fffd}".as_bytes());
        }
    }

    #[test]
    fn a_broken_string_is_repaired_and_its_neighbours_stay() {
        for (bytes, expected) in [
            (&b"[\"caf\xe9 x\",1]"[..], json!(["caf\u{fffd} x", 1])),
            (
                b"[\"\xc3\",\"\xe2\x82\",1]",
                json!(["\u{fffd}", "\u{fffd}", 1]),
            ),
            (b"[\"\xff\xc0\xafa\"]", json!(["\u{fffd}\u{fffd}\u{fffd}a"])),
            (b"[\"\xed\xa0\x80\"]", json!(["\u{fffd}"])),
            (b"[\"a\nb\tc\x00\"]", json!(["a b c "])),
            (br#"["\ud83d"]"#, json!(["\u{fffd}"])),
            (br#"["\ud83dx\ude00"]"#, json!(["\u{fffd}x\u{fffd}"])),
            (
                br#"["\ud83d\n\ud83d\ud83d\ude00"]"#,
                json!(["\u{fffd}\n\u{fffd}\u{1f600}"]),
            ),
            (br#"["\ud83d\u0041"]"#, json!(["\u{fffd}A"])),
            (br#"["\x\u12","\"\\"]"#, json!(["\\x\\u12", "\"\\"])),
        ] {
            assert_eq!(
                decoded(bytes),
                expected,
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn an_unreadable_number_is_null() {
        for (text, expected) in [
            ("[1e400,2]", json!([null, 2])),
            (
                "[NaN,-Infinity,+1,.5,1.,01,0x1]",
                json!([null, null, null, null, null, null, null]),
            ),
            (
                "{\"a\":1e308,\"b\":-1.5e-3}",
                json!({"a": null, "b": -0.0015}),
            ),
            (&format!("[{},1]", "9".repeat(400)), json!([null, 1])),
            ("7", json!(7)),
        ] {
            assert_eq!(decoded(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn sound_json_passes_unchanged(
            texts in prop::collection::vec(".*", 0..5), numbers in prop::collection::vec(-1e30..1e30, 0..5),
            size in 1usize..9,
        ) {
            let text = json!({"texts": texts, "numbers": numbers, "flag": true}).to_string();
            prop_assert_eq!(clean(text.as_bytes(), size), text.as_bytes());
        }

        /// Whatever the bytes of a string, the document is read, and what follows is there.
        #[test]
        fn any_bytes_in_a_string_leave_the_rest(
            bytes in prop::collection::vec(any::<u8>().prop_filter("an end", |byte| *byte != b'"'), 0..40),
            size in 1usize..9,
        ) {
            let mut document = b"{\"title\":\"".to_vec();
            document.extend(&bytes);
            document.extend(b" \",\"id\":7}");
            let cleaned = clean(&document, size);
            let value: Value = serde_json::from_slice(&cleaned).unwrap();
            prop_assert_eq!(&value["id"], &json!(7));
        }
    }
}

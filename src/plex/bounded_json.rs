//! Bounds the elements of a JSON response on their way into the decoder.
//!
//! The decoder holds the text of one element of a list at a time. Nothing but the limit on the whole
//! body would bound that text: one title of 10 MB, or a session with three million streams. So this
//! reader leaves out what no Plex sends and nothing here uses:
//!
//! - the end of a text longer than [`MAX_TEXT`];
//! - the content of what is nested deeper than [`Bounds::depth`];
//! - within an element, the rest of every list and object after [`Bounds::element`] bytes;
//! - white space after white space.
//!
//! It works in the reader's own buffer. What it reads has to be tokens of JSON, as
//! [`CleanJson`](super::clean_json::CleanJson) leaves them; what it passes on is then valid wherever the
//! original is.

use std::io::{self, Read};

use super::clean_json::plain_text;

/// Longer texts are cut off, in bytes of JSON. The decoder truncates them further, but only after the
/// token was redacted; so this leaves room for what is removed.
const MAX_TEXT: usize = 8 * 1024;
/// Elements are at this depth: `{"MediaContainer":{"Metadata":[{`.
const ELEMENT: usize = 4;

/// The bounds of a response.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The deepest nesting whose content counts.
    pub depth: usize,
    /// After this many bytes of an element, what is nested within it ends at the next comma; after twice
    /// as many, its own fields do.
    pub element: usize,
}

/// A reader of JSON that leaves out what is beyond the bounds.
#[derive(Debug)]
pub struct BoundedJson<R> {
    inner: R,
    bounds: Bounds,
    depth: usize,
    text: Option<TextPosition>,
    /// Everything is left out until the container at this depth ends.
    skipping: Option<usize>,
    /// Bytes of this element so far.
    element: usize,
    after_space: bool,
}

/// Where in a text it is.
#[derive(Debug, Default)]
struct TextPosition {
    length: usize,
    /// The beginning of an escape sequence, up to its first two digits.
    escape: [u8; 4],
    escape_length: usize,
    cut: bool,
}

impl TextPosition {
    /// Takes the next byte: whether it is kept, and whether the text ends with it.
    fn take(&mut self, byte: u8) -> (bool, bool) {
        match (self.escape_length, byte) {
            (0, b'"') => return (true, true),
            (0, _) => {
                let first_of_character = byte & 0xc0 != 0x80;
                if first_of_character && self.length >= MAX_TEXT && !self.after_half_a_pair() {
                    self.cut = true;
                }
                self.escape = [0; 4];
            }
            _ => {}
        }
        if self.escape_length > 0 || byte == b'\\' {
            if let Some(place) = self.escape.get_mut(self.escape_length) {
                *place = byte;
            }
            self.escape_length += 1;
            let expected = if self.escape[1] == b'u' { 6 } else { 2 };
            if self.escape_length >= 2 && self.escape_length == expected {
                self.escape_length = 0;
            }
        }
        self.length += 1;
        (!self.cut, false)
    }

    /// Whether the last character was an escaped first half of a surrogate pair, which must not be the
    /// end.
    fn after_half_a_pair(&self) -> bool {
        matches!(
            self.escape,
            [
                b'\\',
                b'u',
                b'd' | b'D',
                b'8' | b'9' | b'a' | b'b' | b'A' | b'B'
            ]
        )
    }
}

impl<R> BoundedJson<R> {
    /// Bounds what `inner` reads.
    pub fn new(inner: R, bounds: Bounds) -> Self {
        Self {
            inner,
            bounds,
            depth: 0,
            text: None,
            skipping: None,
            element: 0,
            after_space: false,
        }
    }

    fn keeps(&mut self, byte: u8) -> bool {
        let kept = self.takes(byte);
        self.element += usize::from(kept);
        kept
    }

    /// Takes as much of `bytes` as is kept for sure; a shortcut, because that is most of them.
    fn take_plain_text(&mut self, bytes: &[u8]) -> usize {
        let Some(text) = self.text.as_mut().filter(|text| text.escape_length == 0) else {
            return 0;
        };
        if self.skipping.is_some() || text.length >= MAX_TEXT {
            return 0;
        }
        let room = bytes.len().min(MAX_TEXT - text.length);
        let plain = plain_text(&bytes[..room]);
        if plain > 0 {
            text.escape = [0; 4];
            text.length += plain;
            self.element += plain;
        }
        plain
    }

    /// Takes the next byte: whether it is within the bounds.
    fn takes(&mut self, byte: u8) -> bool {
        if let Some(text) = &mut self.text {
            let (kept, ended) = text.take(byte);
            if ended {
                self.text = None;
            }
            return kept && self.skipping.is_none();
        }
        let after_space = std::mem::take(&mut self.after_space);
        match byte {
            b'"' => self.text = Some(TextPosition::default()),
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth == ELEMENT {
                    self.element = 0;
                }
                if self.depth > self.bounds.depth && self.skipping.is_none() {
                    self.skipping = Some(self.depth);
                    return true;
                }
            }
            b'}' | b']' => {
                if self.skipping == Some(self.depth) {
                    self.skipping = None;
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b',' if self.is_full() && self.skipping.is_none() => self.skipping = Some(self.depth),
            b' ' | b'\t' | b'\n' | b'\r' => {
                self.after_space = true;
                return !after_space && self.skipping.is_none();
            }
            _ => {}
        }
        self.skipping.is_none()
    }

    /// Whether nothing more of the list or object fits.
    fn is_full(&self) -> bool {
        self.element > self.bounds.element
            && (self.depth > ELEMENT
                || self.depth == ELEMENT && self.element / 2 > self.bounds.element)
    }
}

impl<R: Read> Read for BoundedJson<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.inner.read(buffer)?;
            let mut kept = 0;
            let mut index = 0;
            while index < length {
                let plain = self.take_plain_text(&buffer[index..length]);
                if plain > 0 {
                    buffer.copy_within(index..index + plain, kept);
                    kept += plain;
                    index += plain;
                    continue;
                }
                let byte = buffer[index];
                if self.keeps(byte) {
                    buffer[kept] = byte;
                    kept += 1;
                }
                index += 1;
            }
            if kept > 0 || length == 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Reads in pieces of `size`.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }

    const BOUNDS: Bounds = Bounds {
        depth: 7,
        element: 200,
    };

    fn bounded(text: &str) -> String {
        let mut whole = String::new();
        BoundedJson::new(text.as_bytes(), BOUNDS)
            .read_to_string(&mut whole)
            .unwrap();
        for size in [1, 7] {
            let mut pieces = String::new();
            BoundedJson::new(Pieces(text.as_bytes(), size), BOUNDS)
                .read_to_string(&mut pieces)
                .unwrap();
            assert_eq!(pieces, whole);
        }
        whole
    }

    fn decoded(text: &str) -> Value {
        let bounded = bounded(text);
        serde_json::from_str(&bounded).unwrap_or_else(|error| panic!("{error} in {bounded}"))
    }

    #[test]
    fn a_text_is_cut_between_characters_and_what_follows_it_stays() {
        for character in [
            "a",
            "é",
            "😀",
            r"\n",
            r"\\",
            r#"\""#,
            r"\u00e9",
            r"\ud83d\ude00",
        ] {
            for before in 0..12 {
                let text = "x".repeat(before) + &character.repeat(MAX_TEXT);
                let value = decoded(&format!(r#"{{"{text}":"{text}","id":[7]}}"#));
                let whole: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
                let (key, cut) = value
                    .as_object()
                    .unwrap()
                    .iter()
                    .find(|(key, _)| *key != "id")
                    .unwrap();
                let cut = cut.as_str().unwrap();
                assert!(whole.starts_with(cut) && cut == key, "{character}");
                let shortest = MAX_TEXT / character.len() - 12;
                let length = cut.chars().count();
                assert!(
                    (shortest..=MAX_TEXT).contains(&length),
                    "{character} {length}"
                );
                assert_eq!(value["id"], json!([7]));
            }
        }
    }

    #[test]
    fn of_a_large_element_every_list_ends_and_its_own_fields_stay() {
        let streams = vec![r#"{"id":1,"codec":"x, \"]"}"#; 1_000].join(",");
        let media = format!(r#"{{"Part":[{streams}],"lost":1}}"#);
        let value = decoded(&format!(
            r#"{{"MediaContainer":{{"Metadata":[{{"id":1,"Media":{media},"title":"A"}},{{"id":2}}],"size":2}}}}"#
        ));
        let container = &value["MediaContainer"];
        let element = &container["Metadata"][0];
        let parts = element["Media"]["Part"].as_array().unwrap();
        assert!((6..12).contains(&parts.len()), "{}", parts.len());
        assert_eq!(element["title"], json!("A"));
        assert_eq!(element["Media"]["lost"], Value::Null);
        assert_eq!(container["Metadata"][1], json!({"id": 2}));
        assert_eq!(container["size"], json!(2));
        let fields: Vec<_> = (0..1_000).map(|index| format!(r#""f{index}":1"#)).collect();
        let fields = fields.join(",");
        let value = decoded(&format!(r#"[[[{{{fields}}},{{"id":2}}]]]"#));
        let kept = value[0][0][0].as_object().unwrap().len();
        assert!((40..80).contains(&kept), "{kept}");
        assert_eq!(value[0][0][1], json!({"id": 2}));
    }

    #[test]
    fn what_is_nested_too_deep_is_empty() {
        let text = r#"[[[[[[[[1,[2]],{"a":[{}],"b":"]"},3]]]]]],{"id":7}]"#;
        assert_eq!(bounded(text), r#"[[[[[[[[],{},3]]]]]],{"id":7}]"#);
        assert!(bounded(&"[".repeat(100_000)).len() < 10);
    }

    #[test]
    fn white_space_takes_one_byte_and_separates_as_before() {
        let blank = " \n".repeat(1_000);
        let text = format!(r#"{{"a":{blank}1{blank}2,"b":"  "}}"#);
        assert_eq!(bounded(&text), r#"{"a": 1 2,"b":"  "}"#);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "\\PC{0,8}[\\]\\[{},\"\\\\]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(9, 200, 12, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
                prop::collection::hash_map("[a-z\",]{1,3}", inner, 0..9)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
            Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn what_is_left_is_json_within_the_bounds_and_small_documents_stay_as_they_are(json in any_json()) {
            let text = json.to_string();
            let value = decoded(&text);
            prop_assert!(depth(&value) <= BOUNDS.depth + 1);
            if text.len() <= BOUNDS.element && depth(&json) <= BOUNDS.depth {
                prop_assert_eq!(value, json);
            }
        }
    }
}

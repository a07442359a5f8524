//! Decoding that survives Plex's type drift.
//!
//! The same field is a string in one response, a number in the next and absent in a third (see the
//! tests). So no scalar here ever fails: what cannot be understood counts as absent. And every
//! element of a list is decoded from its own slice of the text, so that a bad one costs only
//! itself.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::secret::redact;

/// A scalar of any JSON type; arrays, objects and null are read over and count as nothing.
///
/// The token is redacted here, before a text is truncated: what a Plex echoes becomes a label value.
enum Scalar<'de> {
    Text(Cow<'de, str>),
    Number(f64),
    Integer(i128),
    Flag(bool),
    Nothing,
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;
        impl<'de> Visitor<'de> for AnyScalar {
            type Value = Scalar<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Flag(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Integer(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Integer(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(truncate(&redact(value)).to_owned().into()))
            }
            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(redact(value)))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Nothing)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Nothing)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Nothing)
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

/// Longer text is cut when it is decoded: whatever Plex or a client makes up, little of it is kept.
pub const MAX_TEXT: usize = 256;

/// The beginning of a text, cut on a character boundary.
#[must_use]
pub fn truncate(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// Text of at most [`MAX_TEXT`] bytes; numbers and booleans become text too (ids come as either).
/// Empty text counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(Option<Box<str>>);

impl Text {
    /// The text, unless it is absent or empty.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text, empty where it is absent.
    #[must_use]
    pub fn or_empty(&self) -> &str {
        self.get().unwrap_or_default()
    }

    /// Whether it is `word`; case and outer white space do not matter.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.or_empty().trim().eq_ignore_ascii_case(word)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let text = Some(truncate(text)).filter(|text| !text.is_empty());
        Self(text.map(Box::from))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) if text.is_empty() => None,
            Scalar::Text(text) => Some(truncate(&text).into()),
            Scalar::Integer(number) => Some(number.to_string().into()),
            Scalar::Number(number) => Some(number.to_string().into()),
            Scalar::Flag(flag) => Some(flag.to_string().into()),
            Scalar::Nothing => None,
        }))
    }
}

/// A finite number; numeric text counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Number(Option<f64>);

impl Number {
    /// The number.
    #[must_use]
    pub fn get(self) -> Option<f64> {
        self.0
    }

    /// The number, unless it is absent or negative: Plex writes −1 and −22 for "unknown".
    #[must_use]
    pub fn non_negative(self) -> Option<f64> {
        self.0.filter(|number| *number >= 0.0)
    }

    /// The number cut to a whole one, unless it is absent, negative or beyond 2⁵³.
    #[must_use]
    pub fn whole(self) -> Option<u64> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked"
        )]
        self.non_negative()
            .filter(|number| *number <= EXACT)
            .map(|number| number as u64)
    }
}

impl Number {
    /// Takes the number in `text`, where there is none yet.
    pub fn or_set(&mut self, text: &str) {
        let number = text.trim().parse().ok();
        self.0 = self.0.or(number.filter(|number: &f64| number.is_finite()));
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Integer(number) => Some(number as f64),
            Scalar::Number(number) => Some(number),
            Scalar::Flag(_) | Scalar::Nothing => None,
        };
        Ok(Self(number.filter(|number: &f64| number.is_finite())))
    }
}

/// A boolean; `1`, `"1"`, `"true"` and their opposites count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flag(Option<bool>);

impl Flag {
    /// The boolean.
    #[must_use]
    pub fn get(self) -> Option<bool> {
        self.0
    }

    /// Whether it is present and true.
    #[must_use]
    pub fn is_true(self) -> bool {
        self.0 == Some(true)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Scalar::deserialize(deserializer)? {
            Scalar::Flag(flag) => Some(flag),
            Scalar::Integer(0) => Some(false),
            Scalar::Integer(1) => Some(true),
            Scalar::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" => Some(true),
                "0" | "false" => Some(false),
                _ => None,
            },
            _ => None,
        }))
    }
}

macro_rules! merge {
    ($($scalar:ty),*) => {$(
        impl $scalar {
            /// Takes over `newer`, unless it is absent.
            pub fn merge(&mut self, newer: Self) {
                if newer.0.is_some() {
                    *self = newer;
                }
            }
        }
    )*};
}
merge!(Text, Number, Flag);

/// The text of a JSON value, kept to be decoded later or never.
#[derive(Debug, Default)]
pub struct Raw(Option<Box<RawValue>>);

impl Raw {
    /// Decodes the value as a list, as [`LenientVec`] does.
    #[must_use]
    pub fn list<T: DeserializeOwned, const MAX: usize>(&self) -> LenientVec<T, MAX> {
        self.0.as_deref().and_then(list).unwrap_or_default()
    }

    /// Decodes the value as an object, as [`MaybeObject`] does.
    #[must_use]
    pub fn one<T: DeserializeOwned>(&self) -> Option<T> {
        self.0.as_deref().and_then(one)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::deserialize(deserializer).map(|raw| Self(Some(raw)))
    }
}

/// An object, or an array whose first object counts (`UltraBlurColors` comes as either).
#[derive(Debug, Clone, PartialEq)]
pub struct MaybeObject<T>(Option<T>);

impl<T> MaybeObject<T> {
    /// The object.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    /// Takes the object out.
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.0
    }
}

impl<T> Default for MaybeObject<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for MaybeObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer).map(|raw| Self(raw.one()))
    }
}

/// The elements of an array that could be decoded, at most `MAX`; a lone object counts as an array of
/// one.
#[derive(Debug, Clone, PartialEq)]
pub struct LenientVec<T, const MAX: usize = MAX_ELEMENTS> {
    elements: Vec<T>,
    dropped: u64,
}

/// Elements of a list within a list: versions, files, streams, features. Plex sends a handful.
const MAX_ELEMENTS: usize = 256;

impl<T, const MAX: usize> LenientVec<T, MAX> {
    /// The elements.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.elements
    }

    /// Takes the elements out.
    #[must_use]
    pub fn into_inner(self) -> Vec<T> {
        self.elements
    }

    /// Keeps the first element of each role.
    pub fn retain_firsts<R: PartialEq>(&mut self, role: impl Fn(&T) -> R) {
        let mut seen = Vec::new();
        self.elements.retain(|element| {
            let role = role(element);
            let first = !seen.contains(&role);
            if first {
                seen.push(role);
            }
            first
        });
        self.elements.shrink_to_fit();
    }

    /// Elements beyond `MAX`, which were not decoded.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl<T, const MAX: usize> Default for LenientVec<T, MAX> {
    fn default() -> Self {
        Self {
            elements: Vec::new(),
            dropped: 0,
        }
    }
}

/// What is kept of a list.
trait Elements<T>: Default {
    /// Whether the rest need not be decoded.
    fn is_full(&self) -> bool;
    /// The next element.
    fn push(&mut self, element: T);
    /// An element was not decoded.
    fn skip(&mut self);
}

impl<T, const MAX: usize> Elements<T> for LenientVec<T, MAX> {
    fn is_full(&self) -> bool {
        self.elements.len() >= MAX
    }
    fn push(&mut self, element: T) {
        self.elements.push(element);
    }
    fn skip(&mut self) {
        self.dropped += 1;
    }
}

/// An element of which a list has several, and one counts.
pub trait Selectable {
    /// Whether this is the one.
    fn is_selected(&self) -> bool;

    /// Drops what is not needed of the one that counts.
    fn trim(&mut self) {}
}

/// The selected element of a list, or else the first: the others are dropped while decoding.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected<T>(Option<Box<T>>);

impl<T> Selected<T> {
    /// The element.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The element, to be changed.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Selected<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Selectable> Elements<T> for Selected<T> {
    fn is_full(&self) -> bool {
        self.get().is_some_and(T::is_selected)
    }
    fn push(&mut self, mut element: T) {
        if self.0.is_none() || element.is_selected() {
            element.trim();
            self.0 = Some(Box::new(element));
        }
    }
    fn skip(&mut self) {}
}

impl<'de, T: DeserializeOwned, const MAX: usize> Deserialize<'de> for LenientVec<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut list: Self = deserializer.deserialize_any(AnyList::new())?;
        // Half of what a list that grew has reserved may be empty.
        list.elements.shrink_to_fit();
        Ok(list)
    }
}

impl<'de, T: DeserializeOwned + Selectable> Deserialize<'de> for Selected<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyList::new())
    }
}

/// Visits a list, a lone object, or anything else, which counts as an empty list.
struct AnyList<T, C>(PhantomData<(T, C)>);

impl<T, C> AnyList<T, C> {
    fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: DeserializeOwned, C: Elements<T>> Visitor<'de> for AnyList<T, C> {
    type Value = C;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }
    // Element by element: of a long list only one element's text is held at a time.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = C::default();
        while !list.is_full() {
            let Some(raw) = seq.next_element::<Box<RawValue>>()? else {
                return Ok(list);
            };
            if let Some(element) = object(&raw) {
                list.push(element);
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            list.skip();
        }
        Ok(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let map = serde::de::value::MapAccessDeserializer::new(map);
        let object = serde_json::Map::deserialize(map)?;
        let mut list = C::default();
        if let Ok(element) = T::deserialize(serde_json::Value::Object(object)) {
            list.push(element);
        }
        Ok(list)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(C::default())
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(C::default())
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(C::default())
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(C::default())
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(C::default())
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(C::default())
    }
}

/// Decodes an object. Only an object: a derived `Deserialize` would also take an array, position
/// by position.
fn object<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    raw.get()
        .starts_with('{')
        .then(|| serde_json::from_str(raw.get()).ok())
        .flatten()
}

fn one<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    if raw.get().starts_with('[') {
        let list: LenientVec<T, 1> = list(raw)?;
        list.into_inner().into_iter().next()
    } else {
        object(raw)
    }
}

fn list<T: DeserializeOwned, const MAX: usize>(raw: &RawValue) -> Option<LenientVec<T, MAX>> {
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Item {
        id: Text,
        bitrate: Number,
        selected: Flag,
    }

    fn item(json: &str) -> Item {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_drift_of_the_protocol_note_decodes_alike() {
        let expected = item(r#"{"id":"5","bitrate":2108,"selected":true}"#);
        assert_eq!(expected.id.get(), Some("5"));
        for drift in [
            r#"{"id":5,"bitrate":"2108","selected":"1"}"#,
            r#"{"id":"5","bitrate":2108.0,"selected":1}"#,
            r#"{"id":5,"bitrate":" 2108 ","selected":"true","unknown":[{"x":[1,{}]}]}"#,
        ] {
            assert_eq!(item(drift), expected, "{drift}");
        }
    }

    #[test]
    fn long_text_is_cut_on_a_character_boundary() {
        for (text, bytes) in [
            ("é".repeat(200), 256),
            (format!("a{}", "é".repeat(200)), 255),
        ] {
            let cut = item(&serde_json::json!({"id": text}).to_string());
            assert_eq!(cut.id.or_empty(), &text[..bytes]);
        }
    }

    #[test]
    fn what_makes_no_sense_counts_as_absent() {
        for nonsense in [
            r#"{"id":null,"bitrate":"","selected":"perhaps"}"#,
            r#"{"id":[1],"bitrate":{"a":1},"selected":7}"#,
            r#"{"id":"","bitrate":"NaN","selected":null}"#,
        ] {
            assert_eq!(item(nonsense), Item::default(), "{nonsense}");
        }
    }

    #[test]
    fn negative_numbers_mean_unknown_where_only_amounts_make_sense() {
        assert_eq!(item(r#"{"bitrate":-22}"#).bitrate.non_negative(), None);
        assert_eq!(item(r#"{"bitrate":-22}"#).bitrate.get(), Some(-22.0));
        assert_eq!(item(r#"{"bitrate":1e300}"#).bitrate.whole(), None);
        assert_eq!(item(r#"{"bitrate":7.9}"#).bitrate.whole(), Some(7));
    }

    #[test]
    fn one_bad_element_costs_one_element() {
        let list: LenientVec<Item> =
            serde_json::from_str(r#"[{"id":1},"x",null,[{"id":9}],{"id":2,"id":3},{"id":"4"}]"#)
                .unwrap();
        let ids: Vec<_> = list
            .as_slice()
            .iter()
            .map(|item| item.id.or_empty())
            .collect();
        assert_eq!(ids, ["1", "4"]);
    }

    #[test]
    fn a_lone_object_is_a_list_and_a_list_is_an_object() {
        let list: LenientVec<Item> = serde_json::from_str(r#"{"id":1}"#).unwrap();
        assert_eq!(list.as_slice().len(), 1);
        let one: MaybeObject<Item> = serde_json::from_str(r#"[{"id":1},{"id":2}]"#).unwrap();
        assert_eq!(one.get().map(|item| item.id.or_empty()), Some("1"));
        for nothing in ["null", "3", "\"x\"", "[]", "true", "-1.5"] {
            assert!(
                serde_json::from_str::<MaybeObject<Item>>(nothing)
                    .unwrap()
                    .get()
                    .is_none()
            );
            assert!(
                serde_json::from_str::<LenientVec<Item>>(nothing)
                    .unwrap()
                    .as_slice()
                    .is_empty()
            );
        }
    }

    impl Selectable for Item {
        fn is_selected(&self) -> bool {
            self.selected.is_true()
        }
    }

    #[test]
    fn of_several_the_selected_one_is_kept_or_else_the_first() {
        for (json, id) in [
            (
                r#"[{"id":1},{"id":2,"selected":"1"},{"id":3,"selected":true}]"#,
                Some("2"),
            ),
            (r#"[7,{"id":1},{"id":2,"selected":false}]"#, Some("1")),
            (r#"{"id":1}"#, Some("1")),
            ("[]", None),
            ("null", None),
            ("3", None),
        ] {
            let one: Selected<Item> = serde_json::from_str(json).unwrap();
            assert_eq!(one.get().map(|item| item.id.or_empty()), id, "{json}");
        }
    }

    #[test]
    fn the_first_element_of_each_role_is_kept_in_order() {
        let json = r#"[{"id":1},{"id":2,"selected":1},{"id":3},{"id":4,"selected":1}]"#;
        let mut list: LenientVec<Item> = serde_json::from_str(json).unwrap();
        list.retain_firsts(|item| item.selected.is_true());
        let ids = list.as_slice().iter().map(|item| item.id.or_empty());
        assert_eq!(ids.collect::<Vec<_>>(), ["1", "2"]);
    }
}

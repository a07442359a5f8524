//! Lists and objects whose invalid elements are skipped.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The text of a JSON value, to be decoded later, if at all.
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
    use crate::plex::lenient::{Flag, Text};

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Item {
        id: Text,
        selected: Flag,
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

//! Lists and objects whose invalid elements are skipped.
//!
//! A list at the top of a response is read off the connection element by element ([`streamed`]), and
//! what is within an element borrows from that element's text. So decoding a response takes the
//! memory of its largest element once, however deep that one is, and what is kept of it.

use std::{
    borrow::Borrow,
    fmt::{self, Write as _},
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::scalar::Text;

/// The text of a JSON value, to be decoded later, if at all.
#[derive(Debug, Default)]
pub struct Raw(Option<Box<RawValue>>);

impl Raw {
    /// Decodes the value as a list, as [`LenientVec`] does.
    #[must_use]
    pub fn list<T: DeserializeOwned, const MAX: usize>(&self) -> LenientVec<T, MAX> {
        self.0.as_deref().map(list).unwrap_or_default()
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

    /// The object, to be completed.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
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
        <&RawValue>::deserialize(deserializer).map(|raw| Self(one(raw)))
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
pub(in crate::plex) trait Elements: Default {
    /// What it is a list of.
    type Element: DeserializeOwned;
    /// Whether the rest need not be decoded.
    fn is_full(&self) -> bool;
    /// The next element.
    fn push(&mut self, element: Self::Element);
    /// An element was not decoded.
    fn skip(&mut self);
    /// There are no more elements.
    fn end(&mut self) {}
}

impl<T: DeserializeOwned, const MAX: usize> Elements for LenientVec<T, MAX> {
    type Element = T;
    fn is_full(&self) -> bool {
        self.elements.len() >= MAX
    }
    fn push(&mut self, element: T) {
        self.elements.push(element);
    }
    fn skip(&mut self) {
        self.dropped += 1;
    }
    /// Half of what a list that grew has reserved may be empty.
    fn end(&mut self) {
        self.elements.shrink_to_fit();
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

impl<T: DeserializeOwned + Selectable> Elements for Selected<T> {
    type Element = T;
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
        <&RawValue>::deserialize(deserializer).map(list)
    }
}

impl<'de, T: DeserializeOwned + Selectable> Deserialize<'de> for Selected<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(list)
    }
}

/// Decodes a list at the top of a response, which is not in memory as a whole: nothing can borrow
/// from it.
///
/// # Errors
/// When the response is not JSON, or the connection is lost.
pub(in crate::plex) fn streamed<'de, D: Deserializer<'de>, C: Elements>(
    deserializer: D,
) -> Result<C, D::Error> {
    deserializer.deserialize_any(AnyList::<C, Box<RawValue>>(PhantomData))
}

/// A lone object in the place of a streamed list is put together in memory; what is beyond this is
/// skipped.
const MAX_LONE: usize = 1_000_000;

/// Visits a list, a lone object, or anything else, which counts as an empty list. The text of an
/// element comes as `R`.
struct AnyList<C, R>(PhantomData<(C, R)>);

impl<'de, C: Elements, R: Deserialize<'de> + Borrow<RawValue>> Visitor<'de> for AnyList<C, R> {
    type Value = C;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }
    // Element by element: of a long list only one element's text is held at a time.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = C::default();
        while !list.is_full() {
            let Some(raw) = seq.next_element::<R>()? else {
                list.end();
                return Ok(list);
            };
            if let Some(element) = object(raw.borrow()) {
                list.push(element);
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            list.skip();
        }
        list.end();
        Ok(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut text = String::new();
        while let Some((key, value)) = map.next_entry::<Text, R>()? {
            let (key, value) = (Value::from(key.or_empty()), value.borrow().get());
            if text.len() + value.len() < MAX_LONE {
                let separator = if text.is_empty() { '{' } else { ',' };
                // Writing to a String cannot fail.
                let _ = write!(text, "{separator}{key}:{value}");
            }
        }
        text.push('}');
        let mut list = C::default();
        if let Ok(element) = serde_json::from_str(&text) {
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
    let list: LenientVec<T, 1> = list(raw);
    list.into_inner().into_iter().next()
}

/// Decodes a list, or a lone object as a list of one. Anything else counts as an empty list.
fn list<C: Elements>(raw: &RawValue) -> C {
    let text = raw.get();
    if text.starts_with('[') {
        let visitor = AnyList::<C, &RawValue>(PhantomData);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        return deserializer.deserialize_seq(visitor).unwrap_or_default();
    }
    let mut list = C::default();
    if let Some(element) = object(raw) {
        list.push(element);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plex::lenient::Flag;

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

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Response {
        #[serde(deserialize_with = "streamed")]
        items: LenientVec<Item, 2>,
        last: Text,
    }

    #[test]
    fn a_list_that_cannot_be_borrowed_from_decodes_alike() {
        for (json, ids, dropped) in [
            (
                r#"[{"id":1},"x",{"id":2,"id":3},{"id":"4"},{"id":5},6]"#,
                &["1", "4"][..],
                2,
            ),
            (r#"{"id":"a\"b","selected":1}"#, &["a\"b"], 0),
            (r#"{"id":1,"id":2}"#, &[], 0),
            ("null", &[], 0),
            ("3", &[], 0),
            ("\"x\"", &[], 0),
        ] {
            let json = format!(r#"{{"items":{json},"last":"read"}}"#);
            let response: Response = serde_json::from_reader(json.as_bytes()).unwrap();
            let items = response.items.as_slice().iter();
            assert_eq!(
                items.map(|item| item.id.or_empty()).collect::<Vec<_>>(),
                ids
            );
            assert_eq!(response.items.dropped(), dropped, "{json}");
            assert_eq!(response.last.get(), Some("read"));
        }
    }

    #[test]
    fn of_a_huge_lone_object_the_small_fields_are_decoded() {
        let huge = "x".repeat(MAX_LONE);
        let json = format!(r#"{{"items":{{"id":1,"huge":"{huge}","{huge}":2,"selected":true}}}}"#);
        let response: Response = serde_json::from_reader(json.as_bytes()).unwrap();
        let item = &response.items.as_slice()[0];
        assert!(item.id.get() == Some("1") && item.selected.is_true());
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

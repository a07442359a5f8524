//! Text, numbers and booleans of any JSON type.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::secret::redact;

/// A scalar of any JSON type; arrays, objects and null count as absent.
///
/// The token is redacted here, before a text is truncated: what a Plex echoes becomes a label value.
enum Scalar<'de> {
    Text(Cow<'de, str>),
    Number(f64),
    Integer(i128),
    Flag(bool),
    Absent,
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
                Ok(Scalar::Absent)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Absent)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Absent)
            }
        }
        deserializer.deserialize_any(AnyScalar)
    }
}

/// Longer text is truncated when it is decoded, so that Plex or a client cannot make the exporter
/// keep large values.
pub const MAX_TEXT: usize = 256;

/// The text, truncated on a character boundary.
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

    /// Takes over `text`, if there is none yet.
    pub fn or_set(&mut self, text: &str) {
        if self.0.is_none() && !text.is_empty() {
            self.0 = Some(truncate(text).into());
        }
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
            Scalar::Absent => None,
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

    /// The number truncated to an integer, unless it is absent, negative or beyond 2⁵³.
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
    /// Parses the number in `text`, if there is none yet.
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
            Scalar::Flag(_) | Scalar::Absent => None,
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
    fn every_known_type_drift_decodes_alike() {
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
    fn long_text_is_truncated_on_a_character_boundary() {
        for (text, bytes) in [
            ("é".repeat(200), 256),
            (format!("a{}", "é".repeat(200)), 255),
        ] {
            let truncated = item(&serde_json::json!({"id": text}).to_string());
            assert_eq!(truncated.id.or_empty(), &text[..bytes]);
        }
    }

    #[test]
    fn invalid_values_count_as_absent() {
        for invalid in [
            r#"{"id":null,"bitrate":"","selected":"perhaps"}"#,
            r#"{"id":[1],"bitrate":{"a":1},"selected":7}"#,
            r#"{"id":"","bitrate":"NaN","selected":null}"#,
        ] {
            assert_eq!(item(invalid), Item::default(), "{invalid}");
        }
    }

    #[test]
    fn negative_numbers_mean_unknown_for_amounts() {
        assert_eq!(item(r#"{"bitrate":-22}"#).bitrate.non_negative(), None);
        assert_eq!(item(r#"{"bitrate":-22}"#).bitrate.get(), Some(-22.0));
        assert_eq!(item(r#"{"bitrate":1e300}"#).bitrate.whole(), None);
        assert_eq!(item(r#"{"bitrate":7.9}"#).bitrate.whole(), Some(7));
    }
}

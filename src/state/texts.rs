//! Several short texts in one allocation.
//!
//! A thousand plays have dozens of texts each, most of a few bytes. In its own allocation, each
//! would take at least 16 bytes, and as many again for the pointer.

/// `N` texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts<const N: usize> {
    text: Box<str>,
    /// Where each of them ends.
    ends: [u32; N],
}

impl<const N: usize> Texts<N> {
    /// Joins `texts`.
    #[must_use]
    pub fn of(texts: [&str; N]) -> Self {
        let mut length = 0;
        let ends = texts.map(|text| {
            length += text.len();
            // Plex's texts are truncated to 256 bytes.
            u32::try_from(length).unwrap_or(u32::MAX)
        });
        Self {
            text: texts.concat().into(),
            ends,
        }
    }

    /// The texts up to the one at `last`, joined.
    #[must_use]
    pub fn until(&self, last: usize) -> &str {
        self.text
            .get(..self.ends[last] as usize)
            .unwrap_or_default()
    }

    /// All texts.
    #[must_use]
    pub fn all(&self) -> [&str; N] {
        let mut begin = 0;
        self.ends.map(|end| {
            let text = self.text.get(begin..end as usize).unwrap_or_default();
            begin = end as usize;
            text
        })
    }
}

impl<const N: usize> Default for Texts<N> {
    fn default() -> Self {
        Self::of([""; N])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn joined_texts_are_separated_again(texts: [String; 3]) {
            let texts = texts.each_ref().map(String::as_str);
            let together = Texts::of(texts);
            prop_assert_eq!(together.all(), texts);
            prop_assert_eq!(together.until(1), [texts[0], texts[1]].concat());
        }
    }

    #[test]
    fn texts_with_other_boundaries_differ() {
        assert_ne!(Texts::of(["a", "bc"]), Texts::of(["ab", "c"]));
        assert_eq!(Texts::<2>::default().all(), ["", ""]);
    }
}

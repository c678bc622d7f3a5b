//! Key-values in the order in which they were said, as one text.
//!
//! A dialog keeps those of its metadata as long as it lasts, often a hundred of some octets each. A string for each key
//! and each value would take 48 octets and two allocations beside what they say.

use std::fmt;

/// See the module. A key may have several values.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyValues {
    /// Key, value, key, value, …
    text: String,
    /// Where each key and its value end.
    ends: Vec<[u32; 2]>,
}

impl KeyValues {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: String::new(), ends: Vec::new() }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Octets of all keys and values.
    #[must_use]
    pub const fn octets(&self) -> usize {
        self.text.len()
    }

    /// Adds one behind the others; false: it would be more than 4 GiB, and is left out.
    pub fn push(&mut self, key: &str, value: &str) -> bool {
        let end = |octets: usize| u32::try_from(self.text.len().saturating_add(octets)).ok();
        let (Some(of_key), Some(of_value)) = (end(key.len()), end(key.len().saturating_add(value.len())))
        else {
            return false;
        };
        self.text.push_str(key);
        self.text.push_str(value);
        self.ends.push([of_key, of_value]);
        true
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let mut from = 0;
        self.ends.iter().map(move |ends| {
            let [key, value] = ends.map(|end| end as usize);
            let begin = std::mem::replace(&mut from, value);
            let of = |from, until| self.text.get(from..until).unwrap_or_default();
            (of(begin, key), of(key, value))
        })
    }

    /// Keeps those of which this is true.
    pub fn retain(&mut self, is_kept: impl Fn(&str, &str) -> bool) {
        if self.iter().all(|(key, value)| is_kept(key, value)) {
            return;
        }
        *self = self.iter().filter(|(key, value)| is_kept(key, value)).collect();
    }

    /// Gives back the room for more.
    pub fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for KeyValues {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(all: I) -> Self {
        let mut made = Self::new();
        for (key, value) in all {
            made.push(key, value);
        }
        made
    }
}

impl fmt::Debug for KeyValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn they_are_what_was_added(said: Vec<(String, String)>, kept: char) {
            let mut all: KeyValues = said.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let expected = |is_kept: &dyn Fn(&str) -> bool| -> Vec<(&str, &str)> {
                said.iter().map(|(k, v)| (k.as_str(), v.as_str())).filter(|(k, _)| is_kept(k)).collect()
            };
            prop_assert_eq!(all.iter().collect::<Vec<_>>(), expected(&|_| true));
            prop_assert_eq!(all.octets(), said.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>());
            let has = |key: &str| key.contains(kept) || key.len().is_multiple_of(2);
            all.retain(|key, _| has(key));
            prop_assert_eq!(all.iter().collect::<Vec<_>>(), expected(&has));
            prop_assert_eq!(all.len(), expected(&has).len());
        }
    }
}

//! What people note of a call: tags, and key-values.
//!
//! The call's log holds notes in the order in which they were made; of several on one [`Subject`] the newest
//! counts. Making one twice is as making it once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Characters of a tag: what fits into a list beside a call.
pub const TAG_CHARS_MAX: usize = 64;
/// Characters of a key.
pub const KEY_CHARS_MAX: usize = 64;
/// Characters of a value: a paragraph. Longer texts belong where they came from, with a link here.
pub const VALUE_CHARS_MAX: usize = 1_000;

/// Text that cannot be noted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteParseError {
    /// Not a tag.
    #[error(
        "'{0}' is no tag: 1 to 64 characters, no control characters, '/', '\\' or ',', \
         and neither a space nor a dot at the begin or a space at the end"
    )]
    Tag(String),
    /// Not a key.
    #[error("'{0}' is no key: 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")]
    Key(String),
    /// Not a value.
    #[error("a value is 1 to 1000 characters without control characters other than tab and line feed")]
    Value,
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident, $parse:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl FromStr for $name {
            type Err = NoteParseError;
            fn from_str(s: &str) -> Result<Self, NoteParseError> { $parse(s).map(|()| Self(s.to_owned())) }
        }
        impl TryFrom<String> for $name {
            type Error = NoteParseError;
            fn try_from(s: String) -> Result<Self, NoteParseError> { $parse(&s).map(|()| Self(s)) }
        }
        impl From<$name> for String {
            fn from(text: $name) -> Self { text.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Debug::fmt(&self.0, f) }
        }
    )+};
}

texts! {
    /// A word or two on a call: `complaint`, `Rückruf nötig`.
    Tag, tag;
    /// The name of a value: `ticket`, `agent-id`.
    NoteKey, key;
    /// What a key stands for.
    NoteValue, value;
}

fn tag(s: &str) -> Result<(), NoteParseError> {
    let chars = s.chars().count();
    let fits = (1..=TAG_CHARS_MAX).contains(&chars)
        && !s.starts_with([' ', '.'])
        && !s.ends_with(' ')
        && s.chars().all(|c| !is_hidden(c) && !matches!(c, '/' | '\\' | ','));
    if fits { Ok(()) } else { Err(NoteParseError::Tag(start_of(s))) }
}

fn key(s: &str) -> Result<(), NoteParseError> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=KEY_CHARS_MAX).contains(&s.len())
        && s.bytes().all(|c| plain(c) || matches!(c, b'.' | b'_' | b'-'))
        && s.bytes().next().is_some_and(plain);
    if fits { Ok(()) } else { Err(NoteParseError::Key(start_of(s))) }
}

fn value(s: &str) -> Result<(), NoteParseError> {
    let fits = (1..=VALUE_CHARS_MAX).contains(&s.chars().count())
        && s.chars().all(|c| matches!(c, '\t' | '\n') || !c.is_control());
    if fits { Ok(()) } else { Err(NoteParseError::Value) }
}

/// Control characters, and those that change how their neighbors look or are blank (general punctuation from
/// U+2000 to U+206F but for dashes, quotes and the like): two tags that look the same should be the same.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{a0}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{feff}')
}

fn start_of(s: &str) -> String {
    s.chars().take(TAG_CHARS_MAX).collect()
}

/// Something that is noted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Note {
    /// The call has this tag.
    Tagged {
        /// The tag.
        tag: Tag,
    },
    /// It has it no more.
    Untagged {
        /// The tag.
        tag: Tag,
    },
    /// The key stands for this value.
    Put {
        /// The key.
        key: NoteKey,
        /// The value.
        value: NoteValue,
    },
    /// The key stands for nothing any more.
    Removed {
        /// The key.
        key: NoteKey,
    },
}

/// What a note is on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// A tag.
    Tag(Tag),
    /// A key.
    Key(NoteKey),
}

impl Note {
    /// What it is on.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::Tagged { tag } | Self::Untagged { tag } => Subject::Tag(tag.clone()),
            Self::Put { key, .. } | Self::Removed { key } => Subject::Key(key.clone()),
        }
    }

    /// The name of the event in the outbox: `tag` or `metadata`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tagged { .. } | Self::Untagged { .. } => "tag",
            Self::Put { .. } | Self::Removed { .. } => "metadata",
        }
    }

    /// Whether it takes something away that another one noted.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        matches!(self, Self::Untagged { .. } | Self::Removed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};

    #[test]
    fn tags_are_words_that_look_like_what_they_are() {
        for (text, is_tag) in [
            ("complaint", true),
            ("Rückruf nötig", true),
            ("a:b@c#d+e", true),
            ("v1.2", true),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
            ("", false),
            (" x", false),
            ("x ", false),
            ("..", false),
            ("a/b", false),
            ("a,b", false),
            ("a\\b", false),
            ("a\nb", false),
            ("a\u{202e}b", false),
            ("a\u{200b}b", false),
            ("a\u{a0}b", false),
        ] {
            assert_eq!(text.parse::<Tag>().is_ok(), is_tag, "{text:?}");
        }
    }

    #[test]
    fn keys_and_values_have_their_limits() {
        for (text, is_key) in [
            ("ticket", true),
            ("a.b_c-9", true),
            ("Ticket", false),
            ("-a", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(text.parse::<NoteKey>().is_ok(), is_key, "{text:?}");
        }
        for (text, is_value) in [
            ("two\nlines\t", true),
            ("", false),
            ("\u{0}", false),
            (&"x".repeat(1_000), true),
            (&"x".repeat(1_001), false),
        ] {
            assert_eq!(text.parse::<NoteValue>().is_ok(), is_value, "{text:.20?}");
        }
    }

    #[test]
    fn what_is_read_is_checked() {
        let note = Note::Put { key: "ticket".parse().unwrap(), value: "T-1".parse().unwrap() };
        let json = serde_json::to_string(&note).unwrap();
        assert_eq!(json, r#"{"what":"put","key":"ticket","value":"T-1"}"#);
        assert_eq!(serde_json::from_str::<Note>(&json).unwrap(), note);
        assert!(serde_json::from_str::<Note>(r#"{"what":"tagged","tag":"a/b"}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_tag_as_it_stands_or_none(s in "\\PC{0,70}") {
            if let Ok(tag) = s.parse::<Tag>() {
                prop_assert_eq!(tag.as_str(), s);
            }
        }
    }
}

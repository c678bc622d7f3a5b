//! Questions: which calls, after which one, how many.
//!
//! Lists are pages by key, not by offset: a [`Cursor`] names the last call of a page, and the next page begins
//! after it, whatever was added meanwhile. Every list has a limit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use model::{CallId, Direction, RecordingState, TenantId, WallTime};

/// Rows of a list when nobody says how many: what a person looks through.
pub const LIST_DEFAULT: usize = 100;
/// Rows of a list at most: about 1 MB of JSON, made in a few milliseconds.
pub const LIST_MAX: usize = 1_000;

/// Which calls to list, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Begun at this time or later.
    pub from: Option<WallTime>,
    /// Begun before this time.
    pub until: Option<WallTime>,
    /// In this state.
    pub state: Option<RecordingState>,
    /// With or without a live segment.
    pub live: Option<bool>,
    /// A part of a name, number, address or value, whatever its case.
    pub text: Option<String>,
    /// The beginning of a party's number.
    pub number: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// With this value for a key, from the call's data or added later.
    pub metadata: Option<(String, String)>,
    /// That went this way.
    pub direction: Option<Direction>,
    /// That have ended and took this long or longer.
    pub duration_min: Option<Duration>,
    /// That have ended and took this long or shorter.
    pub duration_max: Option<Duration>,
    /// The last call of the page before.
    pub after: Option<Cursor>,
    /// How many; [`LIST_DEFAULT`] when not said, never more than [`LIST_MAX`].
    pub limit: Option<usize>,
}

/// A place in a list: after this call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// When the call began.
    pub started: WallTime,
    /// Which call it is.
    pub call: CallId,
}

/// Text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no cursor; use the one that came with the page before")]
pub struct CursorParseError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.started.0, self.call)
    }
}

impl FromStr for Cursor {
    type Err = CursorParseError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.split_once('.')
            .and_then(|(started, call)| {
                Some(Self { started: WallTime(started.parse().ok()?), call: call.parse().ok()? })
            })
            .ok_or_else(|| CursorParseError(s.chars().take(80).collect()))
    }
}

/// A limit as a list uses it.
pub(crate) fn limit(asked: Option<usize>) -> i64 {
    i64::try_from(asked.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX)).unwrap_or(1)
}

/// A pattern that finds the text anywhere, whatever `%`, `_` and `\` are in it.
pub(crate) fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn limits_are_kept_whatever_is_asked() {
        for (asked, kept) in
            [(None, 100), (Some(0), 1), (Some(7), 7), (Some(1_001), 1_000), (Some(usize::MAX), 1_000)]
        {
            assert_eq!(limit(asked), kept, "{asked:?}");
        }
    }

    #[test]
    fn wildcards_in_a_search_are_plain_characters() {
        assert_eq!(like("50%_A\\b"), "%50\\%\\_a\\\\b%");
    }

    proptest! {
        #[test]
        fn cursors_round_trip(started in any::<i64>(), id in any::<u64>()) {
            let cursor = Cursor { started: WallTime(started), call: CallId::from_u64(id) };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_or_refused(s in "\\PC{0,30}") {
            if let Ok(cursor) = s.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
    }
}

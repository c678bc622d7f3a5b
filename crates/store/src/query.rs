//! Questions: which calls, after which one, how many.
//!
//! Lists are pages by key, not by offset: a [`Cursor`] names the last call of a page, and the next page begins
//! after it, whatever was added meanwhile. Every list has a limit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use model::{CallId, Direction, RecordingState, TenantId, WallTime};
use sqlx::{QueryBuilder, Sqlite};

use crate::rows;

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

/// The columns of a list, in the order of `view::CallRow`.
pub(crate) const CALL_COLUMNS: &str = "c.id, c.tenant, c.data, c.started, c.ended, c.total, c.segments, c.state, c.live, c.changed, \
     (SELECT json_group_array(t.tag ORDER BY t.tag) FROM tags t WHERE t.call = c.id AND t.present = 1) AS tags";

/// The question in SQL.
pub(crate) fn list(query: &CallQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(CALL_COLUMNS);
    sql.push(" FROM calls c WHERE c.tenant = ").push_bind(query.tenant.as_str().to_owned());
    sql.push(" AND c.joined IS NULL");
    if let Some(from) = query.from {
        sql.push(" AND c.started >= ").push_bind(from.0);
    }
    if let Some(until) = query.until {
        sql.push(" AND c.started < ").push_bind(until.0);
    }
    if let Some(state) = query.state {
        sql.push(" AND c.state = ").push_bind(i64::from(state.code()));
    }
    match query.live {
        // Spelled out, so that the partial index is used.
        Some(true) => sql.push(" AND c.live = 1"),
        Some(false) => sql.push(" AND c.live = 0"),
        None => &mut sql,
    };
    if let Some(text) = query.text.as_deref().filter(|t| !t.is_empty()) {
        sql.push(" AND c.search LIKE ").push_bind(like(text)).push(" ESCAPE '\\'");
    }
    if let Some(number) = query.number.as_deref().filter(|n| !n.is_empty()) {
        // A range, so that the index on numbers is used; U+10FFFF is above whatever follows the prefix.
        sql.push(" AND EXISTS (SELECT 1 FROM parties p WHERE p.call = c.id AND p.number >= ");
        sql.push_bind(number.to_owned()).push(" AND p.number < ");
        sql.push_bind(format!("{number}\u{10FFFF}")).push(")");
    }
    further(&mut sql, query);
    if let Some(after) = query.after {
        sql.push(" AND (c.started, c.id) < (").push_bind(after.started.0);
        sql.push(", ").push_bind(rows::id(after.call.as_u64())).push(")");
    }
    sql.push(" ORDER BY c.started DESC, c.id DESC LIMIT ").push_bind(limit(query.limit));
    sql
}

/// What people noted, which way, how long.
fn further(sql: &mut QueryBuilder<Sqlite>, query: &CallQuery) {
    if let Some(tag) = &query.tag {
        sql.push(" AND EXISTS (SELECT 1 FROM tags t WHERE t.call = c.id AND t.present = 1 AND t.tag = ");
        sql.push_bind(tag.clone()).push(")");
    }
    if let Some((key, value)) = &query.metadata {
        sql.push(" AND EXISTS (SELECT 1 FROM metadata m WHERE m.call = c.id AND m.present = 1 AND m.key = ");
        sql.push_bind(key.clone()).push(" AND m.value = ").push_bind(value.clone()).push(")");
    }
    if let Some(direction) = query.direction {
        sql.push(" AND json_extract(c.data, '$.direction') = ").push_bind(rows::name(&direction));
    }
    let nanos = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    if let Some(min) = query.duration_min {
        sql.push(" AND c.ended - c.started >= ").push_bind(nanos(min));
    }
    if let Some(max) = query.duration_max {
        sql.push(" AND c.ended - c.started <= ").push_bind(nanos(max));
    }
}

/// A pattern that finds the text anywhere, whatever `%`, `_` and `\` are in it.
fn like(text: &str) -> String {
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

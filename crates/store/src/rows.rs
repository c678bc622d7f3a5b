//! Between the nouns of `model` and what columns hold.
//!
//! Ids and times are 64-bit integers, states their codes, places text such as `node:0`. What a column holds and
//! cannot be read is [`CatalogError::Unreadable`], never a panic.

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::{EventId, Location, NodeNumber, RecordingState, TenantId, WallTime};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CatalogError;

/// An id as a column holds it. Ids are below 2^63 by construction.
pub(crate) fn id(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A count as a column holds it.
pub(crate) fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// An id from a column.
pub(crate) fn from_id(n: i64) -> Result<u64, CatalogError> {
    u64::try_from(n).map_err(|_| unreadable("an id", &n.to_string()))
}

/// An event id from a column.
pub(crate) fn event_id(n: i64) -> Result<EventId, CatalogError> {
    from_id(n).map(EventId::from_u64)
}

/// A time from a column.
pub(crate) const fn time(n: i64) -> WallTime {
    WallTime(n)
}

/// A state from a column.
pub(crate) fn state(n: i64) -> Result<RecordingState, CatalogError> {
    u8::try_from(n)
        .ok()
        .and_then(RecordingState::from_code)
        .ok_or_else(|| unreadable("a recording state", &n.to_string()))
}

/// A tenant from a column.
pub(crate) fn tenant(name: &str) -> Result<TenantId, CatalogError> {
    name.parse().map_err(|_| unreadable("a tenant", name))
}

/// A number of 16 bits from a column.
pub(crate) fn small(n: i64) -> Result<u16, CatalogError> {
    u16::try_from(n).map_err(|_| unreadable("a number", &n.to_string()))
}

/// A place as a column holds it.
pub(crate) fn place(at: &Location) -> String {
    match at {
        Location::Node(n) => format!("node:{}", n.get()),
        Location::Archive(name) => format!("archive:{name}"),
    }
}

/// A place from a column.
pub(crate) fn from_place(text: &str) -> Result<Location, CatalogError> {
    let bad = || unreadable("a place", text);
    match text.split_once(':').ok_or_else(bad)? {
        ("node", n) => {
            let n = n.parse().ok().and_then(|n| NodeNumber::new(n).ok()).ok_or_else(bad)?;
            Ok(Location::Node(n))
        }
        ("archive", name) => Ok(Location::Archive(name.to_owned())),
        _ => Err(bad()),
    }
}

/// Text as a column holds it: PostgreSQL takes no NUL, and SQLite finds nothing behind one. JSON never has one.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

/// A value as JSON text.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, CatalogError> {
    serde_json::to_string(value).map_err(|e| CatalogError::Refused(sqlx::Error::Encode(Box::new(e))))
}

/// A value from JSON text.
pub(crate) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, CatalogError> {
    serde_json::from_str(text).map_err(|e| unreadable(what, &e.to_string()))
}

/// Rows by a key, in their order.
pub(crate) fn by<T>(all: Vec<T>, key: impl Fn(&T) -> i64) -> BTreeMap<i64, Vec<T>> {
    let mut sorted: BTreeMap<i64, Vec<T>> = BTreeMap::new();
    all.into_iter().for_each(|row| sorted.entry(key(&row)).or_default().push(row));
    sorted
}

/// The name that serde gives to a variant without data: `agent`, `caller`, `audio`.
pub(crate) fn name<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn unreadable(what: &str, found: &str) -> CatalogError {
    CatalogError::Unreadable(format!("{what}: {}", found.chars().take(80).collect::<String>()))
}

//! Names in paths: which call, segment, tag, key.

use axum::extract::Path;
use model::{CallId, NoteKey, SegmentId, StreamId, Tag};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::Problem;
use crate::schema;

/// A call.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct CallPath {
    /// The call.
    #[param(schema_with = schema::id)]
    id: String,
}

/// A segment of a call.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SegmentPath {
    /// The call.
    #[param(schema_with = schema::id)]
    id: String,
    /// The segment.
    #[param(schema_with = schema::id)]
    segment: String,
}

/// A stream of a call.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct StreamPath {
    /// The call.
    #[param(schema_with = schema::id)]
    id: String,
    /// The stream.
    #[param(schema_with = schema::id)]
    stream: String,
}

/// A tag of a call.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TagPath {
    /// The call.
    #[param(schema_with = schema::id)]
    id: String,
    /// The tag.
    #[param(schema_with = schema::tag)]
    tag: String,
}

/// Two calls.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct JoinPath {
    /// The one.
    #[param(schema_with = schema::id)]
    id: String,
    /// The other.
    #[param(schema_with = schema::id)]
    other: String,
}

/// A key of a call.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct KeyPath {
    /// The call.
    #[param(schema_with = schema::id)]
    id: String,
    /// The key.
    #[param(schema_with = schema::key)]
    key: String,
}

impl CallPath {
    pub(crate) fn read(Path(path): &Path<Self>) -> Result<CallId, Problem> {
        call_id(&path.id)
    }
}

impl SegmentPath {
    pub(crate) fn read(Path(path): &Path<Self>) -> Result<(CallId, SegmentId), Problem> {
        Ok((call_id(&path.id)?, named("segment", &path.segment)?))
    }
}

impl StreamPath {
    pub(crate) fn read(Path(path): &Path<Self>) -> Result<(CallId, StreamId), Problem> {
        Ok((call_id(&path.id)?, named("stream", &path.stream)?))
    }
}

impl TagPath {
    pub(crate) fn read(Path(path): &Path<Self>) -> Result<(CallId, Tag), Problem> {
        Ok((call_id(&path.id)?, named("tag", &path.tag)?))
    }
}

impl JoinPath {
    pub(crate) fn read(Path(path): &Path<Self>) -> Result<[CallId; 2], Problem> {
        Ok([call_id(&path.id)?, named("other", &path.other)?])
    }
}

impl KeyPath {
    pub(crate) fn read(Path(path): &Path<Self>) -> Result<(CallId, NoteKey), Problem> {
        Ok((call_id(&path.id)?, named("key", &path.key)?))
    }
}

/// The call that a path names.
pub(crate) fn call_id(text: &str) -> Result<CallId, Problem> {
    named("id", text)
}

fn named<T>(name: &str, text: &str) -> Result<T, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e: T::Err| Problem::bad_path(name, e.to_string()))
}

//! Calls: the list with its filters, and one call with all that is known.

use std::hash::Hasher;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::CallId;
use serde::{Deserialize, Serialize};
use store::{CallQuery, LIST_DEFAULT, LIST_MAX};

use crate::json::{CallJson, DetailJson};
use crate::problem::Problem;
use crate::state::ApiState;

/// Characters of a search text: longer than any number, name or address that it could be part of.
const TEXT_MAX: usize = 200;

/// What may stand behind the `?` of a list. Another name is an error: a misspelled filter must not show all.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListParameters {
    from: Option<String>,
    until: Option<String>,
    state: Option<String>,
    live: Option<String>,
    q: Option<String>,
    number: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
struct ListJson {
    calls: Vec<CallJson>,
    /// Where the next page begins; none when this is the last.
    next: Option<String>,
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    parameters: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters.map_err(|e| Problem::bad_request(e.body_text()))?;
    let mut query = parameters.read()?;
    query.tenant = state.0.config.tenant.clone();
    let limit = query.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
    let calls = state.0.catalog.calls(&query).await?;
    let next = calls.last().filter(|_| calls.len() >= limit).map(|last| last.cursor().to_string());
    answer(&headers, &ListJson { calls: calls.into_iter().map(CallJson::from).collect(), next })
}

pub(crate) async fn detail(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let detail = state.0.catalog.call(&state.0.config.tenant, call_id(&id)?).await?;
    let detail = detail.ok_or_else(Problem::no_such_call)?;
    answer(&headers, &DetailJson::from(detail))
}

/// The call that a path names.
pub(crate) fn call_id(text: &str) -> Result<CallId, Problem> {
    text.parse().map_err(|e: model::IdParseError| Problem::bad_path("id", e.to_string()))
}

impl ListParameters {
    fn read(self) -> Result<CallQuery, Problem> {
        Ok(CallQuery {
            from: parsed("from", self.from)?,
            until: parsed("until", self.until)?,
            state: parsed("state", self.state)?,
            live: parsed("live", self.live)?,
            text: short("q", self.q)?,
            number: short("number", self.number)?,
            after: parsed("after", self.after)?,
            limit: parsed("limit", self.limit)?,
            ..CallQuery::default()
        })
    }
}

/// A parameter that is read by its type. Empty is as if it were not there: forms send it so.
pub(crate) fn parsed<T>(name: &str, text: Option<String>) -> Result<Option<T>, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match short(name, text)? {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(e) => Err(Problem::bad_parameter(name, e)),
        },
    }
}

fn short(name: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    match text {
        Some(text) if text.chars().count() > TEXT_MAX => {
            Err(Problem::bad_parameter(name, format!("more than {TEXT_MAX} characters")))
        }
        other => Ok(other.filter(|text| !text.is_empty())),
    }
}

/// JSON with an ETag, or 304 when whoever asks has it already: pages ask every two seconds.
pub(crate) fn answer<T: Serialize>(headers: &HeaderMap, body: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(body).map_err(|e| Problem::internal(e.to_string()))?;
    Ok(tagged(headers, HeaderValue::from_static("application/json"), body))
}

/// A body with the hash of its bytes as ETag (RFC 9110 section 8.8.3).
pub(crate) fn tagged(headers: &HeaderMap, content_type: HeaderValue, body: Vec<u8>) -> Response {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&body);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let known = known.flat_map(|v| v.split(',')).any(|t| t.trim().trim_start_matches("W/") == tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, content_type)], body).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

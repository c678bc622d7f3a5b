//! Calls: the list with its filters, one call with all that is known, its segments, copies and streams.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use serde::Serialize;
use store::{CallDetail, LIST_DEFAULT, LIST_MAX, SegmentDetail};
use utoipa::ToSchema;

use crate::answer;
use crate::document::{CallRefusals, CatalogRefusals, SegmentRefusals};
use crate::json::{CallJson, CopyJson, DetailJson, SegmentJson, SiprecJson, StreamJson};
use crate::path::{CallPath, SegmentPath};
use crate::problem::Problem;
use crate::query::ListParameters;
use crate::state::ApiState;

/// A page of calls.
#[derive(Serialize, ToSchema)]
#[schema(as = CallList)]
pub(crate) struct ListJson {
    /// Newest first.
    calls: Vec<CallJson>,
    /// Where the next page begins, for `after`; null when this is the last.
    next: Option<String>,
}

/// Segments of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentList)]
pub(crate) struct SegmentsJson {
    /// In order of their numbers.
    segments: Vec<SegmentJson>,
}

/// Streams of a segment.
#[derive(Serialize, ToSchema)]
#[schema(as = StreamList)]
pub(crate) struct StreamsJson {
    /// In order of their m-lines.
    streams: Vec<StreamJson>,
}

/// Copies of a call and its segments.
#[derive(Serialize, ToSchema)]
#[schema(as = CopyList)]
pub(crate) struct CopiesJson {
    /// Of the call as a whole.
    call: Vec<CopyJson>,
    /// Of its segments.
    segments: Vec<SegmentCopiesJson>,
}

/// Copies of a segment.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentCopies)]
pub(crate) struct SegmentCopiesJson {
    /// The segment.
    #[schema(schema_with = crate::schema::id)]
    segment: model::SegmentId,
    /// Its copies.
    copies: Vec<CopyJson>,
}

/// SIPREC metadata of a segment.
#[derive(Serialize, ToSchema)]
#[schema(as = SiprecList)]
pub(crate) struct SiprecsJson {
    /// As they came, in order.
    bodies: Vec<SiprecJson>,
}

/// Calls, newest first.
#[utoipa::path(get, path = "/calls", operation_id = "list_calls", tag = "calls",
    params(ListParameters),
    responses((status = 200, description = "A page of calls", body = ListJson),
        (status = 304, description = "As the ETag in If-None-Match"), CatalogRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    parameters: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters.map_err(|e| Problem::bad_query(e.body_text()))?;
    let mut query = parameters.read()?;
    query.tenant = state.0.config.tenant.clone();
    let limit = query.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
    let calls = state.0.catalog.calls(&query).await?;
    let next = calls.last().filter(|_| calls.len() >= limit).map(|last| last.cursor().to_string());
    answer::json(&headers, &ListJson { calls: calls.into_iter().map(CallJson::from).collect(), next })
}

/// One call with all that is known of it.
///
/// The id of a call that turned out to be another leads to that other, here and in all paths below: `id` and
/// `Content-Location` say which one it is.
#[utoipa::path(get, path = "/calls/{id}", operation_id = "get_call", tag = "calls",
    params(CallPath),
    responses((status = 200, description = "The call", body = DetailJson),
        (status = 304, description = "As the ETag in If-None-Match"), CallRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn detail(
    State(state): State<ApiState>,
    path: Path<CallPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = CallPath::read(&path)?;
    let detail = of(&state, asked).await?;
    let id = detail.summary.id;
    let gathering = state.0.gathering.standing(state.0.config.tenant.clone(), id).await;
    let mut response = answer::json(&headers, &DetailJson::from(detail).with(gathering))?;
    if id != asked
        && let Ok(place) = HeaderValue::from_str(&format!("/api/v1/calls/{id}"))
    {
        response.headers_mut().insert(header::CONTENT_LOCATION, place);
    }
    Ok(response)
}

/// The segments of a call.
#[utoipa::path(get, path = "/calls/{id}/segments", operation_id = "list_segments", tag = "calls",
    params(CallPath),
    responses((status = 200, description = "Its segments", body = SegmentsJson),
        (status = 304, description = "As the ETag in If-None-Match"), CallRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn segments(
    State(state): State<ApiState>,
    path: Path<CallPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let detail = of(&state, CallPath::read(&path)?).await?;
    let segments = detail.segments.into_iter().map(SegmentJson::from).collect();
    answer::json(&headers, &SegmentsJson { segments })
}

/// Where the copies of a call and of its segments are, and how they stand.
#[utoipa::path(get, path = "/calls/{id}/copies", operation_id = "list_copies", tag = "calls",
    params(CallPath),
    responses((status = 200, description = "Its copies", body = CopiesJson),
        (status = 304, description = "As the ETag in If-None-Match"), CallRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn copies(
    State(state): State<ApiState>,
    path: Path<CallPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let detail = of(&state, CallPath::read(&path)?).await?;
    let of_segment = |s: SegmentDetail| SegmentCopiesJson {
        segment: s.record.id,
        copies: s.copies.into_iter().map(CopyJson::from).collect(),
    };
    let segments = detail.segments.into_iter().map(of_segment).collect();
    let call = detail.copies.into_iter().map(CopyJson::from).collect();
    answer::json(&headers, &CopiesJson { call, segments })
}

/// One segment.
#[utoipa::path(get, path = "/calls/{id}/segments/{segment}", operation_id = "get_segment", tag = "calls",
    params(SegmentPath),
    responses((status = 200, description = "The segment", body = SegmentJson),
        (status = 304, description = "As the ETag in If-None-Match"), SegmentRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn segment(
    State(state): State<ApiState>,
    path: Path<SegmentPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer::json(&headers, &SegmentJson::from(segment_of(&state, &path).await?))
}

/// The streams of a segment, with what was counted of their packets.
#[utoipa::path(get, path = "/calls/{id}/segments/{segment}/streams", operation_id = "list_streams", tag = "calls",
    params(SegmentPath),
    responses((status = 200, description = "Its streams", body = StreamsJson),
        (status = 304, description = "As the ETag in If-None-Match"), SegmentRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn streams(
    State(state): State<ApiState>,
    path: Path<SegmentPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let segment = segment_of(&state, &path).await?;
    let streams = segment.record.streams.into_iter().map(StreamJson::from).collect();
    answer::json(&headers, &StreamsJson { streams })
}

/// The SIPREC metadata (RFC 7865) of a segment as they were received.
#[utoipa::path(get, path = "/calls/{id}/segments/{segment}/siprec", operation_id = "get_siprec", tag = "calls",
    params(SegmentPath),
    responses((status = 200, description = "The bodies, none when it came without", body = SiprecsJson),
        (status = 304, description = "As the ETag in If-None-Match"), SegmentRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn siprec(
    State(state): State<ApiState>,
    path: Path<SegmentPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let segment = segment_of(&state, &path).await?;
    let bodies = segment.record.metadata.into_iter().map(SiprecJson::from).collect();
    answer::json(&headers, &SiprecsJson { bodies })
}

pub(crate) async fn of(state: &ApiState, call: model::CallId) -> Result<CallDetail, Problem> {
    let detail = state.0.catalog.call(&state.0.config.tenant, call).await?;
    detail.ok_or_else(Problem::no_such_call)
}

async fn segment_of(state: &ApiState, path: &Path<SegmentPath>) -> Result<SegmentDetail, Problem> {
    let (call, segment) = SegmentPath::read(path)?;
    let detail = of(state, call).await?;
    detail.segments.into_iter().find(|s| s.record.id == segment).ok_or_else(Problem::no_such_segment)
}

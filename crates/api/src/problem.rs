//! Errors as `application/problem+json` (RFC 9457). Status codes are chosen here and nowhere else.

pub(crate) mod kinds;

use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use store::CatalogError;
use utoipa::ToSchema;

use crate::document::PathRefusals;
use crate::port::{AudioError, GatherError, JoinError, ListenError, LiveError, NoteError};
use kinds::Kind;

/// Seconds until something that is away or busy is worth another try.
const RETRY_AFTER: &str = "2";

/// An error as HTTP tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    place: Option<Place>,
}

/// Which part of the request is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// `query`, `path`, `header`, `body`
    part: &'static str,
    /// The name of a parameter or header, or a JSON pointer (RFC 6901) into the body.
    at: String,
}

impl Problem {
    fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), place: None }
    }

    fn at(mut self, part: &'static str, at: &str) -> Self {
        self.place = Some(Place { part, at: at.to_owned() });
        self
    }

    /// A header or line that makes no sense.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(kinds::BAD_REQUEST, detail)
    }

    /// A parameter behind the `?` that makes no sense.
    pub(crate) fn bad_parameter(name: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(kinds::BAD_REQUEST, format!("{name}: {detail}")).at("query", name)
    }

    /// What stands behind the `?` makes no sense as a whole.
    pub(crate) fn bad_query(detail: impl Into<String>) -> Self {
        Self::new(kinds::BAD_REQUEST, detail).at("query", "")
    }

    /// An id of an event that is none.
    pub(crate) fn bad_last_event_id(detail: String) -> Self {
        Self::new(kinds::BAD_REQUEST, detail).at("header", "Last-Event-ID")
    }

    /// The client accepts no type that there is.
    pub(crate) fn not_acceptable(served: &str) -> Self {
        Self::new(kinds::NOT_ACCEPTABLE, format!("it is served as {served}")).at("header", "Accept")
    }

    /// A piece of the path that makes no sense.
    pub(crate) fn bad_path(name: &str, detail: impl Into<String>) -> Self {
        Self::new(kinds::BAD_REQUEST, detail).at("path", name)
    }

    /// JSON that says what it may not say, at a JSON pointer.
    pub(crate) fn unfit(pointer: &str, detail: impl Into<String>) -> Self {
        Self::new(kinds::UNFIT, detail).at("body", pointer)
    }

    /// A body whose text must not be repeated is not as it should be.
    pub(crate) fn unfit_secret(rejection: &JsonRejection) -> Self {
        match rejection {
            JsonRejection::JsonDataError(_) => Self::unfit(
                "",
                "a member is missing, not known, or of another type; which one is not said, because the body holds a key",
            ),
            JsonRejection::JsonSyntaxError(_) => {
                Self::new(kinds::BAD_REQUEST, "the body is no JSON").at("body", "")
            }
            JsonRejection::MissingJsonContentType(_) => Self::no_type(),
            JsonRejection::BytesRejection(e) => e.into(),
            _ => Self::new(kinds::BAD_REQUEST, "the body cannot be read").at("body", ""),
        }
    }

    /// A body that does not say of which type it is.
    pub(crate) fn no_type() -> Self {
        Self::new(kinds::UNSUPPORTED_TYPE, "a body needs Content-Type: application/json")
            .at("header", "Content-Type")
    }

    /// No token, or a wrong one.
    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::new(kinds::UNAUTHORIZED, detail)
    }

    /// A page of another origin would change something.
    pub(crate) fn foreign_origin(origin: &str) -> Self {
        let origin: String = origin.chars().take(100).collect();
        Self::new(kinds::FOREIGN_ORIGIN, format!("'{origin}' is not where this server is"))
            .at("header", "Origin")
    }

    /// There is no such call for whoever asks.
    pub(crate) fn no_such_call() -> Self {
        Self::new(kinds::NO_SUCH_CALL, "it does not exist or is another tenant's")
    }

    /// The call has no such segment.
    pub(crate) fn no_such_segment() -> Self {
        Self::new(kinds::NO_SUCH_SEGMENT, "the call is there, the segment is not")
    }

    /// A source asks too often.
    pub(crate) fn too_many_requests() -> Self {
        Self::new(kinds::TOO_MANY_REQUESTS, "more requests come from this address than may")
    }

    /// No room for another stream of events.
    pub(crate) fn too_many_streams() -> Self {
        Self::new(kinds::TOO_MANY_STREAMS, "32 streams of events are open")
    }

    /// A name that this server is not meant to be called by.
    pub(crate) fn foreign_host(host: &str) -> Self {
        let host: String = host.chars().take(100).collect();
        let detail = format!("'{host}' is neither a loopback name nor in api.allowed_hosts");
        Self::new(kinds::FOREIGN_HOST, detail).at("header", "Host")
    }

    /// More at once than there is room for.
    pub(crate) fn busy(what: &str) -> Self {
        Self::new(kinds::BUSY, format!("{what}; try again in a moment"))
    }

    /// It took too long.
    pub(crate) fn too_slow() -> Self {
        Self::new(kinds::TOO_SLOW, "the catalog or a disk does not answer in time")
    }

    /// Something of ours broke.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(kinds::INTERNAL, detail)
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Unreadable(_) => {
                tracing::error!(%error, "the catalog holds what cannot be read");
                Self::internal("the catalog holds what cannot be read; `callspool reindex` makes it anew")
            }
            _ => {
                tracing::warn!(%error, "the catalog does not answer");
                let detail = "recording goes on; the list comes back by itself when the catalog does";
                Self::new(kinds::CATALOG_AWAY, detail)
            }
        }
    }
}

impl From<AudioError> for Problem {
    fn from(error: AudioError) -> Self {
        let kind = match &error {
            AudioError::NoCall => return Self::no_such_call(),
            AudioError::Unfit { name, why } => return Self::bad_parameter(name, why),
            AudioError::Missing(_) => kinds::FORMAT_MISSING,
            AudioError::Nothing(_) => kinds::NOTHING_TO_PLAY,
            AudioError::Away(_) => kinds::RECORDING_AWAY,
            AudioError::Failed(_) => kinds::RECORDING_UNREADABLE,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<LiveError> for Problem {
    fn from(error: LiveError) -> Self {
        let kind = match &error {
            LiveError::NoSuchCall => return Self::no_such_call(),
            LiveError::NotLive => kinds::NOT_LIVE,
            LiveError::NoSuchStream => return Self::new(kinds::NO_SUCH_STREAM, error.to_string()),
            LiveError::BadKey(why) => return Self::unfit("/key", why),
            LiveError::NotAllowed(_) => kinds::NOT_ALLOWED,
            LiveError::Unreachable(_) => kinds::NODE_UNREACHABLE,
            LiveError::TimedOut => kinds::ORDER_TIMED_OUT,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<JoinError> for Problem {
    fn from(error: JoinError) -> Self {
        let kind = match &error {
            JoinError::NoCall(_) => kinds::NO_SUCH_CALL,
            JoinError::Same => return Self::bad_path("other", error.to_string()),
            JoinError::NotAllowed(_) => kinds::NOT_ALLOWED,
            JoinError::Away(_) => kinds::RECORDING_AWAY,
            JoinError::Failed(_) => kinds::RECORDING_UNREADABLE,
            JoinError::Unreachable(_) => kinds::NODE_UNREACHABLE,
            JoinError::TimedOut => kinds::ORDER_TIMED_OUT,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<GatherError> for Problem {
    fn from(error: GatherError) -> Self {
        let kind = match &error {
            GatherError::NoSuchCall => return Self::no_such_call(),
            GatherError::NotHere(_) => kinds::NOT_ALLOWED,
            GatherError::Unreachable(_) => kinds::NODE_UNREACHABLE,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ListenError> for Problem {
    fn from(error: ListenError) -> Self {
        let kind = match &error {
            ListenError::NoSuchCall => return Self::no_such_call(),
            ListenError::NotLive => kinds::NOT_LIVE,
            ListenError::TooMany(_) => kinds::TOO_MANY_LISTENERS,
            ListenError::Unreachable(_) => kinds::NODE_UNREACHABLE,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<NoteError> for Problem {
    fn from(error: NoteError) -> Self {
        let kind = match &error {
            NoteError::NoCall => return Self::no_such_call(),
            NoteError::NoStream { at, why } => {
                return Self::new(kinds::NO_SUCH_STREAM, why.clone()).at("body", at);
            }
            NoteError::TooMany(_) => kinds::LIMIT_REACHED,
            NoteError::Away(_) => kinds::RECORDING_AWAY,
            NoteError::Failed(_) => kinds::RECORDING_UNREADABLE,
        };
        Self::new(kind, error.to_string())
    }
}

/// A body that cannot be taken.
impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let kind = match &rejection {
            JsonRejection::JsonDataError(_) => kinds::UNFIT,
            JsonRejection::MissingJsonContentType(_) => kinds::UNSUPPORTED_TYPE,
            JsonRejection::BytesRejection(e) => return e.into(),
            _ => kinds::BAD_REQUEST,
        };
        Self::new(kind, rejection.body_text()).at("body", "")
    }
}

impl From<&BytesRejection> for Problem {
    fn from(rejection: &BytesRejection) -> Self {
        let too_long = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let kind = if too_long { kinds::TOO_LONG } else { kinds::BAD_REQUEST };
        Self::new(kind, rejection.body_text()).at("body", "")
    }
}

/// An error (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body {
    /// The kind: `/problems/<kind>`, which leads to what to do about it.
    r#type: String,
    /// The kind in a few words.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened in this case.
    detail: String,
    /// Which part of the request is wrong, where it is one: `query`, `path`, `header`, `body`.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    part: Option<&'static str>,
    /// The name of the parameter or header, or a JSON pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status;
        let (part, at) = self.place.map(|p| (p.part, p.at)).unzip();
        let body = Body {
            r#type: self.kind.uri(),
            title: self.kind.title,
            status: status.as_u16(),
            detail: self.detail,
            part,
            at,
        };
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"callspool\""));
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

/// What a kind of error means: where its `type` leads.
#[derive(Serialize, ToSchema)]
#[schema(as = ProblemKind)]
pub(crate) struct KindJson {
    r#type: String,
    title: &'static str,
    status: u16,
    /// What to do about it.
    advice: &'static str,
}

/// What a kind of error means, and what to do about it.
#[utoipa::path(get, path = "/problems/{kind}", operation_id = "get_problem_kind", tag = "node",
    params(("kind" = String, Path, description = "The end of a `type`", pattern = "^[a-z-]{1,40}$", example = "no-such-call")),
    responses((status = 200, description = "The kind", body = KindJson), PathRefusals))]
pub(crate) async fn kind(Path(slug): Path<String>) -> Result<axum::Json<KindJson>, Problem> {
    let kind = kinds::KINDS
        .iter()
        .find(|k| k.slug == slug)
        .ok_or(Problem::new(kinds::NO_SUCH_PATH, "no such kind of problem"))?;
    Ok(axum::Json(KindJson {
        r#type: kind.uri(),
        title: kind.title,
        status: kind.status.as_u16(),
        advice: kind.advice,
    }))
}

/// All kinds of errors with their statuses, for the documents.
#[must_use]
pub fn problem_kinds() -> Vec<(&'static str, u16)> {
    kinds::KINDS.iter().map(|k| (k.slug, k.status.as_u16())).collect()
}

pub(crate) async fn no_such_page() -> Problem {
    Problem::new(kinds::NO_SUCH_PATH, "all paths are in /api/v1/openapi.json")
}

pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(kinds::METHOD_NOT_ALLOWED, "the header Allow lists those that it knows")
}

#[cfg(test)]
mod tests {
    use super::kinds::KINDS;

    #[test]
    fn each_kind_has_a_name_of_its_own() {
        let mut slugs: Vec<_> = KINDS.iter().map(|k| k.slug).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), KINDS.len());
        assert!(KINDS.is_sorted_by_key(|k| k.status));
    }
}

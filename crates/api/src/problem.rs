//! Errors as `application/problem+json` (RFC 9457). Status codes are chosen here and nowhere else.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use store::CatalogError;

use crate::port::AudioError;

/// An error as HTTP tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into() }
    }

    /// A parameter or header that makes no sense.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "The request cannot be understood", detail)
    }

    /// No token, or a wrong one.
    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "A token is needed", detail)
    }

    /// There is no such call for whoever asks.
    pub(crate) fn no_such_call() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no such call", "it does not exist or is another tenant's")
    }

    /// A name that this server is not meant to be called by.
    pub(crate) fn foreign_host(host: &str) -> Self {
        let host: String = host.chars().take(100).collect();
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "This server is not served under that name",
            format!("'{host}' is neither a loopback name nor in api.allowed_hosts"),
        )
    }

    /// More at once than there is room for.
    pub(crate) fn busy(what: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too much at once",
            format!("{what}; try again in a moment"),
        )
    }

    /// It took too long.
    pub(crate) fn too_slow() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "It took too long",
            "the catalog or a disk does not answer in time",
        )
    }

    /// Something of ours broke.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here", detail)
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
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The catalog does not answer",
                    "recording goes on; the list comes back by itself when the catalog does",
                )
            }
        }
    }
}

impl From<AudioError> for Problem {
    fn from(error: AudioError) -> Self {
        let (status, title) = match &error {
            AudioError::NoCall => return Self::no_such_call(),
            AudioError::Nothing(_) => (StatusCode::NOT_FOUND, "There is nothing to play"),
            AudioError::Away(_) => (StatusCode::SERVICE_UNAVAILABLE, "The recording cannot be reached"),
            AudioError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "The recording cannot be read"),
        };
        Self::new(status, title, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"callspool\""));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

pub(crate) async fn no_such_page() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "There is no such page",
        "the paths are /, /api/v1/calls and /healthz",
    )
}

pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Only reading is possible", "use GET or HEAD")
}

//! Answers: JSON with an ETag, and what a client says it accepts.

use std::hash::Hasher;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::problem::Problem;

/// JSON with an ETag, or 304 when whoever asks has it already: pages ask every two seconds.
pub(crate) fn json<T: Serialize>(headers: &HeaderMap, body: &T) -> Result<Response, Problem> {
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

/// Refuses who accepts no JSON (RFC 9110 section 12.5.1).
pub(crate) async fn accepts_json(request: Request, next: Next) -> Response {
    accepts(request, next, "application/json").await
}

/// Refuses who accepts no stream of events.
pub(crate) async fn accepts_events(request: Request, next: Next) -> Response {
    accepts(request, next, "text/event-stream").await
}

async fn accepts(request: Request, next: Next, served: &str) -> Response {
    if is_accepted(request.headers(), served) {
        next.run(request).await
    } else {
        Problem::not_acceptable(served).into_response()
    }
}

/// Whether a media type is among those of the Accept headers. Without any, everything is.
fn is_accepted(headers: &HeaderMap, served: &str) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
    if ranges.peek().is_none() {
        return true;
    }
    let group = served.split('/').next().unwrap_or_default();
    ranges.flat_map(|v| v.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default();
        let fits = named.eq_ignore_ascii_case(served)
            || named == "*/*"
            || named.strip_suffix("/*").is_some_and(|g| g.eq_ignore_ascii_case(group));
        let refused =
            parts.any(|p| p.strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.']).is_empty()));
        fits && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_is_read_as_rfc_9110_says() {
        for (accept, accepted) in [
            (None, true),
            (Some("*/*"), true),
            (Some("application/json"), true),
            (Some("text/html, application/*;q=0.8"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("text/html"), false),
            (Some("application/json;q=0"), false),
            (Some("application/json;q=0.000, text/*"), false),
            (Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(is_accepted(&headers, "application/json"), accepted, "{accept:?}");
        }
    }
}

//! What stands before every route: the name that we are called by, the token, limits, and headers that tell a
//! browser to trust nothing else.
//!
//! *DNS rebinding*: a foreign page may give its own name our address and so talk to us as its own server. It
//! cannot change the Host header, which then carries its name; so only known names are served.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::state::{ApiState, Token};

/// The cookie that holds the token.
pub(crate) const COOKIE: &str = "callspool_token";
/// The longest that an answer may take to begin. Somebody looks at an empty page meanwhile.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Refuses what came under a foreign name.
pub(crate) async fn host(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    // A request line may carry a whole address (RFC 9112 section 3.2.2), which then outranks the header.
    let named = request
        .uri()
        .authority()
        .map(|a| a.as_str().to_owned())
        .or_else(|| request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).map(str::to_owned));
    match named {
        Some(name) if is_ours(&name, &state.allowed_hosts()) => match foreign_origin(&request, &name) {
            None => next.run(request).await,
            Some(origin) => Problem::foreign_origin(origin).into_response(),
        },
        Some(name) => Problem::foreign_host(&name).into_response(),
        None => Problem::bad_request("a Host header is needed").into_response(),
    }
}

/// The page that a browser asks on behalf of, when that would change something and is not one of this host and
/// port: a cookie that is `SameSite=Strict` is still sent from other ports of the same host.
fn foreign_origin<'a>(request: &'a Request, host: &str) -> Option<&'a str> {
    if request.method().is_safe() {
        return None;
    }
    let origin = request.headers().get(header::ORIGIN)?.to_str().unwrap_or("not readable");
    let named = origin.split_once("://").map(|(_, host)| host);
    (!named.is_some_and(|named| named.eq_ignore_ascii_case(host))).then_some(origin)
}

/// Refuses who does not know the token.
pub(crate) async fn token(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    match knows(request.headers(), &state.0.config.token) {
        Knows::Token => next.run(request).await,
        Knows::Other => Problem::unauthorized("the token is wrong").into_response(),
        Knows::Nothing => {
            let todo =
                "open the page with the address that callspool printed, or send Authorization: Bearer …";
            Problem::unauthorized(todo).into_response()
        }
    }
}

enum Knows {
    Token,
    Other,
    Nothing,
}

fn knows(headers: &HeaderMap, token: &Token) -> Knows {
    let mut known = Knows::Nothing;
    for given in credentials(headers) {
        if token.is(given) {
            return Knows::Token;
        }
        known = Knows::Other;
    }
    known
}

/// Bounds how many requests are in work and how long one takes to answer.
pub(crate) async fn limits(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let Ok(_permit) = state.0.requests.try_acquire() else {
        return Problem::busy("64 requests are in work").into_response();
    };
    match tokio::time::timeout(ANSWER_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::too_slow().into_response(),
    }
}

/// Headers of every answer.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    const ALL: [(HeaderName, &str); 6] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in ALL {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // What people said is not kept in caches, unless a route says otherwise.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Every token in the headers: Bearer, and all cookies of our name.
fn credentials(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearer = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookies = cookies.flat_map(|value| value.split(';')).filter_map(|pair| {
        let (name, token) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(token)
    });
    bearer.chain(cookies)
}

/// Whether a Host header (a name or address, with or without port) is loopback or configured.
fn is_ours(host: &str, allowed: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || is_port(port) => address,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || allowed.iter().any(|a| a.trim_matches(['[', ']']).eq_ignore_ascii_case(name))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_configured_names_are_ours() {
        let allowed = ["rec.example.com".to_owned(), "192.0.2.7".to_owned(), "2001:db8::7".to_owned()];
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("localhost.:8080", true),
            ("127.0.0.1:8080", true),
            ("127.9.9.9", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("rec.example.com:443", true),
            ("Rec.Example.Com", true),
            ("192.0.2.7:80", true),
            ("[2001:db8::7]:80", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("192.0.2.8", false),
            ("[2001:db8::8]", false),
            ("[::1].evil.example", false),
            ("localhost:80:evil", false),
            ("localhost@evil.example", false),
            ("", false),
            ("[", false),
            (":80", false),
        ] {
            assert_eq!(is_ours(host, &allowed), ours, "{host}");
        }
    }
}

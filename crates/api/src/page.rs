//! The page and its files, embedded: nothing is read from disk, nothing comes from other hosts.
//!
//! The page itself holds no data and needs no token; it asks the interface, and says so when the token is missing.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::answer::tagged;
use crate::guard::COOKIE;
use crate::problem::Problem;
use crate::state::ApiState;

/// A file of the page.
pub(crate) struct File {
    /// Where it is served.
    pub(crate) path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: File =
    File { path: "/", kind: "text/html; charset=utf-8", text: include_str!("../page/index.html") };

macro_rules! files {
    ($($name:literal: $kind:literal,)*) => {
        /// All of them but the page itself.
        pub(crate) const FILES: &[File] = &[$(File {
            path: concat!("/", $name),
            kind: $kind,
            text: include_str!(concat!("../page/", $name)),
        }),*];
    };
}

files! {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
    "net.js": "text/javascript; charset=utf-8",
    "list.js": "text/javascript; charset=utf-8",
    "call.js": "text/javascript; charset=utf-8",
    "wave.js": "text/javascript; charset=utf-8",
    "player.js": "text/javascript; charset=utf-8",
    "video.js": "text/javascript; charset=utf-8",
    "hear.js": "text/javascript; charset=utf-8",
    "sound.js": "text/javascript; charset=utf-8",
    "alarms.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Entrance {
    token: Option<String>,
}

/// The page. With `?token=…` the token moves into a cookie that scripts cannot read, and out of the address.
pub(crate) async fn index(
    State(state): State<ApiState>,
    headers: HeaderMap,
    entrance: Result<Query<Entrance>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(entrance) = entrance.map_err(|e| Problem::bad_request(e.body_text()))?;
    let Some(given) = entrance.token else { return Ok(file(&headers, &HTML)) };
    let token = &state.0.config.token;
    let shows_pages =
        headers.get(header::ACCEPT).and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains("text/html"));
    if !token.is(&given) && shows_pages {
        // To a person the page says what is missing.
        return Ok((StatusCode::UNAUTHORIZED, file(&HeaderMap::new(), &HTML)).into_response());
    }
    if !token.is(&given) {
        return Err(Problem::unauthorized(
            "the token in the address is wrong; callspool prints the right one",
        ));
    }
    // Not `Secure`: the page is served over plain HTTP on loopback; a proxy that adds TLS may add it.
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000", token.text());
    let cookie = HeaderValue::try_from(cookie).map_err(|e| Problem::internal(e.to_string()))?;
    let to = HeaderValue::from_static("/");
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::SET_COOKIE, cookie)]).into_response())
}

/// A file, or 304.
pub(crate) fn file(headers: &HeaderMap, file: &File) -> Response {
    let mut response = tagged(headers, HeaderValue::from_static(file.kind), file.text.as_bytes().to_vec());
    // Asked for again each time, answered by 304: a new version is never mixed with an old one.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

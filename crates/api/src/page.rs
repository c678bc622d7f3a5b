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

const HTML: &str = include_str!("../page/index.html");
const CSS: &str = include_str!("../page/page.css");
const JS: &str = include_str!("../page/page.js");
const ICON: &str = include_str!("../page/icon.svg");

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
    let Some(given) = entrance.token else { return Ok(file(&headers, "text/html; charset=utf-8", HTML)) };
    let token = &state.0.config.token;
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

pub(crate) async fn css(headers: HeaderMap) -> Response {
    file(&headers, "text/css; charset=utf-8", CSS)
}

pub(crate) async fn js(headers: HeaderMap) -> Response {
    file(&headers, "text/javascript; charset=utf-8", JS)
}

pub(crate) async fn icon(headers: HeaderMap) -> Response {
    file(&headers, "image/svg+xml", ICON)
}

fn file(headers: &HeaderMap, content_type: &'static str, text: &'static str) -> Response {
    let mut response = tagged(headers, HeaderValue::from_static(content_type), text.as_bytes().to_vec());
    // Asked for again each time, answered by 304: a new version is never mixed with an old one.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

//! The HTTP interface of callspool and its page.
//!
//! | path | what |
//! | --- | --- |
//! | `/` | the page; `/?token=…` keeps the token in a cookie |
//! | `/api/v1/calls` | calls, newest first: `from`, `until`, `state`, `live`, `q`, `number`, `after`, `limit` |
//! | `/api/v1/calls/{id}` | one call with segments, streams, copies, events |
//! | `/api/v1/calls/{id}/audio.wav` | what was said, as one WAV file; byte ranges |
//! | `POST /api/v1/calls/{id}/start`, `stop`, `pause`, `resume` | orders to a live call |
//! | `/problems/{kind}` | what a kind of error means, and what to do |
//! | `/api/v1/alarms` | what is wrong now, or was: `active`, `severity`, `kind`, `call`, `before`, `limit` |
//! | `/healthz` | whether it runs, and whether the catalog answers |
//!
//! Ids are text in JSON. Errors are `application/problem+json` (RFC 9457). All below `/api` wants the token, as
//! `Authorization: Bearer …` or in the cookie. Only loopback and configured host names are served, so that no
//! foreign page reaches it by rebinding a name of its own (`guard`).
//!
//! It reads the catalog, asks for audio and orders by ports ([`Audio`], [`LiveCalls`]) that the binary implements.
//! It opens no file and no socket, and knows neither SIP nor media nor the repository.

mod alarms;
mod audio;
mod calls;
mod guard;
mod json;
mod orders;
mod page;
mod port;
mod problem;
mod range;
mod state;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

pub use port::{
    Audio, AudioError, AudioStream, Changed, LiveAnswer, LiveCalls, LiveError, LiveOrder, LiveRecording,
    LiveState,
};
pub use problem::Problem;
pub use state::{ApiConfig, ApiState, Ports, Token, TokenError};

/// 64 KiB: many times what any route takes. A body is held in memory, and 64 requests may be in work.
const BODY_MAX: usize = 64 << 10;

/// Everything that is served.
pub fn router(state: ApiState) -> Router {
    let api = Router::new()
        .route("/alarms", get(alarms::list))
        .route("/calls", get(calls::list))
        .route("/calls/{id}", get(calls::detail))
        .route("/calls/{id}/audio.wav", get(audio::wav))
        .route("/calls/{id}/start", post(orders::start))
        .route("/calls/{id}/stop", post(orders::stop))
        .route("/calls/{id}/pause", post(orders::pause))
        .route("/calls/{id}/resume", post(orders::resume))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .route_layer(from_fn_with_state(state.clone(), guard::token));
    Router::new()
        .nest("/api/v1", api)
        .route("/", get(page::index))
        .route("/page.css", get(page::css))
        .route("/page.js", get(page::js))
        .route("/icon.svg", get(page::icon))
        .route("/problems/{kind}", get(problem::kind))
        .route("/healthz", get(page::health))
        .fallback(problem::no_such_page)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), guard::limits))
        .layer(from_fn_with_state(state.clone(), guard::host))
        .layer(from_fn(guard::headers))
        .with_state(state)
}

//! The HTTP interface of callspool and its page.
//!
//! The routes are described beside their code, and [`document`] makes the OpenAPI document of them
//! (`docs/openapi.json`); `docs/api.md` explains them.
//!
//! Ids are text in JSON. Errors are `application/problem+json` (RFC 9457). All below `/api` wants the token, as
//! `Authorization: Bearer …` or in the cookie. Only loopback and configured host names are served, so that no
//! foreign page reaches it by rebinding a name of its own (`guard`).
//!
//! It reads the catalog, asks for audio and orders by ports ([`Audio`], [`port::LiveCalls`]) that the binary implements.
//! It opens no file and no socket, and knows neither SIP nor media nor the repository.

mod alarms;
mod answer;
mod audio;
mod calls;
mod document;
mod event_bodies;
mod events;
mod gathering;
mod guard;
mod health;
mod joins;
mod json;
mod keys;
mod listen;
mod metrics;
mod notes;
mod orders;
mod page;
mod path;
mod peaks;
mod places;
pub mod port;
mod problem;
mod query;
mod range;
mod schema;
mod sides;
mod spans;
mod state;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderMap;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use document::text as document;
pub use events::{EVENT_STREAM_LASTS, KINDS as EVENT_KINDS, event_json};
pub use port::{
    Audio, AudioError, AudioFormat, AudioLayout, AudioRequest, AudioStream, Peaks, PeaksRequest, Waiter,
    Waiting,
};
pub use problem::{Problem, problem_kinds};
pub use state::{ApiConfig, ApiState, MetricsAccess, Ports, Token, TokenError};

/// 64 KiB: many times what any route takes. A body is held in memory, and 64 requests may be in work.
const BODY_MAX: usize = 64 << 10;

/// Everything that is served.
pub fn router(state: ApiState) -> Router {
    let (routes, _) = documented(&state).split_for_parts();
    let page = page::FILES.iter().fold(routes, |routes, file| {
        routes.route(file.path, get(move |headers: HeaderMap| std::future::ready(page::file(&headers, file))))
    });
    page.route("/", get(page::index))
        .fallback(problem::no_such_page)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), guard::limits))
        .layer(from_fn_with_state(state.clone(), metrics::measure))
        .layer(from_fn_with_state(state.clone(), guard::host))
        .layer(from_fn(guard::headers))
        .with_state(state)
}

/// What a source is told that asks too often: whoever serves the routes counts, for he knows who asks.
#[must_use]
pub fn too_many_requests() -> Response {
    Problem::too_many_requests().into_response()
}

/// All routes that have a description.
fn documented(state: &ApiState) -> OpenApiRouter<ApiState> {
    let Described { json, events, files, open, metrics } = described();
    let api = OpenApiRouter::new()
        .merge(json.layer(from_fn(answer::accepts_json)))
        .merge(events.layer(from_fn(answer::accepts_events)))
        .merge(files)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .route_layer(from_fn_with_state(state.clone(), guard::token));
    let token = from_fn_with_state(state.clone(), guard::token);
    let metrics = match state.0.config.metrics {
        MetricsAccess::Open => metrics,
        MetricsAccess::Token => metrics.route_layer(token),
    };
    open.nest("/api/v1", api).merge(metrics)
}

/// Their descriptions.
fn whole_document() -> utoipa::openapi::OpenApi {
    let Described { json, events, files, open, metrics } = described();
    let (_, document) =
        open.nest("/api/v1", json.merge(events).merge(files)).merge(metrics).split_for_parts();
    document
}

/// Routes below `/api/v1` by what they answer with, and those that need no token.
struct Described {
    json: OpenApiRouter<ApiState>,
    events: OpenApiRouter<ApiState>,
    /// Whatever is accepted: players send all sorts of `Accept`.
    files: OpenApiRouter<ApiState>,
    open: OpenApiRouter<ApiState>,
    /// Open or not, as configured.
    metrics: OpenApiRouter<ApiState>,
}

fn described() -> Described {
    let json = OpenApiRouter::new()
        .routes(routes!(alarms::list))
        .routes(routes!(calls::list))
        .routes(routes!(calls::detail))
        .routes(routes!(calls::segments))
        .routes(routes!(calls::segment))
        .routes(routes!(calls::streams))
        .routes(routes!(calls::siprec))
        .routes(routes!(calls::copies))
        .routes(routes!(notes::tags))
        .routes(routes!(notes::put_tag, notes::delete_tag))
        .routes(routes!(notes::metadata))
        .routes(routes!(notes::put_metadata, notes::delete_metadata))
        .routes(routes!(sides::sides, sides::put_sides))
        .routes(routes!(joins::join))
        .routes(routes!(gathering::gather))
        .routes(routes!(peaks::peaks))
        .routes(routes!(places::places))
        .routes(routes!(spans::spans))
        .routes(routes!(orders::start))
        .routes(routes!(orders::stop))
        .routes(routes!(orders::pause))
        .routes(routes!(orders::resume))
        .routes(routes!(keys::put));
    let events = OpenApiRouter::new().routes(routes!(events::events));
    let files = OpenApiRouter::new()
        .routes(routes!(audio::wav))
        .routes(routes!(audio::mp3))
        .routes(routes!(audio::opus))
        .routes(routes!(audio::flac))
        .routes(routes!(audio::mkv))
        .routes(routes!(audio::webm))
        .routes(routes!(listen::wav))
        .routes(routes!(listen::opus));
    let open = OpenApiRouter::with_openapi(document::base())
        .routes(routes!(document::openapi))
        .routes(routes!(problem::kind))
        .routes(routes!(health::health))
        .routes(routes!(health::ready));
    let metrics = OpenApiRouter::new().routes(routes!(metrics::metrics));
    Described { json, events, files, open, metrics }
}

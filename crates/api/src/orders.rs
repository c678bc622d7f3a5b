//! Orders to live calls: start, stop, pause, resume. They go to whoever holds the call by a port and never
//! through the catalog, which is only asked whether a call that nobody holds was there once.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::header;
use axum::{Json, extract};
use model::{CallId, WallTime};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::document::OrderRefusals;
use crate::path::CallPath;
use crate::port::{Changed, LiveError, LiveOrder, LiveRecording, LiveState};
use crate::problem::Problem;
use crate::schema;
use crate::state::{ApiState, BY};

/// A day. What is to stay unrecorded for longer is stopped, not paused.
const PAUSE_SECONDS_MAX: f64 = 86_400.0;

/// How a pause is wanted. The body may be left out.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Pause)]
pub(crate) struct PauseBody {
    /// Seconds after which recording goes on by itself, with an alarm.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86400, example = 300)]
    timeout_s: Option<f64>,
}

/// How the call stands after an order.
#[derive(Serialize, ToSchema)]
#[schema(as = LiveState)]
pub(crate) struct LiveJson {
    /// The call, which the one that was named may have turned out to be.
    #[schema(schema_with = schema::id)]
    call: CallId,
    /// What is kept of it: `on`: all that arrives; `paused`: nothing until it is resumed; `off`: nothing until it is
    /// started.
    #[schema(schema_with = schema::recording)]
    recording: &'static str,
    /// Since when it is paused; null when it is not.
    #[schema(schema_with = schema::time_or_null)]
    paused_since: Option<WallTime>,
    /// When it is resumed by itself; null when it is not.
    #[schema(schema_with = schema::time_or_null)]
    resumes_at: Option<WallTime>,
    /// Whether the order changed anything.
    changed: bool,
}

impl LiveJson {
    fn new(state: LiveState) -> Self {
        let (recording, paused_since, resumes_at) = match state.recording {
            LiveRecording::On => ("on", None, None),
            LiveRecording::Paused { since, until } => ("paused", Some(since), until),
            LiveRecording::Off => ("off", None, None),
        };
        Self { call: state.call, recording, paused_since, resumes_at, changed: state.changed == Changed::Yes }
    }
}

/// Records a live call from now on.
///
/// Giving the order twice is as giving it once. It goes to whoever holds the call; the catalog learns of it afterwards.
#[utoipa::path(post, path = "/calls/{id}/start", operation_id = "start_call", tag = "orders",
    params(CallPath),
    responses((status = 200, description = "How the call stands now", body = LiveJson), OrderRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn start(state: State<ApiState>, id: Path<CallPath>) -> Result<Json<LiveJson>, Problem> {
    order(state, id, LiveOrder::Start).await
}

/// Records no more of a live call, which goes on.
///
/// Giving the order twice is as giving it once. It goes to whoever holds the call; the catalog learns of it afterwards.
#[utoipa::path(post, path = "/calls/{id}/stop", operation_id = "stop_call", tag = "orders",
    params(CallPath),
    responses((status = 200, description = "How the call stands now", body = LiveJson), OrderRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn stop(state: State<ApiState>, id: Path<CallPath>) -> Result<Json<LiveJson>, Problem> {
    order(state, id, LiveOrder::Stop).await
}

/// Keeps nothing of what is said in a live call until it is resumed.
///
/// Giving the order twice is as giving it once. It goes to whoever holds the call; the catalog learns of it afterwards.
#[utoipa::path(post, path = "/calls/{id}/pause", operation_id = "pause_call", tag = "orders",
    params(CallPath),
    request_body(content = Option<PauseBody>, description = "How long at most; may be left out"),
    responses((status = 200, description = "How the call stands now", body = LiveJson), OrderRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn pause(
    state: State<ApiState>,
    id: Path<CallPath>,
    request: Request,
) -> Result<Json<LiveJson>, Problem> {
    let body: PauseBody = optional_body(request).await?;
    let timeout = match body.timeout_s {
        // `300.0` is an integer too, as JSON Schema has it (2020-12, section 6.1.1).
        Some(seconds) if !(1.0..=PAUSE_SECONDS_MAX).contains(&seconds) || seconds.fract() != 0.0 => {
            let detail = format!("timeout_s: {seconds} is no integer between 1 and {PAUSE_SECONDS_MAX}");
            return Err(Problem::unfit("/timeout_s", detail));
        }
        seconds => seconds.map(Duration::from_secs_f64),
    };
    order(state, id, LiveOrder::Pause { timeout }).await
}

/// Records a live call again after a pause.
///
/// Giving the order twice is as giving it once. It goes to whoever holds the call; the catalog learns of it afterwards.
#[utoipa::path(post, path = "/calls/{id}/resume", operation_id = "resume_call", tag = "orders",
    params(CallPath),
    responses((status = 200, description = "How the call stands now", body = LiveJson), OrderRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn resume(state: State<ApiState>, id: Path<CallPath>) -> Result<Json<LiveJson>, Problem> {
    order(state, id, LiveOrder::Resume).await
}

async fn order(
    State(state): State<ApiState>,
    id: Path<CallPath>,
    order: LiveOrder,
) -> Result<Json<LiveJson>, Problem> {
    let call = CallPath::read(&id)?;
    let tenant = state.0.config.tenant.clone();
    let Some(live) = &state.0.live else {
        return Err(LiveError::Unreachable("no record server runs here".to_owned()).into());
    };
    let answer = match live.order(tenant.clone(), call, order, BY.to_owned()).await {
        // Whoever holds live calls does not know those that are over, or turned out to be others; the catalog does,
        // when it is there.
        Err(LiveError::NoSuchCall) => match state.0.catalog.call(&tenant, call).await {
            Ok(Some(detail)) if detail.summary.id != call => {
                live.order(tenant, detail.summary.id, order, BY.to_owned()).await
            }
            Ok(Some(_)) => Err(LiveError::NotLive),
            _ => return Err(LiveError::NoSuchCall.into()),
        },
        answer => answer,
    };
    match answer {
        Ok(answer) => Ok(Json(LiveJson::new(answer))),
        Err(LiveError::NoSuchCall) => Err(LiveError::NotLive.into()),
        Err(e) => Err(e.into()),
    }
}

/// A JSON body that may be left out. What is there must be JSON, and be called so.
async fn optional_body<T: serde::de::DeserializeOwned + Default>(request: Request) -> Result<T, Problem> {
    let typed = request.headers().contains_key(header::CONTENT_TYPE);
    if typed {
        let Json(body) = extract::Json::<Option<T>>::from_request(request, &()).await?;
        return Ok(body.unwrap_or_default());
    }
    let bytes = Bytes::from_request(request, &()).await.map_err(|e: BytesRejection| Problem::from(&e))?;
    if bytes.is_empty() { Ok(T::default()) } else { Err(Problem::no_type()) }
}

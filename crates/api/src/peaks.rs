//! How loud a call was, for a picture of it: lowest and highest sample of each bucket, two channels.
//!
//! It takes decoding the whole stretch once; whoever implements the port keeps pictures of calls that are over.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer;
use crate::document::PeaksRefusals;
use crate::path::CallPath;
use crate::port::{Peaks, PeaksRequest, Waiter};
use crate::problem::Problem;
use crate::query::parsed;
use crate::state::ApiState;

/// 8,000 buckets: twice the widest screen.
const WIDTH_MAX: u32 = 8_000;
/// A picture of the width of a page.
const WIDTH: u32 = 1_000;

/// What may stand behind the `?`.
#[derive(Deserialize, Default, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PeaksParameters {
    /// Buckets; 1,000 when not said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 8000, example = 1000)]
    width: Option<String>,
    /// Milliseconds from the call's beginning; 0 when not said.
    #[param(value_type = Option<u64>, minimum = 0, example = 0)]
    from: Option<String>,
    /// The same, where the picture ends; the end of the call when not said.
    #[param(value_type = Option<u64>, minimum = 1, example = 60000)]
    until: Option<String>,
}

/// How loud a call was.
#[derive(Serialize, ToSchema)]
#[schema(as = Peaks)]
struct PeaksJson {
    /// Where it begins, in milliseconds of the call.
    from_ms: u64,
    /// Where it ends.
    until_ms: u64,
    /// How long the call is so far.
    duration_ms: u64,
    /// Bits of a value: 8, so values are from -128 to 127.
    bits: u8,
    /// Lowest and highest sample of each bucket, in turn, of the agent's side.
    agent: Vec<i8>,
    /// The same, of the external party's side.
    external: Vec<i8>,
}

/// How loud a call was, in buckets of equal length.
#[utoipa::path(get, path = "/calls/{id}/peaks", operation_id = "get_peaks", tag = "calls",
    params(CallPath, PeaksParameters),
    responses((status = 200, description = "The picture", body = PeaksJson),
        (status = 304, description = "As the ETag in If-None-Match"), PeaksRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn peaks(
    State(state): State<ApiState>,
    path: Path<CallPath>,
    parameters: Result<Query<PeaksParameters>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters.map_err(|e| Problem::bad_query(e.body_text()))?;
    let width = parsed("width", parameters.width)?.unwrap_or(WIDTH);
    if !(1..=WIDTH_MAX).contains(&width) {
        return Err(Problem::bad_parameter("width", format!("1 to {WIDTH_MAX}")));
    }
    let from_ms = millis("from", parameters.from)?.unwrap_or(0);
    let until_ms = millis("until", parameters.until)?;
    if until_ms.is_some_and(|until| until <= from_ms) {
        return Err(Problem::bad_parameter("until", "milliseconds behind from"));
    }
    let wanted = PeaksRequest {
        tenant: state.0.config.tenant.clone(),
        call: CallPath::read(&path)?,
        width,
        from_ms,
        until_ms,
    };
    let Ok(permit) = state.0.listeners.clone().try_acquire_owned() else {
        return Err(Problem::busy("32 recordings are being listened to"));
    };
    let audio = Arc::clone(&state.0.audio);
    // Whoever asks may go while a disk hangs, and with them what holds the waiter; the place is taken as long as the thread
    // is.
    let (_waiter, waiting) = Waiter::new();
    let made = tokio::task::spawn_blocking(move || (audio.peaks(&wanted, &waiting), permit));
    let (peaks, _permit) = made.await.map_err(|e| Problem::internal(e.to_string()))?;
    let Peaks { from_ms, until_ms, duration_ms, channels: [agent, external] } = peaks?;
    let body = PeaksJson { from_ms, until_ms, duration_ms, bits: 8, agent, external };
    answer::json(&headers, &body)
}

/// Milliseconds as described: an integer of 64 bits that is not negative.
fn millis(name: &str, text: Option<String>) -> Result<Option<u64>, Problem> {
    let Some(millis) = parsed::<i64>(name, text)? else { return Ok(None) };
    match u64::try_from(millis) {
        Ok(millis) => Ok(Some(millis)),
        Err(_) => Err(Problem::bad_parameter(name, "milliseconds from the call's beginning, 0 or more")),
    }
}

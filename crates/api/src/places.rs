//! Where the segments of a call are played from: here, or by fetching them from the node that has them; and which of them
//! cannot be had, and why.
//!
//! The catalog says what is known of a call, this what can be heard of it at the moment: other nodes are asked for it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::{CallId, SegmentId, WallTime};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::document::LogRefusals;
use crate::path::CallPath;
use crate::port::CallPlaces;
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;

/// Where the segments of a call are played from.
#[derive(Serialize, ToSchema)]
#[schema(as = Places)]
struct PlacesJson {
    /// Those that are played, in order of their numbers.
    segments: Vec<PlaceJson>,
    /// Those that cannot be.
    missing: Vec<MissingJson>,
}

/// A segment that is played.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentPlace)]
struct PlaceJson {
    #[schema(schema_with = schema::id)]
    id: SegmentId,
    number: u16,
    /// The number of the node that it is fetched from; null where it lies at this one.
    node: Option<u16>,
    /// What that node is called here.
    name: Option<String>,
}

/// A segment that cannot be had.
#[derive(Serialize, ToSchema)]
#[schema(as = AbsentSegment)]
struct MissingJson {
    /// Its number; null where a node cannot be asked that may have one of which nothing is known.
    number: Option<u16>,
    #[schema(schema_with = schema::id_or_null)]
    id: Option<SegmentId>,
    /// Where it is and why it cannot be had, in a sentence.
    text: String,
    /// Since when, where that is known.
    #[schema(schema_with = schema::time_or_null)]
    since: Option<WallTime>,
}

impl From<CallPlaces> for PlacesJson {
    fn from(places: CallPlaces) -> Self {
        let segments = places.segments.into_iter().map(|place| {
            let (node, name) = place.at.map(|(node, name)| (node.get(), name)).unzip();
            PlaceJson { id: place.record.id, number: place.record.number, node, name }
        });
        let missing = places.missing.into_iter().map(|m| MissingJson {
            number: m.number,
            id: m.segment,
            text: m.text,
            since: m.since,
        });
        Self { segments: segments.collect(), missing: missing.collect() }
    }
}

/// Where the segments of a call are played from, and which of them cannot be had.
///
/// Other nodes are asked; what they said is good for ten seconds.
#[utoipa::path(get, path = "/calls/{id}/places", operation_id = "get_places", tag = "calls",
    params(CallPath),
    responses((status = 200, description = "Its segments", body = PlacesJson),
        (status = 304, description = "As the ETag in If-None-Match"), LogRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn places(
    State(state): State<ApiState>,
    path: Path<CallPath>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let places = of(&state, CallPath::read(&path)?).await?;
    answer::json(&headers, &PlacesJson::from(places))
}

/// The same, for others here.
pub(crate) async fn of(state: &ApiState, call: CallId) -> Result<CallPlaces, Problem> {
    let tenant = state.0.config.tenant.clone();
    let Ok(permit) = state.0.listeners.clone().try_acquire_owned() else {
        return Err(Problem::busy("32 recordings are being listened to"));
    };
    let audio = Arc::clone(&state.0.audio);
    // Whoever asks may go while a node or a disk says nothing; the place is taken as long as the thread is.
    let found = tokio::task::spawn_blocking(move || (audio.places(&tenant, call), permit));
    let (places, _permit) = found.await.map_err(|e| Problem::internal(e.to_string()))?;
    Ok(places?)
}

//! Having the segments of a call brought together. It goes to whoever gathers on this node, by a port.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use model::WallTime;
use serde::Serialize;
use utoipa::ToSchema;

use crate::document::GatherRefusals;
use crate::path::CallPath;
use crate::port::CallGathering;
use crate::problem::Problem;
use crate::schema;
use crate::state::ApiState;

/// How the gathering of a call stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Gathering)]
pub(crate) struct GatheringJson {
    /// `virtual`: segments stay where they are; `waiting`: something is missing; `window`: it waits for its hours;
    /// `elsewhere`: another node gathers it; `gathering`; `gathered`: others have copies yet; `done`.
    stage: String,
    /// The same in a sentence.
    text: String,
    /// The node that gathers it, where it is another one.
    by: Option<u16>,
    /// What is missing, and where.
    missing: Vec<MissingJson>,
    /// Failures in a row.
    failures: u32,
    /// The last of them.
    trouble: Option<String>,
}

/// Something that is missing.
#[derive(Serialize, ToSchema)]
#[schema(as = MissingSegment)]
pub(crate) struct MissingJson {
    /// What, in words.
    what: String,
    /// Since when this is known.
    #[schema(schema_with = schema::time)]
    since: WallTime,
}

impl From<CallGathering> for GatheringJson {
    fn from(gathering: CallGathering) -> Self {
        let CallGathering { stage, text, by, missing, failures, trouble } = gathering;
        let missing = missing.into_iter().map(|(what, since)| MissingJson { what, since }).collect();
        Self { stage, text, by, missing, failures, trouble }
    }
}

/// Brings the segments of a call together now, whatever the hours in which that is done else.
///
/// The answer says how it stands when that has begun; `gathering` of the call says how it goes on.
#[utoipa::path(post, path = "/calls/{id}/gather", operation_id = "gather_call", tag = "calls",
    params(CallPath),
    responses((status = 202, description = "It is looked after now", body = GatheringJson), GatherRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn gather(
    State(state): State<ApiState>,
    path: Path<CallPath>,
) -> Result<(StatusCode, Json<GatheringJson>), Problem> {
    let (call, tenant) = (CallPath::read(&path)?, state.0.config.tenant.clone());
    let stands = state.0.gathering.gather(tenant, call).await?;
    Ok((StatusCode::ACCEPTED, Json(stands.into())))
}

//! Who of a call is the agent and who is external: read, and corrected by people. What was said stands in the call's log;
//! it is applied whenever the call is read or played, and nothing that was recorded changes.

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use model::{CallId, Correction, SegmentId, Side, Sides, StreamId, WallTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::document::{LogRefusals, SideRefusals};
use crate::notes::on_disk;
use crate::path::CallPath;
use crate::port::{CallSides, Changed};
use crate::problem::Problem;
use crate::schema;
use crate::state::{ApiState, BY};

/// The sides of a call.
#[derive(Serialize, ToSchema)]
#[schema(as = CallSides)]
pub(crate) struct SidesJson {
    /// The call, which another may have turned out to be.
    #[schema(schema_with = schema::id)]
    call: CallId,
    /// Whether agent and external are exchanged against what was recorded, in segments that come later too.
    swapped: bool,
    /// Its streams, by their segments.
    streams: Vec<StreamSideJson>,
    /// All corrections, oldest first; of many the newest 100.
    history: Vec<CorrectionJson>,
    /// Whether the request changed anything; false when only read.
    changed: bool,
}

/// Whose voice a stream carries.
#[derive(Serialize, ToSchema)]
#[schema(as = StreamSide)]
struct StreamSideJson {
    /// The stream.
    #[schema(schema_with = schema::id)]
    stream: StreamId,
    /// Its segment.
    #[schema(schema_with = schema::id)]
    segment: SegmentId,
    /// The number of that.
    number: u16,
    label: Option<String>,
    /// As it was recorded.
    #[schema(schema_with = schema::side)]
    recorded: Side,
    /// As it is played.
    #[schema(schema_with = schema::side)]
    side: Side,
}

/// A correction.
#[derive(Serialize, ToSchema)]
#[schema(as = SidesCorrection)]
struct CorrectionJson {
    /// When it was said.
    #[schema(schema_with = schema::time)]
    at: WallTime,
    /// Who said it.
    by: String,
    /// What held before.
    from: SidesBody,
    /// What held then.
    to: SidesBody,
}

/// How the sides of a call differ from what was recorded.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Sides)]
pub(crate) struct SidesBody {
    /// Agent and external were taken for each other: in all segments, those that come later included.
    #[serde(default)]
    swapped: bool,
    /// Whose voice single streams carry, whatever `swapped` says: at most 64, by their ids.
    #[serde(default)]
    #[schema(schema_with = schema::sides_of_streams)]
    streams: BTreeMap<StreamId, Side>,
}

impl From<Sides> for SidesBody {
    fn from(Sides { swapped, streams }: Sides) -> Self {
        Self { swapped, streams }
    }
}

impl SidesJson {
    fn new(sides: CallSides, changed: Changed) -> Json<Self> {
        let stream = |s: crate::port::StreamSide| StreamSideJson {
            stream: s.stream,
            segment: s.segment,
            number: s.number,
            label: s.label,
            recorded: s.recorded,
            side: s.side,
        };
        let correction = |Correction { from, to, at, by, .. }: Correction| CorrectionJson {
            at,
            by,
            from: from.into(),
            to: to.into(),
        };
        Json(Self {
            call: sides.call,
            swapped: sides.now.swapped,
            streams: sides.streams.into_iter().map(stream).collect(),
            history: sides.history.into_iter().map(correction).collect(),
            changed: changed == Changed::Yes,
        })
    }
}

/// Who of a call is the agent and who is external, and who corrected it.
#[utoipa::path(get, path = "/calls/{id}/sides", operation_id = "get_sides", tag = "notes",
    params(CallPath),
    responses((status = 200, description = "Its sides", body = SidesJson), LogRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn sides(
    State(state): State<ApiState>,
    path: Path<CallPath>,
) -> Result<Json<SidesJson>, Problem> {
    let call = CallPath::read(&path)?;
    let tenant = state.0.config.tenant.clone();
    let sides = on_disk(&state, move |notes| notes.sides(&tenant, call)).await?;
    Ok(SidesJson::new(sides, Changed::No))
}

/// Says who of a call is the agent and who is external, of a live one too.
///
/// What is said replaces what was said before; `{}` is: as it was recorded. Nothing that was recorded changes: players,
/// files, pictures, parties and direction follow, and what was said before stays in the history.
#[utoipa::path(put, path = "/calls/{id}/sides", operation_id = "put_sides", tag = "notes",
    params(CallPath),
    request_body = SidesBody,
    responses((status = 200, description = "Its sides now", body = SidesJson), SideRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn put_sides(
    State(state): State<ApiState>,
    path: Path<CallPath>,
    request: Request,
) -> Result<Json<SidesJson>, Problem> {
    let call = CallPath::read(&path)?;
    let Json(SidesBody { swapped, streams }) = Json::<SidesBody>::from_request(request, &()).await?;
    let (tenant, to) = (state.0.config.tenant.clone(), Sides { swapped, streams });
    let (sides, changed) = on_disk(&state, move |notes| notes.correct(&tenant, call, to, BY)).await?;
    Ok(SidesJson::new(sides, changed))
}

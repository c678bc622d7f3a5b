//! Two calls are one, because a person says so. It goes to whoever holds the calls or keeps their files, by a port and
//! never through the catalog.

use axum::Json;
use axum::extract::{Path, State};
use model::CallId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::document::JoinRefusals;
use crate::path::JoinPath;
use crate::port::{Changed, JoinError, JoinedCalls};
use crate::problem::Problem;
use crate::schema;
use crate::state::{ApiState, BY};

/// What two calls are that were joined.
#[derive(Serialize, ToSchema)]
#[schema(as = JoinedCalls)]
pub(crate) struct JoinedCallsJson {
    /// The call that survives: the one of the lower id. The other id leads to it.
    #[schema(schema_with = schema::id)]
    call: CallId,
    /// Whether they were two before.
    changed: bool,
}

/// Says that two calls are one, live or over.
///
/// The call of the lower id survives, whichever is named first; the other's segments follow its own. Nothing that was
/// recorded changes. Both logs say who joined them, and an event `joined` tells of it. It cannot be undone.
#[utoipa::path(put, path = "/calls/{id}/joined/{other}", operation_id = "join_calls", tag = "notes",
    params(JoinPath),
    responses((status = 200, description = "What they are now", body = JoinedCallsJson), JoinRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn join(
    State(state): State<ApiState>,
    path: Path<JoinPath>,
) -> Result<Json<JoinedCallsJson>, Problem> {
    let calls = JoinPath::read(&path)?;
    if calls[0] == calls[1] {
        return Err(JoinError::Same.into());
    }
    let tenant = state.0.config.tenant.clone();
    let JoinedCalls { call, changed } = state.0.joins.join(tenant, calls, BY.to_owned()).await?;
    Ok(Json(JoinedCallsJson { call, changed: changed == Changed::Yes }))
}

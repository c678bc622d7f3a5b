//! Whether this process runs, and whether it may be sent calls.
//!
//! Both are open to whoever reaches the server: they tell nothing of calls. `/healthz` is 200 as long as the process
//! answers, as a restart would end what is being recorded. `/readyz` is 503 when calls had better go elsewhere. A
//! catalog that is away keeps nobody from recording, so the node stays ready and says that it lacks something.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::document::OpenRefusals;
use crate::port::Lack;
use crate::state::ApiState;

/// How the process is.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthJson {
    /// `ok`, or `degraded` while the catalog is away.
    #[schema(schema_with = crate::schema::health)]
    status: &'static str,
    /// `ok`, or `away`.
    #[schema(schema_with = crate::schema::catalog_health)]
    catalog: &'static str,
    /// Changes in memory that the catalog has not taken yet.
    waiting: Option<usize>,
    /// Octets of changes in the journal, which the catalog is told when it is back.
    journal_bytes: Option<u64>,
    /// Changes that neither catalog nor journal took since the start.
    lost: Option<u64>,
    /// Whether the catalog lacks what only the repository has.
    reindex_wanted: Option<bool>,
}

/// Whether the node may be sent calls.
#[derive(Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(crate) struct ReadyJson {
    /// Whether it may.
    ready: bool,
    /// What keeps it from taking calls.
    unready: Vec<LackJson>,
    /// What it lacks and records without.
    degraded: Vec<LackJson>,
}

/// Something that is not as it should be.
#[derive(Serialize, ToSchema)]
#[schema(as = Lack)]
struct LackJson {
    /// What: `sip`, `repository`, `draining`, `catalog`, and others to come.
    what: &'static str,
    /// In words.
    text: String,
}

impl From<Lack> for LackJson {
    fn from(Lack { what, text }: Lack) -> Self {
        Self { what, text }
    }
}

/// Whether this process runs, and how its catalog does.
#[utoipa::path(get, path = "/healthz", operation_id = "get_health", tag = "node",
    responses((status = 200, description = "It runs", body = HealthJson), OpenRefusals))]
pub(crate) async fn health(State(state): State<ApiState>) -> Json<HealthJson> {
    let status = state.0.writer.as_ref().map(store::Handle::status);
    let answers = catalog_lack(&state).await.is_none();
    Json(HealthJson {
        status: if answers { "ok" } else { "degraded" },
        catalog: if answers { "ok" } else { "away" },
        waiting: status.as_ref().map(|s| s.queued),
        journal_bytes: status.as_ref().map(|s| s.journal_bytes),
        lost: status.as_ref().map(|s| s.lost),
        reindex_wanted: status.as_ref().map(|s| s.reindex_wanted.is_some()),
    })
}

/// Whether this node may be sent calls.
#[utoipa::path(get, path = "/readyz", operation_id = "get_readiness", tag = "node",
    responses((status = 200, description = "It may", body = ReadyJson),
        (status = 503, description = "Calls had better go elsewhere", body = ReadyJson), OpenRefusals))]
pub(crate) async fn ready(State(state): State<ApiState>) -> Response {
    let standing = state.0.node.standing();
    let degraded = standing.degraded.into_iter().chain(catalog_lack(&state).await);
    let body = ReadyJson {
        ready: standing.unready.is_empty(),
        degraded: degraded.map(LackJson::from).collect(),
        unready: standing.unready.into_iter().map(LackJson::from).collect(),
    };
    let status = if body.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn catalog_lack(state: &ApiState) -> Option<Lack> {
    let away = state.0.writer.as_ref().and_then(|w| w.status().away_why);
    let text = match away {
        Some(_) => "the catalog cannot be written; changes are kept".to_owned(),
        None if state.0.catalog.highest_id().await.is_err() => "the catalog cannot be read".to_owned(),
        None => return None,
    };
    Some(Lack { what: "catalog", text: format!("{text}; recording goes on") })
}

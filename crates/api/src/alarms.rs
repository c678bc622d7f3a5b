//! Alarms: what is wrong now, and what was.
//!
//! The catalog has both. While it is away, which is an alarm too, the node tells from memory what is wrong now.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::{AlarmKind, CallId, EventId, SegmentId, Severity, Subject, TenantId, WallTime};
use serde::{Deserialize, Serialize};
use store::{AlarmQuery, AlarmRow, CatalogError, LIST_DEFAULT, LIST_MAX};
use utoipa::{IntoParams, ToSchema};

use crate::answer;
use crate::document::CatalogRefusals;
use crate::problem::Problem;
use crate::query::{limit, parsed};
use crate::schema;
use crate::state::ApiState;

/// How long the catalog may take to tell of alarms: Prometheus gives up after 10 s, and whoever looks for what is wrong
/// does so when the catalog is slow.
const PATIENCE: Duration = Duration::from_secs(2);

/// What may stand behind the `?`. Another name is an error: a misspelled filter must not show all.
#[derive(Deserialize, Default, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlarmParameters {
    /// `true` (when not said): only conditions that last; `false`: all.
    #[param(value_type = Option<bool>)]
    active: Option<String>,
    /// Only those as bad as this.
    #[param(schema_with = schema::severity)]
    severity: Option<String>,
    /// Only those of this kind.
    #[param(schema_with = schema::alarm_kind)]
    kind: Option<String>,
    /// Only those of this call.
    #[param(schema_with = schema::id)]
    call: Option<String>,
    /// The `next` of the page before.
    #[param(schema_with = schema::id)]
    before: Option<String>,
    /// Alarms on a page; 100 when not said.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, example = 100)]
    limit: Option<String>,
}

/// A page of alarms.
#[derive(Serialize, ToSchema)]
#[schema(as = AlarmList)]
pub(crate) struct ListJson {
    /// Newest first.
    alarms: Vec<AlarmJson>,
    /// What `before` is for the next page; null when this is the last.
    #[schema(schema_with = schema::id_or_null)]
    next: Option<EventId>,
    /// Who told it: `catalog`, or `node` while that is away: then it is what lasts by the node's own memory.
    #[schema(schema_with = schema::alarm_source)]
    source: Source,
}

/// Who told of alarms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    Catalog,
    Node,
}

/// Alarms by the catalog; what lasts by the node's own memory, while the catalog is away.
pub(crate) async fn found(
    state: &ApiState,
    query: &AlarmQuery,
) -> Result<(Vec<AlarmRow>, Source), CatalogError> {
    let of_node = || {
        let rows = state.0.node.lasting().into_iter().filter(|row| query.takes(row));
        (rows.take(query.limit.unwrap_or(LIST_DEFAULT)).collect(), Source::Node)
    };
    // It may still be read, and lack what it could not take.
    let takes_nothing = state.0.writer.as_ref().is_some_and(|w| w.status().away_for.is_some());
    if query.active && takes_nothing {
        return Ok(of_node());
    }
    let asked = state.0.catalog.alarms(query);
    if !query.active {
        return asked.await.map(|rows| (rows, Source::Catalog));
    }
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(rows)) => Ok((rows, Source::Catalog)),
        Ok(Err(_)) | Err(_) => Ok(of_node()),
    }
}

/// An alarm.
#[derive(Serialize, ToSchema)]
#[schema(as = Alarm)]
struct AlarmJson {
    /// The event by which it was told first.
    #[schema(schema_with = schema::id)]
    id: EventId,
    #[schema(value_type = String)]
    tenant: TenantId,
    /// The number of the node that told it.
    node: u16,
    #[schema(schema_with = schema::alarm_kind)]
    kind: AlarmKind,
    #[schema(schema_with = schema::severity)]
    severity: Severity,
    /// What it is about: `node:0`, `call:…`, `volume:…`, …
    #[schema(value_type = String)]
    subject: Subject,
    #[schema(schema_with = schema::id_or_null)]
    call: Option<CallId>,
    #[schema(schema_with = schema::id_or_null)]
    segment: Option<SegmentId>,
    /// A condition that lasts; an incident never is.
    active: bool,
    #[schema(schema_with = schema::time)]
    raised: WallTime,
    /// When it was cleared; null for what lasts, and for what only happened.
    #[schema(schema_with = schema::time_or_null)]
    cleared: Option<WallTime>,
    /// How often it was told.
    count: u64,
    /// What happened and what to do.
    text: String,
}

impl From<AlarmRow> for AlarmJson {
    fn from(AlarmRow { id, tenant, node, alarm }: AlarmRow) -> Self {
        Self {
            id,
            tenant,
            node: node.get(),
            active: alarm.is_active(),
            kind: alarm.kind,
            severity: alarm.severity,
            subject: alarm.subject,
            call: alarm.call,
            segment: alarm.segment,
            raised: alarm.raised,
            cleared: alarm.cleared,
            count: alarm.count,
            text: alarm.text,
        }
    }
}

/// Alarms: what is wrong now, or was, newest first.
#[utoipa::path(get, path = "/alarms", operation_id = "list_alarms", tag = "alarms",
    params(AlarmParameters),
    responses((status = 200, description = "A page of alarms", body = ListJson),
        (status = 304, description = "As the ETag in If-None-Match"), CatalogRefusals),
    security(("token" = []), ("cookie" = [])))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    parameters: Result<Query<AlarmParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters.map_err(|e| Problem::bad_query(e.body_text()))?;
    let query = AlarmQuery {
        tenant: state.0.config.tenant.clone(),
        active: parsed("active", parameters.active)?.unwrap_or(true),
        severity: parsed("severity", parameters.severity)?,
        kind: parsed("kind", parameters.kind)?,
        call: parsed("call", parameters.call)?,
        before: parsed("before", parameters.before)?,
        limit: limit(parameters.limit)?,
    };
    let limit = query.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
    let (rows, source) = found(&state, &query).await?;
    let next = rows.last().filter(|_| rows.len() >= limit).map(|last| last.id);
    let alarms = rows.into_iter().map(AlarmJson::from).collect();
    answer::json(&headers, &ListJson { alarms, next, source })
}

//! Alarms: what is wrong now, and what was.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::{AlarmKind, CallId, EventId, SegmentId, Severity, Subject, TenantId, WallTime};
use serde::{Deserialize, Serialize};
use store::{AlarmQuery, AlarmRow, LIST_DEFAULT, LIST_MAX};

use crate::calls::{answer, parsed};
use crate::problem::Problem;
use crate::state::ApiState;

/// What may stand behind the `?`. Another name is an error: a misspelled filter must not show all.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AlarmParameters {
    active: Option<String>,
    severity: Option<String>,
    kind: Option<String>,
    call: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
struct ListJson {
    alarms: Vec<AlarmJson>,
    /// What `before` is for the next page; none when this is the last.
    next: Option<EventId>,
}

/// An alarm.
#[derive(Serialize)]
struct AlarmJson {
    id: EventId,
    tenant: TenantId,
    node: u16,
    kind: AlarmKind,
    severity: Severity,
    subject: Subject,
    call: Option<CallId>,
    segment: Option<SegmentId>,
    /// A condition that lasts; an incident never is.
    active: bool,
    raised: WallTime,
    cleared: Option<WallTime>,
    count: u64,
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

pub(crate) async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    parameters: Result<Query<AlarmParameters>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(parameters) = parameters.map_err(|e| Problem::bad_request(e.body_text()))?;
    let query = AlarmQuery {
        tenant: state.0.config.tenant.clone(),
        active: parsed("active", parameters.active)?.unwrap_or(true),
        severity: parsed("severity", parameters.severity)?,
        kind: parsed("kind", parameters.kind)?,
        call: parsed("call", parameters.call)?,
        before: parsed("before", parameters.before)?,
        limit: parsed("limit", parameters.limit)?,
    };
    let limit = query.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
    let rows = state.0.catalog.alarms(&query).await?;
    let next = rows.last().filter(|_| rows.len() >= limit).map(|last| last.id);
    answer(&headers, &ListJson { alarms: rows.into_iter().map(AlarmJson::from).collect(), next })
}

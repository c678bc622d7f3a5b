//! Alarms as rows: written as they are told, listed newest first.
//!
//! An alarm is named by kind, subject and the time it was raised; a change with a count or with the time it was
//! cleared writes the same row again, unless the row knows of a newer one.

use model::{Alarm, AlarmKind, CallId, Change, EventId, NodeNumber, SegmentId, Severity, TenantId};
use sqlx::{FromRow, QueryBuilder, SqliteConnection, SqlitePool};

use crate::error::CatalogError;
use crate::query::{LIST_MAX, limit};
use crate::rows;

/// Which alarms to list, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlarmQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Only conditions that last.
    pub active: bool,
    /// Only those as bad as this.
    pub severity: Option<Severity>,
    /// Only those of this kind.
    pub kind: Option<AlarmKind>,
    /// Only those of this call.
    pub call: Option<CallId>,
    /// The [`AlarmRow::id`] of the last one of the page before.
    pub before: Option<EventId>,
    /// How many; [`LIST_DEFAULT`](crate::LIST_DEFAULT) when not said, never more than [`LIST_MAX`].
    pub limit: Option<usize>,
}

impl AlarmQuery {
    /// Whether an alarm is one of those that are asked for, apart from the limit.
    #[must_use]
    pub fn takes(&self, row: &AlarmRow) -> bool {
        let alarm = &row.alarm;
        row.tenant == self.tenant
            && (!self.active || alarm.is_active())
            && self.severity.is_none_or(|severity| alarm.severity == severity)
            && self.kind.is_none_or(|kind| alarm.kind == kind)
            && self.call.is_none_or(|call| alarm.call == Some(call))
            && self.before.is_none_or(|before| row.id < before)
    }
}

/// An alarm as the catalog knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlarmRow {
    /// The event by which it was told first: its place in a list.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// The node that told it.
    pub node: NodeNumber,
    /// The alarm.
    pub alarm: Alarm,
}

/// Writes an alarm within the transaction that `db` is in.
pub(crate) async fn write(
    db: &mut SqliteConnection,
    change: &Change,
    alarm: &Alarm,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO alarms (kind, subject, raised, lasting, cleared, severity, tenant, node, call, segment, count, \
         text, first, changed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13) \
         ON CONFLICT (kind, subject, raised) DO UPDATE SET first = MIN(first, excluded.first), \
         cleared = CASE WHEN changed < excluded.changed THEN excluded.cleared ELSE cleared END, \
         count = CASE WHEN changed < excluded.changed THEN excluded.count ELSE count END, \
         text = CASE WHEN changed < excluded.changed THEN excluded.text ELSE text END, \
         changed = MAX(changed, excluded.changed)",
    )
    .bind(alarm.kind.name())
    .bind(alarm.subject.to_string())
    .bind(alarm.raised.0)
    .bind(i64::from(matches!(alarm.kind, AlarmKind::Condition(_))))
    .bind(alarm.cleared.map(|t| t.0))
    .bind(alarm.severity.name())
    .bind(change.tenant.as_str())
    .bind(i64::from(change.id.node().get()))
    .bind(alarm.call.map(|c| rows::id(c.as_u64())))
    .bind(alarm.segment.map(|s| rows::id(s.as_u64())))
    .bind(rows::count(alarm.count))
    .bind(&alarm.text)
    .bind(rows::id(change.id.as_u64()))
    .execute(db)
    .await?;
    Ok(())
}

/// Lists alarms.
pub(crate) async fn list(db: &SqlitePool, query: &AlarmQuery) -> Result<Vec<AlarmRow>, CatalogError> {
    let mut sql = QueryBuilder::new(
        "SELECT kind, subject, raised, cleared, severity, tenant, node, call, segment, count, text, first \
         FROM alarms WHERE tenant = ",
    );
    sql.push_bind(query.tenant.as_str());
    if query.active {
        sql.push(" AND lasting = 1 AND cleared IS NULL");
    }
    if let Some(severity) = query.severity {
        sql.push(" AND severity = ").push_bind(severity.name());
    }
    if let Some(kind) = query.kind {
        sql.push(" AND kind = ").push_bind(kind.name());
    }
    if let Some(call) = query.call {
        sql.push(" AND call = ").push_bind(rows::id(call.as_u64()));
    }
    if let Some(before) = query.before {
        sql.push(" AND first < ").push_bind(rows::id(before.as_u64()));
    }
    sql.push(" ORDER BY first DESC LIMIT ").push_bind(limit(query.limit));
    let found: Vec<Columns> = sql.build_query_as().fetch_all(db).await?;
    found.into_iter().map(Columns::read).collect()
}

/// Removes alarms that are over and were not told of since an event. Returns how many went.
pub(crate) async fn trim(db: &SqlitePool, before: EventId) -> Result<u64, CatalogError> {
    let done = sqlx::query(
        "DELETE FROM alarms WHERE (kind, subject, raised) IN (SELECT kind, subject, raised FROM alarms \
         WHERE changed < $1 AND (lasting = 0 OR cleared IS NOT NULL) LIMIT $2)",
    )
    .bind(rows::id(before.as_u64()))
    .bind(limit(Some(LIST_MAX)))
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

#[derive(FromRow)]
struct Columns {
    kind: String,
    subject: String,
    raised: i64,
    cleared: Option<i64>,
    severity: String,
    tenant: String,
    node: i64,
    call: Option<i64>,
    segment: Option<i64>,
    count: i64,
    text: String,
    first: i64,
}

impl Columns {
    fn read(self) -> Result<AlarmRow, CatalogError> {
        let bad = |e: &dyn std::fmt::Display| CatalogError::Unreadable(e.to_string());
        let node = rows::small(self.node)?;
        Ok(AlarmRow {
            id: rows::event_id(self.first)?,
            tenant: rows::tenant(&self.tenant)?,
            node: NodeNumber::new(node).map_err(|e| bad(&e))?,
            alarm: Alarm {
                kind: self.kind.parse().map_err(|e| bad(&e))?,
                severity: self.severity.parse().map_err(|e| bad(&e))?,
                subject: self.subject.parse().map_err(|e| bad(&e))?,
                call: self.call.map(rows::from_id).transpose()?.map(CallId::from_u64),
                segment: self.segment.map(rows::from_id).transpose()?.map(SegmentId::from_u64),
                raised: rows::time(self.raised),
                cleared: self.cleared.map(rows::time),
                count: rows::from_id(self.count)?,
                text: self.text,
            },
        })
    }
}

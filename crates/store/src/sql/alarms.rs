//! Alarms as rows: written as they are told, listed newest first.
//!
//! An alarm is named by kind, subject and the time it was raised; a change with a count or with the time it was
//! cleared writes the same row again, unless the row knows of a newer one.

use model::{Alarm, AlarmKind, Change, EventId};
use sqlx::QueryBuilder;

use super::engine::{Connection, Pool};
use crate::alarms::{AlarmQuery, AlarmRow, Columns};
use crate::error::CatalogError;
use crate::query::{LIST_MAX, limit};
use crate::rows;

/// Writes an alarm within the transaction that `db` is in.
pub(crate) async fn write(db: &mut Connection, change: &Change, alarm: &Alarm) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO alarms (kind, subject, raised, lasting, cleared, severity, tenant, node, call, segment, count, \
         text, first, changed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13) \
         ON CONFLICT (kind, subject, raised) DO UPDATE SET \
         first = CASE WHEN excluded.first < alarms.first THEN excluded.first ELSE alarms.first END, \
         cleared = CASE WHEN alarms.changed < excluded.changed THEN excluded.cleared ELSE alarms.cleared END, \
         count = CASE WHEN alarms.changed < excluded.changed THEN excluded.count ELSE alarms.count END, \
         text = CASE WHEN alarms.changed < excluded.changed THEN excluded.text ELSE alarms.text END, \
         changed = CASE WHEN alarms.changed < excluded.changed THEN excluded.changed ELSE alarms.changed END",
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
    .bind(rows::text(&alarm.text))
    .bind(rows::id(change.id.as_u64()))
    .execute(db)
    .await?;
    Ok(())
}

/// Lists alarms.
pub(crate) async fn list(db: &Pool, query: &AlarmQuery) -> Result<Vec<AlarmRow>, CatalogError> {
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
pub(crate) async fn trim(db: &Pool, before: EventId) -> Result<u64, CatalogError> {
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

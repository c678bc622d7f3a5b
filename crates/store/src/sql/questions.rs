//! Questions: a page of calls, one call with all that is known of it, the highest id.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{CallId, Copy, CopyOf, Join, Location, SegmentRecord, TenantId};
use sqlx::QueryBuilder;

use super::corrections::Corrections;
use super::engine::{self, Connection, Db, Pool};
use super::joins;
use crate::error::CatalogError;
use crate::query::{CallQuery, LIST_DEFAULT, LIST_MAX, like, limit};
use crate::rows;
use crate::view::{
    CallDetail, CallRow, CallSummary, CopyRow, Event, EventRow, SegmentDetail, SegmentElsewhere, SegmentRow,
};

/// The columns of a list, in the order of `view::CallRow`, but for the last, which is `engine::TAGS`.
const CALL_COLUMNS: &str =
    "c.id, c.tenant, c.data, c.started, c.ended, c.total, c.segments, c.state, c.live, c.changed, ";

/// Calls, newest first.
pub(crate) async fn calls(db: &Pool, query: &CallQuery) -> Result<Vec<CallSummary>, CatalogError> {
    let rows: Vec<CallRow> = list(query).build_query_as().fetch_all(db).await?;
    rows.into_iter().map(|row| row.read().map(|(summary, _)| summary)).collect()
}

/// One call with all that is known of it, if the tenant has it. Of one that turned out to be another it is that other.
pub(crate) async fn call(
    db: &Pool,
    tenant: &TenantId,
    call: CallId,
) -> Result<Option<CallDetail>, CatalogError> {
    // One transaction: call, segments and copies of the same moment.
    let mut transaction = engine::look(db).await?;
    let detail = detail(&mut transaction, tenant, call).await?;
    transaction.rollback().await?;
    Ok(detail)
}

/// The highest id that the catalog holds, of whatever kind; 0 when it is empty.
pub(crate) async fn highest_id(db: &Pool) -> Result<u64, CatalogError> {
    let highest: i64 = sqlx::query_scalar(
        "SELECT COALESCE(MAX(id), 0) FROM (SELECT MAX(id) AS id FROM calls \
         UNION ALL SELECT MAX(changed) FROM alarms \
         UNION ALL SELECT MAX(id) FROM segments UNION ALL SELECT MAX(id) FROM streams \
         UNION ALL SELECT MAX(id) FROM events) AS highest",
    )
    .fetch_one(db)
    .await?;
    rows::from_id(highest)
}

/// The question in SQL.
fn list(query: &CallQuery) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(CALL_COLUMNS).push(engine::TAGS);
    sql.push(" AS tags FROM calls c WHERE c.tenant = ").push_bind(query.tenant.as_str().to_owned());
    sql.push(" AND c.joined IS NULL");
    if let Some(from) = query.from {
        sql.push(" AND c.started >= ").push_bind(from.0);
    }
    if let Some(until) = query.until {
        sql.push(" AND c.started < ").push_bind(until.0);
    }
    if let Some(state) = query.state {
        sql.push(" AND c.state = ").push_bind(i64::from(state.code()));
    }
    match query.live {
        // Spelled out, so that the partial index is used.
        Some(true) => sql.push(" AND c.live = 1"),
        Some(false) => sql.push(" AND c.live = 0"),
        None => &mut sql,
    };
    if let Some(text) = query.text.as_deref().filter(|t| !t.is_empty()) {
        sql.push(" AND c.search LIKE ").push_bind(like(&rows::text(text))).push(" ESCAPE '\\'");
    }
    if let Some(number) = query.number.as_deref().filter(|n| !n.is_empty()) {
        // A range, so that the index on numbers is used; U+10FFFF is above whatever follows the prefix.
        sql.push(" AND EXISTS (SELECT 1 FROM parties p WHERE p.call = c.id AND p.number >= ");
        let number = rows::text(number);
        sql.push_bind(number.to_string()).push(" AND p.number < ");
        sql.push_bind(format!("{number}\u{10FFFF}")).push(")");
    }
    further(&mut sql, query);
    if let Some(after) = query.after {
        sql.push(" AND (c.started, c.id) < (").push_bind(after.started.0);
        sql.push(", ").push_bind(rows::id(after.call.as_u64())).push(")");
    }
    sql.push(" ORDER BY c.started DESC, c.id DESC LIMIT ").push_bind(limit(query.limit));
    sql
}

/// What people noted, which way, how long.
fn further(sql: &mut QueryBuilder<Db>, query: &CallQuery) {
    if let Some(tag) = &query.tag {
        sql.push(" AND EXISTS (SELECT 1 FROM tags t WHERE t.call = c.id AND t.present = 1 AND t.tag = ");
        sql.push_bind(rows::text(tag).into_owned()).push(")");
    }
    if let Some((key, value)) = &query.metadata {
        sql.push(" AND EXISTS (SELECT 1 FROM metadata m WHERE m.call = c.id AND m.present = 1 AND m.key = ");
        sql.push_bind(rows::text(key).into_owned()).push(" AND m.value = ");
        sql.push_bind(rows::text(value).into_owned());
        if let Some((beginning, chars)) = engine::VALUES_BEGIN {
            sql.push(" AND ").push(beginning).push(" = ");
            sql.push_bind(rows::text(value).chars().take(chars).collect::<String>());
        }
        sql.push(")");
    }
    if let Some(direction) = query.direction {
        sql.push(" AND ").push(engine::DIRECTION).push(" = ").push_bind(rows::name(&direction));
    }
    let nanos = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    if let Some(min) = query.duration_min {
        sql.push(" AND c.ended - c.started >= ").push_bind(nanos(min));
    }
    if let Some(max) = query.duration_max {
        sql.push(" AND c.ended - c.started <= ").push_bind(nanos(max));
    }
}

async fn detail(
    db: &mut Connection,
    tenant: &TenantId,
    call: CallId,
) -> Result<Option<CallDetail>, CatalogError> {
    let surviving: Option<i64> = sqlx::query_scalar("SELECT COALESCE(joined, id) FROM calls WHERE id = $1")
        .bind(rows::id(call.as_u64()))
        .fetch_optional(&mut *db)
        .await?;
    let Some(id) = surviving else { return Ok(None) };
    let mut sql = sqlx::QueryBuilder::new("SELECT ");
    sql.push(CALL_COLUMNS).push(engine::TAGS).push(" AS tags FROM calls c WHERE c.id = ").push_bind(id);
    sql.push(" AND c.tenant = ").push_bind(tenant.as_str());
    let row: Option<CallRow> = sql.build_query_as().fetch_optional(&mut *db).await?;
    let Some(row) = row else { return Ok(None) };
    let (summary, data) = row.read()?;
    let copies = copies(db, id).await?;
    let group = joins::group(db, summary.id).await?;
    let corrections = Corrections::of(db, &group).await?;
    Ok(Some(CallDetail {
        summary,
        data,
        extra: extra(db, id).await?,
        segments: segments(db, id, &copies, &corrections).await?,
        copies: copies.into_iter().filter(|c| matches!(c.of, model::CopyOf::Call(_))).collect(),
        events: events_of(db, id).await?,
        joins: joins_of(db, id).await?,
        sides: corrections.now(),
    }))
}

/// What a call took in.
async fn joins_of(db: &mut Connection, call: i64) -> Result<Vec<Join>, CatalogError> {
    let bodies: Vec<String> = sqlx::query_scalar(
        "SELECT j.body FROM calls c JOIN joins j ON j.from_call = c.id WHERE c.joined = $1 ORDER BY j.at, j.from_call",
    )
    .bind(call)
    .fetch_all(db)
    .await?;
    let mut joins: Vec<Join> = Vec::new();
    for body in &bodies {
        let join: Join = rows::from_json("a join", body)?;
        // One that was joined with several of them is named once.
        if !joins.iter().any(|j| j.from.call == join.from.call) {
            joins.push(join);
        }
    }
    Ok(joins)
}

async fn extra(db: &mut Connection, call: i64) -> Result<BTreeMap<String, String>, CatalogError> {
    let pairs: Vec<(String, String)> = sqlx::query_as(
        "SELECT key, value FROM metadata WHERE call = $1 AND origin = 'added' AND present = 1 ORDER BY key LIMIT $2",
    )
    .bind(call)
    .bind(limit(Some(LIST_MAX)))
    .fetch_all(db)
    .await?;
    Ok(pairs.into_iter().collect())
}

async fn copies(db: &mut Connection, call: i64) -> Result<Vec<Copy>, CatalogError> {
    let rows: Vec<CopyRow> = sqlx::query_as(
        "SELECT kind, of_id, place, state FROM copies WHERE call = $1 \
         UNION SELECT kind, of_id, place, state FROM copies WHERE kind = 'segment' \
         AND of_id IN (SELECT id FROM segments WHERE call = $1) ORDER BY kind, of_id, place",
    )
    .bind(call)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(CopyRow::read).collect()
}

async fn segments(
    db: &mut Connection,
    call: i64,
    copies: &[Copy],
    corrections: &Corrections,
) -> Result<Vec<SegmentDetail>, CatalogError> {
    let rows: Vec<SegmentRow> = sqlx::query_as(
        "SELECT directory, record, call, number, total FROM segments WHERE call = $1 \
         ORDER BY number, id LIMIT $2",
    )
    .bind(call)
    .bind(limit(Some(LIST_MAX)))
    .fetch_all(&mut *db)
    .await?;
    let mut elsewhere = elsewhere(db, call).await?;
    rows.into_iter().map(|row| segment(row, copies, corrections, &mut elsewhere)).collect()
}

async fn events_of(db: &mut Connection, call: i64) -> Result<Vec<Event>, CatalogError> {
    let rows: Vec<EventRow> = sqlx::query_as(
        "SELECT id, at, tenant, kind, call, segment, body FROM events \
         WHERE call IN (SELECT $1 UNION ALL SELECT id FROM calls WHERE joined = $1) ORDER BY id DESC LIMIT $2",
    )
    .bind(call)
    .bind(limit(Some(LIST_DEFAULT)))
    .fetch_all(db)
    .await?;
    rows.into_iter().map(EventRow::read).collect()
}

/// What nodes say of segments of a call beside the one that told of them last, by segment.
async fn elsewhere(
    db: &mut Connection,
    call: i64,
) -> Result<BTreeMap<i64, Vec<SegmentElsewhere>>, CatalogError> {
    let found: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT e.segment, e.directory, e.record FROM elsewhere e JOIN segments s ON s.id = e.segment \
         WHERE s.call = $1 ORDER BY e.segment, e.node LIMIT $2",
    )
    .bind(call)
    .bind(limit(Some(LIST_MAX)))
    .fetch_all(db)
    .await?;
    let mut all: BTreeMap<i64, Vec<SegmentElsewhere>> = BTreeMap::new();
    for (segment, directory, record) in found {
        let record: SegmentRecord = rows::from_json("a segment's record", &record)?;
        all.entry(segment).or_default().push(SegmentElsewhere { record, directory });
    }
    Ok(all)
}

fn segment(
    row: SegmentRow,
    copies: &[Copy],
    corrections: &Corrections,
    elsewhere: &mut BTreeMap<i64, Vec<SegmentElsewhere>>,
) -> Result<SegmentDetail, CatalogError> {
    let mut record: SegmentRecord = rows::from_json("a segment's record", &row.record)?;
    if let Some(sides) = corrections.of_segment(record.call, record.started) {
        sides.correct(&mut record);
    }
    let call = CallId::from_u64(rows::from_id(row.call)?);
    let recorded_as = (record.call != call).then_some((record.call, record.number));
    if recorded_as.is_some() {
        (record.call, record.number, record.total) =
            (call, rows::small(row.number)?, rows::small(row.total)?);
    }
    let copies: Vec<Copy> = copies.iter().filter(|c| c.of == CopyOf::Segment(record.id)).cloned().collect();
    let here = Location::Node(record.node);
    let state = copies.iter().find(|c| c.at == here).map_or(record.state, |c| c.state);
    let elsewhere = elsewhere.remove(&rows::id(record.id.as_u64())).unwrap_or_default();
    Ok(SegmentDetail { record, directory: row.directory, state, copies, recorded_as, elsewhere })
}

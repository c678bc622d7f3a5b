//! What is removed: rows without files behind them after a reindex, events and alarms that are old.

use std::collections::BTreeMap;

use model::{EventId, NodeNumber, SegmentId, SegmentRecord};
use sqlx::AssertSqlSafe;

use super::alarms;
use super::apply::Touched;
use super::engine::{self, Connection, Pool};
use super::joins;
use super::segments::{self, SegmentTold};
use crate::error::CatalogError;
use crate::query::{LIST_MAX, limit};
use crate::rows;

/// Removes what was not told of since an event. Returns how many rows went.
pub(crate) async fn forget_untold_since(db: &Pool, event: EventId) -> Result<u64, CatalogError> {
    let mut transaction = engine::begin_alone(db).await?;
    let removed = forget(&mut transaction, event).await?;
    transaction.commit().await?;
    Ok(removed)
}

/// Empties the index, not the events.
pub(crate) async fn clear(db: &Pool) -> Result<(), CatalogError> {
    let mut transaction = engine::begin_alone(db).await?;
    // Streams, parties, key-values and copies go with what they belong to.
    sqlx::query("DELETE FROM calls").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Removes events older than one, and alarms that are over and were told of before it, some at a time.
pub(crate) async fn trim(db: &Pool, before: EventId) -> Result<u64, CatalogError> {
    let done = sqlx::query(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < $1 ORDER BY id LIMIT $2)",
    )
    .bind(rows::id(before.as_u64()))
    .bind(limit(Some(LIST_MAX)))
    .execute(db)
    .await?;
    Ok(done.rows_affected() + alarms::trim(db, before).await?)
}

/// What a person or a file said before an event and nobody since: `engine::UNTOLD` says whose counts.
struct Untold {
    event: i64,
    node: i64,
}

impl Untold {
    async fn calls(&self, db: &mut Connection, sql: &str) -> Result<Vec<i64>, sqlx::Error> {
        let sql = AssertSqlSafe(sql.replace("UNTOLD", engine::UNTOLD));
        sqlx::query_scalar(sql).bind(self.event).bind(self.node).fetch_all(db).await
    }

    async fn remove(&self, db: &mut Connection, sql: &str) -> Result<u64, sqlx::Error> {
        let sql = AssertSqlSafe(sql.replace("UNTOLD", engine::UNTOLD));
        Ok(sqlx::query(sql).bind(self.event).bind(self.node).execute(db).await?.rows_affected())
    }
}

async fn forget(db: &mut Connection, event: EventId) -> Result<u64, CatalogError> {
    let untold = Untold { event: rows::id(event.as_u64()), node: i64::from(event.node().get()) };
    // All of a call of which a join goes: what is still joined is put together again afterwards.
    const PARTED: &str = "SELECT c.id FROM calls c WHERE COALESCE(c.joined, c.id) IN \
         (SELECT COALESCE(f.joined, f.id) FROM calls f \
         JOIN (SELECT from_call, into_call FROM joins WHERE UNTOLD) j ON f.id = j.from_call OR f.id = j.into_call)";
    const POORER: &str = "SELECT call FROM segments WHERE UNTOLD UNION SELECT call FROM copies WHERE UNTOLD \
         UNION SELECT call FROM tags WHERE UNTOLD \
         UNION SELECT call FROM metadata WHERE origin = 'added' AND UNTOLD \
         UNION SELECT call FROM sides WHERE UNTOLD";
    let parted = untold.calls(db, PARTED).await?;
    let poorer = untold.calls(db, POORER).await?;
    // What no file joins any more is apart again.
    for call in &parted {
        sqlx::query(
            "UPDATE segments SET call = own_call, number = own_number, total = own_total WHERE own_call = $1",
        )
        .bind(call)
        .execute(&mut *db)
        .await?;
    }
    let mut removed = untold.remove(db, "DELETE FROM elsewhere WHERE UNTOLD").await?;
    let elsewhere = left_elsewhere(db, &untold).await?;
    for statement in [
        "DELETE FROM joins WHERE UNTOLD",
        "DELETE FROM sides WHERE UNTOLD",
        "DELETE FROM segments WHERE UNTOLD",
        "DELETE FROM copies WHERE UNTOLD",
        "DELETE FROM tags WHERE UNTOLD",
        "DELETE FROM metadata WHERE origin = 'added' AND UNTOLD",
    ] {
        removed += untold.remove(db, statement).await?;
    }
    let mut touched = Touched::default();
    for call in poorer.into_iter().chain(parted) {
        touched.add_row(call)?;
    }
    let left: segments::Told<'_> = elsewhere.iter().map(|(key, left)| (*key, left.as_told())).collect();
    segments::write(db, &mut touched, &left, &segments::Copies::new()).await?;
    const CALLS: &str = "DELETE FROM calls WHERE UNTOLD \
         AND NOT EXISTS (SELECT 1 FROM segments s WHERE s.call = calls.id) \
         AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.call = calls.id)";
    removed += untold.remove(db, CALLS).await?;
    joins::derive_all(db, touched.into_calls()).await?;
    Ok(removed)
}

/// What another node says of a segment whose own record goes: it is shown from now on.
struct Left {
    event: EventId,
    record: SegmentRecord,
    directory: String,
}

impl Left {
    fn as_told(&self) -> SegmentTold<'_> {
        SegmentTold { event: self.event, record: &self.record, directory: &self.directory }
    }
}

async fn left_elsewhere(
    db: &mut Connection,
    untold: &Untold,
) -> Result<BTreeMap<(SegmentId, NodeNumber), Left>, CatalogError> {
    let sql = "SELECT changed, record, directory FROM elsewhere WHERE segment IN \
         (SELECT id FROM segments WHERE UNTOLD)";
    let found: Vec<(i64, String, String)> =
        sqlx::query_as(AssertSqlSafe(sql.replace("UNTOLD", engine::UNTOLD)))
            .bind(untold.event)
            .bind(untold.node)
            .fetch_all(db)
            .await?;
    let mut all = BTreeMap::new();
    for (changed, record, directory) in found {
        let record: SegmentRecord = rows::from_json("a segment's record", &record)?;
        all.insert((record.id, record.node), Left { event: rows::event_id(changed)?, record, directory });
    }
    Ok(all)
}

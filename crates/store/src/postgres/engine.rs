//! What PostgreSQL calls otherwise than SQLite: types of sqlx, transactions, and the pieces of SQL that differ.
//!
//! Several nodes write at once. Whoever writes holds a lock for each call that its changes touch, until the transaction
//! ends: what follows from the rows of a call is derived by one after the other. Locks are taken in the order of ids, and
//! of calls that are one all are taken. Where two wait for each other nevertheless, PostgreSQL ends one, and it is done
//! again.

use std::collections::BTreeSet;

use model::{Change, ChangeKind, CopyOf};
use sqlx::{Postgres, Transaction};

use crate::concerned::concerned;
use crate::rows;

pub(crate) use sqlx::PgConnection as Connection;
pub(crate) use sqlx::PgPool as Pool;
pub(crate) use sqlx::Postgres as Db;
pub(crate) use sqlx::postgres::PgRow as Row;

/// The tags of a call, sorted, as JSON.
pub(crate) const TAGS: &str = "(SELECT COALESCE(json_agg(t.tag ORDER BY t.tag), '[]'::JSON)::TEXT FROM tags t \
     WHERE t.call = c.id AND t.present = 1)";

/// Which way a call went. JSON in a column may name the NUL, which PostgreSQL takes for no text.
pub(crate) const DIRECTION: &str = "(replace(c.data, '\\u0000', '\\ufffd')::JSON ->> 'direction')";

/// By what an index finds values, where not by the whole of them.
pub(crate) const VALUES_BEGIN: Option<(&str, usize)> = Some(("left(m.value, 256)", 256));

/// Events behind `$1`, `$2` at most, in the order of the transactions that wrote them, as far as none that is older can
/// still come: those of transactions that are older than all that run.
pub(crate) const EVENTS_BEHIND: &str = "SELECT id, at, tenant, kind, call, segment, body FROM events \
     WHERE written < pg_snapshot_xmin(pg_current_snapshot()) \
     AND (written, id) > (COALESCE((SELECT e.written FROM events e WHERE e.id = $1), '0'::xid8), $1) \
     AND (id > $1 OR EXISTS (SELECT 1 FROM events e WHERE e.id = $1)) ORDER BY written, id LIMIT $2";

/// The oldest event and the newest that can be read.
pub(crate) const EVENT_SPAN: &str = "SELECT (SELECT MIN(id) FROM events), (SELECT id FROM events \
     WHERE written < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY written DESC, id DESC LIMIT 1)";

/// The oldest transaction that runs, and whose it is as far as that can be seen, where events wait for it to end.
pub(crate) const EVENTS_HELD_BACK: Option<&str> = Some(
    "SELECT o.oldest::TEXT, COALESCE( \
       (SELECT 'process ' || a.pid || ', ' || COALESCE(NULLIF(a.application_name, ''), 'no name') || ' of ' \
          || COALESCE(a.usename, '?') FROM pg_stat_activity a WHERE a.backend_xid = o.oldest::xid LIMIT 1), \
       (SELECT 'prepared as ' || p.gid FROM pg_prepared_xacts p WHERE p.transaction = o.oldest::xid LIMIT 1), \
       'unknown') \
     FROM (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS oldest) o \
     WHERE EXISTS (SELECT 1 FROM events WHERE written >= o.oldest)",
);

/// What was not told of since `$1`, and was told last by the node `$2`: others have files of their own.
pub(crate) const UNTOLD: &str = "changed < $1 AND (changed / 2048) % 1024 = $2";

/// Milliseconds since 1970: now, not when the transaction began.
pub(crate) const NOW_MS: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// Nobody changes a row that was read until the transaction ends.
pub(crate) const LOCKED: &str = "FOR SHARE";

/// The lock that all hold who write, together, and one who wants to be alone, alone. Locks of calls are their ids, which
/// are not negative.
const EVERYBODY: i64 = -1;

/// A transaction that writes what changes tell.
pub(crate) async fn begin(
    db: &Pool,
    changes: &[Change],
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut transaction = db.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock_shared($1)").bind(EVERYBODY).execute(&mut *transaction).await?;
    lock(&mut transaction, changes).await?;
    Ok(transaction)
}

/// A transaction that writes while nobody else does.
pub(crate) async fn begin_alone(db: &Pool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut transaction = db.begin().await?;
    // It may go through all there is.
    sqlx::query("SET LOCAL statement_timeout = '10min'").execute(&mut *transaction).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(EVERYBODY).execute(&mut *transaction).await?;
    Ok(transaction)
}

/// A transaction whose questions are all of one moment.
pub(crate) async fn look(db: &Pool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    db.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// Locks the calls that changes touch, and those that are one with them.
async fn lock(db: &mut Connection, changes: &[Change]) -> Result<(), sqlx::Error> {
    let Named { mut calls, segments } = Named::of(changes);
    if !segments.is_empty() {
        let segments: Vec<i64> = segments.into_iter().collect();
        // A segment may have been another call's.
        let found: Vec<i64> = sqlx::query_scalar("SELECT call FROM segments WHERE id = ANY($1)")
            .bind(segments)
            .fetch_all(&mut *db)
            .await?;
        calls.extend(found);
    }
    let mut locked = BTreeSet::new();
    loop {
        let more: Vec<i64> = calls.difference(&locked).copied().collect();
        if more.is_empty() {
            return Ok(());
        }
        sqlx::query("SELECT pg_advisory_xact_lock(call) FROM unnest($1::BIGINT[]) AS wanted (call)")
            .bind(&more)
            .execute(&mut *db)
            .await?;
        // Only now nobody else can join them with others.
        let joined: Vec<i64> = sqlx::query_scalar(
            "SELECT from_call FROM joins WHERE into_call = ANY($1) \
             UNION SELECT into_call FROM joins WHERE from_call = ANY($1)",
        )
        .bind(&more)
        .fetch_all(&mut *db)
        .await?;
        locked.extend(more);
        calls.extend(joined);
    }
}

/// What changes name.
#[derive(Default)]
struct Named {
    calls: BTreeSet<i64>,
    segments: BTreeSet<i64>,
}

impl Named {
    fn of(changes: &[Change]) -> Self {
        let mut named = Self::default();
        for change in changes {
            named.calls.extend(concerned(change).map(|call| rows::id(call.as_u64())));
            match &change.kind {
                ChangeKind::Segment { record, .. } => {
                    named.segments.insert(rows::id(record.id.as_u64()));
                }
                ChangeKind::Copy { copy, .. } => {
                    if let CopyOf::Segment(segment) = copy.of {
                        named.segments.insert(rows::id(segment.as_u64()));
                    }
                }
                _ => {}
            }
        }
        named
    }
}

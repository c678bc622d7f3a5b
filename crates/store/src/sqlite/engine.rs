//! What SQLite calls otherwise than PostgreSQL: types of sqlx, transactions, and the pieces of SQL that differ.

use model::Change;
use sqlx::{Sqlite, Transaction};

pub(crate) use sqlx::Sqlite as Db;
pub(crate) use sqlx::SqliteConnection as Connection;
pub(crate) use sqlx::SqlitePool as Pool;
pub(crate) use sqlx::sqlite::SqliteRow as Row;

/// The tags of a call, sorted, as JSON.
pub(crate) const TAGS: &str =
    "(SELECT json_group_array(t.tag ORDER BY t.tag) FROM tags t WHERE t.call = c.id AND t.present = 1)";

/// Which way a call went.
pub(crate) const DIRECTION: &str = "json_extract(c.data, '$.direction')";

/// By what an index finds values, where not by the whole of them.
pub(crate) const VALUES_BEGIN: Option<(&str, usize)> = None;

/// Events behind `$1`, `$2` at most. There is one writer, which writes them in the order of their ids.
pub(crate) const EVENTS_BEHIND: &str =
    "SELECT id, at, tenant, kind, call, segment, body FROM events WHERE id > $1 ORDER BY id LIMIT $2";

/// The oldest event and the newest.
pub(crate) const EVENT_SPAN: &str = "SELECT (SELECT MIN(id) FROM events), (SELECT MAX(id) FROM events)";

/// Nobody else writes: no event waits.
pub(crate) const EVENTS_HELD_BACK: Option<&str> = None;

/// What was not told of since `$1`: of one node, whose number (`$2`) was another one once.
pub(crate) const UNTOLD: &str = "changed < $1 AND $2 IS NOT NULL";

/// Milliseconds since 1970.
pub(crate) const NOW_MS: &str = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

/// A transaction that writes has the whole file.
pub(crate) const LOCKED: &str = "";

/// A transaction that writes what changes tell.
pub(crate) async fn begin(
    db: &Pool,
    _changes: &[Change],
) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    db.begin_with("BEGIN IMMEDIATE").await
}

/// A transaction that writes while nobody else does.
pub(crate) async fn begin_alone(db: &Pool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    db.begin_with("BEGIN IMMEDIATE").await
}

/// A transaction whose questions are all of one moment.
pub(crate) async fn look(db: &Pool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    db.begin().await
}

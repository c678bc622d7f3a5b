//! The catalog as others use it: apply changes, ask questions.
//!
//! The file may be deleted or replaced at any time. Before each use its identity is compared (one `stat`); a
//! catalog that is not the open one any more is opened again. Only [`Catalog::open`] and the
//! [`Worker`](crate::Worker) create a file; everything else waits until there is one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{CallId, Change, Copy, EventId, Join, TenantId};
use sqlx::SqliteConnection;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::alarms::{self, AlarmQuery, AlarmRow};
use crate::apply::{self, Touch};
use crate::corrections::Corrections;
use crate::db::{Database, Identity, Missing};
use crate::disk::Disk;
use crate::error::{CatalogError, OpenError};
use crate::joins;
use crate::query::{CALL_COLUMNS, CallQuery, LIST_DEFAULT, LIST_MAX, limit, list};
use crate::rows;
use crate::view::{
    CallDetail, CallRow, CallSummary, CopyRow, Event, EventRow, EventSpan, SegmentDetail, SegmentRow,
};

/// How long a question may take: a list that goes through a million calls takes some seconds, and people do not wait
/// for longer. What does not answer by then stands still.
const QUESTION: Duration = Duration::from_secs(20);

/// The catalog. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Catalog {
    path: PathBuf,
    disk: Disk,
    open: Mutex<Option<Arc<Database>>>,
}

impl Catalog {
    /// Opens the catalog, makes it when there is none, brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let disk = Disk::default();
        let database = Database::open(path, Missing::Create, &disk).await?;
        Ok(Self { path: path.to_owned(), disk, open: Mutex::new(Some(Arc::new(database))) })
    }

    /// A catalog that is opened at the first question and never created: for those who only ask.
    #[must_use]
    pub fn reader(path: &Path) -> Self {
        Self { path: path.to_owned(), disk: Disk::default(), open: Mutex::new(None) }
    }

    /// Whether the file at the path is still the one that is open. It is not, as far as anybody can tell, when its
    /// disk does not answer.
    pub async fn is_current(&self) -> bool {
        let open = self.open.lock().await;
        let Some(database) = open.as_ref() else { return false };
        self.look().await.is_ok_and(|now| now.main == database.identity.main)
    }

    /// Waits for the answer to a question, and no longer than anybody would.
    pub(crate) async fn answer<T>(
        &self,
        asking: impl Future<Output = Result<T, CatalogError>>,
    ) -> Result<T, CatalogError> {
        timeout(QUESTION, asking).await.unwrap_or_else(|_| {
            let source = io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
            Err(OpenError::File { path: self.path.clone(), source }.into())
        })
    }

    /// Which files are at the path.
    async fn look(&self) -> Result<Identity, OpenError> {
        let path = self.path.clone();
        let looked = self.disk.ask(move || Identity::of(&path)).await;
        looked.map_err(|source| OpenError::File { path: self.path.clone(), source })
    }

    /// The identity of what was open, for moving leftovers away.
    pub(crate) async fn identity(&self) -> Identity {
        self.open.lock().await.as_ref().map(|d| d.identity).unwrap_or_default()
    }

    /// Writes changes: rows and events in one transaction. Twice is as once, any order ends the same.
    pub async fn apply(&self, changes: &[Change]) -> Result<(), CatalogError> {
        let database = self.database().await?;
        let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
        apply::apply(&mut transaction, changes).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Calls, newest first.
    pub async fn calls(&self, query: &CallQuery) -> Result<Vec<CallSummary>, CatalogError> {
        self.answer(async {
            let database = self.database().await?;
            let rows: Vec<CallRow> = list(query).build_query_as().fetch_all(&database.readers).await?;
            rows.into_iter().map(|row| row.read().map(|(summary, _)| summary)).collect()
        })
        .await
    }

    /// One call with all that is known of it, if the tenant has it. Of one that turned out to be another it
    /// is that other.
    pub async fn call(&self, tenant: &TenantId, call: CallId) -> Result<Option<CallDetail>, CatalogError> {
        self.answer(async {
            let database = self.database().await?;
            // One transaction: call, segments and copies of the same moment.
            let mut transaction = database.readers.begin().await?;
            let detail = detail(&mut transaction, tenant, call).await?;
            transaction.rollback().await?;
            Ok(detail)
        })
        .await
    }

    /// Alarms, newest first.
    pub async fn alarms(&self, query: &AlarmQuery) -> Result<Vec<AlarmRow>, CatalogError> {
        self.answer(async {
            let database = self.database().await?;
            alarms::list(&database.readers, query).await
        })
        .await
    }

    /// Events after one, oldest first, of all tenants. `limit` is at most [`LIST_MAX`].
    pub async fn events(&self, after: EventId, limit: usize) -> Result<Vec<Event>, CatalogError> {
        self.answer(async {
            let database = self.database().await?;
            let rows: Vec<EventRow> = sqlx::query_as(
                "SELECT id, at, tenant, kind, call, segment, body FROM events WHERE id > $1 ORDER BY id LIMIT $2",
            )
            .bind(rows::id(after.as_u64()))
            .bind(self::limit(Some(limit)))
            .fetch_all(&database.readers)
            .await?;
            rows.into_iter().map(EventRow::read).collect()
        })
        .await
    }

    /// Which events are kept.
    pub async fn event_span(&self) -> Result<EventSpan, CatalogError> {
        self.answer(async {
            let database = self.database().await?;
            let (oldest, newest): (Option<i64>, Option<i64>) =
                sqlx::query_as("SELECT (SELECT MIN(id) FROM events), (SELECT MAX(id) FROM events)")
                    .fetch_one(&database.readers)
                    .await?;
            Ok(EventSpan {
                oldest: oldest.map(rows::event_id).transpose()?,
                newest: newest.map(rows::event_id).transpose()?,
            })
        })
        .await
    }

    /// The highest id that the catalog holds, of whatever kind; 0 when it is empty.
    pub async fn highest_id(&self) -> Result<u64, CatalogError> {
        self.answer(async {
            let database = self.database().await?;
            let highest: i64 = sqlx::query_scalar(
                "SELECT COALESCE(MAX(id), 0) FROM (SELECT MAX(id) AS id FROM calls \
                 UNION ALL SELECT MAX(changed) FROM alarms \
                 UNION ALL SELECT MAX(id) FROM segments UNION ALL SELECT MAX(id) FROM streams \
                 UNION ALL SELECT MAX(id) FROM events) AS highest",
            )
            .fetch_one(&database.readers)
            .await?;
            rows::from_id(highest)
        })
        .await
    }

    /// Copies the whole catalog into a new file, as of one moment, while others write.
    ///
    /// # Errors
    /// When the catalog does not answer, or the file exists or cannot be written.
    pub async fn snapshot(&self, to: &Path) -> Result<(), CatalogError> {
        let database = self.database().await?;
        // The readers must not write anything, be it another file.
        sqlx::query("VACUUM INTO $1").bind(to.to_string_lossy()).execute(&database.writer).await?;
        Ok(())
    }

    /// Looks through the whole file for damage; empty when there is none.
    ///
    /// # Errors
    /// When the catalog does not answer, or is so damaged that it cannot be looked through.
    pub async fn damage(&self) -> Result<Vec<String>, CatalogError> {
        let database = self.database().await?;
        let found: Vec<String> =
            sqlx::query_scalar("PRAGMA quick_check(10)").fetch_all(&database.readers).await?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }

    /// Removes calls, segments and copies that were not told of since an event. At the end of a reindex, with the
    /// event id drawn at its begin: what is left over has no file behind it. Returns how many rows went.
    pub async fn forget_untold_since(&self, event: EventId) -> Result<u64, CatalogError> {
        let database = self.database().await?;
        let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
        let removed = forget(&mut transaction, rows::id(event.as_u64())).await?;
        transaction.commit().await?;
        Ok(removed)
    }

    /// Empties the index (not the events), for a reindex from nothing.
    pub async fn clear_for_reindex(&self) -> Result<(), CatalogError> {
        let database = self.database().await?;
        let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
        // Streams, parties, key-values and copies go with what they belong to.
        sqlx::query("DELETE FROM calls").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes events older than one, and alarms that are over and were told of before it, at most [`LIST_MAX`]
    /// each at a time so that the writer is never held up.
    /// Returns how many went.
    pub async fn trim_events(&self, before: EventId) -> Result<u64, CatalogError> {
        let database = self.database().await?;
        let done = sqlx::query(
            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < $1 ORDER BY id LIMIT $2)",
        )
        .bind(rows::id(before.as_u64()))
        .bind(limit(Some(LIST_MAX)))
        .execute(&database.writer)
        .await?;
        let alarms = alarms::trim(&database.writer, before).await?;
        Ok(done.rows_affected() + alarms)
    }

    /// Closes the file; what was committed is moved from `-wal` into the database.
    pub async fn close(&self) {
        let open = self.open.lock().await.take();
        if let Some(database) = open {
            database.close().await;
        }
    }

    /// The open database, opened again when the file at the path is another one.
    pub(crate) async fn database(&self) -> Result<Arc<Database>, CatalogError> {
        let mut open = self.open.lock().await;
        if let Some(database) = open.as_ref() {
            let now = self.look().await?;
            if now.main == database.identity.main {
                return Ok(Arc::clone(database));
            }
            // Not before the writer has moved what the old database left: SQLite would read it as the new one's.
            if now.has_leftovers_of(&database.identity) {
                return Err(CatalogError::Replaced);
            }
        }
        let database = Arc::new(Database::open(&self.path, Missing::Fail, &self.disk).await?);
        *open = Some(Arc::clone(&database));
        Ok(database)
    }
}

async fn detail(
    db: &mut SqliteConnection,
    tenant: &TenantId,
    call: CallId,
) -> Result<Option<CallDetail>, CatalogError> {
    let surviving: Option<i64> = sqlx::query_scalar("SELECT COALESCE(joined, id) FROM calls WHERE id = $1")
        .bind(rows::id(call.as_u64()))
        .fetch_optional(&mut *db)
        .await?;
    let Some(id) = surviving else { return Ok(None) };
    let mut sql = sqlx::QueryBuilder::new("SELECT ");
    sql.push(CALL_COLUMNS).push(" FROM calls c WHERE c.id = ").push_bind(id);
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
async fn joins_of(db: &mut SqliteConnection, call: i64) -> Result<Vec<Join>, CatalogError> {
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

async fn extra(db: &mut SqliteConnection, call: i64) -> Result<BTreeMap<String, String>, CatalogError> {
    let pairs: Vec<(String, String)> = sqlx::query_as(
        "SELECT key, value FROM metadata WHERE call = $1 AND origin = 'added' AND present = 1 ORDER BY key LIMIT $2",
    )
    .bind(call)
    .bind(limit(Some(LIST_MAX)))
    .fetch_all(db)
    .await?;
    Ok(pairs.into_iter().collect())
}

async fn copies(db: &mut SqliteConnection, call: i64) -> Result<Vec<Copy>, CatalogError> {
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
    db: &mut SqliteConnection,
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
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| SegmentDetail::read(row, copies, corrections)).collect()
}

async fn events_of(db: &mut SqliteConnection, call: i64) -> Result<Vec<Event>, CatalogError> {
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

async fn forget(db: &mut SqliteConnection, event: i64) -> Result<u64, CatalogError> {
    // All of a call of which a join goes: what is still joined is put together again afterwards.
    let parted: Vec<i64> = sqlx::query_scalar(
        "SELECT c.id FROM calls c WHERE COALESCE(c.joined, c.id) IN (SELECT COALESCE(f.joined, f.id) FROM calls f \
         JOIN joins j ON f.id = j.from_call OR f.id = j.into_call WHERE j.changed < $1)",
    )
    .bind(event)
    .fetch_all(&mut *db)
    .await?;
    let poorer: Vec<i64> = sqlx::query_scalar(
        "SELECT call FROM segments WHERE changed < $1 UNION SELECT call FROM copies WHERE changed < $1 \
         UNION SELECT call FROM tags WHERE changed < $1 \
         UNION SELECT call FROM metadata WHERE origin = 'added' AND changed < $1 \
         UNION SELECT call FROM sides WHERE changed < $1",
    )
    .bind(event)
    .fetch_all(&mut *db)
    .await?;
    // What no file joins any more is apart again.
    for call in &parted {
        sqlx::query(
            "UPDATE segments SET call = own_call, number = own_number, total = own_total WHERE own_call = $1",
        )
        .bind(call)
        .execute(&mut *db)
        .await?;
    }
    let mut removed = 0;
    for statement in [
        "DELETE FROM joins WHERE changed < $1",
        "DELETE FROM sides WHERE changed < $1",
        "DELETE FROM segments WHERE changed < $1",
        "DELETE FROM copies WHERE changed < $1",
        "DELETE FROM tags WHERE changed < $1",
        "DELETE FROM metadata WHERE origin = 'added' AND changed < $1",
        "DELETE FROM calls WHERE changed < $1 \
         AND NOT EXISTS (SELECT 1 FROM segments s WHERE s.call = calls.id) \
         AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.call = calls.id)",
    ] {
        removed += sqlx::query(statement).bind(event).execute(&mut *db).await?.rows_affected();
    }
    let poorer: Result<BTreeMap<CallId, Touch>, CatalogError> = poorer
        .into_iter()
        .chain(parted)
        .map(|call| Ok((CallId::from_u64(rows::from_id(call)?), Touch::Data)))
        .collect();
    joins::derive_all(db, poorer?).await?;
    Ok(removed)
}

//! Changes become rows: idempotent, in any order, in one transaction with their events.
//!
//! Each kind of row remembers the newest change that wrote it (`changed`, `told`) and is not written by an
//! older one. What follows from several rows (a call's state, total, liveness) is not kept up to date here but
//! derived anew for each call that was touched (`joins`, `derive`), so the order of arrival leaves no trace.

use std::collections::BTreeMap;

use model::{
    CallId, CallRecord, Change, ChangeKind, Copy, CopyOf, Correction, EventId, Location, Note, SegmentRecord,
    TenantId,
};
use sqlx::SqliteConnection;

use crate::error::CatalogError;
use crate::joins;
use crate::outbox;
use crate::rows;

/// Whether the call data of a touched call changed, so that parties and key-values are to be written anew.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Touch {
    StateOnly,
    Data,
}

#[derive(Default)]
struct Touched(BTreeMap<CallId, Touch>);

impl Touched {
    fn add(&mut self, call: CallId, touch: Touch) {
        let entry = self.0.entry(call).or_insert(touch);
        *entry = (*entry).max(touch);
    }

    fn add_row(&mut self, call: i64) -> Result<(), CatalogError> {
        self.add(CallId::from_u64(rows::from_id(call)?), Touch::Data);
        Ok(())
    }
}

/// Applies changes within the transaction that `db` is in.
pub(crate) async fn apply(db: &mut SqliteConnection, changes: &[Change]) -> Result<(), CatalogError> {
    let mut touched = Touched::default();
    for change in changes {
        if let Some(call) = change.kind.call()
            && !matches!(change.kind, ChangeKind::Alarm(_))
        {
            if !ensure_call(db, &change.tenant, call).await? {
                tracing::error!(%call, tenant = %change.tenant, event = %change.id,
                    "a change names another tenant than the call has; it is not applied");
                continue;
            }
            touched.add(call, Touch::StateOnly);
        }
        if let ChangeKind::Joined(join) = &change.kind {
            if !joins::write(db, &change.tenant, change.id, join).await? {
                tracing::error!(into = %join.into.call, from = %join.from.call, event = %change.id,
                    "two calls cannot be one; the change is not applied");
                continue;
            }
            touched.add(join.from.call, Touch::Data);
        }
        outbox::write(db, change).await?;
        match &change.kind {
            ChangeKind::Call(record) => told(db, &mut touched, change.id, record).await?,
            ChangeKind::Segment { record, directory } => {
                segment(db, &mut touched, change.id, record, directory).await?;
            }
            ChangeKind::Copy { call, copy } => self::copy(db, &mut touched, change.id, *call, copy).await?,
            ChangeKind::Noted { call, note, .. } => {
                touched.add(*call, Touch::Data);
                noted(db, change.id, *call, note).await?;
            }
            // Noted above.
            ChangeKind::Joined(_) => {}
            ChangeKind::Sides(correction) => {
                for call in &correction.calls {
                    if ensure_call(db, &change.tenant, *call).await? {
                        touched.add(*call, Touch::Data);
                        sides(db, change.id, *call, correction).await?;
                    }
                }
            }
            ChangeKind::Alarm(alarm) => crate::alarms::write(db, change, alarm).await?,
        }
    }
    joins::derive_all(db, touched.0).await
}

/// Makes the row of a call that was not told of yet. False when the call belongs to another tenant.
pub(crate) async fn ensure_call(
    db: &mut SqliteConnection,
    tenant: &TenantId,
    call: CallId,
) -> Result<bool, CatalogError> {
    let owner: Option<String> = sqlx::query_scalar("SELECT tenant FROM calls WHERE id = $1")
        .bind(rows::id(call.as_u64()))
        .fetch_optional(&mut *db)
        .await?;
    if let Some(owner) = owner {
        return Ok(owner == tenant.as_str());
    }
    sqlx::query("INSERT INTO tenants (name) VALUES ($1) ON CONFLICT (name) DO NOTHING")
        .bind(tenant.as_str())
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "INSERT INTO calls (id, tenant, told, told_total, data, started, ended, total, segments, state, live, \
         changed, search) VALUES ($1, $2, 0, 0, '{}', $3, NULL, 0, 0, 0, 0, 0, '')",
    )
    .bind(rows::id(call.as_u64()))
    .bind(tenant.as_str())
    .bind(call.made_at().0)
    .execute(&mut *db)
    .await?;
    Ok(true)
}

async fn told(
    db: &mut SqliteConnection,
    touched: &mut Touched,
    event: EventId,
    record: &CallRecord,
) -> Result<(), CatalogError> {
    let written = sqlx::query(
        "UPDATE calls SET told = $2, told_total = $3, data = $4, started = $5, ended = $6, told_data = NULL, \
         told_started = NULL, told_ended = NULL WHERE id = $1 AND told < $2",
    )
    .bind(rows::id(record.id.as_u64()))
    .bind(rows::id(event.as_u64()))
    .bind(i64::from(record.total))
    .bind(rows::to_json(&record.data)?)
    .bind(record.started.0)
    .bind(record.ended.map(|t| t.0))
    .execute(&mut *db)
    .await?;
    if written.rows_affected() > 0 {
        touched.add(record.id, Touch::Data);
    }
    Ok(())
}

async fn segment(
    db: &mut SqliteConnection,
    touched: &mut Touched,
    event: EventId,
    record: &SegmentRecord,
    directory: &str,
) -> Result<(), CatalogError> {
    let id = rows::id(record.id.as_u64());
    // Calls found to be one are merged: what the segment belonged to before changes with it.
    let before: Vec<i64> = sqlx::query_scalar(
        "SELECT call FROM segments WHERE id = $1 UNION SELECT call FROM copies WHERE kind = 'segment' AND of_id = $1",
    )
    .bind(id)
    .fetch_all(&mut *db)
    .await?;
    let written = sqlx::query(
        "INSERT INTO segments (id, call, number, total, node, started, ended, directory, record, changed, \
         own_call, own_number, own_total) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $2, $3, $4) \
         ON CONFLICT (id) DO UPDATE SET call = excluded.call, number = excluded.number, total = excluded.total, \
         own_call = excluded.own_call, own_number = excluded.own_number, own_total = excluded.own_total, \
         node = excluded.node, started = excluded.started, ended = excluded.ended, \
         directory = excluded.directory, record = excluded.record, changed = excluded.changed \
         WHERE segments.changed < excluded.changed",
    )
    .bind(id)
    .bind(rows::id(record.call.as_u64()))
    .bind(i64::from(record.number))
    .bind(i64::from(record.total))
    .bind(i64::from(record.node.get()))
    .bind(record.started.0)
    .bind(record.ended.map(|t| t.0))
    .bind(directory)
    .bind(rows::to_json(record)?)
    .bind(rows::id(event.as_u64()))
    .execute(&mut *db)
    .await?;
    if written.rows_affected() > 0 {
        touched.add(record.call, Touch::Data);
        for call in before {
            touched.add_row(call)?;
        }
        streams(db, record).await?;
    }
    let here = Copy { of: CopyOf::Segment(record.id), at: Location::Node(record.node), state: record.state };
    copy(db, touched, event, record.call, &here).await
}

async fn streams(db: &mut SqliteConnection, record: &SegmentRecord) -> Result<(), CatalogError> {
    let segment = rows::id(record.id.as_u64());
    sqlx::query("DELETE FROM streams WHERE segment = $1").bind(segment).execute(&mut *db).await?;
    for stream in &record.streams {
        let counts = &stream.accounting;
        sqlx::query(
            "INSERT INTO streams (id, segment, slot, label, kind, side, codec, received, lost, late, duplicate, \
             dropped, discarded, jitter_max_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(rows::id(stream.id.as_u64()))
        .bind(segment)
        .bind(i64::from(stream.slot))
        .bind(stream.label.as_deref())
        .bind(rows::name(&stream.kind))
        .bind(rows::name(&stream.side))
        .bind(stream.codecs.iter().find_map(|c| c.codec.as_ref()).map(|c| c.name.as_str()))
        .bind(rows::count(counts.received))
        .bind(rows::count(counts.lost))
        .bind(rows::count(counts.late))
        .bind(rows::count(counts.duplicate))
        .bind(rows::count(counts.dropped))
        .bind(rows::count(counts.discarded))
        .bind(rows::count(counts.jitter_max_us))
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

async fn copy(
    db: &mut SqliteConnection,
    touched: &mut Touched,
    event: EventId,
    call: CallId,
    copy: &Copy,
) -> Result<(), CatalogError> {
    let (kind, of) = match copy.of {
        CopyOf::Segment(id) => ("segment", rows::id(id.as_u64())),
        CopyOf::Call(id) => ("call", rows::id(id.as_u64())),
    };
    let before: Vec<i64> = sqlx::query_scalar(
        "SELECT call FROM copies WHERE kind = $1 AND of_id = $2 AND place = $3 \
         UNION SELECT call FROM segments WHERE $1 = 'segment' AND id = $2",
    )
    .bind(kind)
    .bind(of)
    .bind(rows::place(&copy.at))
    .fetch_all(&mut *db)
    .await?;
    let written = sqlx::query(
        "INSERT INTO copies (kind, of_id, place, call, state, changed) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (kind, of_id, place) DO UPDATE SET call = excluded.call, state = excluded.state, \
         changed = excluded.changed WHERE copies.changed < excluded.changed",
    )
    .bind(kind)
    .bind(of)
    .bind(rows::place(&copy.at))
    .bind(rows::id(call.as_u64()))
    .bind(i64::from(copy.state.code()))
    .bind(rows::id(event.as_u64()))
    .execute(&mut *db)
    .await?;
    if written.rows_affected() > 0 {
        for call in before {
            touched.add_row(call)?;
        }
    }
    Ok(())
}

async fn sides(
    db: &mut SqliteConnection,
    event: EventId,
    call: CallId,
    correction: &Correction,
) -> Result<(), CatalogError> {
    // The log of each call that is one with others may have some: the one that was made last counts, whenever it was told.
    sqlx::query(
        "INSERT INTO sides (call, at, body, changed) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (call) DO UPDATE SET \
         body = CASE WHEN (excluded.at, excluded.body) > (sides.at, sides.body) THEN excluded.body ELSE sides.body END, \
         at = CASE WHEN excluded.at > sides.at THEN excluded.at ELSE sides.at END, \
         changed = CASE WHEN excluded.changed > sides.changed THEN excluded.changed ELSE sides.changed END",
    )
    .bind(rows::id(call.as_u64()))
    .bind(correction.at.to_micros().0)
    .bind(rows::to_json(&correction.to)?)
    .bind(rows::id(event.as_u64()))
    .execute(db)
    .await?;
    Ok(())
}

async fn noted(
    db: &mut SqliteConnection,
    event: EventId,
    call: CallId,
    note: &Note,
) -> Result<(), CatalogError> {
    const TAG: &str = "INSERT INTO tags (call, tag, present, changed) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (call, tag) DO UPDATE SET present = excluded.present, changed = excluded.changed \
         WHERE tags.changed < excluded.changed";
    // What is taken away keeps its row, without a value.
    const VALUE: &str = "INSERT INTO metadata (call, origin, key, position, value, started, changed, present) \
         VALUES ($1, 'added', $2, 0, $5, 0, $4, $3) \
         ON CONFLICT (call, origin, key, position) DO UPDATE SET value = excluded.value, \
         changed = excluded.changed, present = excluded.present WHERE metadata.changed < excluded.changed";
    let (sql, subject, value) = match note {
        Note::Tagged { tag } | Note::Untagged { tag } => (TAG, tag.as_str(), None),
        Note::Put { key, value } => (VALUE, key.as_str(), Some(value.as_str())),
        Note::Removed { key } => (VALUE, key.as_str(), Some("")),
    };
    let query = sqlx::query(sql)
        .bind(rows::id(call.as_u64()))
        .bind(subject)
        .bind(i64::from(!note.takes_away()))
        .bind(rows::id(event.as_u64()));
    match value {
        Some(value) => query.bind(value).execute(db).await?,
        None => query.execute(db).await?,
    };
    Ok(())
}

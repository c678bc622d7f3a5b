//! The outbox as rows: written with what it tells of, read in an order in which nothing comes behind what was read.

use model::EventId;

use super::bulk;
use super::engine::{self, Connection, Pool};
use crate::error::CatalogError;
use crate::query::limit;
use crate::rows;
use crate::view::{Event, EventRow, EventSpan, HeldBack};

/// Writes events within the transaction that `db` is in. What was told before is there already.
pub(crate) async fn write(db: &mut Connection, events: &[Event]) -> Result<(), CatalogError> {
    bulk::insert(
        db,
        "INSERT INTO events (id, at, tenant, kind, call, segment, body) ",
        events,
        |values, event| {
            values.push_bind(rows::id(event.id.as_u64())).push_bind(event.at.0);
            values.push_bind(event.tenant.as_str()).push_bind(event.kind.as_str());
            values.push_bind(event.call.map(|c| rows::id(c.as_u64())));
            values.push_bind(event.segment.map(|s| rows::id(s.as_u64()))).push_bind(event.body.as_str());
        },
        " ON CONFLICT (id) DO NOTHING",
    )
    .await?;
    Ok(())
}

/// Events behind one, oldest first.
pub(crate) async fn events(db: &Pool, after: EventId, limit: usize) -> Result<Vec<Event>, CatalogError> {
    let rows: Vec<EventRow> = sqlx::query_as(engine::EVENTS_BEHIND)
        .bind(rows::id(after.as_u64()))
        .bind(self::limit(Some(limit)))
        .fetch_all(db)
        .await?;
    rows.into_iter().map(EventRow::read).collect()
}

/// Which events are kept.
pub(crate) async fn span(db: &Pool) -> Result<EventSpan, CatalogError> {
    let (oldest, newest): (Option<i64>, Option<i64>) =
        sqlx::query_as(engine::EVENT_SPAN).fetch_one(db).await?;
    Ok(EventSpan {
        oldest: oldest.map(rows::event_id).transpose()?,
        newest: newest.map(rows::event_id).transpose()?,
    })
}

/// What keeps events that are written from being read.
pub(crate) async fn held_back(db: &Pool) -> Result<Option<HeldBack>, CatalogError> {
    let Some(question) = engine::EVENTS_HELD_BACK else { return Ok(None) };
    let found: Option<(String, String)> = sqlx::query_as(question).fetch_optional(db).await?;
    Ok(found.map(|(transaction, whose)| HeldBack { transaction, whose }))
}

/// Whether an event is kept.
pub(crate) async fn has(db: &Pool, event: EventId) -> Result<bool, CatalogError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT id FROM events WHERE id = $1")
        .bind(rows::id(event.as_u64()))
        .fetch_optional(db)
        .await?;
    Ok(found.is_some())
}

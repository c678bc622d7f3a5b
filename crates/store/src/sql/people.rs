//! What people noted of calls, as rows.

use model::{CallId, Correction, EventId, Note};

use super::engine::Connection;
use crate::error::CatalogError;
use crate::rows;

/// Notes who is agent and who is external, as somebody corrected it.
pub(crate) async fn sides(
    db: &mut Connection,
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

/// Notes a tag or a key-value, or that it was taken away.
pub(crate) async fn noted(
    db: &mut Connection,
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
        .bind(rows::text(subject))
        .bind(i64::from(!note.takes_away()))
        .bind(rows::id(event.as_u64()));
    match value {
        Some(value) => query.bind(rows::text(value)).execute(db).await?,
        None => query.execute(db).await?,
    };
    Ok(())
}

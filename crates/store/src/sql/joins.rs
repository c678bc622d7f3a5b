//! Calls that turned out to be one, as rows.
//!
//! Joins are kept as they were told, as edges between calls. Whenever a row of a call was touched, the calls that are
//! connected with it are looked up, and what belongs to one of them is given to the one that survives. What was told of
//! each stays as it was, so any order of changes ends in the same rows.

use std::collections::{BTreeMap, BTreeSet};

use model::join::{CALLS_MAX, Recorded, moved_total, numbering};
use model::{CallId, EventId, Join, RecordingState, SegmentId};
use sqlx::FromRow;

use super::apply::Touch;
use super::bulk;
use super::derive::derive;
use super::engine::Connection;
use crate::error::CatalogError;
use crate::rows;

/// 512 calls: their rows are in memory, some 10 KiB each. A batch touches no more; a reindex may touch all there are.
const DERIVED_AT_ONCE: usize = 512;

/// A call and those that it took in.
pub(crate) struct Group {
    /// The one that survives: the lowest.
    pub(crate) survivor: CallId,
    /// All of them, that one included.
    pub(crate) calls: BTreeSet<CallId>,
    /// By what they are connected.
    pub(crate) joins: Vec<Join>,
}

impl Group {
    /// A call that is one with no other.
    fn of_one(call: CallId) -> Self {
        Self { survivor: call, calls: BTreeSet::from([call]), joins: Vec::new() }
    }

    /// Whether it is more than one call.
    pub(crate) fn is_joined(&self) -> bool {
        self.calls.len() > 1
    }

    /// The highest total that a join into the surviving one left.
    pub(crate) fn total_left(&self) -> i64 {
        let into_it = self.joins.iter().filter(|j| j.into.call == self.survivor);
        into_it.map(|j| i64::from(j.total)).max().unwrap_or(0)
    }

    /// Those that do not survive.
    pub(crate) fn others(&self) -> impl Iterator<Item = CallId> {
        self.calls.iter().copied().skip(1)
    }
}

/// Notes a join of two calls that can be one, and of which there are rows.
pub(crate) async fn write(db: &mut Connection, event: EventId, join: &Join) -> Result<(), CatalogError> {
    // Of two tellings the one that was found first counts, as in a log.
    sqlx::query(
        "INSERT INTO joins (from_call, into_call, at, body, changed) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (from_call, into_call) DO UPDATE SET \
         body = CASE WHEN (excluded.at, excluded.body) < (joins.at, joins.body) THEN excluded.body ELSE joins.body END, \
         at = CASE WHEN excluded.at < joins.at THEN excluded.at ELSE joins.at END, \
         changed = CASE WHEN excluded.changed > joins.changed THEN excluded.changed ELSE joins.changed END",
    )
    .bind(rows::id(join.from.call.as_u64()))
    .bind(rows::id(join.into.call.as_u64()))
    .bind(join.at.to_micros().0)
    .bind(rows::to_json(join)?)
    .bind(rows::id(event.as_u64()))
    .execute(db)
    .await?;
    Ok(())
}

/// Derives what follows from rows of these calls, for the calls that survive.
pub(crate) async fn derive_all(
    db: &mut Connection,
    touched: BTreeMap<CallId, Touch>,
) -> Result<(), CatalogError> {
    let joined = joined(db, touched.keys()).await?;
    let mut groups: BTreeMap<CallId, (Group, Touch)> = BTreeMap::new();
    for (call, touch) in touched {
        let group = if joined.contains(&call) { group(db, call).await? } else { Group::of_one(call) };
        let touch = if group.is_joined() { Touch::Data } else { touch };
        let entry = groups.entry(group.survivor).or_insert((group, touch));
        entry.1 = entry.1.max(touch);
    }
    let groups: Vec<(Group, Touch)> = groups.into_values().collect();
    for (group, _) in groups.iter().filter(|(group, _)| group.is_joined()) {
        take_in(db, group).await?;
        renumber(db, group).await?;
    }
    for some in groups.chunks(DERIVED_AT_ONCE) {
        derive(db, some).await?;
    }
    Ok(())
}

/// Those of some calls that are one with others.
async fn joined(
    db: &mut Connection,
    calls: impl Iterator<Item = &CallId>,
) -> Result<BTreeSet<CallId>, CatalogError> {
    let ids: Vec<i64> = calls.map(|call| rows::id(call.as_u64())).collect();
    let mut found: Vec<(i64,)> =
        bulk::select(db, "SELECT from_call FROM joins WHERE from_call IN", &ids, "").await?;
    found.append(&mut bulk::select(db, "SELECT into_call FROM joins WHERE into_call IN", &ids, "").await?);
    found.into_iter().map(|(id,)| Ok(CallId::from_u64(rows::from_id(id)?))).collect()
}

/// The calls that are one with this one.
pub(crate) async fn group(db: &mut Connection, call: CallId) -> Result<Group, CatalogError> {
    let (mut calls, mut joins): (_, Vec<Join>) = (BTreeSet::from([call]), Vec::new());
    let mut to_visit = vec![call];
    while let Some(at) = to_visit.pop() {
        let found: Vec<String> =
            sqlx::query_scalar("SELECT body FROM joins WHERE from_call = $1 OR into_call = $1")
                .bind(rows::id(at.as_u64()))
                .fetch_all(&mut *db)
                .await?;
        for body in found {
            let join: Join = rows::from_json("a join", &body)?;
            for other in [join.into.call, join.from.call] {
                if calls.len() < CALLS_MAX && calls.insert(other) {
                    to_visit.push(other);
                }
            }
            if !joins.iter().any(|j| j.is_of(&join)) {
                joins.push(join);
            }
        }
    }
    let survivor = calls.first().copied().unwrap_or(call);
    Ok(Group { survivor, calls, joins })
}

/// Gives what belongs to the others to the call that survives.
async fn take_in(db: &mut Connection, group: &Group) -> Result<(), CatalogError> {
    // What was told stays; what was derived of it is derived of the survivor.
    const POINT: &str = "UPDATE calls SET joined = $2, live = 0, segments = 0, total = 0, state = $3, search = '', \
         data = CASE WHEN told = 0 THEN '{}' ELSE COALESCE(told_data, data) END, \
         started = CASE WHEN told = 0 THEN $4 WHEN told_data IS NULL THEN started ELSE told_started END, \
         ended = CASE WHEN told = 0 THEN NULL WHEN told_data IS NULL THEN ended ELSE told_ended END, \
         told_data = NULL, told_started = NULL, told_ended = NULL, changed = \
         (SELECT MAX(n) FROM (SELECT t.told AS n FROM calls t WHERE t.id = $1 UNION ALL \
         SELECT j.changed FROM joins j WHERE j.from_call = $1 OR j.into_call = $1) AS newest) WHERE id = $1";
    // Of several notes on one subject the newest counts, whichever call it was made of.
    const MOVES: [&str; 6] = [
        "UPDATE segments SET own_call = COALESCE(own_call, call), own_number = COALESCE(own_number, number), \
         own_total = COALESCE(own_total, total), call = $2 WHERE call = $1",
        "INSERT INTO tags (call, tag, present, changed) \
         SELECT $2, tag, present, changed FROM tags WHERE call = $1 \
         ON CONFLICT (call, tag) DO UPDATE SET present = excluded.present, changed = excluded.changed \
         WHERE tags.changed < excluded.changed",
        "DELETE FROM tags WHERE call = $1 AND call <> $2",
        "INSERT INTO metadata (call, origin, key, position, value, started, changed, present) \
         SELECT $2, origin, key, position, value, started, changed, present FROM metadata \
         WHERE call = $1 AND origin = 'added' \
         ON CONFLICT (call, origin, key, position) DO UPDATE SET value = excluded.value, \
         changed = excluded.changed, present = excluded.present WHERE metadata.changed < excluded.changed",
        "DELETE FROM metadata WHERE call = $1 AND call <> $2",
        "DELETE FROM parties WHERE call = $1 AND call <> $2",
    ];
    let survivor = rows::id(group.survivor.as_u64());
    for call in group.others() {
        let id = rows::id(call.as_u64());
        sqlx::query(POINT)
            .bind(id)
            .bind(survivor)
            .bind(i64::from(RecordingState::Delete.code()))
            .bind(call.made_at().0)
            .execute(&mut *db)
            .await?;
        for statement in MOVES {
            sqlx::query(statement).bind(id).bind(survivor).execute(&mut *db).await?;
        }
    }
    Ok(())
}

#[derive(FromRow)]
struct OwnRow {
    id: i64,
    number: i64,
    total: i64,
    own_call: i64,
    own_number: i64,
    own_total: i64,
}

/// Gives the segments the numbers that they have in the call that survives.
async fn renumber(db: &mut Connection, group: &Group) -> Result<(), CatalogError> {
    let found: Vec<OwnRow> = sqlx::query_as(
        "SELECT id, number, total, COALESCE(own_call, call) AS own_call, \
         COALESCE(own_number, number) AS own_number, COALESCE(own_total, total) AS own_total \
         FROM segments WHERE call = $1",
    )
    .bind(rows::id(group.survivor.as_u64()))
    .fetch_all(&mut *db)
    .await?;
    let recorded: Result<Vec<Recorded>, CatalogError> = found
        .iter()
        .map(|row| {
            Ok(Recorded {
                number: rows::small(row.own_number)?,
                segment: SegmentId::from_u64(rows::from_id(row.id)?),
                call: CallId::from_u64(rows::from_id(row.own_call)?),
            })
        })
        .collect();
    let numbers = numbering(group.survivor, recorded?, &group.joins);
    for row in found {
        let Some(number) = numbers.get(&SegmentId::from_u64(rows::from_id(row.id)?)) else { continue };
        let total = moved_total(rows::small(row.own_total)?, rows::small(row.own_number)?, *number);
        let (number, total) = (i64::from(*number), i64::from(total));
        if (row.number, row.total) != (number, total) {
            sqlx::query("UPDATE segments SET number = $2, total = $3 WHERE id = $1")
                .bind(row.id)
                .bind(number)
                .bind(total)
                .execute(&mut *db)
                .await?;
        }
    }
    Ok(())
}

//! What follows from the rows of a call: its state, whether it is live, its total, its times when nobody told
//! them, the rows that searches use.
//!
//! A pure function of rows, run in the transaction that changed one of them. So it does not matter in which
//! order they came, and a list can filter on what is derived.

use std::collections::BTreeMap;

use model::copy::call_state;
use model::{CallData, EndReason, RecordingState, SegmentRecord};
use sqlx::{FromRow, SqliteConnection};

use crate::apply::Touch;
use crate::error::CatalogError;
use crate::joins::Group;
use crate::rows;
use crate::together::Together;

/// Characters of names, numbers and values that a text search sees. 32 parties with long names fit; what is
/// beyond is still found by number or key.
const SEARCH_CHARS_MAX: usize = 4_096;

/// What was told of a call.
#[derive(FromRow)]
pub(crate) struct Told {
    told: i64,
    told_total: i64,
    pub(crate) data: String,
    pub(crate) started: i64,
    pub(crate) ended: Option<i64>,
}

#[derive(FromRow)]
pub(crate) struct SegmentRow {
    pub(crate) number: i64,
    total: i64,
    pub(crate) started: i64,
    pub(crate) ended: Option<i64>,
    changed: i64,
}

#[derive(FromRow)]
struct CopyRow {
    kind: String,
    state: i64,
    live: i64,
    changed: i64,
}

/// What was told of it, apart from what followed from others that it took in and from corrections.
const TOLD: &str = "SELECT told, told_total, COALESCE(told_data, data) AS data, \
     CASE WHEN told_data IS NULL THEN started ELSE told_started END AS started, \
     CASE WHEN told_data IS NULL THEN ended ELSE told_ended END AS ended FROM calls WHERE id = $1";

pub(crate) async fn derive(
    db: &mut SqliteConnection,
    group: &Group,
    touch: Touch,
) -> Result<(), CatalogError> {
    let id = rows::id(group.survivor.as_u64());
    let told: Option<Told> = sqlx::query_as(TOLD).bind(id).fetch_optional(&mut *db).await?;
    let Some(mut told) = told else { return Ok(()) };
    let segments: Vec<SegmentRow> = sqlx::query_as(
        "SELECT number, total, started, ended, changed FROM segments WHERE call = $1 ORDER BY number, id",
    )
    .bind(id)
    .fetch_all(&mut *db)
    .await?;
    let copies = copies(db, group).await?;
    let (state, copies_changed) = state(&copies)?;
    if told.told == 0 {
        from_segments(db, id, &segments, &mut told).await?;
    }
    let together = Together::of(db, group, &told, &segments).await?;
    let total = total(&told, &segments, together.as_ref());
    let added: i64 = sqlx::query_scalar(
        "SELECT COALESCE(MAX(changed), 0) FROM (SELECT changed FROM metadata WHERE call = $1 AND origin = 'added' \
         UNION ALL SELECT changed FROM tags WHERE call = $1) AS noted",
    )
    .bind(id)
    .fetch_one(&mut *db)
    .await?;
    let segments_changed = segments.iter().map(|s| s.changed).max().unwrap_or(0);
    let newest = together.as_ref().map_or(0, |t| t.changed);
    let changed = told.told.max(copies_changed).max(segments_changed).max(added).max(newest);
    // What was told is kept apart where it is not all.
    let apart = together.as_ref().map(|_| (told.data.clone(), told.started, told.ended));
    if let Some(t) = &together {
        (told.data, told.started, told.ended) = (rows::to_json(&t.data)?, t.started, t.ended);
    }
    sqlx::query(
        "UPDATE calls SET data = $2, started = $3, ended = $4, total = $5, segments = $6, state = $7, live = $8, \
         changed = $9, told_data = $10, told_started = $11, told_ended = $12, joined = NULL WHERE id = $1",
    )
    .bind(id)
    .bind(&told.data)
    .bind(told.started)
    .bind(told.ended)
    .bind(total)
    .bind(rows::count(segments.len() as u64))
    .bind(i64::from(state.state.code()))
    .bind(i64::from(state.live))
    .bind(changed)
    .bind(apart.as_ref().map(|(data, ..)| data))
    .bind(apart.as_ref().map(|(_, started, _)| *started))
    .bind(apart.as_ref().and_then(|(.., ended)| *ended))
    .execute(&mut *db)
    .await?;
    if touch == Touch::Data {
        searchable(db, id, &told, together.map_or_else(Vec::new, |t| t.others)).await?;
    }
    Ok(())
}

/// How many segments the call has, as far as is known.
fn total(told: &Told, segments: &[SegmentRow], together: Option<&Together>) -> i64 {
    let ended = together.map_or(told.ended, |t| t.ended);
    let (left, last) = together.map_or((0, 0), |t| (t.total_left, t.last_number));
    match ended {
        // The end of a call corrects its total downwards: a segment that was expected never came.
        Some(_) if told.told > 0 => told.told_total.max(last),
        _ => segments.iter().map(|s| s.total).max().unwrap_or(0).max(told.told_total).max(left),
    }
}

/// The copies of the call, in the order that `call_state` wants: segments' by number, then the call's own.
/// A copy whose segment was not told of yet counts to the call that the copy's change named. What a call that was taken
/// in had come to as a whole counts no more.
async fn copies(db: &mut SqliteConnection, group: &Group) -> Result<Vec<CopyRow>, CatalogError> {
    let survivor = rows::id(group.survivor.as_u64());
    let mut all: Vec<CopyRow> = sqlx::query_as(
        "SELECT c.kind, c.state, CASE WHEN s.ended IS NULL THEN 1 ELSE 0 END AS live, c.changed \
         FROM segments s JOIN copies c ON c.kind = 'segment' AND c.of_id = s.id \
         WHERE s.call = $1 ORDER BY s.number, s.id, c.place",
    )
    .bind(survivor)
    .fetch_all(&mut *db)
    .await?;
    for call in &group.calls {
        let rest: Vec<CopyRow> = sqlx::query_as(
            "SELECT c.kind, c.state, 0 AS live, c.changed FROM copies c WHERE c.call = $1 AND \
             CASE c.kind WHEN 'call' THEN c.of_id = $2 \
             ELSE NOT EXISTS (SELECT 1 FROM segments s WHERE s.id = c.of_id) END \
             ORDER BY c.kind, c.of_id, c.place",
        )
        .bind(rows::id(call.as_u64()))
        .bind(survivor)
        .fetch_all(&mut *db)
        .await?;
        all.extend(rest);
    }
    Ok(all)
}

fn state(copies: &[CopyRow]) -> Result<(model::CallState, i64), CatalogError> {
    let mut segments: Vec<(RecordingState, bool)> = Vec::new();
    let mut calls = Vec::new();
    for copy in copies {
        let state = rows::state(copy.state)?;
        match copy.kind.as_str() {
            "call" => calls.push(state),
            _ => segments.push((state, copy.live != 0)),
        }
    }
    Ok((call_state(&segments, &calls), copies.iter().map(|c| c.changed).max().unwrap_or(0)))
}

/// A call that nobody told of is known by its segments: after a reindex, or when they were told first.
async fn from_segments(
    db: &mut SqliteConnection,
    call: i64,
    segments: &[SegmentRow],
    told: &mut Told,
) -> Result<(), CatalogError> {
    let Some(first) = segments.iter().map(|s| s.started).min() else { return Ok(()) };
    let newest: String = sqlx::query_scalar(
        "SELECT record FROM segments WHERE call = $1 ORDER BY number DESC, id DESC LIMIT 1",
    )
    .bind(call)
    .fetch_one(&mut *db)
    .await?;
    let newest: SegmentRecord = rows::from_json("a segment's record", &newest)?;
    let expected = matches!(newest.end, Some(EndReason::Hold | EndReason::Transfer));
    let all_ended: Option<Vec<i64>> = segments.iter().map(|s| s.ended).collect();
    told.started = first;
    told.ended = all_ended.filter(|_| !expected).and_then(|ends| ends.into_iter().max());
    told.data = rows::to_json(&newest.data)?;
    Ok(())
}

/// Parties, key-values and the text for searches, written anew from the call data; what calls were known by that it
/// took in finds it too.
async fn searchable(
    db: &mut SqliteConnection,
    call: i64,
    told: &Told,
    taken_in: Vec<CallData>,
) -> Result<(), CatalogError> {
    let data: CallData = rows::from_json("call data", &told.data)?;
    let mut text = SearchText::default();
    sqlx::query("DELETE FROM parties WHERE call = $1").bind(call).execute(&mut *db).await?;
    for (position, party) in data.parties.iter().enumerate() {
        sqlx::query(
            "INSERT INTO parties (call, position, role, side, uri, number, name, participant) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(call)
        .bind(rows::count(position as u64))
        .bind(rows::name(&party.role))
        .bind(rows::name(&party.side))
        .bind(party.uri.as_deref())
        .bind(party.number.as_deref())
        .bind(party.name.as_deref())
        .bind(party.participant.as_deref())
        .execute(&mut *db)
        .await?;
        for field in [&party.name, &party.number, &party.uri].into_iter().flatten() {
            text.add(field);
        }
    }
    sqlx::query("DELETE FROM metadata WHERE call = $1 AND origin = 'data'")
        .bind(call)
        .execute(&mut *db)
        .await?;
    let known: Vec<&CallData> = std::iter::once(&data).chain(&taken_in).collect();
    for (key, position, value) in key_values(&known) {
        sqlx::query(
            "INSERT INTO metadata (call, origin, key, position, value, started, changed) \
             VALUES ($1, 'data', $2, $3, $4, $5, $6)",
        )
        .bind(call)
        .bind(key)
        .bind(position)
        .bind(value)
        .bind(told.started)
        .bind(told.told)
        .execute(&mut *db)
        .await?;
        text.add(value);
    }
    sqlx::query("UPDATE metadata SET started = $2 WHERE call = $1 AND origin = 'added'")
        .bind(call)
        .bind(told.started)
        .execute(&mut *db)
        .await?;
    let added: Vec<String> = sqlx::query_scalar(
        "SELECT value FROM metadata WHERE call = $1 AND origin = 'added' AND present = 1 \
             UNION ALL SELECT tag FROM tags WHERE call = $1 AND present = 1",
    )
    .bind(call)
    .fetch_all(&mut *db)
    .await?;
    for value in &added {
        text.add(value);
    }
    sqlx::query("UPDATE calls SET search = $2 WHERE id = $1").bind(call).bind(text.0).execute(db).await?;
    Ok(())
}

/// Call data as key-values, with a position each among those of the same key. What several say is there once.
fn key_values<'a>(known: &[&'a CallData]) -> Vec<(&'a str, i64, &'a str)> {
    let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut all = Vec::new();
    for data in known {
        let single = [("dn", &data.dn), ("device", &data.device)]
            .into_iter()
            .filter_map(|(key, value)| value.as_deref().map(|v| (key, v)));
        let ids = data.sip_call_ids.iter().map(|v| ("sip-call-id", v.as_str()));
        let maps = data.correlation.iter().chain(&data.extra).map(|(k, v)| (k.as_str(), v.as_str()));
        for (key, value) in single.chain(ids).chain(maps) {
            let values = seen.entry(key).or_default();
            if !values.contains(&value) {
                all.push((key, rows::count(values.len() as u64), value));
                values.push(value);
            }
        }
    }
    all
}

#[derive(Default)]
struct SearchText(String);

impl SearchText {
    fn add(&mut self, field: &str) {
        let room = SEARCH_CHARS_MAX.saturating_sub(self.0.chars().count());
        if room > 0 && !field.is_empty() {
            self.0.extend(field.to_lowercase().chars().take(room));
            self.0.push('\n');
        }
    }
}

//! What follows from the rows of a call: its state, whether it is live, its total, its times when nobody told
//! them, the rows that searches use.
//!
//! A pure function of rows, run in the transaction that changed one of them. So it does not matter in which
//! order they came, and a list can filter on what is derived. Rows are read for all calls at once, and only what is
//! not as it was is written.

use std::collections::{BTreeMap, BTreeSet};

use model::copy::call_state;
use model::{CallData, EndReason, RecordingState, SegmentRecord};
use sqlx::FromRow;

use super::apply::Touch;
use super::bulk;
use super::engine::Connection;
use super::joins::Group;
use super::searchable::{Found, Rewritten};
use super::together::Together;
use crate::error::CatalogError;
use crate::rows;

/// What was told of a call.
pub(crate) struct Told {
    told: i64,
    told_total: i64,
    pub(crate) data: String,
    pub(crate) started: i64,
    pub(crate) ended: Option<i64>,
}

/// A call as it stands.
#[derive(FromRow, Clone, PartialEq)]
struct CallRow {
    id: i64,
    tenant: String,
    told: i64,
    told_total: i64,
    data: String,
    started: i64,
    ended: Option<i64>,
    total: i64,
    segments: i64,
    state: i64,
    live: i64,
    changed: i64,
    search: String,
    joined: Option<i64>,
    told_data: Option<String>,
    told_started: Option<i64>,
    told_ended: Option<i64>,
}

#[derive(FromRow)]
pub(crate) struct SegmentRow {
    call: i64,
    pub(crate) number: i64,
    total: i64,
    pub(crate) started: i64,
    pub(crate) ended: Option<i64>,
    changed: i64,
}

#[derive(FromRow)]
struct CopyRow {
    call: i64,
    kind: String,
    of_id: i64,
    state: i64,
    live: i64,
    changed: i64,
}

/// Derives what follows for groups, each as the call that survives.
pub(crate) async fn derive(db: &mut Connection, groups: &[(Group, Touch)]) -> Result<(), CatalogError> {
    let known = Known::of(db, groups).await?;
    let (mut changed, mut rewritten) = (Vec::new(), Rewritten::default());
    for (group, touch) in groups {
        let id = rows::id(group.survivor.as_u64());
        let Some(before) = known.calls.get(&id) else { continue };
        let now = derived(db, group, *touch, before, &known, &mut rewritten).await?;
        if now != *before {
            changed.push(now);
        }
    }
    rewritten.write(db).await?;
    bulk::insert(
        db,
        "INSERT INTO calls (id, tenant, told, told_total, data, started, ended, total, segments, state, live, changed, \
         search, told_data, told_started, told_ended) ",
        &changed,
        |values, row| {
            values.push_bind(row.id).push_bind(row.tenant.as_str()).push_bind(row.told);
            values.push_bind(row.told_total).push_bind(row.data.as_str()).push_bind(row.started);
            values.push_bind(row.ended).push_bind(row.total).push_bind(row.segments);
            values.push_bind(row.state).push_bind(row.live).push_bind(row.changed);
            values.push_bind(row.search.as_str()).push_bind(row.told_data.as_deref());
            values.push_bind(row.told_started).push_bind(row.told_ended);
        },
        " ON CONFLICT (id) DO UPDATE SET data = excluded.data, started = excluded.started, ended = excluded.ended, \
         total = excluded.total, segments = excluded.segments, state = excluded.state, live = excluded.live, \
         changed = excluded.changed, search = excluded.search, told_data = excluded.told_data, \
         told_started = excluded.told_started, told_ended = excluded.told_ended, joined = NULL",
    )
    .await?;
    Ok(())
}

/// How a call stands now.
async fn derived(
    db: &mut Connection,
    group: &Group,
    touch: Touch,
    before: &CallRow,
    known: &Known,
    rewritten: &mut Rewritten,
) -> Result<CallRow, CatalogError> {
    let id = before.id;
    let mut told = before.told();
    let segments = known.segments.get(&id).map(Vec::as_slice).unwrap_or_default();
    let copies = known.copies_of(group);
    let (state, copies_changed) = state(&copies)?;
    if told.told == 0 {
        from_segments(db, id, segments, &mut told).await?;
    }
    let together = if group.is_joined() || known.is_corrected(group) {
        Together::of(db, group, &told, segments).await?
    } else {
        None
    };
    let total = total(&told, segments, together.as_ref());
    let segments_changed = segments.iter().map(|s| s.changed).max().unwrap_or(0);
    let newest = together.as_ref().map_or(0, |t| t.changed);
    let noted = known.found.noted_last(id);
    let changed = told.told.max(copies_changed).max(segments_changed).max(noted).max(newest);
    // What was told is kept apart where it is not all.
    let apart = together.as_ref().map(|_| (told.data.clone(), told.started, told.ended));
    if let Some(t) = &together {
        (told.data, told.started, told.ended) = (rows::to_json(&t.data)?, t.started, t.ended);
    }
    let search = if touch == Touch::Data {
        let data: CallData = rows::from_json("call data", &told.data)?;
        let others = together.map_or_else(Vec::new, |t| t.others);
        rewritten.compare(&known.found, id, &data, told.started, &others)
    } else {
        before.search.clone()
    };
    Ok(CallRow {
        data: told.data,
        started: told.started,
        ended: told.ended,
        total,
        segments: rows::count(segments.len() as u64),
        state: i64::from(state.state.code()),
        live: i64::from(state.live),
        changed,
        search,
        joined: None,
        told_started: apart.as_ref().map(|(_, started, _)| *started),
        told_ended: apart.as_ref().and_then(|(.., ended)| *ended),
        told_data: apart.map(|(data, ..)| data),
        ..before.clone()
    })
}

impl CallRow {
    /// What was told of it, apart from what followed from others that it took in and from corrections.
    fn told(&self) -> Told {
        let (data, started, ended) = match &self.told_data {
            Some(data) => (data, self.told_started.unwrap_or(self.started), self.told_ended),
            None => (&self.data, self.started, self.ended),
        };
        Told { told: self.told, told_total: self.told_total, data: data.clone(), started, ended }
    }
}

/// The rows of some calls.
struct Known {
    calls: BTreeMap<i64, CallRow>,
    /// By call, in the order of their numbers.
    segments: BTreeMap<i64, Vec<SegmentRow>>,
    /// Copies of these segments, by call.
    copies: BTreeMap<i64, Vec<CopyRow>>,
    /// Of the calls themselves, and of segments that were not told of yet, by the call that the change named.
    other_copies: BTreeMap<i64, Vec<CopyRow>>,
    corrected: BTreeSet<i64>,
    found: Found,
}

impl Known {
    async fn of(db: &mut Connection, groups: &[(Group, Touch)]) -> Result<Self, CatalogError> {
        let survivors: Vec<i64> = groups.iter().map(|(g, _)| rows::id(g.survivor.as_u64())).collect();
        let all: BTreeSet<i64> =
            groups.iter().flat_map(|(g, _)| &g.calls).map(|call| rows::id(call.as_u64())).collect();
        let all: Vec<i64> = all.into_iter().collect();
        let calls: Vec<CallRow> = bulk::select(
            db,
            "SELECT id, tenant, told, told_total, data, started, ended, total, segments, state, live, changed, search, \
             joined, told_data, told_started, told_ended FROM calls WHERE id IN",
            &survivors,
            "",
        )
        .await?;
        let segments: Vec<SegmentRow> = bulk::select(
            db,
            "SELECT call, number, total, started, ended, changed FROM segments WHERE call IN",
            &survivors,
            " ORDER BY call, number, id",
        )
        .await?;
        let copies: Vec<CopyRow> = bulk::select(
            db,
            "SELECT s.call, c.kind, c.of_id, c.state, CAST(CASE WHEN s.ended IS NULL THEN 1 ELSE 0 END AS BIGINT) AS live, c.changed \
             FROM segments s JOIN copies c ON c.kind = 'segment' AND c.of_id = s.id WHERE s.call IN",
            &survivors,
            " ORDER BY s.call, s.number, s.id, c.place",
        )
        .await?;
        let other_copies: Vec<CopyRow> = bulk::select(
            db,
            "SELECT c.call, c.kind, c.of_id, c.state, CAST(0 AS BIGINT) AS live, c.changed FROM copies c WHERE c.call IN",
            &all,
            " AND (c.kind = 'call' OR NOT EXISTS (SELECT 1 FROM segments s WHERE s.id = c.of_id)) \
             ORDER BY c.call, c.kind, c.of_id, c.place",
        )
        .await?;
        let corrected: Vec<(i64,)> =
            bulk::select(db, "SELECT call FROM sides WHERE call IN", &all, "").await?;
        let with_data = groups.iter().filter(|(_, touch)| *touch == Touch::Data);
        let with_data: Vec<i64> = with_data.map(|(g, _)| rows::id(g.survivor.as_u64())).collect();
        Ok(Self {
            calls: calls.into_iter().map(|row| (row.id, row)).collect(),
            segments: rows::by(segments, |s| s.call),
            copies: rows::by(copies, |c| c.call),
            other_copies: rows::by(other_copies, |c| c.call),
            corrected: corrected.into_iter().map(|(call,)| call).collect(),
            found: Found::of(db, &survivors, &with_data).await?,
        })
    }

    fn is_corrected(&self, group: &Group) -> bool {
        group.calls.iter().any(|call| self.corrected.contains(&rows::id(call.as_u64())))
    }

    /// The copies of a call, in the order that `call_state` wants: segments' by number, then the call's own.
    /// A copy whose segment was not told of yet counts to the call that the copy's change named. What a call that was
    /// taken in had come to as a whole counts no more.
    fn copies_of(&self, group: &Group) -> Vec<&CopyRow> {
        let survivor = rows::id(group.survivor.as_u64());
        let own = self.copies.get(&survivor).into_iter().flatten();
        let others = group.calls.iter().filter_map(|call| self.other_copies.get(&rows::id(call.as_u64())));
        let others = others.flatten().filter(|c| c.kind != "call" || c.of_id == survivor);
        own.chain(others).collect()
    }
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

fn state(copies: &[&CopyRow]) -> Result<(model::CallState, i64), CatalogError> {
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
    db: &mut Connection,
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

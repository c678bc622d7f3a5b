//! Segments, their streams and the copies of segments and calls, as rows.

use std::collections::{BTreeMap, BTreeSet};

use model::{CallId, Copy, CopyOf, EventId, RecordingState, SegmentId, SegmentRecord, StreamRecord};
use sqlx::SqliteConnection;

use crate::apply::{Touch, Touched};
use crate::bulk;
use crate::error::CatalogError;
use crate::rows;

/// The newest that is told of a segment.
#[derive(Clone, Copy)]
pub(crate) struct SegmentTold<'a> {
    pub(crate) event: EventId,
    pub(crate) record: &'a SegmentRecord,
    pub(crate) directory: &'a str,
}

/// What names a copy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CopyKey {
    kind: &'static str,
    of: i64,
    place: String,
}

/// The newest that is told of a copy.
#[derive(Clone, Copy)]
pub(crate) struct CopyTold {
    pub(crate) event: EventId,
    pub(crate) call: CallId,
    pub(crate) state: RecordingState,
}

const SEGMENT: &str = "segment";
const CALL: &str = "call";

impl CopyKey {
    pub(crate) fn of(copy: &Copy) -> Self {
        let (kind, of) = match copy.of {
            CopyOf::Segment(id) => (SEGMENT, rows::id(id.as_u64())),
            CopyOf::Call(id) => (CALL, rows::id(id.as_u64())),
        };
        Self { kind, of, place: rows::place(&copy.at) }
    }
}

/// Rows as they are before.
struct Known {
    /// Of segments: the call, and the newest change.
    segments: BTreeMap<i64, (i64, i64)>,
    /// Of copies: the same.
    copies: BTreeMap<CopyKey, (i64, i64)>,
}

impl Known {
    async fn of(
        db: &mut SqliteConnection,
        segments: &BTreeMap<SegmentId, SegmentTold<'_>>,
        copies: &BTreeMap<CopyKey, CopyTold>,
    ) -> Result<Self, CatalogError> {
        let of = |kind: &'static str| copies.keys().filter(move |c| c.kind == kind).map(|c| c.of);
        let told = segments.keys().map(|s| rows::id(s.as_u64()));
        let ids: BTreeSet<i64> = told.chain(of(SEGMENT)).collect();
        let ids: Vec<i64> = ids.into_iter().collect();
        let calls: BTreeSet<i64> = of(CALL).collect();
        let calls: Vec<i64> = calls.into_iter().collect();
        let found: Vec<(i64, i64, i64)> =
            bulk::select(db, "SELECT id, call, changed FROM segments WHERE id IN", &ids, "").await?;
        let mut known = Self { segments: BTreeMap::new(), copies: BTreeMap::new() };
        known.segments.extend(found.into_iter().map(|(id, call, changed)| (id, (call, changed))));
        const OF_SEGMENTS: &str =
            "SELECT of_id, place, call, changed FROM copies WHERE kind = 'segment' AND of_id IN";
        const OF_CALLS: &str =
            "SELECT of_id, place, call, changed FROM copies WHERE kind = 'call' AND of_id IN";
        for (kind, select, ids) in [(SEGMENT, OF_SEGMENTS, ids), (CALL, OF_CALLS, calls)] {
            let found: Vec<(i64, String, i64, i64)> = bulk::select(db, select, &ids, "").await?;
            let found = found.into_iter();
            known.copies.extend(
                found.map(|(of, place, call, changed)| (CopyKey { kind, of, place }, (call, changed))),
            );
        }
        Ok(known)
    }

    /// The calls that a segment, or copies of it, belonged to before.
    fn calls_of_segment(&self, segment: i64) -> impl Iterator<Item = i64> {
        let first = CopyKey { kind: SEGMENT, of: segment, place: String::new() };
        let copies =
            self.copies.range(first..).take_while(move |(c, _)| c.kind == SEGMENT && c.of == segment);
        let own = self.segments.get(&segment).map(|(call, _)| *call);
        own.into_iter().chain(copies.map(|(_, (call, _))| *call))
    }
}

/// Writes segments and copies where what is told of them is newer. Calls found to be one are merged: what a segment
/// belonged to before changes with it.
pub(crate) async fn write(
    db: &mut SqliteConnection,
    touched: &mut Touched,
    segments: &BTreeMap<SegmentId, SegmentTold<'_>>,
    copies: &BTreeMap<CopyKey, CopyTold>,
) -> Result<(), CatalogError> {
    let known = Known::of(db, segments, copies).await?;
    let mut newer = Vec::new();
    for told in segments.values() {
        let (id, changed) = (rows::id(told.record.id.as_u64()), rows::id(told.event.as_u64()));
        if known.segments.get(&id).is_none_or(|(_, before)| *before < changed) {
            newer.push((id, changed, told, rows::to_json(told.record)?));
            for call in known.calls_of_segment(id) {
                touched.add_row(call)?;
            }
        }
    }
    bulk::insert(
        db,
        "INSERT INTO segments (id, call, number, total, own_call, own_number, own_total, node, started, ended, \
         directory, record, changed) ",
        &newer,
        |values, (id, changed, SegmentTold { record, directory, .. }, json)| {
            values.push_bind(*id);
            for _ in ["as it is", "as it was recorded"] {
                values.push_bind(rows::id(record.call.as_u64()));
                values.push_bind(i64::from(record.number)).push_bind(i64::from(record.total));
            }
            values.push_bind(i64::from(record.node.get()));
            values.push_bind(record.started.0).push_bind(record.ended.map(|t| t.0));
            values.push_bind(*directory).push_bind(json.as_str()).push_bind(*changed);
        },
        " ON CONFLICT (id) DO UPDATE SET call = excluded.call, number = excluded.number, total = excluded.total, \
         own_call = excluded.own_call, own_number = excluded.own_number, own_total = excluded.own_total, \
         node = excluded.node, started = excluded.started, ended = excluded.ended, \
         directory = excluded.directory, record = excluded.record, changed = excluded.changed",
    )
    .await?;
    let known_before = newer.iter().map(|(id, ..)| *id).filter(|id| known.segments.contains_key(id));
    let known_before: Vec<i64> = known_before.collect();
    streams(db, newer.iter().map(|(_, _, told, _)| told.record), &known_before).await?;
    self::copies(db, touched, copies, &known).await
}

/// Writes the streams of segments, of which some were known before.
async fn streams(
    db: &mut SqliteConnection,
    records: impl Iterator<Item = &SegmentRecord>,
    known_before: &[i64],
) -> Result<(), CatalogError> {
    let mut all: BTreeMap<i64, (i64, &StreamRecord)> = BTreeMap::new();
    for record in records {
        for stream in &record.streams {
            all.entry(rows::id(stream.id.as_u64())).or_insert((rows::id(record.id.as_u64()), stream));
        }
    }
    let known: Vec<(i64, i64)> =
        bulk::select(db, "SELECT id, segment FROM streams WHERE segment IN", known_before, "").await?;
    let gone = known.iter().filter(|(id, segment)| all.get(id).is_none_or(|(of, _)| of != segment));
    let gone: Vec<i64> = gone.map(|(id, _)| *id).collect();
    bulk::delete(db, "DELETE FROM streams WHERE id IN", &gone).await?;
    let all: Vec<_> = all.into_iter().collect();
    bulk::insert(
        db,
        "INSERT INTO streams (id, segment, slot, label, kind, side, codec, received, lost, late, duplicate, dropped, \
         discarded, jitter_max_us) ",
        &all,
        |values, (id, (segment, stream))| {
            let codec = stream.codecs.iter().find_map(|c| c.codec.as_ref()).map(|c| c.name.as_str());
            values.push_bind(*id).push_bind(*segment).push_bind(i64::from(stream.slot));
            values.push_bind(stream.label.as_deref()).push_bind(rows::name(&stream.kind));
            values.push_bind(rows::name(&stream.side)).push_bind(codec);
            let counts = &stream.accounting;
            for count in [
                counts.received,
                counts.lost,
                counts.late,
                counts.duplicate,
                counts.dropped,
                counts.discarded,
                counts.jitter_max_us,
            ] {
                values.push_bind(rows::count(count));
            }
        },
        " ON CONFLICT (id) DO UPDATE SET slot = excluded.slot, label = excluded.label, kind = excluded.kind, \
         side = excluded.side, codec = excluded.codec, received = excluded.received, lost = excluded.lost, \
         late = excluded.late, duplicate = excluded.duplicate, dropped = excluded.dropped, \
         discarded = excluded.discarded, jitter_max_us = excluded.jitter_max_us \
         WHERE streams.segment = excluded.segment",
    )
    .await?;
    Ok(())
}

async fn copies(
    db: &mut SqliteConnection,
    touched: &mut Touched,
    copies: &BTreeMap<CopyKey, CopyTold>,
    known: &Known,
) -> Result<(), CatalogError> {
    let mut newer = Vec::new();
    for (key, told) in copies {
        let (changed, before) = (rows::id(told.event.as_u64()), known.copies.get(key));
        if before.is_some_and(|(_, before)| *before >= changed) {
            continue;
        }
        newer.push((key, told, changed));
        touched.add(told.call, Touch::StateOnly);
        if let Some((call, _)) = before {
            touched.add_row(*call)?;
        }
        if key.kind == SEGMENT
            && let Some((call, _)) = known.segments.get(&key.of)
        {
            touched.add_row(*call)?;
        }
    }
    bulk::insert(
        db,
        "INSERT INTO copies (kind, of_id, place, call, state, changed) ",
        &newer,
        |values, (key, told, changed)| {
            values.push_bind(key.kind).push_bind(key.of).push_bind(key.place.as_str());
            values.push_bind(rows::id(told.call.as_u64()));
            values.push_bind(i64::from(told.state.code())).push_bind(*changed);
        },
        " ON CONFLICT (kind, of_id, place) DO UPDATE SET call = excluded.call, state = excluded.state, \
         changed = excluded.changed",
    )
    .await?;
    Ok(())
}

//! Segments, their streams and the copies of segments and calls, as rows.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    CallId, Copy, CopyOf, EventId, NodeNumber, RecordingState, SegmentId, SegmentRecord, StreamRecord,
};

use super::apply::{Touch, Touched};
use super::bulk;
use super::engine::Connection;
use crate::error::CatalogError;
use crate::rows;

/// The newest that is told of a segment.
#[derive(Clone, Copy)]
pub(crate) struct SegmentTold<'a> {
    pub(crate) event: EventId,
    pub(crate) record: &'a SegmentRecord,
    pub(crate) directory: &'a str,
}

impl SegmentTold<'_> {
    fn node(&self) -> i64 {
        i64::from(self.record.node.get())
    }

    fn changed(&self) -> i64 {
        rows::id(self.event.as_u64())
    }
}

/// The newest that each node tells of a segment.
pub(crate) type Told<'a> = BTreeMap<(SegmentId, NodeNumber), SegmentTold<'a>>;

/// What is told of copies.
pub(crate) type Copies = BTreeMap<CopyKey, CopyTold>;

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

/// A segment as it is before.
struct KnownSegment {
    call: i64,
    /// The node whose record it shows: the one that told last.
    node: i64,
    changed: i64,
}

/// Rows as they are before.
struct Known {
    segments: BTreeMap<i64, KnownSegment>,
    /// What other nodes say of them: the newest change, by segment and node.
    elsewhere: BTreeMap<(i64, i64), i64>,
    /// Of copies: the call, and the newest change.
    copies: BTreeMap<CopyKey, (i64, i64)>,
}

impl Known {
    async fn of(db: &mut Connection, segments: &Told<'_>, copies: &Copies) -> Result<Self, CatalogError> {
        let of = |kind: &'static str| copies.keys().filter(move |c| c.kind == kind).map(|c| c.of);
        let told: BTreeSet<i64> = segments.keys().map(|(s, _)| rows::id(s.as_u64())).collect();
        let ids: BTreeSet<i64> = told.iter().copied().chain(of(SEGMENT)).collect();
        let [told, ids, calls] = [told, ids, of(CALL).collect()].map(Vec::from_iter);
        let mut known =
            Self { segments: BTreeMap::new(), elsewhere: BTreeMap::new(), copies: BTreeMap::new() };
        let found: Vec<(i64, i64, i64, i64)> =
            bulk::select(db, "SELECT id, call, node, changed FROM segments WHERE id IN", &ids, "").await?;
        let found = found.into_iter();
        known
            .segments
            .extend(found.map(|(id, call, node, changed)| (id, KnownSegment { call, node, changed })));
        let found: Vec<(i64, i64, i64)> =
            bulk::select(db, "SELECT segment, node, changed FROM elsewhere WHERE segment IN", &told, "")
                .await?;
        known.elsewhere.extend(found.into_iter().map(|(id, node, changed)| ((id, node), changed)));
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
        let own = self.segments.get(&segment).map(|known| known.call);
        own.into_iter().chain(copies.map(|(_, (call, _))| *call))
    }

    /// Whether a node has told nothing newer of a segment.
    fn is_newer(&self, segment: i64, told: &SegmentTold<'_>) -> bool {
        let node = told.node();
        let shown = self.segments.get(&segment).filter(|known| known.node == node).map(|known| known.changed);
        let before = shown.or_else(|| self.elsewhere.get(&(segment, node)).copied());
        before.is_none_or(|before| before < told.changed())
    }
}

/// What is to be written of segments. Several nodes may have one, and count it differently: the record of the one that
/// told last is shown, those of the others are kept beside it.
#[derive(Default)]
struct Newer<'a> {
    shown: Vec<(i64, SegmentTold<'a>, String)>,
    elsewhere: Vec<(i64, SegmentTold<'a>, String)>,
    /// Segments whose record goes beside, as another node's is shown now.
    set_aside: Vec<i64>,
    /// Segments and nodes whose record is shown now, and lay beside.
    brought_back: Vec<(i64, i64)>,
}

impl<'a> Newer<'a> {
    fn of(segments: &Told<'a>, known: &Known, touched: &mut Touched) -> Result<Self, CatalogError> {
        let mut by_segment: BTreeMap<i64, Vec<SegmentTold<'a>>> = BTreeMap::new();
        for ((segment, _), told) in segments {
            let id = rows::id(segment.as_u64());
            if known.is_newer(id, told) {
                by_segment.entry(id).or_default().push(*told);
            }
        }
        let mut newer = Self::default();
        for (id, mut told) in by_segment {
            for call in known.calls_of_segment(id) {
                touched.add_row(call)?;
            }
            told.sort_by_key(SegmentTold::changed);
            let before = known.segments.get(&id);
            let is_shown = |told: &SegmentTold<'_>| before.is_none_or(|b| b.changed < told.changed());
            if let Some(last) = told.pop_if(|last| is_shown(last)) {
                if let Some(before) = before.filter(|b| b.node != last.node()) {
                    if !told.iter().any(|other| other.node() == before.node) {
                        newer.set_aside.push(id);
                    }
                    newer.brought_back.push((id, last.node()));
                }
                newer.shown.push((id, last, rows::to_json(last.record)?));
            }
            for other in told {
                newer.elsewhere.push((id, other, rows::to_json(other.record)?));
            }
        }
        Ok(newer)
    }

    async fn write(&self, db: &mut Connection) -> Result<(), CatalogError> {
        for id in &self.set_aside {
            sqlx::query(
                "INSERT INTO elsewhere (segment, node, directory, record, changed) \
                 SELECT id, node, directory, record, changed FROM segments WHERE id = $1",
            )
            .bind(id)
            .execute(&mut *db)
            .await?;
        }
        for (id, node) in &self.brought_back {
            sqlx::query("DELETE FROM elsewhere WHERE segment = $1 AND node = $2")
                .bind(id)
                .bind(node)
                .execute(&mut *db)
                .await?;
        }
        bulk::insert(
            db,
            "INSERT INTO segments (id, call, number, total, own_call, own_number, own_total, node, started, ended, \
             directory, record, changed) ",
            &self.shown,
            |values, (id, told, json)| {
                let SegmentTold { record, directory, .. } = *told;
                values.push_bind(*id);
                for _ in ["as it is", "as it was recorded"] {
                    values.push_bind(rows::id(record.call.as_u64()));
                    values.push_bind(i64::from(record.number)).push_bind(i64::from(record.total));
                }
                values.push_bind(told.node());
                values.push_bind(record.started.0).push_bind(record.ended.map(|t| t.0));
                values.push_bind(directory).push_bind(json.as_str()).push_bind(told.changed());
            },
            " ON CONFLICT (id) DO UPDATE SET call = excluded.call, number = excluded.number, total = excluded.total, \
             own_call = excluded.own_call, own_number = excluded.own_number, own_total = excluded.own_total, \
             node = excluded.node, started = excluded.started, ended = excluded.ended, \
             directory = excluded.directory, record = excluded.record, changed = excluded.changed",
        )
        .await?;
        bulk::insert(
            db,
            "INSERT INTO elsewhere (segment, node, directory, record, changed) ",
            &self.elsewhere,
            |values, (id, told, json)| {
                values.push_bind(*id).push_bind(told.node()).push_bind(told.directory);
                values.push_bind(json.as_str()).push_bind(told.changed());
            },
            " ON CONFLICT (segment, node) DO UPDATE SET directory = excluded.directory, record = excluded.record, \
             changed = excluded.changed",
        )
        .await?;
        Ok(())
    }
}

/// Writes segments and copies where what is told of them is newer. Calls found to be one are merged: what a segment
/// belonged to before changes with it.
pub(crate) async fn write(
    db: &mut Connection,
    touched: &mut Touched,
    segments: &Told<'_>,
    copies: &Copies,
) -> Result<(), CatalogError> {
    let known = Known::of(db, segments, copies).await?;
    let newer = Newer::of(segments, &known, touched)?;
    newer.write(db).await?;
    let known_before = newer.shown.iter().map(|(id, ..)| *id).filter(|id| known.segments.contains_key(id));
    let known_before: Vec<i64> = known_before.collect();
    streams(db, newer.shown.iter().map(|(_, told, _)| told.record), &known_before).await?;
    self::copies(db, touched, copies, &known).await
}

/// Writes the streams of segments, of which some were known before.
async fn streams(
    db: &mut Connection,
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
            let codec = stream.codecs.iter().find_map(|c| c.codec.as_ref()).map(|c| rows::text(c.name.as_str()));
            values.push_bind(*id).push_bind(*segment).push_bind(i64::from(stream.slot));
            values.push_bind(stream.label.as_deref().map(rows::text)).push_bind(rows::name(&stream.kind));
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
    db: &mut Connection,
    touched: &mut Touched,
    copies: &Copies,
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
            && let Some(segment) = known.segments.get(&key.of)
        {
            touched.add_row(segment.call)?;
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

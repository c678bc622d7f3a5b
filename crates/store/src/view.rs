//! What the catalog answers: calls in lists, one call with all that is known, events.

use std::collections::BTreeMap;

use model::{
    CallData, CallId, Copy, CopyOf, Direction, EventId, Join, Party, RecordingState, SegmentId,
    SegmentRecord, Sides, TenantId, WallTime,
};
use sqlx::FromRow;

use crate::error::CatalogError;
use crate::query::Cursor;
use crate::rows;

/// A call as a list shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallSummary {
    /// Its id.
    pub id: CallId,
    /// Its owner.
    pub tenant: TenantId,
    /// When its first segment began.
    pub started: WallTime,
    /// When it ended; none while it goes on, holds included.
    pub ended: Option<WallTime>,
    /// Its state, derived from its copies.
    pub state: RecordingState,
    /// Whether a segment of it is live.
    pub live: bool,
    /// How many segments it has, as far as was said.
    pub total: u16,
    /// How many of them the catalog knows.
    pub segments: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Who takes part.
    pub parties: Vec<Party>,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// The newest change that it was written by.
    pub changed: EventId,
}

impl CallSummary {
    /// The place in a list after this call.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        Cursor { started: self.started, call: self.id }
    }
}

/// All that the catalog knows of a call.
#[derive(Clone, PartialEq, Debug)]
pub struct CallDetail {
    /// What a list shows.
    pub summary: CallSummary,
    /// The call data.
    pub data: CallData,
    /// Key-values that were added later.
    pub extra: BTreeMap<String, String>,
    /// Its segments in order of their numbers; at most [`LIST_MAX`](crate::LIST_MAX), `summary.segments` counts all.
    pub segments: Vec<SegmentDetail>,
    /// Copies of the gathered call.
    pub copies: Vec<Copy>,
    /// What happened last, newest first; at most [`LIST_DEFAULT`](crate::LIST_DEFAULT).
    pub events: Vec<Event>,
    /// The calls that it took in, in the order in which that was found.
    pub joins: Vec<Join>,
    /// How people corrected who is agent and who is external: what counts for a segment that begins now.
    pub sides: Sides,
}

/// A segment and where it lies.
#[derive(Clone, PartialEq, Debug)]
pub struct SegmentDetail {
    /// All that is known of it, with the sides of its streams as people corrected them.
    pub record: SegmentRecord,
    /// Its directory, relative to the repository of its node.
    pub directory: String,
    /// The state of the copy at its record server now.
    pub state: RecordingState,
    /// All its copies, that one included.
    pub copies: Vec<Copy>,
    /// As a segment of which call it was recorded, and under which number, where that call was taken in by this one.
    pub recorded_as: Option<(CallId, u16)>,
    /// What other nodes say that have it too; at most [`LIST_MAX`](crate::LIST_MAX) for a call.
    pub elsewhere: Vec<SegmentElsewhere>,
}

/// A segment as a node says that did not tell of it last.
#[derive(Clone, PartialEq, Debug)]
pub struct SegmentElsewhere {
    /// All that this node knows of it, as it was told.
    pub record: SegmentRecord,
    /// Its directory, relative to the repository of this node.
    pub directory: String,
}

/// Something that happened, as the outbox tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Orders events.
    pub id: EventId,
    /// When it happened.
    pub at: WallTime,
    /// Whose.
    pub tenant: TenantId,
    /// `call`, `segment`, `copy`, `tag`, `metadata`, `joined`, `sides`, `alarm`.
    pub kind: String,
    /// The call that it is about.
    pub call: Option<CallId>,
    /// The segment that it is about.
    pub segment: Option<SegmentId>,
    /// What happened in short, a JSON object as text.
    pub body: String,
}

/// Which events the outbox keeps; none when it has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventSpan {
    /// The oldest.
    pub oldest: Option<EventId>,
    /// The newest.
    pub newest: Option<EventId>,
}

/// A transaction of the database, that events which are written wait for: before it ends, none that is read later may
/// turn out to be older.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldBack {
    /// Its id: the same as long as it is the same.
    pub transaction: String,
    /// Whose it is, in words.
    pub whose: String,
}

#[derive(FromRow)]
pub(crate) struct CallRow {
    id: i64,
    tenant: String,
    data: String,
    started: i64,
    ended: Option<i64>,
    total: i64,
    segments: i64,
    state: i64,
    live: i64,
    changed: i64,
    tags: String,
}

impl CallRow {
    pub(crate) fn read(self) -> Result<(CallSummary, CallData), CatalogError> {
        let mut data: CallData = rows::from_json("call data", &self.data)?;
        let summary = CallSummary {
            id: CallId::from_u64(rows::from_id(self.id)?),
            tenant: rows::tenant(&self.tenant)?,
            started: rows::time(self.started),
            ended: self.ended.map(rows::time),
            state: rows::state(self.state)?,
            live: self.live != 0,
            total: rows::small(self.total)?,
            segments: rows::from_id(self.segments)?,
            direction: data.direction,
            parties: std::mem::take(&mut data.parties),
            tags: rows::from_json("tags", &self.tags)?,
            changed: rows::event_id(self.changed)?,
        };
        data.parties.clone_from(&summary.parties);
        Ok((summary, data))
    }
}

#[derive(FromRow)]
pub(crate) struct SegmentRow {
    pub(crate) directory: String,
    pub(crate) record: String,
    pub(crate) call: i64,
    pub(crate) number: i64,
    pub(crate) total: i64,
}

#[derive(FromRow)]
pub(crate) struct CopyRow {
    kind: String,
    of_id: i64,
    place: String,
    state: i64,
}

impl CopyRow {
    pub(crate) fn read(self) -> Result<Copy, CatalogError> {
        let id = rows::from_id(self.of_id)?;
        Ok(Copy {
            of: match self.kind.as_str() {
                "call" => CopyOf::Call(CallId::from_u64(id)),
                _ => CopyOf::Segment(SegmentId::from_u64(id)),
            },
            at: rows::from_place(&self.place)?,
            state: rows::state(self.state)?,
        })
    }
}

#[derive(FromRow)]
pub(crate) struct EventRow {
    id: i64,
    at: i64,
    tenant: String,
    kind: String,
    call: Option<i64>,
    segment: Option<i64>,
    body: String,
}

impl EventRow {
    pub(crate) fn read(self) -> Result<Event, CatalogError> {
        Ok(Event {
            id: rows::event_id(self.id)?,
            at: rows::time(self.at),
            tenant: rows::tenant(&self.tenant)?,
            kind: self.kind,
            call: self.call.map(rows::from_id).transpose()?.map(CallId::from_u64),
            segment: self.segment.map(rows::from_id).transpose()?.map(SegmentId::from_u64),
            body: self.body,
        })
    }
}

//! Changes that the catalogue is told of.

use serde::{Deserialize, Serialize};

use crate::alarm::Alarm;
use crate::call::CallRecord;
use crate::copy::Copy;
use crate::id::{CallId, EventId, TenantId};
use crate::join::Join;
use crate::note::Note;
use crate::segment::SegmentRecord;
use crate::sides::Correction;
use crate::time::WallTime;

/// One change, as the catalogue and the local journal hold it. Applying it twice changes nothing, applying an
/// older one after a newer one neither: `id` orders them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// Orders changes, and names the event in the outbox.
    pub id: EventId,
    /// When it happened.
    pub at: WallTime,
    /// The owner of what changed.
    pub tenant: TenantId,
    /// What changed.
    pub kind: ChangeKind,
}

/// What changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// A call began, or more is known of it, or it ended.
    Call(Box<CallRecord>),
    /// A segment began, changed or ended: all that is known of it, and its directory below the repository.
    Segment {
        /// The record.
        record: Box<SegmentRecord>,
        /// Its directory, relative to the repository.
        directory: String,
    },
    /// The state of a copy changed.
    Copy {
        /// Its call.
        call: CallId,
        /// The copy as it is now.
        copy: Copy,
    },
    /// Somebody noted something of a call.
    Noted {
        /// The call.
        call: CallId,
        /// What.
        note: Note,
        /// Who.
        by: String,
    },
    /// Two calls turned out to be one.
    Joined(Join),
    /// Somebody corrected who is agent and who is external.
    Sides(Correction),
    /// Something happened that a person should know of, or a condition was raised or cleared.
    Alarm(Box<Alarm>),
}

impl ChangeKind {
    /// The name of the event in the outbox.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Call(_) => "call",
            Self::Segment { .. } => "segment",
            Self::Copy { .. } => "copy",
            Self::Noted { note, .. } => note.name(),
            Self::Joined(_) => "joined",
            Self::Sides(_) => "sides",
            Self::Alarm(_) => "alarm",
        }
    }

    /// The call that it is about, when it is about one; of two that are joined the one that survives.
    #[must_use]
    pub fn call(&self) -> Option<CallId> {
        match self {
            Self::Call(c) => Some(c.id),
            Self::Segment { record, .. } => Some(record.call),
            Self::Copy { call, .. } | Self::Noted { call, .. } => Some(*call),
            Self::Joined(join) => Some(join.into.call),
            Self::Sides(correction) => correction.calls.first().copied(),
            Self::Alarm(a) => a.call,
        }
    }
}

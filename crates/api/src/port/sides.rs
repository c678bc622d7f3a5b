//! Who of a call is the agent and who is external.

use model::{CallId, Correction, SegmentId, Side, Sides, StreamId};

/// The sides of a call, as people corrected them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallSides {
    /// The call: the one that survives of those that turned out to be one.
    pub call: CallId,
    /// What was said last.
    pub now: Sides,
    /// Its streams, by their segments.
    pub streams: Vec<StreamSide>,
    /// What was said ever, oldest first; the newest 100.
    pub history: Vec<Correction>,
}

/// Whose voice a stream carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSide {
    /// The stream.
    pub stream: StreamId,
    /// Its segment.
    pub segment: SegmentId,
    /// The number of that.
    pub number: u16,
    /// `a=label`, when there is one.
    pub label: Option<String>,
    /// As it was recorded.
    pub recorded: Side,
    /// As it is played.
    pub side: Side,
}

//! What was told of a call, as it was told: without what people corrected, and with segments as they were recorded.
//!
//! Who tells something anew must not tell what followed from other rows: that would follow twice.

use model::{CallRecord, SegmentRecord};

/// A call as it was told.
#[derive(Clone, PartialEq, Debug)]
pub struct ToldCall {
    /// The call, without those that it took in.
    pub call: CallRecord,
    /// Its segments and those of the calls that it took in, in order of their numbers in it; at most
    /// [`LIST_MAX`](crate::LIST_MAX).
    pub segments: Vec<ToldSegment>,
}

/// A segment as it was told.
#[derive(Clone, PartialEq, Debug)]
pub struct ToldSegment {
    /// The segment, of the call that it was recorded as, with sides as they were recorded.
    pub record: SegmentRecord,
    /// Its directory, relative to the repository of its node.
    pub directory: String,
    /// Its number in the call that survives.
    pub number: u16,
}

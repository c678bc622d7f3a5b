//! Where the segments of a call are played from, and which of them cannot be had.

use model::{NodeNumber, SegmentId, SegmentRecord, WallTime};

/// See the module.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CallPlaces {
    /// What is played, in order of numbers.
    pub segments: Vec<SegmentPlace>,
    /// What cannot be.
    pub missing: Vec<MissingSegment>,
}

/// A segment that is played.
#[derive(Clone, PartialEq, Debug)]
pub struct SegmentPlace {
    /// The segment, as its manifest has it.
    pub record: SegmentRecord,
    /// The node that it is fetched from, and what that is called; none where it lies here.
    pub at: Option<(NodeNumber, String)>,
}

/// A segment that cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MissingSegment {
    /// Its number; none where a node may have one of which nothing is known.
    pub number: Option<u16>,
    /// Which, where that is known.
    pub segment: Option<SegmentId>,
    /// Where it is and why it cannot be had, in a sentence.
    pub text: String,
    /// Since when, where that is known.
    pub since: Option<WallTime>,
}

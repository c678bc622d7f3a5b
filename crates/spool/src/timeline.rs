//! Where the segments and parts of a call lie on one time line, in ticks of 125 µs.
//!
//! A segment begins where the wall clock of its node says: pauses between segments are as long as they were.
//! Within a segment, positions count from its start: the offset of each part says where its own time line begins.
//! The call begins with its first segment.

use model::segment::PartMark;
use model::{SegmentRecord, WallTime};

use crate::codec::TICK_US;

/// A part on the time line of its segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedPart {
    /// Index of its segment, in the order of their starts.
    pub segment: usize,
    /// Its path, relative to the repository.
    pub path: String,
    /// The tick at which its time line begins, from the segment's start.
    pub begin: i64,
    /// The tick behind its last block, as its record says.
    pub end: i64,
    /// Its length in octets, as its record says.
    pub bytes: u64,
    /// Where one may begin to read.
    pub marks: Vec<PartMark>,
}

/// All parts of a call's segments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeline {
    /// The wall clock at tick 0.
    pub origin: WallTime,
    /// The tick at which each segment begins.
    pub starts: Vec<i64>,
    /// In the order of their beginnings.
    pub parts: Vec<PlacedPart>,
}

impl Timeline {
    /// Places segments, each with its directory. They must be in the order of their starts.
    #[must_use]
    pub fn new(segments: &[(SegmentRecord, String)]) -> Self {
        let origin = segments.iter().map(|(s, _)| s.started).min().unwrap_or_default();
        let start = |s: &SegmentRecord| (s.started.nanos_since(origin) / 1_000).max(0).div_euclid(TICK_US);
        let starts: Vec<i64> = segments.iter().map(|(s, _)| start(s)).collect();
        let mut parts = Vec::new();
        for (segment, (record, directory)) in segments.iter().enumerate() {
            for part in &record.parts {
                let begin = part.offset_us.max(0).div_euclid(TICK_US);
                parts.push(PlacedPart {
                    segment,
                    path: format!("{directory}/{}", part.file),
                    begin,
                    end: begin.saturating_add(part.duration_us.max(0) / TICK_US),
                    bytes: part.bytes,
                    marks: part.marks.clone(),
                });
            }
        }
        parts.sort_by_key(|p| {
            (starts.get(p.segment).copied().unwrap_or(0).saturating_add(p.begin), p.segment)
        });
        Self { origin, starts, parts }
    }
}

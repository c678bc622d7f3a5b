//! Where everything of a call lies on one time line, in samples of 8 kHz (ticks of 125 µs).
//!
//! Segments lie at their wall-clock start, whatever happened between them: a hold is as long as it was. Parts
//! lie at their offset in their segment. The recording begins with its first segment and ends with the last
//! media of any; how long a live or repaired segment claims to be beyond its media is of no account.

use model::{SegmentRecord, StreamId, WallTime};

use crate::codec::TICK_US;

/// A part on the time line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedPart {
    /// Index of its segment, in the order of their starts.
    pub segment: usize,
    /// Its path, relative to the repository.
    pub path: String,
    /// The tick at which its time line begins.
    pub begin: i64,
    /// The tick behind its last block, as its record says.
    pub end: i64,
    /// The streams that it holds.
    pub streams: Vec<StreamId>,
}

/// All parts of a call's segments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeline {
    /// The wall clock at tick 0.
    pub origin: WallTime,
    /// In the order of their beginnings.
    pub parts: Vec<PlacedPart>,
    /// The tick behind the last media.
    pub end: i64,
}

impl Timeline {
    /// Places segments, each with its directory. They must be in the order of their starts.
    #[must_use]
    pub fn new(segments: &[(SegmentRecord, String)]) -> Self {
        let origin = segments.iter().map(|(s, _)| s.started).min().unwrap_or_default();
        let mut parts = Vec::new();
        for (segment, (record, directory)) in segments.iter().enumerate() {
            let start_us = record.started.nanos_since(origin) / 1_000;
            for part in &record.parts {
                let begin = start_us.saturating_add(part.offset_us).max(0).div_euclid(TICK_US);
                parts.push(PlacedPart {
                    segment,
                    path: format!("{directory}/{}", part.file),
                    begin,
                    end: begin.saturating_add(part.duration_us.max(0) / TICK_US),
                    streams: part.tracks.iter().map(|t| t.stream).collect(),
                });
            }
        }
        parts.sort_by_key(|p| (p.begin, p.segment));
        let end = parts.iter().map(|p| p.end).max().unwrap_or(0);
        Self { origin, parts, end }
    }
}

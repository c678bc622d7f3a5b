//! Which segments follow each other, and which were recorded beside each other.
//!
//! Where two that follow each other overlap in time, it is the same voices twice: the later speaks. Two that lie beside
//! each other hear different voices, or the same by different ways, and are mixed.
//!
//! A segment follows another if it has streams of it: those of a dialog keep their ids over holds and failures. One
//! that answers a failure follows whatever of the same directory began last before it. Where a segment lies says nothing
//! else: dialogs for which a segment has no room are recorded beside it, in the same directory.

use std::collections::BTreeMap;

use model::state::Respondent;
use model::{SegmentRecord, StreamId};

/// The line of each segment, as an index: those of one line follow each other. They must be in the order of their
/// starts, each with its directory.
pub(super) fn lines(segments: &[(SegmentRecord, String)]) -> Vec<usize> {
    let mut of_stream: BTreeMap<StreamId, usize> = BTreeMap::new();
    let mut newest: BTreeMap<&str, usize> = BTreeMap::new();
    let mut count = 0;
    let mut lines = Vec::with_capacity(segments.len());
    for (record, directory) in segments {
        let known = record.streams.iter().filter_map(|s| of_stream.get(&s.id)).max();
        let failed = newest.get(directory.as_str()).filter(|_| record.respondent == Respondent::Yes);
        let line = known.or(failed).copied().unwrap_or_else(|| {
            count += 1;
            count - 1
        });
        of_stream.extend(record.streams.iter().map(|s| (s.id, line)));
        newest.insert(directory, line);
        lines.push(line);
    }
    lines
}

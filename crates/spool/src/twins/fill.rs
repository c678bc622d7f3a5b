//! How much of what a copy lacks the other one has, by what their manifests say: no media are read.

use std::ops::Range;

use model::{Gap, GapReason, SegmentRecord, StreamId, StreamRecord};

use super::Place;

/// What two copies of a stream came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fill {
    /// The stream.
    pub stream: StreamId,
    /// Packets that the copy which is heard lacks and the other one has.
    pub filled: u64,
    /// Packets that both lack.
    pub missing: u64,
}

/// What is filled of each stream of a segment: of the copy that is heard, from the other.
#[must_use]
pub fn fills(first: &SegmentRecord, other: &SegmentRecord) -> Vec<Fill> {
    first.streams.iter().map(|stream| of_stream(first, other, stream)).collect()
}

fn of_stream(first: &SegmentRecord, other: &SegmentRecord, stream: &StreamRecord) -> Fill {
    let (mut filled, mut missing) = (0, 0);
    let lacks = lacks_of(first, other, stream.id);
    for gap in stream.gaps.iter().filter(|gap| is_lost(gap)) {
        let of = gap.from_us..gap.until_us;
        let lacking: i64 = lacks.iter().map(|lack| common(&of, lack)).sum();
        let length = of.end.saturating_sub(of.start).max(1);
        let both = i64::from(gap.packets).saturating_mul(lacking.clamp(0, length)).saturating_add(length / 2)
            / length;
        let both = both.unsigned_abs().min(u64::from(gap.packets));
        missing += both;
        filled += u64::from(gap.packets) - both;
    }
    Fill { stream: stream.id, filled, missing }
}

const fn is_lost(gap: &Gap) -> bool {
    matches!(gap.reason, GapReason::Loss | GapReason::Dropped)
}

/// Where the other copy has nothing, on the time line of the first.
fn lacks_of(first: &SegmentRecord, other: &SegmentRecord, stream: StreamId) -> Vec<Range<i64>> {
    let whole = || std::iter::once(i64::MIN..i64::MAX).collect();
    let Some(there) = other.streams.iter().find(|s| s.id == stream) else { return whole() };
    let ends = other.parts.iter().filter(|part| part.tracks.iter().any(|track| track.stream == stream));
    let end = ends.map(|part| part.offset_us.saturating_add(part.duration_us)).max();
    let (Some(begin), Some(end)) = (there.anchors.iter().map(|anchor| anchor.position_us).min(), end) else {
        return whole();
    };
    let place = Place::new(first, other, stream);
    let clock =
        there.codecs.iter().find_map(|used| used.codec.as_ref()).map_or(8_000, |codec| codec.clock_rate);
    let here = |us: i64| place.here(us, clock);
    let gaps = there.gaps.iter().map(|gap| here(gap.from_us)..here(gap.until_us));
    [i64::MIN..here(begin), here(end)..i64::MAX].into_iter().chain(gaps).collect()
}

fn common(one: &Range<i64>, other: &Range<i64>) -> i64 {
    one.end.min(other.end).saturating_sub(one.start.max(other.start)).max(0)
}

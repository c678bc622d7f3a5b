//! What became of segments and calls since the start, added up when they end: nothing is counted per packet here.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{GapReason, RecordingState, SegmentRecord};

/// How many states there are.
const STATES: usize = RecordingState::ALL.len();

/// The reasons of gaps, as metrics call them.
const REASONS: [(GapReason, &str); 5] = [
    (GapReason::Loss, "loss"),
    (GapReason::Silence, "silence"),
    (GapReason::Hold, "hold"),
    (GapReason::Pause, "pause"),
    (GapReason::Dropped, "dropped"),
];

/// Gaps of one reason.
#[derive(Debug, Default)]
struct Gaps {
    count: AtomicU64,
    micros: AtomicU64,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// By the code of the state.
    segments: [AtomicU64; STATES],
    /// By the code of the state of their recording.
    calls: [AtomicU64; STATES],
    /// RTP packets, by what became of them.
    packets: [AtomicU64; PACKETS.len()],
    gaps: [Gaps; REASONS.len()],
    /// Gaps beyond those that a stream lists.
    gaps_unlisted: AtomicU64,
}

/// What becomes of RTP packets. Several may be true of one: a late one is received too.
const PACKETS: [&str; 8] =
    ["received", "lost", "reordered", "duplicate", "late", "other-source", "dropped", "discarded"];

impl Outcomes {
    /// A segment has ended.
    pub(crate) fn segment(&self, record: &SegmentRecord) {
        count_state(&self.segments, record.state);
        for stream in &record.streams {
            let of = &stream.accounting;
            let counted = [
                of.received,
                of.lost,
                of.reordered,
                of.duplicate,
                of.late,
                of.other_source,
                of.dropped,
                of.discarded,
            ];
            for (sum, n) in self.packets.iter().zip(counted) {
                sum.fetch_add(n, Ordering::Relaxed);
            }
            for gap in &stream.gaps {
                let index = REASONS.iter().position(|(reason, _)| *reason == gap.reason);
                if let Some(gaps) = index.and_then(|index| self.gaps.get(index)) {
                    let long = u64::try_from(gap.until_us.saturating_sub(gap.from_us)).unwrap_or(0);
                    gaps.count.fetch_add(1, Ordering::Relaxed);
                    gaps.micros.fetch_add(long, Ordering::Relaxed);
                }
            }
            self.gaps_unlisted.fetch_add(stream.gaps_unlisted, Ordering::Relaxed);
        }
    }

    /// A call has ended.
    pub(crate) fn call(&self, state: RecordingState) {
        count_state(&self.calls, state);
    }

    /// Segments that ended, by the state they ended in.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (RecordingState, u64)> {
        by_state(&self.segments)
    }

    /// Calls that ended, by the state of their recording.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (RecordingState, u64)> {
        by_state(&self.calls)
    }

    /// RTP packets of segments that ended, by what became of them.
    pub(crate) fn packets(&self) -> impl Iterator<Item = (&'static str, u64)> {
        PACKETS.into_iter().zip(self.packets.iter().map(|n| n.load(Ordering::Relaxed)))
    }

    /// Gaps of segments that ended, by reason: how many, and how many microseconds.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let listed =
            REASONS.iter().zip(&self.gaps).map(move |((_, name), g)| (*name, of(&g.count), of(&g.micros)));
        listed.chain([("unlisted", of(&self.gaps_unlisted), 0)])
    }
}

fn count_state(counts: &[AtomicU64; STATES], state: RecordingState) {
    if let Some(count) = counts.get(usize::from(state.code())) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn by_state(counts: &[AtomicU64; STATES]) -> impl Iterator<Item = (RecordingState, u64)> {
    RecordingState::ALL.into_iter().filter_map(|state| {
        let n = counts.get(usize::from(state.code()))?.load(Ordering::Relaxed);
        Some((state, n))
    })
}

//! Two copies of one segment, which two record servers recorded at the same time, taken as one.
//!
//! ```text
//!  first copy   ▓▓▓▓░▓▓▓▓▓▓▓▓░░▓▓▓▓        each packet is known by its source and its RTP time, whichever
//!  the other    ▓▓▓▓▓▓▓░░▓▓▓▓▓░▓▓▓▓▓▓▓▓    copy it is in: what the first one lacks is taken from the other
//!  taken as     ▓▓▓▓▓▓▓▓▓▓▓▓▓▓░▓▓▓▓▓▓▓▓
//! ```
//!
//! A copy keeps no sequence numbers of what its tracks hold. It needs none: a source numbers its media and counts their time by the
//! same packets, and the anchors in a manifest tie RTP time to places, to the tick. So where (`place`) a packet of one copy would
//! lie in the other is known for certain, though both began at another packet and heard other things.
//!
//! What a copy was told not to keep (a pause, a masked digit, a hold) is never taken from the other. Nothing is written: both
//! copies stay as they were sealed, with their digests.

mod fill;
mod place;

use std::cmp::Reverse;

use model::{SegmentRecord, copy};

pub use fill::{Fill, fills};
pub(crate) use place::Place;

/// A segment and its directory.
pub(crate) type Lying = (SegmentRecord, String);

/// Copies of segments, each with what goes with it.
pub type Copies<T> = Vec<(SegmentRecord, T)>;

/// Takes copies of segments apart, each with whatever belongs to it: of each segment the one that is heard, in the order in which
/// they came; and other copies of these, by other nodes.
#[must_use]
pub fn pair<T>(copies: Vec<(SegmentRecord, T)>) -> (Copies<T>, Copies<T>) {
    let mut firsts: Vec<(SegmentRecord, T)> = Vec::with_capacity(copies.len());
    let mut others = Vec::new();
    for lying in copies {
        let is_other =
            |first: &&mut (SegmentRecord, T)| first.0.id == lying.0.id && first.0.node != lying.0.node;
        match firsts.iter_mut().find(is_other) {
            Some(first) if is_better(&lying.0, &first.0) => others.push(std::mem::replace(first, lying)),
            Some(_) => others.push(lying),
            None => firsts.push(lying),
        }
    }
    (firsts, others)
}

/// Whether a copy is the one of the two that is heard: that which ended better, which has more, or that of the lower number.
fn is_better(one: &SegmentRecord, other: &SegmentRecord) -> bool {
    let ended = |of: &SegmentRecord| Some(of.state) != copy::ended_best([one.state, other.state]);
    let kept = |of: &SegmentRecord| {
        let counts = of.streams.iter().map(|s| s.accounting.received.saturating_sub(s.accounting.dropped));
        counts.fold(0, u64::saturating_add)
    };
    let rank = |of: &SegmentRecord| (ended(of), Reverse(kept(of)), of.node);
    rank(one) < rank(other)
}

//! The time of a live segment, which no setting of the wall clock disturbs.

use std::time::Duration;

use model::{Now, WallTime};

/// The time of a segment: it goes by the monotonic clock from the segment's beginning on, so that a wall clock that is
/// set while a call goes on makes no gap in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steady {
    pub(super) now: Now,
    /// By how much that is off the system's wall clock.
    pub(super) skew_ns: i64,
}

/// The longest that a datagram waits to be read, or an order to be carried out. What seems to have waited longer came
/// before the clock was set.
const WAITED_MAX: Duration = Duration::from_secs(5);

/// 10 ms: both clocks are not read at one moment. What differs by less was not set, and a segment's times are those
/// that everybody else has of the same event.
pub(super) const NOT_SET_NS: i64 = 10_000_000;

impl Steady {
    /// A time of the system's wall clock, not long ago, as one of the segment.
    pub(super) fn at(self, system: WallTime) -> WallTime {
        let at = WallTime(system.0.saturating_add(self.skew_ns));
        let now = self.now.wall;
        if at <= now && now.since(at) <= WAITED_MAX { at } else { now }
    }
}

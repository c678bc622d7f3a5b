//! The time of a relay: as the wall clock was when it began, and from then on never back. Indices of SRTCP are counted by
//! it, and one that came twice would give a key away.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use model::WallTime;

pub(crate) struct Clock {
    wall: i64,
    since: Instant,
}

/// The time now, by this clock and by the system's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) now: WallTime,
    skew_ns: i64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { wall: system(), since: Instant::now() }
    }

    pub(crate) fn read(&self) -> Reading {
        let passed = i64::try_from(self.since.elapsed().as_nanos()).unwrap_or(i64::MAX);
        let now = self.wall.saturating_add(passed);
        Reading { now: WallTime(now), skew_ns: system().saturating_sub(now) }
    }
}

impl Reading {
    /// A time of the system's clock, not long ago, by this one.
    pub(crate) fn at(&self, system: WallTime) -> WallTime {
        WallTime(system.0.saturating_sub(self.skew_ns)).min(self.now)
    }
}

fn system() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

//! Whether a new call can be opened soon enough: else it is refused while its client has time to go elsewhere.
//!
//! What is counted are the segments that a record server was told to open and has not opened. Calls in progress are
//! never refused for it: a resumed call, or another dialog of one that is known, waits as long as it must.
//!
//! A disk that stands still for a moment refuses nobody: who was sent 100 waits. Nothing is admitted when what waits
//! takes too long at the pace of the last second, when nothing at all has been opened for too long, and while media
//! wait for the disk to an extent that might become loss.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{Mono, SegmentId};

use crate::pace::{Pace, Watermarks};

/// Who would wait longer for ports is refused. A client has its 100 by then and would wait for half a minute; but who is
/// told within half a second (T1 of RFC 3261) can be recorded elsewhere from the first word on.
const WAIT_MAX: Duration = Duration::from_millis(400);
/// When somebody was refused, all are until what waits takes less than this.
const WAIT_SHORT: Duration = Duration::from_millis(200);
/// When nothing was opened for so long although as many wait as make it busy, nothing is opened at all: half of the time after which a
/// volume counts as standing still is over by then, and another volume was asked (`recording.stall`).
const STANDSTILL: Duration = Duration::from_secs(2);
/// From so many on, one waits for another: two volumes with four openers each are busy with fewer. So few are never
/// refused, so that how long one takes is always measured again.
const BUSY_FROM: usize = 8;

/// Why new calls are refused for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// They would wait too long to be looked at.
    Signalling,
    /// They would wait too long to be opened.
    Opening,
    /// Nothing is opened.
    Standstill,
    /// Media wait for the disk.
    Writing,
}

impl Crowded {
    /// As an alarm says it.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Signalling => "more calls come than can be answered in time",
            Self::Opening => "more calls come than can be opened in time",
            Self::Standstill => "no call can be opened: storage stands still",
            Self::Writing => "storage does not keep up with what is recorded",
        }
    }
}

/// What is being opened.
#[derive(Debug)]
pub(crate) struct Admission {
    opening: BTreeSet<SegmentId>,
    pace: Pace,
    /// Since when it is busy and nothing was opened.
    stuck_since: Option<Mono>,
    wait: Watermarks,
    /// Media wait for the disk.
    is_writing_behind: bool,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            opening: BTreeSet::new(),
            pace: Pace::new(BUSY_FROM),
            stuck_since: None,
            wait: Watermarks::new(WAIT_MAX, WAIT_SHORT),
            is_writing_behind: false,
        }
    }
}

impl Admission {
    /// A segment is to be opened.
    pub(crate) fn ordered(&mut self, now: Mono, segment: SegmentId) {
        if self.opening.insert(segment) {
            self.pace.came(now, self.opening.len());
            if self.is_busy() {
                self.stuck_since.get_or_insert(now);
            }
        }
    }

    /// A segment was opened.
    pub(crate) fn opened(&mut self, now: Mono, segment: SegmentId) {
        if self.opening.remove(&segment) {
            self.pace.left(now, self.opening.len());
            self.stuck_since = self.is_busy().then_some(now);
        }
    }

    /// A segment was not opened and will not be: that says nothing of how long opening takes.
    pub(crate) fn gone(&mut self, segment: SegmentId) {
        if self.opening.remove(&segment) {
            self.pace.gone(self.opening.len());
            if !self.is_busy() {
                self.stuck_since = None;
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.opening.len() >= BUSY_FROM
    }

    /// Whether media wait for the disk, on every volume.
    pub(crate) const fn writing(&mut self, is_behind: bool) {
        self.is_writing_behind = is_behind;
    }

    /// Why a new call is not admitted now.
    pub(crate) fn refuses(&mut self, now: Mono) -> Option<Crowded> {
        let expected = self.pace.wait(now, self.opening.len());
        let is_over = self.wait.look(expected);
        if self.is_writing_behind {
            Some(Crowded::Writing)
        } else if self.stuck_since.is_some_and(|since| now.since(since) > STANDSTILL) {
            Some(Crowded::Standstill)
        } else {
            (is_over && self.is_busy()).then_some(Crowded::Opening)
        }
    }

    /// How many are being opened.
    pub(crate) fn opening(&self) -> usize {
        self.opening.len()
    }

    /// How long one that comes now would wait.
    pub(crate) fn wait(&self, now: Mono) -> Duration {
        self.pace.clone().wait(now, self.opening.len())
    }
}

#[cfg(test)]
mod tests;

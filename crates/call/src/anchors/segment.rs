//! A segment, as far as it must be known which streams of it come to ports of ours.

use std::collections::BTreeSet;

use media::relay::REMEMBERED_NS;
use model::{OpenSegment, StreamId, WallTime};

/// See the module.
#[derive(Debug)]
pub(super) struct Anchored {
    /// When it began.
    started: WallTime,
    /// Those of its streams that come to ports of ours, as it was ordered last.
    wanted: BTreeSet<StreamId>,
    /// The same, and those that leave it when that is answered.
    pub(super) claimed: BTreeSet<StreamId>,
    /// Orders for ports that are not answered.
    asked: u32,
    is_open: bool,
    pub(super) is_paused: bool,
    /// When its record server failed.
    pub(super) failing: Option<WallTime>,
    /// Until it is open: what is to be ordered of a second record server then.
    pub(super) to_copy: Option<Box<OpenSegment>>,
}

impl Anchored {
    pub(super) const fn new(started: WallTime, is_paused: bool) -> Self {
        Self {
            started,
            wanted: BTreeSet::new(),
            claimed: BTreeSet::new(),
            asked: 0,
            is_open: false,
            is_paused,
            failing: None,
            to_copy: None,
        }
    }

    /// It was ordered to have these streams.
    pub(super) fn ordered(&mut self, wanted: BTreeSet<StreamId>) {
        self.wanted = wanted;
        self.asked += 1;
    }

    /// An order for ports was answered; whether the segment is open.
    pub(super) const fn answered(&mut self) -> bool {
        self.asked = self.asked.saturating_sub(1);
        self.is_open
    }

    /// It has the ports that were ordered; whether they are its first.
    pub(super) const fn opened(&mut self) -> bool {
        let is_first = !self.answered();
        self.is_open = true;
        is_first
    }

    /// Whether a record server has it.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether all orders for ports are answered.
    pub(super) const fn is_settled(&self) -> bool {
        self.asked == 0
    }

    pub(super) fn wants(&self, stream: StreamId) -> bool {
        self.wanted.contains(&stream)
    }

    /// When the first of what is replayed to the one that takes over from it came, at the earliest.
    pub(super) fn replayed_from(&self, now: WallTime) -> WallTime {
        let failed = self.failing.unwrap_or(now);
        WallTime(failed.0.saturating_sub(REMEMBERED_NS)).max(self.started)
    }
}

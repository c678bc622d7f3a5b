//! Segments that another proxy has, and whose media come to ports of ours until their clients know its ports.
//!
//! ```text
//!  another carries on the call ──► copies go on to the record server of the segment
//!                              └──► its record server says that it is over, or long enough has passed ──► ports are closed
//! ```
//!
//! What is paused there nobody here hears of, so nothing that comes from then on is remembered: should the call come back, no
//! record server is sent it.

use std::time::Duration;

use model::{Mono, Now, SegmentId};

use super::segment::Anchored;
use super::{Anchors, RelayPorts};

/// How long media are waited for: longer than it takes the other proxy to give up telling a client of its ports. It is a limit for
/// what is never said to be over.
const HANDED_ON_FOR: Duration = Duration::from_secs(90);

impl<R: RelayPorts> Anchors<R> {
    /// Another proxy has this segment: what comes to ports of ours is still sent on, until it is over.
    pub fn hand_on(&mut self, now: Now, segment: SegmentId) {
        let streams = self.streams_of(segment);
        let is_copied = |anchored: &&mut Anchored| anchored.is_open() && !streams.is_empty();
        let Some(anchored) = self.segments.get_mut(&segment).filter(is_copied) else {
            return self.let_go(segment);
        };
        anchored.is_paused = true;
        self.handed_on.insert(segment, now.mono + HANDED_ON_FOR);
        streams.into_iter().for_each(|stream| self.remember(stream));
    }

    /// A segment that was handed on is over.
    pub fn is_over(&mut self, segment: SegmentId) {
        if self.handed_on.contains_key(&segment) {
            self.let_go(segment);
        }
    }

    /// Segments that were handed on and are not over.
    #[must_use]
    pub fn handed_on(&self) -> usize {
        self.handed_on.len()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Mono> {
        self.handed_on.values().min().copied()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let is_due = |(segment, until): (&SegmentId, &Mono)| (*until <= now.mono).then_some(*segment);
        let due: Vec<SegmentId> = self.handed_on.iter().filter_map(is_due).collect();
        due.into_iter().for_each(|segment| self.let_go(segment));
    }
}

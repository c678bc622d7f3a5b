//! How segments end, and are taken to have ended where nobody says so.
//!
//! ```text
//!  told to end ──► its record server says how it ended
//!             └──► that is gone: it may return for ten seconds ──► presumed
//!  another has taken over from it ──► told to end ──► nothing within a second ──► presumed
//! ```
//!
//! What is presumed ended by a failure inside. What its record server says later of it goes to nobody here; it tells the
//! catalog itself.

use std::time::Duration;

use model::{EndReason, Now, Order, Report, SegmentId, TakeOver, WallTime};

use super::held::{Fed, Kin, Stage, failed};
use super::peer::Peer;
use super::several::{Several, Timer};

/// How long a record server may be gone before the segments that it was to end are taken to have failed: a process begins
/// anew, and a switch loses its table, within some seconds.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to say how a segment ended that another has taken over from: nobody waits for longer for what is
/// known to have failed.
const MOVED_WITHIN: Duration = Duration::from_secs(1);

/// When a segment is taken to have ended of which nobody says so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// When its record server is gone for long.
    WhileItIsThere,
    /// When another has taken over.
    Moved,
}

impl Several {
    /// `Front` ends a segment.
    pub(super) fn end(&mut self, now: Now, segment: SegmentId, end: Order) {
        if self.waiting.remove(&segment).is_some() {
            self.timers.clear(Timer::Open(segment));
            return self.report(Report::Withdrawn { segment });
        }
        self.end_copy(segment, &end);
        self.end_within(now, segment, end, Patience::WhileItIsThere);
    }

    /// A segment has taken over: what it took over from ends, if its record server does not do that itself.
    pub(super) fn taken_over(&mut self, now: Now, failed: TakeOver, kin: Kin) {
        let TakeOver { segment, reason } = failed;
        let Some(held) = self.segments.get_mut(&segment) else { return };
        let at = match &held.stage {
            // Its client still sends to whoever had it.
            Stage::Lost { fed: Fed::ByAnother, .. } => return,
            Stage::Lost { since, .. } => *since,
            _ => now.wall,
        };
        let end = Order::End { segment, at, reason, by: None };
        self.end_copy(segment, &end);
        let Some(held) = self.segments.get_mut(&segment) else { return };
        match (&held.stage, kin) {
            (Stage::Live(_), Kin::Same) => held.stage = Stage::Ending { end, lost: None },
            (Stage::Live(_) | Stage::Lost { .. }, _) => self.end_within(now, segment, end, Patience::Moved),
            (Stage::Opening(_) | Stage::Ending { .. }, _) => {}
        }
    }

    fn end_within(&mut self, now: Now, segment: SegmentId, end: Order, patience: Patience) {
        let Some(held) = self.segments.get_mut(&segment) else { return };
        let (to, by) = (held.at.clone(), held.by);
        let lost = match &mut held.stage {
            Stage::Opening(opening) => {
                opening.end = Some(end.clone());
                return self.send(&to, end);
            }
            Stage::Live(_) => None,
            Stage::Lost { record: Some(record), .. } => {
                let record = record.clone();
                self.forget_segment(segment);
                return self.report(Report::Ended { record });
            }
            Stage::Lost { since, record: None, .. } => Some(*since),
            // It was told.
            Stage::Ending { .. } => return,
        };
        let peer = self.peers.get(&to);
        let is_there = peer.and_then(Peer::identity) == Some(by);
        let lost = lost.filter(|_| !is_there);
        held.stage = Stage::Ending { end: end.clone(), lost };
        match patience {
            Patience::Moved => self.timers.set(Timer::Moved(segment), now.mono + MOVED_WITHIN),
            Patience::WhileItIsThere if is_there => {}
            Patience::WhileItIsThere => self.timers.set(Timer::Ended(segment), now.mono + GONE_WITHIN),
        }
        self.send(&to, end);
    }

    /// Its record server is gone: it is waited for, if it is not anyway.
    pub(super) fn wait_for_end(&mut self, now: Now, segment: SegmentId) {
        if !self.timers.is_set(Timer::Moved(segment)) && !self.timers.is_set(Timer::Ended(segment)) {
            self.timers.set(Timer::Ended(segment), now.mono + GONE_WITHIN);
        }
    }

    /// Nobody said how a segment ended that was told to.
    pub(super) fn presume_failed(&mut self, now: Now, segment: SegmentId) {
        let Some(held) = self.segments.get(&segment) else { return };
        let Stage::Ending { end, lost } = &held.stage else { return };
        let (end, ended) = (end.clone(), lost.unwrap_or(now.wall));
        if let Some(peer) = self.peers.get_mut(&held.at).filter(|peer| !peer.has_lost(held.by)) {
            peer.owe(segment, end.clone());
        }
        self.presume(segment, ended, failed(&end));
    }

    /// A segment that was told to end is not live any more where it was, and how it ended was not heard: it came to the end
    /// that it was told.
    pub(super) fn presume_ended(&mut self, segment: SegmentId) {
        let Some(held) = self.segments.get(&segment) else { return };
        if let Stage::Ending { end: Order::End { at, reason, .. }, .. } = &held.stage {
            let (at, reason) = (*at, reason.clone());
            self.presume(segment, at, reason);
        }
    }

    fn presume(&mut self, segment: SegmentId, ended: WallTime, reason: EndReason) {
        let Some(held) = self.segments.get(&segment) else { return };
        let record = held.presumed(ended, reason);
        self.forget_segment(segment);
        self.tell_presumed(&record);
        self.report(Report::Ended { record: Box::new(record) });
    }
}

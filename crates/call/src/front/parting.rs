//! Segments of calls that another proxy had, whose media come by that one's ports until their clients send to ours.
//!
//! ```text
//!  adopted ──► another segment takes over ──► clients are told of ports of ours ──all have answered──► a second later it ends
//!                                        └──► the call is held, stopped or over ───────────────────────► it ends at once
//! ```
//!
//! The proxy before goes on relaying until the segment is over, if it is there still. Both segments have what is said
//! meanwhile, each by its own ports; nothing is in both. Whoever is gone relays nothing, and the segment ends the same.

use std::time::Duration;

use model::{CallId, EndReason, Now, Order, SegmentId};
use sip::SessionId;

use super::{Action, END_DEADLINE, Front, Timer};
use crate::leg::{Leg, Offering};
use crate::lines::Line;
use crate::live_call::LiveCall;

/// How long media may be on their way to the ports before, after the client has answered that it sends to others.
const PARTS_AFTER: Duration = Duration::from_secs(1);
/// How long a client may take to be told: its answer is awaited for half a minute (RFC 3261, timer B), and one offer may wait for
/// another. One that refuses sends to the ports before as long as they are there.
pub(super) const PARTS_WITHIN: Duration = Duration::from_secs(60);

impl Front {
    /// The media of these segments go through the proxy before.
    pub(super) fn note_foreign(&mut self, call: CallId, segments: impl IntoIterator<Item = SegmentId>) {
        let Some(live) = self.calls.get_mut(call) else { return };
        for segment in segments {
            if let Some(segment) = live.segment_mut(segment) {
                segment.is_foreign = true;
            }
        }
    }

    /// Segments that were parting at the proxy before: their clients have been told, or are being told again.
    pub(super) fn go_on_parting(&mut self, now: Now, call: CallId) {
        let parting = self.calls.get(call).map(LiveCall::all_parting).unwrap_or_default();
        for (segment, _) in parting {
            self.timers.clear(Timer::Close(segment));
            self.arm(now, PARTS_WITHIN, Timer::Part(segment));
        }
    }

    /// Whether media of a segment that another takes over from come still, and may be kept: not where some of its streams are
    /// paused by themselves, which nobody could tell of there any more.
    pub(super) fn may_part(&self, segment: SegmentId, legs: &[SessionId]) -> bool {
        let of_call = self.calls.of_segment(segment).and_then(|call| self.calls.get(call)?.segment(segment));
        let is_apart = |session: &SessionId| self.legs.get(session).is_some_and(|leg| leg.is_apart);
        of_call.is_some_and(|segment| segment.is_foreign) && !legs.iter().any(is_apart)
    }

    /// A client has answered an offer of ours: where none is left that sends elsewhere, what comes there is over soon.
    pub(super) fn has_heard_of_ports(&mut self, now: Now, session: SessionId) {
        let Some(call) = self.legs.get(&session).map(|leg| leg.call) else { return };
        let Some(live) = self.calls.get(call) else { return };
        let parting = live.all_parting();
        let waits = |leg: &Leg| leg.offering != Offering::Nothing || leg.lines.iter().any(Line::is_misled);
        let is_told =
            live.opening().is_none() && !live.legs.iter().filter_map(|s| self.legs.get(s)).any(waits);
        for (segment, _) in parting.into_iter().filter(|_| is_told) {
            self.arm(now, PARTS_AFTER, Timer::Part(segment));
        }
    }

    /// Its client sends elsewhere, or never will.
    pub(super) fn has_parted(&mut self, now: Now, segment: SegmentId) {
        let Some(call) = self.calls.of_segment(segment) else { return };
        let of_call = self.calls.get(call).and_then(|live| live.segment(segment));
        if let Some(reason) = of_call.and_then(|segment| segment.parts_for()).cloned() {
            self.end_parting(now, call, segment, reason);
        }
    }

    /// A segment of the call was told to end: its client is on hold, stopped or gone, and nobody waits for what it sends.
    pub(super) fn part_at_once(&mut self, now: Now, call: CallId) {
        let parting = self.calls.get(call).map(LiveCall::all_parting).unwrap_or_default();
        for (segment, reason) in parting {
            self.end_parting(now, call, segment, reason);
        }
    }

    /// How the call rests, if it does, says the end of another segment.
    fn end_parting(&mut self, now: Now, call: CallId, segment: SegmentId, reason: EndReason) {
        if let Some(live) = self.calls.get_mut(call) {
            live.ending(segment, &reason);
        }
        self.timers.clear(Timer::Again(segment));
        self.timers.clear(Timer::Part(segment));
        self.arm(now, END_DEADLINE, Timer::Close(segment));
        self.actions.push_back(Action::Order(Order::End { segment, at: now.wall, reason, by: None }));
    }
}

//! How dialogs, segments and calls end, and how a call is concluded.

use model::{
    CallId, ChangeKind, Copy, CopyOf, EndReason, Failure, Incident, Location, Now, Order, SegmentId,
    SegmentRecord,
};
use sip::{EndCause, RequestInfo, SessionId};

use super::{Action, CLOSE_GIVEN_UP, END_DEADLINE, Front, Timer};
use crate::leg::Phase;
use crate::reason::end_reason;

impl Front {
    pub(super) fn ended(
        &mut self,
        now: Now,
        session: SessionId,
        cause: EndCause,
        request: Option<&RequestInfo>,
    ) {
        if let Some(request) = request {
            self.annotate(now, session, request);
        }
        self.leave(now, session, end_reason(cause, request), None);
    }

    /// A segment failed in mid-call: it ends, and so does the dialog, so that the client knows.
    pub(super) fn fail(&mut self, now: Now, segment: SegmentId, reason: EndReason) {
        let Some(leg) = self.leg_of(segment) else { return };
        let (session, call) = (leg.session, leg.call);
        let kind = match reason {
            EndReason::Upstream(_) => Incident::UpstreamFailure,
            _ => Incident::InternalFailure,
        };
        let phrase = reason.describe();
        self.alarm(kind, Some(call), Some(segment), format!("a segment ended early: {phrase}"));
        self.leave(now, session, reason, Some(&phrase));
    }

    /// The dialog is over, or is made to be.
    pub(super) fn leave(&mut self, now: Now, session: SessionId, reason: EndReason, hang_up: Option<&str>) {
        let Some(leg) = self.legs.remove(&session) else { return };
        self.timers.clear(Timer::Hold(session));
        self.timers.clear(Timer::Pause(leg.call));
        if let Some(text) = hang_up {
            let text: String =
                text.chars().filter(|c| c.is_ascii_graphic() && *c != '"' || *c == ' ').collect();
            let cause = match reason {
                EndReason::Upstream(_) => 408,
                EndReason::Internal(_) => 503,
                _ => 200,
            };
            let reason = format!("SIP;cause={cause};text=\"{text}\"");
            self.actions.push_back(Action::HangUp { session, reason });
        }
        if let Some(segment) = leg.segment() {
            if let Phase::Opening { from, .. } = &leg.phase {
                self.timers.clear(Timer::Open(segment));
                if let Some(failed) = from.clone() {
                    // It may not have been taken over from yet.
                    self.end_segment(now, leg.call, failed.segment, failed.reason);
                }
            }
            self.end_segment(now, leg.call, segment, reason);
        }
        if let Some(call) = self.calls.get_mut(leg.call) {
            call.end(now.wall);
        }
        self.tell_call(leg.call);
        self.settle(now, leg.call);
    }

    pub(super) fn end_segment(&mut self, now: Now, call: CallId, segment: SegmentId, reason: EndReason) {
        self.end_segment_by(now, call, segment, reason, None);
    }

    /// The same, by order of somebody.
    pub(super) fn end_segment_by(
        &mut self,
        now: Now,
        call: CallId,
        segment: SegmentId,
        reason: EndReason,
        by: Option<String>,
    ) {
        if let Some(call) = self.calls.get_mut(call) {
            call.ending(segment, &reason);
        }
        self.timers.clear(Timer::Open(segment));
        self.arm(now, END_DEADLINE, Timer::Close(segment));
        self.actions.push_back(Action::Order(Order::End { segment, at: now.wall, reason, by }));
    }

    pub(super) fn sealed(&mut self, now: Now, record: &SegmentRecord) {
        self.timers.clear(Timer::Close(record.id));
        self.timers.clear(Timer::GiveUp(record.id));
        let Some(call) = self.calls.of_segment(record.id) else { return };
        if let Some(mut leg) = self.take_leg(record.id) {
            // It ended by itself, without our order: storage failed under it.
            let session = leg.session;
            leg.phase = Phase::Held;
            self.legs.insert(session, leg);
            let reason = record.end.clone().unwrap_or(EndReason::Internal(Failure::Process));
            let phrase = reason.describe();
            self.alarm(
                Incident::InternalFailure,
                Some(call),
                Some(record.id),
                format!("a segment ended: {phrase}"),
            );
            self.leave(now, session, reason, Some(&phrase));
        }
        self.calls.forget_segment(record.id);
        if let Some(live) = self.calls.get_mut(call) {
            live.ended(record);
        }
        self.settle(now, call);
    }

    pub(super) fn close_is_late(&mut self, now: Now, segment: SegmentId) {
        self.arm(now, CLOSE_GIVEN_UP, Timer::GiveUp(segment));
        let call = self.calls.of_segment(segment);
        let text =
            format!("a segment is not closed after {} s: is its disk in trouble?", END_DEADLINE.as_secs());
        self.alarm(Incident::Storage, call, Some(segment), text);
    }

    /// The disk stands still, or the record server is gone: the call is not kept open for it.
    pub(super) fn close_is_given_up(&mut self, now: Now, segment: SegmentId) {
        let Some(call) = self.calls.of_segment(segment) else { return };
        if self.calls.get_mut(call).is_some_and(|c| c.presume_failed(segment)) {
            self.calls.forget_segment(segment);
            let text = "a segment is still not closed; its call is concluded as if it had failed".to_owned();
            self.alarm(Incident::InternalFailure, Some(call), Some(segment), text);
            self.settle(now, call);
        }
    }

    pub(super) fn hold_timed_out(&mut self, now: Now, session: SessionId) {
        self.leave(now, session, EndReason::Stop, Some("on hold for too long"));
    }

    /// Starts the linger when a call ended and its segments are sealed.
    pub(super) fn settle(&mut self, now: Now, call: CallId) {
        let Some(live) = self.calls.get(call) else { return };
        if live.is_empty() {
            self.calls.remove(call);
        } else if live.is_settled() {
            self.arm(now, self.config.linger, Timer::Linger(call));
        }
    }

    pub(super) fn conclude(&mut self, call: CallId) {
        let Some(live) = self.calls.remove(call) else { return };
        self.actions.push_back(Action::Tell(
            live.record.tenant.clone(),
            ChangeKind::Call(Box::new(live.record.clone())),
        ));
        let Some(conclusion) = live.conclusion() else { return };
        let copy =
            Copy { of: CopyOf::Call(call), at: Location::Node(self.config.node), state: conclusion.state };
        self.actions.push_back(Action::Order(Order::Conclude(conclusion)));
        self.actions.push_back(Action::Tell(live.record.tenant, ChangeKind::Copy { call, copy }));
    }
}

//! How dialogs, segments and calls end, and how a call is concluded.

use std::collections::BTreeSet;

use model::copy::gathered_outcome;
use model::{
    CallId, ChangeKind, Conclusion, Copy, CopyOf, EndReason, Failure, Incident, Location, Now, Order,
    PauseSource, RecordingState, SegmentId, SegmentRecord,
};
use sip::{EndCause, RequestInfo, SessionId};

use super::{Action, CLOSE_GIVEN_UP, END_DEADLINE, Front, Timer};
use crate::leg::Leg;
use crate::live_call::{CameTo, LiveCall, Segment};
use crate::pausing::Parting;
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
        let call = self.legs.get(&session).filter(|leg| leg.bridge.is_some()).map(|leg| leg.call);
        self.leave(now, session, end_reason(cause, request), None);
        if let Some(call) = call.filter(|_| request.is_some_and(|bye| bye.reasons.is_empty())) {
            self.perhaps_held(now, call);
        }
    }

    /// A segment failed in mid-call: it ends, and so do the dialogs in it, so that their clients know.
    pub(super) fn fail(&mut self, now: Now, segment: SegmentId, reason: EndReason) {
        let legs = self.legs_in(segment);
        if legs.is_empty() {
            return;
        }
        let call = self.calls.of_segment(segment);
        let kind = match reason {
            EndReason::Upstream(_) => Incident::UpstreamFailure,
            _ => Incident::InternalFailure,
        };
        let phrase = reason.describe();
        self.alarm(kind, call, Some(segment), format!("a segment ended early: {phrase}"));
        self.leave_all(now, &legs, reason, Some(&phrase));
    }

    /// The dialog is over, or is made to be.
    pub(super) fn leave(&mut self, now: Now, session: SessionId, reason: EndReason, hang_up: Option<&str>) {
        self.leave_all(now, &[session], reason, hang_up);
    }

    /// Dialogs of one call are over, or are made to be.
    pub(super) fn leave_all(
        &mut self,
        now: Now,
        sessions: &[SessionId],
        reason: EndReason,
        hang_up: Option<&str>,
    ) {
        let parting = match reason {
            // What we end its client has not.
            EndReason::Upstream(_) | EndReason::Internal(_) | EndReason::Stop => Parting::Failed,
            EndReason::HangUp | EndReason::Hold | EndReason::Transfer => Parting::Said,
        };
        let mut segments = BTreeSet::new();
        let mut of_call = None;
        for session in sessions {
            let Some(leg) = self.legs.remove(session) else { continue };
            self.timers.clear(Timer::Hold(*session));
            if let Some(text) = hang_up {
                self.hang_up(*session, &reason, text);
            }
            if let Some(live) = self.calls.get_mut(leg.call) {
                // One that is cancelled never was.
                live.part(*session, if leg.is_answered { parting } else { Parting::Refused });
            }
            segments.extend(leg.segment());
            of_call = Some(leg.call);
        }
        let Some(call) = of_call else { return };
        for segment in segments {
            self.thin_out(now, call, segment, &reason);
        }
        if let Some(live) = self.calls.get_mut(call).filter(|live| live.legs.is_empty()) {
            live.end(now.wall);
            self.timers.clear(Timer::Pair(call));
        }
        self.obey_pauses(now, call, &PauseSource::Sdp);
        self.indicate(call);
        self.tell_call(call);
        self.settle(now, call);
    }

    fn hang_up(&mut self, session: SessionId, reason: &EndReason, text: &str) {
        let text: String = text.chars().filter(|c| c.is_ascii_graphic() && *c != '"' || *c == ' ').collect();
        let cause = match reason {
            EndReason::Upstream(_) => 408,
            EndReason::Internal(_) => 503,
            _ => 200,
        };
        let reason = format!("SIP;cause={cause};text=\"{text}\"");
        self.actions.push_back(Action::HangUp { session, reason });
    }

    /// Streams of a leg leave a segment, which ends when none are expected in it any more.
    pub(super) fn thin_out(&mut self, now: Now, call: CallId, segment: SegmentId, reason: &EndReason) {
        let left = self.legs_in(segment);
        if left.is_empty() {
            let opening = |live: &LiveCall| live.segment(segment).is_some_and(Segment::is_fresh);
            let is_opening = self.calls.get(call).is_some_and(opening);
            self.end_segment(now, call, segment, reason.clone());
            if is_opening {
                self.actions.push_back(Action::Order(Order::Withdraw { segment }));
            }
            return;
        }
        if let EndReason::Upstream(_) | EndReason::Internal(_) = reason {
            let text = format!("one of several dialogs of a call ended early: {}", reason.describe());
            self.alarm(Incident::UpstreamFailure, Some(call), Some(segment), text);
        }
        if self.are_held(&left) {
            self.end_segment(now, call, segment, EndReason::Hold);
            self.hold_all(now, &left);
        } else {
            self.order_change(now, segment);
        }
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
        if let Some(failed) = self.calls.get_mut(call).and_then(|call| call.ending(segment, &reason)) {
            // It may not have been taken over from yet.
            self.end_segment(now, call, failed.segment, failed.reason);
        }
        self.timers.clear(Timer::Open(segment));
        self.timers.clear(Timer::Again(segment));
        self.timers.clear(Timer::Part(segment));
        self.rests(now, call, &reason);
        if self.calls.get(call).and_then(|live| live.segment(segment)).is_some_and(Segment::has_ended) {
            // It ended by itself while nobody took over from it.
            return;
        }
        self.arm(now, END_DEADLINE, Timer::Close(segment));
        self.actions.push_back(Action::Order(Order::End { segment, at: now.wall, reason, by }));
        self.part_at_once(now, call);
    }

    pub(super) fn sealed(&mut self, now: Now, record: &SegmentRecord) {
        let closing = [Timer::Close(record.id), Timer::GiveUp(record.id)];
        let is_awaited = closing.iter().any(|timer| self.timers.is_set(*timer));
        closing.into_iter().for_each(|timer| self.timers.clear(timer));
        self.timers.clear(Timer::Again(record.id));
        self.timers.clear(Timer::Part(record.id));
        self.admission.gone(record.id);
        let Some(call) = self.calls.of_segment(record.id) else {
            if is_awaited {
                self.conclude_orphan(record);
            }
            return;
        };
        let legs = self.legs_in(record.id);
        if !legs.is_empty() {
            // It ended by itself, without our order: storage failed under it.
            for session in &legs {
                self.legs.get_mut(session).map(Leg::release);
            }
            self.timers.clear(Timer::Open(record.id));
            let reason = record.end.clone().unwrap_or(EndReason::Internal(Failure::Process));
            let phrase = reason.describe();
            self.alarm(
                Incident::InternalFailure,
                Some(call),
                Some(record.id),
                format!("a segment ended: {phrase}"),
            );
            self.leave_all(now, &legs, reason, Some(&phrase));
        }
        self.calls.forget_segment(record.id);
        if let Some(live) = self.calls.get_mut(call) {
            live.ended(record);
        }
        self.settle(now, call);
        self.go_on(now, call);
    }

    /// A segment was opened when nobody waited for it any more. Where its call was given up meanwhile it is all of it.
    fn conclude_orphan(&mut self, record: &SegmentRecord) {
        let call = record.call;
        let known = self.calls.known(call);
        if self.calls.get(call).is_some() || (known.is_none() && record.number != 1) {
            return;
        }
        let state = gathered_outcome(&[record.state]).map(RecordingState::gathered);
        let of_itself = Conclusion {
            call,
            call_started: record.started,
            tenant: record.tenant.clone(),
            total: record.number,
            from: None,
            state,
        };
        let before = known.and_then(|live| live.conclusion()).map(|(conclusion, _)| conclusion);
        let mut conclusion = before.unwrap_or(of_itself);
        conclusion.total = conclusion.total.max(record.number);
        self.actions.push_back(Action::Order(Order::Conclude(conclusion)));
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
        self.admission.gone(segment);
        let Some(call) = self.calls.of_segment(segment) else { return };
        let only = self.only_node();
        if self.calls.get_mut(call).is_some_and(|c| c.presume_failed(segment, only)) {
            self.calls.forget_segment(segment);
            let text = "a segment is still not closed; its call is concluded as if it had failed".to_owned();
            self.alarm(Incident::InternalFailure, Some(call), Some(segment), text);
            self.settle(now, call);
            self.go_on(now, call);
        }
    }

    pub(super) fn hold_timed_out(&mut self, now: Now, session: SessionId) {
        self.leave(now, session, EndReason::Stop, Some("on hold for too long"));
    }

    /// Starts the linger when a call ended and its segments are sealed.
    pub(super) fn settle(&mut self, now: Now, call: CallId) {
        let Some(live) = self.calls.get(call).filter(|live| live.legs.is_empty()) else { return };
        if live.is_empty() {
            self.touch(call);
            self.calls.remove(call);
            self.forget(call);
        } else if live.is_settled() {
            self.arm(now, self.config.linger, Timer::Linger(call));
        }
    }

    pub(super) fn conclude(&mut self, now: Now, call: CallId) {
        self.touch(call);
        let Some(mut live) = self.calls.remove(call) else { return };
        self.actions.push_back(Action::Tell(
            live.record.tenant.clone(),
            ChangeKind::Call(Box::new(live.record.clone())),
        ));
        let Some((conclusion, came_to)) = live.conclusion() else { return self.forget(call) };
        live.concluded = came_to;
        let tenant = live.record.tenant.clone();
        self.actions.push_back(Action::Order(Order::Conclude(conclusion)));
        if let Some(CameTo { at, state }) = came_to {
            let copy = Copy { of: CopyOf::Call(call), at: Location::Node(at), state };
            self.actions.push_back(Action::Tell(tenant, ChangeKind::Copy { call, copy }));
        }
        self.remember(now, live);
    }
}

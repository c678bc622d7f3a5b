//! What record servers are told of segments and their streams, and what they answer.
//!
//! ```text
//!  open, change ──► Opened: who waits for ports is answered
//!              └──► Refused, or nothing in time: who waits is refused, or gets a segment of its own
//! ```

use std::time::Duration;

use model::state::Respondent;
use model::{
    CallId, Dtmf, EndReason, Failure, Incident, Now, OpenSegment, OpenStream, Order, PauseSource, SegmentId,
    StartTrigger, StreamPorts, TakeOver,
};
use sip::SessionId;

use super::{AGAIN_AFTER, Action, END_DEADLINE, Front, OPEN_DEADLINE, Timer};
use crate::leg::{Leg, Pending, Phase};
use crate::lines;
use crate::live_call::{LiveCall, Standing};
use crate::pausing::Parting;

/// A client that hangs up after it has waited so long for its ports does so because of us; who changes his mind is faster,
/// mostly.
const GIVEN_UP: Duration = Duration::from_secs(2);

impl Front {
    /// A leg waits for the ports of its lines in a segment.
    pub(super) fn wait(&mut self, session: SessionId, segment: SegmentId, pending: Pending) {
        self.asks += 1;
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let joined = self.calls.get_mut(leg.call).and_then(|call| call.segment_mut(segment));
        if let Some(joined) = joined.filter(|_| leg.segment() != Some(segment)) {
            leg.set_slots_from(joined.join());
        }
        leg.phase = Phase::Waiting { segment, pending, since: self.asks };
    }

    /// Tells the record server which streams a segment has now: all of all its legs. One that is being opened is told
    /// when it is.
    pub(super) fn order_change(&mut self, now: Now, segment: SegmentId) {
        let call = self.calls.of_segment(segment).and_then(|call| self.calls.get_mut(call));
        let Some(of_call) = call.and_then(|call| call.segment_mut(segment)) else { return };
        of_call.is_refusal_told = false;
        if let Standing::Opening { from, is_outdated } = &mut of_call.standing {
            *is_outdated = true;
            if let Some(failed) = from.as_ref().map(|from| from.segment) {
                self.order_change_of_failed(failed, segment);
            }
            return;
        }
        let streams = self.streams_of(segment);
        self.actions.push_back(Action::Order(Order::Change { segment, streams }));
        self.expect_ports(now, segment);
    }

    /// A segment that is being taken over from records until that is done: what is not wanted of it any more, or paused, is
    /// not kept there either.
    fn order_change_of_failed(&mut self, failed: SegmentId, by: SegmentId) {
        let legs = self.legs_in(by);
        let legs = legs.iter().filter_map(|session| self.legs.get(session));
        let streams = legs.flat_map(Leg::streams_with_ports).collect();
        self.actions.push_back(Action::Order(Order::Change { segment: failed, streams }));
    }

    /// An order to change the streams of a segment may be lost: it is given again in a moment.
    fn order_change_again(&mut self, now: Now, segment: SegmentId) {
        let call = self.calls.of_segment(segment).and_then(|call| self.calls.get_mut(call));
        if let Some(of_call) = call.and_then(|call| call.segment_mut(segment)) {
            of_call.is_change_lost = true;
            self.arm(now, AGAIN_AFTER, Timer::Again(segment));
        }
    }

    /// What was ordered of a segment and may be lost is ordered again, until the record server says that it is done.
    pub(super) fn order_again(&mut self, now: Now, segment: SegmentId) {
        let Some(call) = self.calls.of_segment(segment) else { return };
        self.order_gate_again(now, call, segment);
        let of_call = self.calls.get_mut(call).and_then(|live| live.segment_mut(segment));
        let Some(of_call) = of_call.filter(|s| s.is_live() && s.is_change_lost) else { return };
        of_call.is_change_lost = false;
        let is_told = of_call.is_refusal_told;
        self.order_change(now, segment);
        if let Some(of_call) = self.calls.get_mut(call).and_then(|live| live.segment_mut(segment)) {
            of_call.is_refusal_told = is_told;
        }
    }

    /// If a leg waits for the ports of a segment, it does so for a time only.
    fn expect_ports(&mut self, now: Now, segment: SegmentId) {
        let waits = |session: &SessionId| {
            self.legs.get(session).is_some_and(|leg| matches!(leg.phase, Phase::Waiting { .. }))
        };
        if self.legs_in(segment).iter().any(waits) {
            self.arm(now, OPEN_DEADLINE, Timer::Open(segment));
        }
    }

    fn streams_of(&self, segment: SegmentId) -> Vec<OpenStream> {
        let legs = self.legs_in(segment);
        legs.iter().filter_map(|session| self.legs.get(session)).flat_map(Leg::streams).collect()
    }

    /// Orders a segment with the streams of these legs.
    pub(super) fn open_segment(
        &mut self,
        now: Now,
        call: CallId,
        legs: Vec<(SessionId, Pending)>,
        trigger: StartTrigger,
        takes_over: Option<TakeOver>,
    ) {
        let Some(legs) = self.when_numbers_are_given(now, call, legs, &trigger, takes_over.as_ref()) else {
            return;
        };
        let segment = self.ids.segment(now.wall);
        let respondent = if takes_over.is_some() { Respondent::Yes } else { Respondent::No };
        let Some(live) = self.calls.get_mut(call) else { return };
        let number = live.begin(now.mono, segment, respondent, takes_over.clone());
        let mut open = OpenSegment {
            segment,
            call,
            call_started: live.record.started,
            tenant: live.record.tenant.clone(),
            number,
            total: live.record.total,
            respondent,
            takes_over,
            started: now.wall,
            trigger,
            data: live.record.data.clone(),
            metadata: Vec::new(),
            streams: Vec::new(),
            pause: live.pausing.open().cloned(),
            dtmf: Dtmf::Keep,
            files: live.files,
        };
        self.calls.own_segment(segment, call);
        if let Some(failed) = &open.takes_over {
            self.take_over_gate(call, failed.segment, segment);
        }
        self.correlator.goes_on(call);
        for (session, pending) in legs {
            self.wait(session, segment, pending);
            let Some(route) = self.legs.get(&session).map(|leg| leg.route) else { continue };
            self.note_copies(call, route);
            let Some(leg) = self.legs.get_mut(&session) else { continue };
            open.metadata.append(&mut leg.take_kept());
            if open.dtmf.is_kept() {
                // Where one of its clients wants digits masked, they are.
                open.dtmf = dtmf_of(leg, self.config.dtmf);
            }
        }
        if let Some(of_call) = self.calls.get_mut(call).and_then(|live| live.segment_mut(segment)) {
            of_call.masks = open.dtmf == Dtmf::Mask;
        }
        open.streams = self.streams_of(segment);
        self.actions.push_back(Action::Order(Order::Open(Box::new(open))));
        self.admission.ordered(now.mono, segment);
        self.arm(now, OPEN_DEADLINE, Timer::Open(segment));
    }

    /// Gives the legs back if a segment can be given a number now; else they wait for that, but not longer than a record
    /// server may take to answer.
    fn when_numbers_are_given(
        &mut self,
        now: Now,
        call: CallId,
        legs: Vec<(SessionId, Pending)>,
        trigger: &StartTrigger,
        takes_over: Option<&TakeOver>,
    ) -> Option<Vec<(SessionId, Pending)>> {
        let live = self.calls.get_mut(call)?;
        let Some(awaited) = live.awaited_beside(takes_over.map(|failed| failed.segment)) else {
            return Some(legs);
        };
        let waiting = legs.into_iter().map(|(session, pending)| (session, pending, trigger.clone()));
        live.waiting.extend(waiting);
        self.arm(now, OPEN_DEADLINE, Timer::Open(awaited));
        None
    }

    /// A record server told the ports of a segment's streams.
    pub(super) fn opened(&mut self, now: Now, segment: SegmentId, ports: &[StreamPorts]) {
        self.timers.clear(Timer::Open(segment));
        self.admission.opened(now.mono, segment);
        let Some(call) = self.calls.of_segment(segment) else { return self.end_orphan(now, segment) };
        let legs = self.legs_in(segment);
        let begun = self.calls.get_mut(call).and_then(|call| call.opened(segment));
        if legs.is_empty() {
            // The dialogs went while the segment opened, or the deadline passed: nobody will send to it.
            self.end_orphan(now, segment);
            return self.go_on(now, call);
        }
        for leg in &legs {
            let Some(leg) = self.legs.get_mut(leg) else { continue };
            lines::set_ports(&mut leg.lines, ports);
        }
        if let Some(is_outdated) = begun {
            self.catch_up(now, call, segment, is_outdated);
        }
        for session in &legs {
            self.answer_with_ports(*session);
            self.tell_ports(*session);
        }
        // Who has none yet waits for the answer to a later order.
        self.expect_ports(now, segment);
        if let Some(is_outdated) = begun {
            let kept = legs.iter().filter_map(|session| Some(self.legs.get_mut(session)?.take_kept()));
            let kept: Vec<_> = kept.flatten().collect();
            if is_outdated || !kept.is_empty() {
                self.tell_segment(call, segment, kept);
            }
            self.tell_call(call);
            self.go_on(now, call);
        }
    }

    /// A leg that waits is answered when each of its lines has ports, where it is heard. Who waits for no answer is not heard
    /// there the less.
    fn answer_with_ports(&mut self, session: SessionId) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let awaits = !matches!(leg.phase, Phase::Waiting { pending: Pending::Nothing, .. });
        let lacks = |line: &lines::Line| line.lacks_ports() || awaits && line.is_stuck();
        if leg.lines.iter().any(lacks) {
            return;
        }
        if let Phase::Waiting { segment, .. } = leg.phase {
            let recording = Phase::Recording { segment };
            if let Phase::Waiting { pending, .. } = std::mem::replace(&mut leg.phase, recording) {
                self.respond(session, &pending);
            }
        }
    }

    /// What waited until a segment of the call was opened, or could not be.
    pub(super) fn go_on(&mut self, now: Now, call: CallId) {
        let failing = self.calls.get_mut(call).map(|call| std::mem::take(&mut call.failing));
        for (segment, reason) in failing.unwrap_or_default() {
            self.fail_over(now, segment, reason);
        }
        let waiting = self.calls.get_mut(call).map(|call| std::mem::take(&mut call.waiting));
        for (session, pending, trigger) in waiting.unwrap_or_default() {
            let live = self.calls.get(call).and_then(LiveCall::live);
            let Some(leg) = self.legs.get(&session) else { continue };
            match (self.stopped(session).is_none() && !leg.is_held(), live) {
                (false, _) => self.hold(now, session, &pending),
                (true, None) => self.open_segment(now, call, vec![(session, pending)], trigger, None),
                (true, Some(segment)) => self.join_segment(now, session, segment, pending),
            }
        }
        self.unite_those_that_waited(now);
    }

    pub(super) fn end_orphan(&mut self, now: Now, segment: SegmentId) {
        if self.timers.is_set(Timer::Close(segment)) {
            return;
        }
        let reason = EndReason::Internal(Failure::Resources("ports came too late".to_owned()));
        self.arm(now, END_DEADLINE, Timer::Close(segment));
        self.actions.push_back(Action::Order(Order::End { segment, at: now.wall, reason, by: None }));
    }

    /// A record server does not open a segment, or does not give it other streams.
    pub(super) fn order_refused(&mut self, now: Now, segment: SegmentId, why: &Failure) {
        self.timers.clear(Timer::Open(segment));
        self.admission.gone(segment);
        let Some(call) = self.calls.of_segment(segment) else { return };
        let legs = self.legs_in(segment);
        let is_opening = self.calls.get(call).and_then(LiveCall::opening) == Some(segment);
        if legs.is_empty() && self.calls.get(call).is_some_and(|live| live.was_opened(segment)) {
            // It was to have other streams, and has none any more.
            return;
        }
        if legs.is_empty() {
            // The dialogs ended meanwhile, and so did the segment that never was.
            self.timers.clear(Timer::Close(segment));
            self.withdraw(call, segment, why);
            self.settle(now, call);
            self.go_on(now, call);
        } else if is_opening {
            self.opening_refused(now, call, segment, &legs, why);
        } else {
            self.change_refused(now, segment, &legs, why);
        }
    }

    /// A segment was not opened because its dialogs ended before its turn came: nobody was answered, and nothing is missed.
    /// Whose client waited for longer than anybody should has given up because of us, and somebody hears of it.
    pub(super) fn withdrawn(&mut self, now: Now, segment: SegmentId) {
        self.admission.gone(segment);
        let Some(call) = self.calls.of_segment(segment) else { return };
        self.timers.clear(Timer::Close(segment));
        self.timers.clear(Timer::GiveUp(segment));
        let waited = self.calls.get(call).and_then(|live| live.waited(segment, now.mono));
        if waited.is_some_and(|waited| waited > GIVEN_UP) {
            let why = Failure::Resources("its client gave up waiting for ports".to_owned());
            self.withdraw(call, segment, &why);
        } else {
            if let Some(live) = self.calls.get_mut(call) {
                live.withdraw(segment);
            }
            self.calls.forget_segment(segment);
        }
        self.settle(now, call);
        self.go_on(now, call);
    }

    fn opening_refused(
        &mut self,
        now: Now,
        call: CallId,
        segment: SegmentId,
        legs: &[SessionId],
        why: &Failure,
    ) {
        if let Some(failed) = self.withdraw(call, segment, why) {
            self.nobody_takes_over(now, legs, failed);
        } else {
            for session in legs {
                let pending = self.legs.get_mut(session).map(Leg::release);
                self.refuse_leg(now, *session, &pending.unwrap_or(Pending::Nothing));
            }
        }
        self.forget_if_never_was(now, call);
        self.go_on(now, call);
    }

    /// A leg hears that it cannot be recorded now. A refused first INVITE leaves no dialog.
    fn refuse_leg(&mut self, now: Now, session: SessionId, pending: &Pending) {
        if matches!(pending, Pending::Answer(_) | Pending::Offer) {
            self.refuse(session, 503, "Service Unavailable");
        }
        if self.legs.get(&session).is_some_and(|leg| leg.is_answered) {
            return self.arm(now, self.config.hold_timeout, Timer::Hold(session));
        }
        let Some(leg) = self.legs.remove(&session) else { return };
        if let Some(call) = self.calls.get_mut(leg.call) {
            call.part(session, Parting::Refused);
        }
        self.obey_pauses(now, leg.call, &PauseSource::Sdp);
    }

    /// A call whose only dialogs were refused: without a segment it was none.
    fn forget_if_never_was(&mut self, now: Now, call: CallId) {
        let Some(live) = self.calls.get_mut(call).filter(|c| c.legs.is_empty() && c.record.ended.is_none())
        else {
            return;
        };
        self.timers.clear(Timer::Pause(call));
        live.end(now.wall);
        self.settle(now, call);
    }

    /// The change that is asked for longest is refused: the others are answered still.
    fn change_refused(&mut self, now: Now, segment: SegmentId, legs: &[SessionId], why: &Failure) {
        let since = |session: &SessionId| match self.legs.get(session).map(|leg| &leg.phase) {
            Some(Phase::Waiting { since, .. }) => Some((*since, *session)),
            _ => None,
        };
        let first = legs.iter().filter_map(since).min().map(|(_, session)| session);
        let call = self.calls.of_segment(segment);
        let of_call =
            call.and_then(|call| self.calls.get_mut(call)).and_then(|live| live.segment_mut(segment));
        // What nobody waits for is tried again and again, and told once.
        let is_told = of_call.is_some_and(|s| std::mem::replace(&mut s.is_refusal_told, first.is_none()));
        if !is_told || first.is_some() {
            let text = format!("a segment could not be given other streams: {}", why.describe());
            self.alarm(Incident::NotRecorded, call, Some(segment), text);
        }
        let Some(leg) = first.and_then(|session| self.legs.get_mut(&session)) else {
            // What was to be closed or paused by it may not be.
            return self.order_change_again(now, segment);
        };
        let session = leg.session;
        if leg.is_answered {
            self.fall_back(now, session, segment);
        } else {
            self.record_apart(now, session);
        }
        self.expect_ports(now, segment);
    }

    /// What a leg offered cannot be had: its session is as it was before, and the segment too.
    fn fall_back(&mut self, now: Now, session: SessionId, segment: SegmentId) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let offered = leg.offered();
        let pending = leg.fall_back(segment);
        let is_left_out = leg.segment().is_none();
        if let Pending::Answer(_) | Pending::Offer = pending {
            self.refuse(session, 503, "Service Unavailable");
        }
        if is_left_out {
            self.hold(now, session, &Pending::Nothing);
        }
        self.obey_sdp(now, session, offered);
        self.order_change(now, segment);
    }

    /// A leg for whose streams a segment has no room gets one of its own.
    fn record_apart(&mut self, now: Now, session: SessionId) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let (call, pending) = (leg.call, leg.release());
        if self.calls.get(call).is_some_and(|c| c.opening().is_none()) {
            return self.open_segment(now, call, vec![(session, pending)], StartTrigger::Manager, None);
        }
        self.refuse_leg(now, session, &pending);
    }

    /// A segment was wanted and is not recorded: its number is free again, and somebody hears of it. What it was to
    /// take over from.
    fn withdraw(&mut self, call: CallId, segment: SegmentId, why: &Failure) -> Option<TakeOver> {
        let from = self.calls.get_mut(call).and_then(|call| call.withdraw(segment));
        self.calls.forget_segment(segment);
        self.stats.not_recorded += 1;
        let text = format!("a segment could not be opened: {}", why.describe());
        self.alarm(Incident::NotRecorded, Some(call), Some(segment), text);
        from
    }
}

/// What becomes of digits that are pressed in a leg.
pub(super) fn dtmf_of(leg: &Leg, configured: Dtmf) -> Dtmf {
    leg.trunk.dtmf.unwrap_or(configured)
}

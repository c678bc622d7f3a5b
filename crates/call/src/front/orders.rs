//! Orders of people and programs to live calls: start, stop, pause, resume; by API, by header, by SDP.
//!
//! A pause is a fact of the call ([`Pausing`](crate::pausing::Pausing)). Here it is told to whatever segment records: one that is open is
//! paused, one that begins later begins paused.

use std::time::Duration;

use model::peer::Flowing;
use model::{
    CallId, EndReason, Failure, Incident, Mono, Now, OpenPause, Order, PauseSource, StartTrigger, TenantId,
};
use sip::{RequestInfo, SessionId};

use super::{Action, Front, Intake, Timer};
use crate::command::{Ask, Changed, Command, CommandError, Done, Recording};
use crate::leg::{Leg, Pending, Phase};
use crate::lines;
use crate::signals::{self, Signal};

/// How an order came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// By itself: ports and their end are offered in a re-INVITE of ours.
    Alone,
    /// With an offer of the client: the answer tells.
    WithOffer,
}

impl Front {
    /// Carries out an order of a person or a program, as far as it can be at once: see [`Done::awaits`].
    ///
    /// # Errors
    /// When the tenant has no such call here, when it is over, or when it cannot be done now.
    pub fn handle_command(&mut self, now: Now, command: Command) -> Result<Done, CommandError> {
        let session = self.session_of(command.call, &command.tenant)?;
        let Some(mut leg) = self.legs.remove(&session) else { return Err(CommandError::NotLive) };
        let by = PauseSource::Api(command.by.clone());
        let done = match command.ask {
            Ask::Pause { timeout } => Ok(self.pause(now, &mut leg, by, timeout)),
            Ask::Resume => Ok(self.resume(&mut leg, &by)),
            Ask::Stop => Ok(self.stop(now, &mut leg, command.by, Came::Alone)),
            Ask::Start => self.start(now, &mut leg, command.by, Came::Alone),
        };
        let done = done.map(|changed| self.done(now, &leg, changed));
        self.legs.insert(session, leg);
        done
    }

    /// Whether a call of the tenant is in progress here.
    ///
    /// # Errors
    /// When the tenant has no such call here, or when it is over.
    pub fn is_in_progress(&self, call: CallId, tenant: &TenantId) -> Result<(), CommandError> {
        self.session_of(call, tenant).map(|_| ())
    }

    /// Whether a call goes on. One that ended never does again, though its last segments may not be sealed yet.
    #[must_use]
    pub fn goes_on(&self, call: CallId) -> bool {
        self.calls.get(call).is_some_and(|c| c.record.ended.is_none())
    }

    fn session_of(&self, call: CallId, tenant: &TenantId) -> Result<SessionId, CommandError> {
        let live = self.calls.get(call).filter(|c| c.record.tenant == *tenant);
        let live = live.ok_or(CommandError::NoSuchCall)?;
        if live.record.ended.is_some() { Err(CommandError::NotLive) } else { Ok(live.session) }
    }

    /// How a call stands.
    fn done(&self, now: Now, leg: &Leg, changed: Changed) -> Done {
        let call = self.calls.get(leg.call);
        let recording = match call {
            Some(c) if c.stopped.is_some() => Recording::Off,
            Some(c) => c.pausing.open().map_or(Recording::On, |p| Recording::Paused {
                since: p.since,
                until: self.timers.at(Timer::Pause(leg.call)).map(|at| now.wall + at.since(now.mono)),
            }),
            None => Recording::Off,
        };
        Done { recording, changed, awaits: leg.gate.awaited() }
    }

    /// What a request orders by a header, before its SDP is looked at.
    pub(super) fn obey_header(&mut self, now: Now, leg: &mut Leg, request: &RequestInfo, came: Came) {
        let Some((signal, by)) = signals::read(request).filter(|_| self.config.orders_by_header) else {
            return;
        };
        let who = by.describe();
        match signal {
            Signal::Pause => _ = self.pause(now, leg, by, None),
            Signal::Resume => _ = self.resume(leg, &by),
            Signal::Stop => _ = self.stop(now, leg, who, came),
            Signal::Start => {
                if let Err(e) = self.start(now, leg, who, came) {
                    let text = format!("the client ordered to start, which cannot be done: {e}");
                    self.alarm(Incident::NotRecorded, Some(leg.call), None, text);
                }
            }
        }
    }

    /// What SDP means for the pause, once its lines are read: nothing active, but something that is only paused.
    pub(super) fn obey_sdp(&mut self, now: Now, leg: &mut Leg) {
        // Lines that are paused because a header says so are that header's pause.
        let means_pause = self.inactive_of(leg) == Flowing::Paused;
        let paused = means_pause && lines::all_paused(&leg.lines);
        let Some(call) = self.calls.get_mut(leg.call) else { return };
        if paused {
            call.pausing.ask(OpenPause { since: now.wall, by: PauseSource::Sdp });
            self.tell_gate(leg, &PauseSource::Sdp);
        } else if call.pausing.resume(&PauseSource::Sdp) {
            self.tell_gate(leg, &PauseSource::Sdp);
        }
    }

    fn pause(&mut self, now: Now, leg: &mut Leg, by: PauseSource, timeout: Option<Duration>) -> Changed {
        let Some(call) = self.calls.get_mut(leg.call) else { return Changed::No };
        let was_ordered = call.pausing.is_ordered();
        let is_new = call.pausing.ask(OpenPause { since: now.wall, by: by.clone() });
        self.limit_pause(now, leg.call, was_ordered, timeout.unwrap_or(self.config.pause_timeout));
        if !is_new {
            return Changed::No;
        }
        if leg.gate.is_closed() && matches!(leg.phase, Phase::Recording { .. } | Phase::Changing { .. }) {
            // Paused by another already: who asks now is noted.
            self.order_gate(leg, &by);
        } else {
            self.tell_gate(leg, &by);
        }
        Changed::Yes
    }

    /// Sets the time-out of a pause. Another order during a pause never shortens it.
    fn limit_pause(&mut self, now: Now, call: CallId, was_ordered: bool, timeout: Duration) {
        let timer = Timer::Pause(call);
        let before: Option<Mono> = self.timers.at(timer);
        match before {
            _ if timeout.is_zero() => self.timers.clear(timer),
            // It has none.
            None if was_ordered => {}
            Some(at) if at >= now.mono + timeout => {}
            _ => self.timers.set(timer, now.mono + timeout),
        }
    }

    fn resume(&mut self, leg: &mut Leg, by: &PauseSource) -> Changed {
        let Some(call) = self.calls.get_mut(leg.call) else { return Changed::No };
        if !call.pausing.resume(by) {
            return Changed::No;
        }
        if !call.pausing.is_ordered() {
            self.timers.clear(Timer::Pause(leg.call));
        }
        self.tell_gate(leg, by);
        Changed::Yes
    }

    pub(super) fn pause_timed_out(&mut self, call: CallId) {
        let Some(session) = self.calls.get(call).map(|c| c.session) else { return };
        let Some(mut leg) = self.legs.remove(&session) else { return };
        if self.resume(&mut leg, &PauseSource::Timeout) == Changed::Yes {
            let text = "a pause lasted as long as it may: recording goes on. What is said now is kept; whoever paused should pause again if that is not wanted";
            self.alarm(Incident::PauseTimedOut, Some(call), leg.segment(), text.to_owned());
        }
        self.legs.insert(session, leg);
    }

    /// Tells the record server whether the call is paused, when its segment does not know. One that is being
    /// opened is told when it is, before the client learns where to send.
    pub(super) fn tell_gate(&mut self, leg: &mut Leg, by: &PauseSource) {
        let paused = self.calls.get(leg.call).is_some_and(|c| c.pausing.is_paused());
        let open = matches!(leg.phase, Phase::Recording { .. } | Phase::Changing { .. });
        if open && leg.gate.is_closed() != paused {
            leg.gate.set(paused);
            self.order_gate(leg, by);
        } else if matches!(leg.phase, Phase::Opening { .. }) && leg.gate.is_closed() != paused {
            // It is ordered when the segment is open, and not true before.
            self.gate_orders += 1;
            leg.gate.reserve(self.gate_orders);
        }
    }

    /// A segment that was being opened is told what changed meanwhile.
    pub(super) fn catch_up_gate(&mut self, leg: &mut Leg) {
        let by = self.calls.get(leg.call).map_or(PauseSource::Sdp, |c| c.pausing.last());
        self.tell_gate(leg, &by);
        if leg.gate.is_reserved() {
            // Paused and resumed meanwhile: whoever asked waits for an answer all the same.
            self.order_gate(leg, &by);
        }
    }

    fn order_gate(&mut self, leg: &mut Leg, by: &PauseSource) {
        let Some(segment) = leg.segment() else { return };
        let next = self.gate_orders + 1;
        let (order, by) = (leg.gate.order(next), by.clone());
        self.gate_orders = self.gate_orders.max(order);
        self.actions.push_back(Action::Order(if leg.gate.is_closed() {
            Order::Pause { segment, order, by }
        } else {
            Order::Resume { segment, order, by }
        }));
    }

    /// Ends the segment by order; the dialog stays, and its client is told that nothing is wanted.
    fn stop(&mut self, now: Now, leg: &mut Leg, by: String, came: Came) -> Changed {
        let Some(call) = self.calls.get_mut(leg.call) else { return Changed::No };
        if call.stopped.is_some() {
            return Changed::No;
        }
        call.stopped = Some(by.clone());
        let Some(segment) = leg.segment() else { return Changed::Yes };
        if let Phase::Opening { from: Some(failed), .. } = &leg.phase {
            // It may not have been taken over from yet.
            self.end_segment(now, leg.call, failed.segment, failed.reason.clone());
        }
        self.end_segment_by(now, leg.call, segment, EndReason::Stop, Some(by));
        let phase = std::mem::replace(&mut leg.phase, Phase::Held);
        lines::close(&mut leg.lines);
        match phase {
            Phase::Opening { pending, .. } | Phase::Changing { pending, .. } => self.respond(leg, &pending),
            Phase::Recording { .. } | Phase::Held if came == Came::Alone => self.reoffer(leg),
            Phase::Recording { .. } | Phase::Held => {}
        }
        self.tell_call(leg.call);
        Changed::Yes
    }

    fn start(&mut self, now: Now, leg: &mut Leg, by: String, came: Came) -> Result<Changed, CommandError> {
        if self.intake != Intake::Open {
            return Err(CommandError::NotAllowed("callspool is stopping"));
        }
        if leg.segment().is_some() {
            return Ok(Changed::No);
        }
        if !leg.is_answered {
            return Err(CommandError::NotAllowed("the call has not begun yet"));
        }
        let stopped = self.calls.get_mut(leg.call).and_then(|c| c.stopped.take());
        let changed = if stopped.is_some() { Changed::Yes } else { Changed::No };
        if came == Came::WithOffer || lines::all_held(&leg.lines) {
            // The offer begins a segment; on hold, the one by which the client resumes.
            return Ok(changed);
        }
        self.timers.clear(Timer::Hold(leg.session));
        let segment = self.open_segment(now, leg, StartTrigger::Api(by), None);
        leg.phase = Phase::Opening { segment, pending: Pending::Reoffer, from: None };
        Ok(Changed::Yes)
    }

    /// Offers the lines as they are in a re-INVITE of ours: with ports, or inactive.
    pub(super) fn reoffer(&mut self, leg: &mut Leg) {
        if leg.is_answered {
            leg.is_offering = true;
            let sdp = leg.offer();
            self.actions.push_back(Action::Reoffer { session: leg.session, sdp });
        }
    }

    /// The client answered our re-INVITE.
    pub(super) fn reoffer_accepted(&mut self, now: Now, session: SessionId, answer: Option<&[u8]>) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        if std::mem::take(&mut leg.is_offering)
            && let (Some(answer), Phase::Recording { .. }) = (answer, &leg.phase)
        {
            self.answered(now, session, answer);
        }
    }

    /// The client refused our re-INVITE: nothing will come to the ports that it offered.
    pub(super) fn reoffer_refused(&mut self, now: Now, session: SessionId, status: u16) {
        let Some(mut leg) = self.legs.remove(&session) else { return };
        let recording = matches!(leg.phase, Phase::Recording { .. });
        if let (true, true, Some(segment)) = (std::mem::take(&mut leg.is_offering), recording, leg.segment())
        {
            let why = format!("the client refuses to send again ({status})");
            let text = format!("a call that was started by order is not recorded: {why}");
            self.alarm(Incident::NotRecorded, Some(leg.call), Some(segment), text);
            let reason = EndReason::Upstream(Failure::Dialog(why));
            self.end_segment(now, leg.call, segment, reason);
            leg.phase = Phase::Held;
            lines::close(&mut leg.lines);
            if let Some(call) = self.calls.get_mut(leg.call) {
                call.stopped = Some("callspool".to_owned());
            }
            self.tell_call(leg.call);
        }
        self.legs.insert(session, leg);
    }

    /// A record server carried out an order to pause or resume.
    pub(super) fn carried_out(&mut self, segment: model::SegmentId, order: u64) {
        let session = self.leg_of(segment).map(|l| l.session);
        if let Some(leg) = session.and_then(|s| self.legs.get_mut(&s)) {
            leg.gate.carried_out(order);
        }
    }
}

//! From offers to segments: what a request asks for, which segment that begins, changes or ends, and the answer.

use std::net::IpAddr;
use std::sync::Arc;

use media::sdp::{self, Origin, Sdp};
use model::peer::{Family, Flowing};
use model::state::Respondent;
use model::{
    CallData, CallId, CallRecord, EndReason, Failure, Incident, Metadata, Now, OpenSegment, Order, SegmentId,
    StartTrigger, StreamPorts, TakeOver,
};
use sip::{RequestInfo, SessionId};

use super::orders::Came;
use super::{Action, END_DEADLINE, Front, Intake, OPEN_DEADLINE, Timer};
use crate::calls::LiveCall;
use crate::gate::{TurnedAway, Unwelcome};
use crate::leg::{Gate, Leg, Pending, Phase};
use crate::lines::{self, Addresses, Reading};
use crate::trunk::{self, Trunk};
use crate::{ask, describe};

impl Front {
    pub(super) fn invited(&mut self, now: Now, session: SessionId, request: &RequestInfo) {
        // Strangers are not sent elsewhere either. While nobody gets a call, they hear what everybody does.
        let Some(trunk) = self.trunk_of(request) else {
            let last = Unwelcome::Stranger(request.flow.remote.ip());
            self.turned_away(now, TurnedAway { strangers: 1, wrong: 0, too_fast: 0, last });
            return self.refuse(session, 403, "Forbidden");
        };
        if let Intake::HandedOver(to) = self.intake.clone() {
            return self.hand_over(session, &to);
        }
        if self.is_full() || self.has_its_calls(&trunk) {
            return self.turn_away(now, session, 503, "Service Unavailable");
        }
        let Ok(offer) = read_sdp(request) else { return self.refuse(session, 488, "Not Acceptable Here") };
        let call = self.ids.call(now.wall);
        let mut data = CallData::default();
        let metadata = describe::absorb(&mut data, request, now, &trunk.agent_side);
        let family = if request.flow.remote.is_ipv6() { Family::V6 } else { Family::V4 };
        note(&mut data, &trunk, request);
        let mut leg = self.leg(session, call, trunk.clone(), family, request);
        leg.sides.learn(request, &mut data);
        leg.lines = match &offer {
            Some(sdp) => self.read_lines(&leg, sdp, now),
            None => lines::asked(&ask::codecs(&trunk.ask_for), family, &mut self.ids, now),
        };
        if leg.lines.iter().all(|l| l.stream.is_none()) {
            return self.refuse(session, 488, "Not Acceptable Here");
        }
        self.stats.begun += 1;
        let record = CallRecord {
            id: call,
            tenant: trunk.tenant.clone(),
            started: now.wall,
            ended: None,
            total: 0,
            data,
        };
        self.calls.insert(LiveCall::new(record, session, trunk.name.clone()));
        self.obey_sdp(now, &mut leg);
        self.negotiate(now, &mut leg, offer, metadata);
        self.legs.insert(session, leg);
    }

    /// The trunk that the gate let it in by; without a gate the one that has its address.
    fn trunk_of(&self, request: &RequestInfo) -> Option<Arc<Trunk>> {
        let trunks = &self.config.trunks;
        let named = request.pass.as_ref().and_then(|pass| trunks.named(&pass.by));
        named.or_else(|| trunks.find(&trunk::Origin::of_info(request))).cloned()
    }

    /// Whether the trunk or its tenant has all the calls that it may have.
    fn has_its_calls(&self, trunk: &Trunk) -> bool {
        trunk.calls_max.is_some_and(|max| self.calls.of_trunk(&trunk.name) >= max)
            || self
                .config
                .tenant_calls_max
                .get(&trunk.tenant)
                .is_some_and(|max| self.calls.of_tenant(&trunk.tenant) >= *max)
    }

    /// Refuses a call that is not taken, and tells of it, at a pace.
    fn turn_away(&mut self, now: Now, session: SessionId, code: u16, reason: &'static str) {
        self.refused(now, 1, None);
        self.refuse(session, code, reason);
    }

    pub(super) fn reoffered(&mut self, now: Now, session: SessionId, request: &RequestInfo) {
        let Some(mut leg) = self.legs.remove(&session) else {
            return self.refuse(session, 481, "Call/Transaction Does Not Exist");
        };
        let metadata = self.absorb(now, &mut leg, request);
        match read_sdp(request) {
            Err(_) => self.refuse(session, 488, "Not Acceptable Here"),
            Ok(offer) => {
                self.obey_header(now, &mut leg, request, Came::WithOffer);
                if let Some(sdp) = &offer {
                    leg.lines = self.read_lines(&leg, sdp, now);
                } else {
                    reactivate(&mut leg);
                }
                self.obey_sdp(now, &mut leg);
                self.negotiate(now, &mut leg, offer, metadata);
            }
        }
        self.legs.insert(session, leg);
    }

    /// The lines of a leg are as the client wants them; moves the segment along and answers, now or later.
    pub(super) fn negotiate(&mut self, now: Now, leg: &mut Leg, offer: Option<Sdp>, metadata: Vec<Metadata>) {
        let pending = offer.map_or(Pending::Offer, |sdp| Pending::Answer(Box::new(sdp)));
        let stopped = self.calls.get(leg.call).is_some_and(|c| c.stopped.is_some());
        let held = stopped || lines::all_held(&leg.lines);
        match (leg.segment(), held) {
            (Some(segment), true) => {
                self.tell_or_keep(leg, metadata);
                self.end_segment(now, leg.call, segment, EndReason::Hold);
                self.hold(now, leg, pending);
            }
            (None, true) => {
                self.tell_or_keep(leg, metadata);
                self.hold(now, leg, pending);
            }
            (Some(segment), false) => {
                self.tell_or_keep(leg, metadata);
                if leg.lines.iter().any(lines::Line::is_active) {
                    self.timers.clear(Timer::Hold(leg.session));
                } else {
                    // Paused on all lines: a client that is gone says no more than one on hold.
                    self.arm(now, self.config.hold_timeout, Timer::Hold(leg.session));
                }
                let streams = lines::streams(&leg.lines);
                self.actions.push_back(Action::Order(Order::Change { segment, streams }));
                self.arm(now, OPEN_DEADLINE, Timer::Open(segment));
                leg.phase = Phase::Changing { segment, pending };
            }
            (None, false) => {
                self.timers.clear(Timer::Hold(leg.session));
                leg.keep(metadata);
                let segment = self.open_segment(now, leg, StartTrigger::Manager, None);
                leg.phase = Phase::Opening { segment, pending, from: None };
            }
        }
    }

    pub(super) fn hold(&mut self, now: Now, leg: &mut Leg, pending: Pending) {
        leg.phase = Phase::Held;
        lines::close(&mut leg.lines);
        if lines::all_held(&leg.lines) {
            self.arm(now, self.config.hold_timeout, Timer::Hold(leg.session));
        } else {
            // Not on hold, but stopped by order: the dialog may last as long as the call.
            self.timers.clear(Timer::Hold(leg.session));
        }
        self.respond(leg, &pending);
        self.tell_call(leg.call);
    }

    pub(super) fn open_segment(
        &mut self,
        now: Now,
        leg: &mut Leg,
        trigger: StartTrigger,
        takes_over: Option<TakeOver>,
    ) -> SegmentId {
        let segment = self.ids.segment(now.wall);
        let respondent = if takes_over.is_some() { Respondent::Yes } else { Respondent::No };
        if let Some(call) = self.calls.get_mut(leg.call) {
            let number = call.begin(now.mono, segment, respondent);
            let open = OpenSegment {
                segment,
                call: leg.call,
                call_started: call.record.started,
                tenant: call.record.tenant.clone(),
                number,
                total: call.record.total,
                respondent,
                takes_over,
                started: now.wall,
                trigger,
                data: call.record.data.clone(),
                metadata: leg.take_kept(),
                streams: lines::streams(&leg.lines),
                pause: call.pausing.open().cloned(),
                dtmf: leg.trunk.dtmf.unwrap_or(self.config.dtmf),
            };
            leg.gate = Gate::begin(open.pause.is_some());
            self.calls.own_segment(segment, leg.call);
            self.actions.push_back(Action::Order(Order::Open(Box::new(open))));
            self.arm(now, OPEN_DEADLINE, Timer::Open(segment));
        }
        segment
    }

    pub(super) fn opened(&mut self, now: Now, segment: SegmentId, ports: &[StreamPorts]) {
        self.timers.clear(Timer::Open(segment));
        let Some(mut leg) = self.take_leg(segment) else {
            // The dialog went while the segment opened, or the deadline passed: nobody will send to it.
            if let Some(call) = self.calls.of_segment(segment).and_then(|c| self.calls.get_mut(c)) {
                call.is_recorded = true;
            }
            return self.end_orphan(now, segment);
        };
        lines::set_ports(&mut leg.lines, ports);
        if let Some(call) = self.calls.get_mut(leg.call) {
            call.is_recorded = true;
        }
        if matches!(leg.phase, Phase::Changing { .. }) && leg.lines.iter().any(lines::Line::lacks_ports) {
            // The answer to an older change; the one that is awaited has ports for every stream.
            self.arm(now, OPEN_DEADLINE, Timer::Open(segment));
            self.legs.insert(leg.session, leg);
            return;
        }
        match std::mem::replace(&mut leg.phase, Phase::Recording { segment }) {
            Phase::Opening { pending, .. } => {
                self.catch_up_gate(&mut leg);
                self.respond(&mut leg, &pending);
                let kept = leg.take_kept();
                self.tell_or_keep(&mut leg, kept);
                self.tell_call(leg.call);
            }
            Phase::Changing { pending, .. } => self.respond(&mut leg, &pending),
            Phase::Recording { .. } | Phase::Held => {}
        }
        self.legs.insert(leg.session, leg);
    }

    pub(super) fn end_orphan(&mut self, now: Now, segment: SegmentId) {
        if self.timers.is_set(Timer::Close(segment)) {
            return;
        }
        let reason = EndReason::Internal(Failure::Resources("ports came too late".to_owned()));
        self.arm(now, END_DEADLINE, Timer::Close(segment));
        self.actions.push_back(Action::Order(Order::End { segment, at: now.wall, reason, by: None }));
    }

    pub(super) fn order_refused(&mut self, now: Now, segment: SegmentId, why: &Failure) {
        self.timers.clear(Timer::Open(segment));
        let Some(call) = self.calls.of_segment(segment) else { return };
        let text = format!("a segment could not be opened: {}", why.describe());
        let Some(mut leg) = self.take_leg(segment) else {
            // The dialog ended meanwhile, and so did the segment that never was.
            self.timers.clear(Timer::Close(segment));
            self.withdraw(call, segment, text);
            return self.settle(now, call);
        };
        match std::mem::replace(&mut leg.phase, Phase::Recording { segment }) {
            Phase::Opening { from: Some(failed), .. } => {
                self.withdraw(call, segment, text);
                return self.nobody_takes_over(now, leg, failed);
            }
            Phase::Opening { pending, .. } => {
                self.withdraw(call, segment, text);
                if !matches!(pending, Pending::Reoffer) {
                    self.refuse(leg.session, 503, "Service Unavailable");
                }
                if !leg.is_answered {
                    // A refused first INVITE leaves no dialog.
                    self.calls.remove(call);
                    self.timers.clear(Timer::Pause(call));
                    return;
                }
                leg.phase = Phase::Held;
                self.arm(now, self.config.hold_timeout, Timer::Hold(leg.session));
            }
            Phase::Changing { pending, .. } => {
                self.alarm(Incident::NotRecorded, Some(call), Some(segment), text);
                if !matches!(pending, Pending::Nothing) {
                    self.refuse(leg.session, 503, "Service Unavailable");
                }
            }
            Phase::Recording { .. } | Phase::Held => {}
        }
        self.legs.insert(leg.session, leg);
    }

    /// A segment was wanted and is not recorded: its number is free again, and somebody hears of it.
    pub(super) fn withdraw(&mut self, call: CallId, segment: SegmentId, text: String) {
        if let Some(call) = self.calls.get_mut(call) {
            call.withdraw(segment);
        }
        self.calls.forget_segment(segment);
        self.stats.not_recorded += 1;
        self.alarm(Incident::NotRecorded, Some(call), Some(segment), text);
    }

    /// The ACK brought the answer to our offer.
    pub(super) fn answered(&mut self, now: Now, session: SessionId, bytes: &[u8]) {
        let Some(mut leg) = self.legs.remove(&session) else { return };
        if let (Ok(sdp), Some(segment)) = (sdp::read(bytes), leg.segment()) {
            let ports: Vec<_> = leg.lines.iter().filter_map(|l| l.ports.clone()).collect();
            leg.lines = self.read_lines(&leg, &sdp, now);
            lines::set_ports(&mut leg.lines, &ports);
            self.obey_sdp(now, &mut leg);
            if lines::all_held(&leg.lines) {
                self.end_segment(now, leg.call, segment, EndReason::Hold);
                self.hold(now, &mut leg, Pending::Nothing);
            } else {
                let streams = lines::streams(&leg.lines);
                self.actions.push_back(Action::Order(Order::Change { segment, streams }));
                self.arm(now, OPEN_DEADLINE, Timer::Open(segment));
                leg.phase = Phase::Changing { segment, pending: Pending::Nothing };
            }
        }
        self.legs.insert(session, leg);
    }

    pub(super) fn read_lines(&mut self, leg: &Leg, sdp: &Sdp, now: Now) -> Vec<lines::Line> {
        // A client that said so by a header goes on to mean a pause.
        let signaled = self.calls.get(leg.call).is_some_and(|c| c.pausing.is_signaled());
        let inactive = if signaled { Flowing::Paused } else { self.inactive_of(leg) };
        let reading = Reading { sides: &leg.sides, inactive, addresses: leg.addresses };
        lines::read(sdp, &leg.lines, &reading, &mut self.ids, now)
    }

    /// What the client of this leg means by a line on which nothing is sent.
    pub(super) fn inactive_of(&self, leg: &Leg) -> Flowing {
        leg.trunk.inactive.unwrap_or(self.config.inactive)
    }

    pub(super) fn respond(&mut self, leg: &mut Leg, pending: &Pending) {
        let sdp = match pending {
            Pending::Answer(offer) => leg.answer(offer),
            Pending::Offer => leg.offer(),
            Pending::Reoffer => return self.reoffer(leg),
            Pending::Nothing => return,
        };
        leg.is_answered = true;
        self.actions.push_back(Action::Accept { session: leg.session, sdp });
    }

    pub(super) fn leg(
        &self,
        session: SessionId,
        call: CallId,
        trunk: Arc<Trunk>,
        family: Family,
        request: &RequestInfo,
    ) -> Leg {
        let own = request.flow.local.ip();
        let addresses = Addresses {
            v4: self.config.address_v4.or(Some(own).filter(IpAddr::is_ipv4)),
            v6: self.config.address_v6.or(Some(own).filter(IpAddr::is_ipv6)),
        };
        let address = match family {
            Family::V4 => addresses.v4,
            Family::V6 => addresses.v6,
        };
        let origin = Origin {
            username: "callspool".to_owned(),
            session_id: call.as_u64(),
            version: 1,
            address: address.unwrap_or(own),
        };
        Leg::new(session, call, trunk, origin, addresses)
    }
}

/// A re-INVITE without description asks for our offer: what was held is offered again, because the client
/// resumes this way (a refresh would carry what it has).
fn reactivate(leg: &mut Leg) {
    for stream in leg.lines.iter_mut().filter_map(|l| l.stream.as_mut()) {
        stream.flowing = Flowing::Active;
    }
}

/// What the trunk says of its calls, and who proved to send this one.
fn note(data: &mut CallData, trunk: &Trunk, request: &RequestInfo) {
    for (key, value) in &trunk.tags {
        data.extra.insert(key.clone(), value.clone());
    }
    data.extra.insert("trunk".to_owned(), trunk.name.to_string());
    if let Some(retention) = &trunk.retention {
        data.extra.insert("retention".to_owned(), retention.clone());
    }
    if let Some(user) = request.pass.as_ref().and_then(|pass| pass.user.as_ref()) {
        data.extra.insert("user".to_owned(), user.to_string());
    }
}

fn read_sdp(request: &RequestInfo) -> Result<Option<Sdp>, sdp::SdpError> {
    request.sdp().map(|part| sdp::read(&part.bytes)).transpose()
}

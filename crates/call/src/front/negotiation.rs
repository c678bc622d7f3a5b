//! From offers to segments: what a request asks for, which segment that begins, changes or ends, and the answer.

use std::net::IpAddr;
use std::sync::Arc;

use media::sdp::{self, Origin, Sdp};
use model::peer::{Family, Flowing};
use model::state::Respondent;
use model::{
    CallData, CallId, CallRecord, Dtmf, EndReason, Failure, Incident, Metadata, Now, OpenSegment, OpenStream,
    Order, SegmentId, StartTrigger, StreamPorts, TakeOver,
};
use sip::siprec::SessionState;
use sip::{RequestInfo, SessionId};

use super::orders::Came;
use super::{Action, END_DEADLINE, Front, Intake, OPEN_DEADLINE, Timer};
use crate::asking::Asking;
use crate::calls::{LiveCall, Standing};
use crate::gate::{TurnedAway, Unwelcome};
use crate::leg::{Leg, Pending, Phase};
use crate::lines::{self, Addresses, Reading};
use crate::trunk::{self, Trunk};
use crate::{ask, describe, encryption};

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
        let family = if request.flow.remote.is_ipv6() { Family::V6 } else { Family::V4 };
        note(&mut data, &trunk, request);
        let mut leg = self.leg(session, call, trunk.clone(), family, request);
        leg.asking = Asking::of(request);
        let absorbed = describe::absorb(&mut data, request, now, &mut leg.sides);
        leg.ask_about(&absorbed);
        leg.lines = match &offer {
            Some(sdp) => self.read_lines(&leg, sdp, now),
            None => {
                let video = if self.config.video { ask::video(&trunk.ask_for) } else { Vec::new() };
                lines::asked(ask::codecs(&trunk.ask_for), video, family, &mut self.ids, now)
            }
        };
        if leg.lines.iter().all(|l| l.stream.is_none()) {
            self.tell_unopenable(None, offer.as_ref());
            return self.refuse(session, 488, "Not Acceptable Here");
        }
        self.tell_unopenable(Some(call), offer.as_ref());
        self.tell_clear_keys(&leg, request);
        self.stats.begun += 1;
        let record = CallRecord {
            id: call,
            tenant: trunk.tenant.clone(),
            started: now.wall,
            ended: None,
            total: 0,
            data,
        };
        let mut live = LiveCall::new(record, trunk.name.clone());
        live.legs.insert(session);
        self.calls.insert(live);
        self.legs.insert(session, leg);
        self.obey_state(now, session, absorbed.state);
        self.obey_sdp(now, call);
        self.negotiate(now, session, offer, absorbed.metadata);
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
        if !self.legs.contains_key(&session) {
            return self.refuse(session, 481, "Call/Transaction Does Not Exist");
        }
        let absorbed = self.absorb(now, session, request);
        let Ok(offer) = read_sdp(request) else { return self.refuse(session, 488, "Not Acceptable Here") };
        self.obey_header(now, session, request, Came::With(session));
        self.take_lines(now, session, offer.as_ref());
        self.obey_state(now, session, absorbed.state);
        self.negotiate(now, session, offer, absorbed.metadata);
        if request.method != "INVITE" {
            // No ACK will come.
            self.ask_metadata(session);
        }
    }

    /// The lines of a leg are as an offer or answer of its client has them, or are asked for anew.
    fn take_lines(&mut self, now: Now, session: SessionId, sdp: Option<&Sdp>) {
        let Some(mut leg) = self.legs.remove(&session) else { return };
        match sdp {
            Some(sdp) => {
                leg.lines = self.read_lines(&leg, sdp, now);
                self.tell_unopenable(Some(leg.call), Some(sdp));
            }
            None => reactivate(&mut leg),
        }
        let call = leg.call;
        self.legs.insert(session, leg);
        self.obey_sdp(now, call);
    }

    /// The lines of a leg are as the client wants them; moves the segment along and answers, now or later.
    pub(super) fn negotiate(
        &mut self,
        now: Now,
        session: SessionId,
        offer: Option<Sdp>,
        metadata: Vec<Metadata>,
    ) {
        let pending = offer.map_or(Pending::Offer, |sdp| Pending::Answer(Box::new(sdp)));
        self.tell_or_keep(session, metadata);
        let Some(leg) = self.legs.get(&session) else { return };
        let (call, segment, held) = (leg.call, leg.segment(), leg.is_held());
        let Some(live) = self.calls.get(call) else { return };
        match segment {
            Some(segment) => self.change_or_hold(now, session, segment, pending),
            None if live.stopped.is_some() || held => {
                self.hold(now, session, &pending);
                self.tell_call(call);
            }
            None => {
                self.timers.clear(Timer::Hold(session));
                match live.live() {
                    Some(segment) => {
                        self.wait(session, segment, pending);
                        self.order_change(now, segment);
                    }
                    None => {
                        self.open_segment(now, call, vec![(session, pending)], StartTrigger::Manager, None)
                    }
                }
            }
        }
    }

    /// The lines of a leg in a segment have changed: other streams, or none that is expected on any leg.
    fn change_or_hold(&mut self, now: Now, session: SessionId, segment: SegmentId, pending: Pending) {
        let legs = self.legs_in(segment);
        let Some(leg) = self.legs.get(&session) else { return };
        if self.are_held(&legs) {
            let call = leg.call;
            self.end_segment(now, call, segment, EndReason::Hold);
            self.wait(session, segment, pending);
            self.hold_all(now, &legs);
            return self.tell_call(call);
        }
        if leg.lines.iter().any(lines::Line::is_active) {
            self.timers.clear(Timer::Hold(session));
        } else {
            // Held or paused on all lines: a client that is gone says no more than one on hold.
            self.arm(now, self.config.hold_timeout, Timer::Hold(session));
        }
        self.wait(session, segment, pending);
        self.order_change(now, segment);
    }

    /// A leg waits for the ports of its lines in a segment.
    fn wait(&mut self, session: SessionId, segment: SegmentId, pending: Pending) {
        self.asks += 1;
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let joined = self.calls.get_mut(leg.call).and_then(|call| call.segment_mut(segment));
        if let Some(joined) = joined.filter(|_| leg.segment() != Some(segment)) {
            leg.set_slots_from(joined.join());
        }
        leg.phase = Phase::Waiting { segment, pending, since: self.asks };
    }

    /// The segment of these legs is over because they are on hold.
    pub(super) fn hold_all(&mut self, now: Now, legs: &[SessionId]) {
        for session in legs {
            let pending = self.legs.get_mut(session).map(Leg::release);
            self.hold(now, *session, &pending.unwrap_or(Pending::Nothing));
        }
    }

    pub(super) fn hold(&mut self, now: Now, session: SessionId, pending: &Pending) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        leg.release();
        if leg.is_held() {
            self.arm(now, self.config.hold_timeout, Timer::Hold(session));
        } else {
            // Not on hold, but stopped by order: the dialog may last as long as the call.
            self.timers.clear(Timer::Hold(session));
        }
        self.respond(session, pending);
    }

    /// Tells the record server which streams a segment has now: all of all its legs. One that is being opened is told
    /// when it is.
    pub(super) fn order_change(&mut self, now: Now, segment: SegmentId) {
        let call = self.calls.of_segment(segment).and_then(|call| self.calls.get_mut(call));
        let Some(of_call) = call.and_then(|call| call.segment_mut(segment)) else { return };
        if let Standing::Opening { is_outdated, .. } = &mut of_call.standing {
            *is_outdated = true;
            return;
        }
        let streams = self.streams_of(segment);
        self.actions.push_back(Action::Order(Order::Change { segment, streams }));
        self.expect_ports(now, segment);
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
        };
        self.calls.own_segment(segment, call);
        for (session, pending) in legs {
            self.wait(session, segment, pending);
            let Some(leg) = self.legs.get_mut(&session) else { continue };
            open.metadata.append(&mut leg.take_kept());
            if open.dtmf.is_kept() {
                // Where one of its clients wants digits masked, they are.
                open.dtmf = leg.trunk.dtmf.unwrap_or(self.config.dtmf);
            }
        }
        open.streams = self.streams_of(segment);
        self.actions.push_back(Action::Order(Order::Open(Box::new(open))));
        self.arm(now, OPEN_DEADLINE, Timer::Open(segment));
    }

    /// A record server told the ports of a segment's streams.
    pub(super) fn opened(&mut self, now: Now, segment: SegmentId, ports: &[StreamPorts]) {
        self.timers.clear(Timer::Open(segment));
        let Some(call) = self.calls.of_segment(segment) else { return self.end_orphan(now, segment) };
        let legs = self.legs_in(segment);
        let begun = self.calls.get_mut(call).and_then(|call| call.opened(segment));
        if legs.is_empty() {
            // The dialogs went while the segment opened, or the deadline passed: nobody will send to it.
            return self.end_orphan(now, segment);
        }
        for leg in &legs {
            let Some(leg) = self.legs.get_mut(leg) else { continue };
            lines::set_ports(&mut leg.lines, ports);
        }
        if begun.is_some() {
            self.catch_up_gate(call, segment);
        }
        if begun == Some(true) {
            self.order_change(now, segment);
        }
        for session in &legs {
            self.answer_with_ports(*session);
        }
        // Who has none yet waits for the answer to a later order.
        self.expect_ports(now, segment);
        if begun.is_some() {
            for session in legs {
                let kept = self.legs.get_mut(&session).map(Leg::take_kept);
                self.tell_or_keep(session, kept.unwrap_or_default());
            }
            self.tell_call(call);
            self.go_on(now, call);
        }
    }

    /// A leg that waits is answered when each of its lines has ports.
    fn answer_with_ports(&mut self, session: SessionId) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        if leg.lines.iter().any(lines::Line::lacks_ports) {
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
    fn go_on(&mut self, now: Now, call: CallId) {
        let failing = self.calls.get_mut(call).map(|call| std::mem::take(&mut call.failing));
        for (segment, reason) in failing.unwrap_or_default() {
            self.fail_over(now, segment, reason);
        }
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
        let Some(call) = self.calls.of_segment(segment) else { return };
        let legs = self.legs_in(segment);
        let is_opening = self.calls.get(call).and_then(LiveCall::opening) == Some(segment);
        if legs.is_empty() {
            // The dialogs ended meanwhile, and so did the segment that never was.
            self.timers.clear(Timer::Close(segment));
            self.withdraw(call, segment, why);
            self.settle(now, call);
        } else if is_opening {
            self.opening_refused(now, call, segment, &legs, why);
        } else {
            self.change_refused(now, segment, &legs, why);
        }
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
        self.go_on(now, call);
        self.forget_if_never_was(now, call);
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
            call.legs.remove(&session);
        }
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
        let text = format!("a segment could not be given other streams: {}", why.describe());
        self.alarm(Incident::NotRecorded, call, Some(segment), text);
        let Some(leg) = first.and_then(|session| self.legs.get_mut(&session)) else { return };
        let session = leg.session;
        if leg.is_answered {
            let recording = Phase::Recording { segment };
            if let Phase::Waiting { pending: Pending::Answer(_) | Pending::Offer, .. } =
                std::mem::replace(&mut leg.phase, recording)
            {
                self.refuse(session, 503, "Service Unavailable");
            }
        } else {
            self.record_apart(now, session);
        }
        self.expect_ports(now, segment);
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

    /// The client answered our offer, in the ACK or in a 200.
    pub(super) fn answered(&mut self, now: Now, session: SessionId, bytes: &[u8]) {
        let Some(leg) = self.legs.get(&session) else { return };
        let (Ok(sdp), Some(segment)) = (sdp::read(bytes), leg.segment()) else { return };
        let ports: Vec<_> = leg.lines.iter().filter_map(|l| l.ports.clone()).collect();
        self.take_lines(now, session, Some(&sdp));
        if let Some(leg) = self.legs.get_mut(&session) {
            lines::set_ports(&mut leg.lines, &ports);
        }
        self.change_or_hold(now, session, segment, Pending::Nothing);
    }

    pub(super) fn read_lines(&mut self, leg: &Leg, sdp: &Sdp, now: Now) -> Vec<lines::Line> {
        // A client that said so by a header goes on to mean a pause.
        let signaled = self.calls.get(leg.call).is_some_and(|c| c.pausing.is_signaled());
        let inactive = if signaled { Flowing::Paused } else { self.inactive_of(leg) };
        let (addresses, video) = (leg.addresses, self.config.video);
        let reading = Reading { sides: &leg.sides, inactive, addresses, video };
        lines::read(sdp, &leg.lines, &reading, &mut self.ids, self.entropy.as_mut(), now)
    }

    /// A line that is refused for how it is encrypted is not recorded, and somebody hears of it.
    fn tell_unopenable(&mut self, call: Option<CallId>, sdp: Option<&Sdp>) {
        let has_entropy = self.entropy.is_some();
        let why = sdp.and_then(|s| s.media.iter().find_map(|m| encryption::why_not(m, has_entropy)));
        if let Some(why) = why {
            let text = format!("a stream is not recorded: {why}");
            self.alarm(Incident::NotRecorded, call, None, text);
        }
    }

    /// Whoever reads the signalling can open the media too (RFC 4568 section 8.2): told once for each trunk, because
    /// many do so within networks that they trust.
    fn tell_clear_keys(&mut self, leg: &Leg, request: &RequestInfo) {
        let has_keys = leg.lines.iter().any(lines::Line::has_keys);
        let in_clear = !request.flow.transport.is_secure();
        if has_keys && in_clear && self.clear_keys_told.insert(leg.trunk.name.clone()) {
            let trunk = &leg.trunk.name;
            let text = format!(
                "trunk {trunk} sends the keys of encrypted media over signalling in the clear: whoever reads that can \
                 open them; have it send SIP over TLS"
            );
            self.alarm(Incident::KeysInClear, None, None, text);
        }
    }

    /// What the client of this leg means by a line on which nothing is sent: its metadata may say, else the trunk does.
    pub(super) fn inactive_of(&self, leg: &Leg) -> Flowing {
        match leg.sides.state() {
            Some(SessionState::Held) => Flowing::Held,
            Some(SessionState::Paused) => Flowing::Paused,
            Some(SessionState::Active) | None => leg.trunk.inactive.unwrap_or(self.config.inactive),
        }
    }

    pub(super) fn respond(&mut self, session: SessionId, pending: &Pending) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let sdp = match pending {
            Pending::Answer(offer) => leg.answer(offer),
            Pending::Offer => leg.offer(),
            Pending::Reoffer => return self.reoffer(session),
            Pending::Nothing => return,
        };
        leg.is_answered = true;
        self.actions.push_back(Action::Accept { session, sdp });
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

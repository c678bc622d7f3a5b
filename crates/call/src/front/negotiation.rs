//! From offers to segments: what a request asks for, which segment that begins, changes or ends, and the answer.

use std::net::IpAddr;
use std::sync::Arc;

use media::sdp::{self, Origin, Sdp};
use model::peer::{Family, Flowing};
use model::{
    CallData, CallId, CallRecord, Dtmf, EndReason, Incident, Metadata, Now, SegmentId, StartTrigger,
};
use sip::siprec::SessionState;
use sip::{RequestInfo, SessionId};

use super::opening::dtmf_of;
use super::recognition::owner;
use super::stops::Came;
use super::{Action, Front, Intake, RETRY_AFTER, RETRY_SOON, Timer};
use crate::admission::Crowded;
use crate::asking::Asking;
use crate::describe::{Absorbed, Documents};
use crate::gate::{TurnedAway, Unwelcome};
use crate::indication::Indication;
use crate::leg::{Leg, Offered, Pending};
use crate::lines::{self, Addresses, Reading};
use crate::live_call::LiveCall;
use crate::servers::Room;
use crate::trunk::{self, Trunk};
use crate::{ask, bridge, correlate, describe, encryption};

impl Front {
    pub(super) fn invited(&mut self, now: Now, session: SessionId, request: &RequestInfo) {
        // Strangers are not sent elsewhere either. While nobody gets a call, they hear what everybody does.
        let Some(trunk) = self.trunk_of(request) else {
            let last = Unwelcome::Stranger(request.flow.remote.ip());
            self.turned_away(now, TurnedAway { strangers: 1, wrong: 0, too_fast: 0, last });
            return self.refuse(session, 403, "Forbidden");
        };
        let documents = Documents::of(request);
        let said = correlate::read(request, &documents);
        let mut known = self.recognize(now, &trunk, &said, None);
        // Another dialog of a call in progress is taken at every limit: it is none more.
        let known_call = known.first().map(|(call, _)| *call);
        let in_progress = known_call.is_some_and(|call| self.calls.get(call).is_some());
        if let Some(to) = self.elsewhere().filter(|_| !in_progress) {
            return self.hand_over(session, &to);
        }
        if let Some(to) = self.redirects(request).filter(|_| !in_progress) {
            self.stats.redirected += 1;
            return self.hand_over(session, &to);
        }
        let full = self.is_full() || self.has_its_calls(&trunk);
        if self.intake == Intake::Refused || (full && !in_progress) {
            return self.turn_away(now, session, 503, "Service Unavailable");
        }
        if self.room == Room::Full && !in_progress {
            return self.turn_away(now, session, 600, "Busy Everywhere");
        }
        if let Some(crowded) = self.admission.refuses(now.mono).filter(|_| !in_progress) {
            return self.turn_away_for_now(now, session, crowded);
        }
        let Ok(offer) = read_sdp(request) else { return self.refuse(session, 488, "Not Acceptable Here") };
        let call = known_call.unwrap_or_else(|| self.ids.call(now.wall));
        let mut data = self.calls.known(call).map(|live| live.record.data.clone()).unwrap_or_default();
        if known_call.is_none() {
            note(&mut data, &trunk, request);
        }
        let mut leg = self.leg(now, session, call, trunk.clone(), request);
        let absorbed = begin(&mut leg, &mut data, request, documents, now);
        leg.lines = match &offer {
            Some(sdp) => self.read_lines(&leg, sdp, now),
            None => {
                let video = if self.config.video { ask::video(&trunk.ask_for) } else { Vec::new() };
                let asked = lines::Wanted {
                    audio: ask::codecs(&trunk.ask_for),
                    video,
                    family: family(request),
                    side: leg.sides.presumed(),
                    encrypted: trunk.ask_encrypted,
                };
                lines::asked(asked, &mut self.ids, self.own_keys.as_mut(), now)
            }
        };
        if leg.lines.iter().all(|l| l.stream.is_none()) {
            self.tell_unopenable(None, &trunk, offer.as_ref());
            return self.refuse(session, 488, "Not Acceptable Here");
        }
        self.tell_unopenable(Some(call), &trunk, offer.as_ref());
        self.tell_clear_keys(&leg);
        self.begin_call(now, leg, data);
        self.correlator.learn(call, &owner(&trunk), &said);
        self.hear();
        self.obey_state(now, session, absorbed.state);
        self.obey_sdp(now, session, Offered::Media);
        self.was_heard(now);
        self.negotiate(now, session, offer, absorbed.metadata);
        if !known.is_empty() {
            known.remove(0);
            self.unite_all(now, call, known);
        }
        self.watch_for_other_end(now, call);
    }

    /// A leg is the first of a call, or another of one that is known, which goes on.
    fn begin_call(&mut self, now: Now, leg: Leg, data: CallData) {
        let (session, call) = (leg.session, leg.call);
        self.take_back(call, &leg.trunk.name);
        if let Some(live) = self.calls.get_mut(call) {
            live.record.data = data;
            live.join(session, &leg.trunk.name);
        } else {
            self.stats.begun += 1;
            let record = CallRecord {
                id: call,
                tenant: leg.trunk.tenant.clone(),
                started: now.wall,
                ended: None,
                total: 0,
                data,
            };
            let mut live = LiveCall::new(record, leg.trunk.name.clone());
            live.join(session, &leg.trunk.name);
            self.calls.insert(live);
        }
        self.legs.insert(session, leg);
    }

    /// Where calls are sent that are not taken here.
    fn elsewhere(&self) -> Option<String> {
        match &self.intake {
            Intake::HandedOver(to) => Some(to.clone()),
            Intake::Open | Intake::Refused => None,
        }
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

    /// Refuses a call that would wait too long, and tells of it, at a pace. It may come back soon.
    fn turn_away_for_now(&mut self, now: Now, session: SessionId, why: Crowded) {
        self.stats.crowded += 1;
        self.crowded = Some(why);
        self.refused(now, 1, None);
        let (code, reason) = (503, "Service Unavailable");
        let turn = usize::try_from(self.stats.crowded).unwrap_or_default() % RETRY_SOON.len();
        let soon = RETRY_SOON.get(turn).copied().unwrap_or(RETRY_AFTER);
        let headers = vec![("Retry-After".to_owned(), soon.to_owned())];
        self.actions.push_back(Action::Refuse { session, code, reason, headers });
    }

    pub(super) fn reoffered(&mut self, now: Now, session: SessionId, request: &RequestInfo) {
        if !self.legs.contains_key(&session) {
            return self.refuse(session, 481, "Call/Transaction Does Not Exist");
        }
        let absorbed = self.absorb(now, session, request);
        let Ok(offer) = read_sdp(request) else {
            self.refuse(session, 488, "Not Acceptable Here");
            // A pause that it asks for beside is asked for all the same.
            self.obey_words(now, session, request, absorbed.state);
            if let Some(call) = self.legs.get(&session).map(|leg| leg.call) {
                self.indicate(call);
            }
            return;
        };
        if let Some(leg) = self.legs.get_mut(&session) {
            leg.note_before();
        }
        self.hear();
        self.obey_header(now, session, request, Came::With(session));
        if let Some(leg) = self.legs.get_mut(&session) {
            leg.is_in_clear = !request.flow.transport.is_secure();
        }
        self.obey_state(now, session, absorbed.state);
        match &offer {
            Some(sdp) => {
                let before = self.take_lines(now, session, sdp);
                if absorbed.state.is_none() {
                    self.obey_offer(now, session, before);
                }
            }
            None => self.reactivate(session),
        }
        self.was_heard(now);
        self.negotiate(now, session, offer, absorbed.metadata);
        if request.method != "INVITE" {
            // No ACK will come.
            self.ask_metadata(session);
        }
    }

    /// The lines of a leg are as an offer or answer of its client has them. What it offered before.
    fn take_lines(&mut self, now: Now, session: SessionId, sdp: &Sdp) -> Offered {
        let Some(mut leg) = self.legs.remove(&session) else { return Offered::Nothing };
        let before = leg.unanswered.take().unwrap_or(leg.offered());
        leg.lines = self.read_lines(&leg, sdp, now);
        self.tell_unopenable(Some(leg.call), &leg.trunk, Some(sdp));
        self.tell_clear_keys(&leg);
        self.legs.insert(session, leg);
        self.obey_sdp(now, session, before);
        before
    }

    /// A re-INVITE without description asks for our offer: what was held of it is offered again, because the client
    /// resumes this way. Whether it does, its answer says.
    fn reactivate(&mut self, session: SessionId) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let before = leg.offered();
        leg.unanswered.get_or_insert(before);
        if leg.is_on_hold() {
            // It may be a refresh, too.
            return;
        }
        for stream in leg.lines.iter_mut().filter_map(|l| l.stream.as_mut()) {
            stream.flowing = Flowing::Active;
        }
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
        self.move_along(now, session, pending);
    }

    /// The segment of a leg's call goes by what its lines are now.
    fn move_along(&mut self, now: Now, session: SessionId, pending: Pending) {
        let Some(leg) = self.legs.get(&session) else { return };
        let (call, segment, held) = (leg.call, leg.segment(), leg.is_held());
        let Some(live) = self.calls.get(call) else { return };
        match segment {
            Some(segment) => self.change_or_hold(now, session, segment, pending),
            None if held || live.stopped_for(session).is_some() => {
                self.hold(now, session, &pending);
                self.tell_call(call);
            }
            None => {
                self.timers.clear(Timer::Hold(session));
                match live.live() {
                    Some(segment) => self.join_segment(now, session, segment, pending),
                    None => {
                        self.open_segment(now, call, vec![(session, pending)], StartTrigger::Manager, None);
                    }
                }
            }
        }
    }

    /// The streams of a leg join those that a segment of its call has.
    pub(super) fn join_segment(
        &mut self,
        now: Now,
        session: SessionId,
        segment: SegmentId,
        pending: Pending,
    ) {
        let Some(leg) = self.legs.get(&session) else { return };
        let call = leg.call;
        let masks = dtmf_of(leg, self.config.dtmf) == Dtmf::Mask;
        let of_call = self.calls.get(call).and_then(|live| live.segment(segment));
        if masks && of_call.is_some_and(|s| !s.masks) {
            // What is recorded keeps digits: a segment beside it does not.
            return self.open_segment(now, call, vec![(session, pending)], StartTrigger::Manager, None);
        }
        self.wait(session, segment, pending);
        self.order_change(now, segment);
        let Some(leg) = self.legs.get_mut(&session) else { return };
        if self.calls.get(call).and_then(LiveCall::opening) != Some(segment) {
            let kept = leg.take_kept();
            self.tell_segment(call, segment, kept);
            self.tell_call(call);
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

    /// The client answered our offer, in the ACK or in a 200.
    pub(super) fn answered(&mut self, now: Now, session: SessionId, bytes: &[u8]) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let may_resume = std::mem::take(&mut leg.may_resume);
        let (segment, Ok(sdp)) = (leg.segment(), sdp::read(bytes)) else {
            return self.is_unanswered(session);
        };
        if segment.is_none() && may_resume {
            return self.answered_on_hold(now, session, &sdp);
        }
        let Some(segment) = segment else { return self.is_unanswered(session) };
        let ports: Vec<_> = leg.lines.iter().filter_map(|l| l.ports.clone()).collect();
        self.take_answer(now, session, &sdp);
        if let Some(leg) = self.legs.get_mut(&session) {
            lines::set_ports(&mut leg.lines, &ports);
        }
        self.change_or_hold(now, session, segment, Pending::Nothing);
    }

    /// The lines of a leg are as its client answers; what it was asked for it says now of its pause.
    fn take_answer(&mut self, now: Now, session: SessionId, sdp: &Sdp) {
        let was_asked = self.legs.get(&session).is_some_and(|leg| leg.unanswered.is_some());
        self.hear();
        let before = self.take_lines(now, session, sdp);
        if was_asked {
            self.obey_offer(now, session, before);
        }
        self.was_heard(now);
    }

    /// What a client answers that was asked, on hold, whether it resumes. If it does a segment begins, and we offer its
    /// ports.
    fn answered_on_hold(&mut self, now: Now, session: SessionId, sdp: &Sdp) {
        self.take_answer(now, session, sdp);
        let is_stopped = self.stopped(session).is_some();
        let Some(leg) = self.legs.get(&session) else { return };
        if !leg.is_held() && !is_stopped {
            self.move_along(now, session, Pending::Reoffer);
        }
    }

    pub(super) fn read_lines(&mut self, leg: &Leg, sdp: &Sdp, now: Now) -> Vec<lines::Line> {
        // A client that said so by a header goes on to mean a pause.
        let signaled = self.calls.get(leg.call).is_some_and(|c| c.pausing.is_signaled(leg.session));
        let inactive = if signaled { Flowing::Paused } else { self.inactive_of(leg) };
        let (addresses, video) = (leg.addresses, self.config.video);
        let reading = Reading { sides: &leg.sides, inactive, addresses, video, keys: leg.trunk.keys };
        lines::read(sdp, &leg.lines, &reading, &mut self.ids, self.own_keys.as_mut(), now)
    }

    /// A line that is refused for how it is encrypted is not recorded, and somebody hears of it.
    fn tell_unopenable(&mut self, call: Option<CallId>, trunk: &Trunk, sdp: Option<&Sdp>) {
        let own = self.own_keys.as_ref();
        let why = sdp.and_then(|s| s.media.iter().find_map(|m| encryption::why_not(m, trunk.keys, own)));
        if let Some(why) = why {
            let text = format!("a stream is not recorded: {why}");
            self.alarm(Incident::NotRecorded, call, None, text);
        }
    }

    /// Whoever reads the signalling can open the media too (RFC 4568 section 8.2): told once for each trunk, because
    /// many do so within networks that they trust.
    fn tell_clear_keys(&mut self, leg: &Leg) {
        let has_keys = leg.lines.iter().any(lines::Line::has_keys);
        if has_keys && leg.is_in_clear && self.clear_keys_told.insert(leg.trunk.name.clone()) {
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
        self.take_indication(session);
        let is_stopped = self.stopped(session).is_some();
        let Some(leg) = self.legs.get_mut(&session) else { return };
        leg.may_resume = matches!(pending, Pending::Offer) && leg.is_on_hold() && !is_stopped;
        let sdp = match pending {
            Pending::Answer(offer) => leg.answer(offer),
            Pending::Offer if leg.may_resume => leg.offer_to_resume(),
            Pending::Offer => leg.offer(),
            Pending::Reoffer => return self.reoffer(session),
            Pending::Nothing => return,
        };
        leg.is_answered = true;
        leg.forget_before();
        lines::tell(&mut leg.lines);
        self.actions.push_back(Action::Accept { session, sdp });
    }

    fn leg(
        &mut self,
        now: Now,
        session: SessionId,
        call: CallId,
        trunk: Arc<Trunk>,
        request: &RequestInfo,
    ) -> Leg {
        let own = request.flow.local.ip();
        let addresses = Addresses {
            v4: self.config.address_v4.or(Some(own).filter(IpAddr::is_ipv4)),
            v6: self.config.address_v6.or(Some(own).filter(IpAddr::is_ipv6)),
        };
        let address = match family(request) {
            Family::V4 => addresses.v4,
            Family::V6 => addresses.v6,
        };
        let origin = Origin {
            username: "callspool".to_owned(),
            // Of each dialog another: two of a call describe two sessions (RFC 8866 section 5.2).
            session_id: self.ids.stream(now.wall).as_u64(),
            version: 1,
            address: address.unwrap_or(own),
        };
        let mut leg = Leg::new(session, call, trunk, origin, addresses);
        leg.is_in_clear = !request.flow.transport.is_secure();
        leg.client = request.flow.remote.ip().to_canonical();
        leg.route = self.route_of(now, &leg);
        leg
    }
}

/// A leg begins: what its INVITE says goes into its call's data and into what the leg knows. What a phone's bridge says
/// goes before and after the rest, which could take the recorder for a party.
fn begin(
    leg: &mut Leg,
    data: &mut CallData,
    request: &RequestInfo,
    documents: Documents<'_>,
    now: Now,
) -> Absorbed {
    leg.asking = Asking::of(request);
    leg.indication = Indication::of(request);
    let bridge = bridge::read(request);
    if let Some(bridge) = &bridge {
        bridge.describe(data);
        leg.sides.set_whole(bridge.end.side());
        leg.bridge = Some(bridge.end);
    }
    let absorbed = describe::absorb(data, request, documents, now, &mut leg.sides);
    leg.ask_about(&absorbed);
    if let Some(bridge) = bridge {
        bridge.describe(data);
    }
    absorbed
}

/// The family of the addresses that we tell, where the client has not said which it takes.
fn family(request: &RequestInfo) -> Family {
    if request.flow.remote.is_ipv6() { Family::V6 } else { Family::V4 }
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

//! The machine behind a recorder's SIP front: every INVITE becomes a call, every stretch of media a segment.
//!
//! Hold ends a segment, resume begins the next; the end of the dialog ends the call. It answers a request only
//! when the record server has given ports, and gives up waiting after [`OPEN_DEADLINE`].

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use media::sdp::{self, Origin, Sdp};
use model::peer::{Family, Flowing};
use model::state::Respondent;
use model::{
    Alarm, AlarmKind, CallData, CallId, CallRecord, ChangeKind, Copy, CopyOf, EndReason, Failure,
    IdGenerator, Location, Metadata, Mono, NodeNumber, Now, OpenSegment, Order, Report, SegmentId,
    SegmentRecord, StartTrigger, StreamPorts, TenantId,
};
use sip::{EndCause, Event, RequestInfo, SessionId};

use crate::ask;
use crate::calls::{Calls, LiveCall};
use crate::describe;
use crate::leg::{Leg, Pending, Phase};
use crate::lines::{self, Addresses, Reading};
use crate::reason::end_reason;
use crate::timers::Timers;

/// How long a record server may take to open a segment or change its streams before the request is refused:
/// a fifth of the client's own patience (timer B, 32 s, is the end of it), so that it can still go elsewhere.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// How long a record server may take to close a segment before an alarm says so. Digests of a day's audio take
/// a few seconds; a disk that needs longer is in trouble.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// At most one alarm for calls refused at a limit in so much time.
const REFUSALS_TOLD: Duration = Duration::from_secs(10);
/// What a refused client is told to wait (Retry-After, seconds) before it tries us again.
const RETRY_AFTER: &str = "10";

/// What the front needs to know.
#[derive(Debug, Clone)]
pub struct FrontConfig {
    /// This node.
    pub node: NodeNumber,
    /// Who owns the calls.
    pub tenant: TenantId,
    /// Calls at a time, holds and lingering ones included; more are refused with 503.
    pub calls_max: usize,
    /// From the end of a call until it is `complete`.
    pub linger: Duration,
    /// How long a call may be on hold before it is taken to have ended.
    pub hold_timeout: Duration,
    /// What a line means on which nothing is sent: [`Flowing::Held`] or [`Flowing::Paused`].
    pub inactive: Flowing,
    /// The IPv4 address of descriptions; none: the one that the request came to.
    pub address_v4: Option<IpAddr>,
    /// The IPv6 address of descriptions; none: the one that the request came to.
    pub address_v6: Option<IpAddr>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answer the pending request of a session with 200 and this description.
    Accept {
        /// The session.
        session: SessionId,
        /// The description.
        sdp: Bytes,
    },
    /// Refuse the pending request of a session.
    Refuse {
        /// The session.
        session: SessionId,
        /// The status code.
        code: u16,
        /// The reason phrase.
        reason: &'static str,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// End a session.
    HangUp {
        /// The session.
        session: SessionId,
        /// The value of a Reason header (RFC 3326).
        reason: String,
    },
    /// An order for the record server.
    Order(Order),
    /// A change for the catalogue.
    Tell(TenantId, ChangeKind),
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrontStats {
    /// Dialogs in progress.
    pub dialogs: usize,
    /// Calls in progress, lingering ones included.
    pub calls: usize,
    /// Calls that began.
    pub begun: u64,
    /// Requests refused because a limit was reached or the front is draining.
    pub refused: u64,
    /// Segments that no record server opened.
    pub not_recorded: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Open(SegmentId),
    Close(SegmentId),
    Hold(SessionId),
    Linger(CallId),
    /// Until then further refusals are counted only.
    RefusalsTold,
}

/// See the module.
#[derive(Debug)]
pub struct Front {
    config: FrontConfig,
    ids: IdGenerator,
    legs: BTreeMap<SessionId, Leg>,
    calls: Calls,
    timers: Timers<Timer>,
    actions: VecDeque<Action>,
    draining: bool,
    stats: FrontStats,
    /// Calls refused at a limit that no alarm has told of yet.
    refused_since: u64,
}

impl Front {
    /// A front without calls.
    #[must_use]
    pub fn new(config: FrontConfig, ids: IdGenerator) -> Self {
        Self {
            config,
            ids,
            legs: BTreeMap::new(),
            calls: Calls::default(),
            timers: Timers::new(),
            actions: VecDeque::new(),
            draining: false,
            stats: FrontStats::default(),
            refused_since: 0,
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> FrontStats {
        FrontStats { dialogs: self.legs.len(), calls: self.calls.len(), ..self.stats }
    }

    /// Something happened in a SIP session.
    pub fn handle_event(&mut self, now: Now, event: Event) {
        match event {
            Event::Invited { session, request } => self.invited(now, session, &request),
            Event::Reoffered { session, request } => self.reoffered(now, session, &request),
            Event::Informed { session, request } => self.annotate(now, session, &request),
            Event::Confirmed { session, answer: Some(part) } => self.answered(now, session, &part.bytes),
            Event::Ended { session, cause, request } => self.ended(now, session, cause, request.as_deref()),
            // The rest is about sessions that we begin, or says nothing new.
            _ => {}
        }
    }

    /// A record server reports.
    pub fn handle_report(&mut self, now: Now, report: Report) {
        match report {
            Report::Opened { segment, ports } => self.opened(now, segment, &ports),
            Report::Refused { segment, why } => self.order_refused(now, segment, &why),
            Report::MediaTimedOut { segment } => {
                self.fail(now, segment, EndReason::Upstream(Failure::MediaTimeout));
            }
            Report::Failing { segment, why } => self.fail(now, segment, EndReason::Internal(why)),
            Report::Ended { record } => self.sealed(now, &record),
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Open(segment) => {
                    let why = Failure::Resources("the record server did not answer".to_owned());
                    self.order_refused(now, segment, &why);
                }
                Timer::Close(segment) => self.close_is_late(segment),
                Timer::Hold(session) => self.hold_timed_out(now, session),
                Timer::Linger(call) => self.conclude(call),
                Timer::RefusalsTold => {
                    if self.refused_since > 0 {
                        self.tell_refusals(now);
                    }
                }
            }
        }
    }

    /// New calls are refused from now on; those in progress go on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Ends every call now, as a failure of ours: the rest of each conversation will not be recorded.
    pub fn end_all(&mut self, now: Now) {
        self.draining = true;
        self.config.linger = Duration::ZERO;
        for session in self.legs.keys().copied().collect::<Vec<_>>() {
            self.leave(now, session, EndReason::Internal(Failure::Process), Some("callspool is stopping"));
        }
        for call in self.calls.settled() {
            self.settle(now, call);
        }
    }

    fn invited(&mut self, now: Now, session: SessionId, request: &RequestInfo) {
        if self.draining || self.calls.len() >= self.config.calls_max {
            self.stats.refused += 1;
            self.refused_since += 1;
            if !self.timers.is_set(Timer::RefusalsTold) {
                self.tell_refusals(now);
            }
            return self.refuse(session, 503, "Service Unavailable");
        }
        let Ok(offer) = read_sdp(request) else { return self.refuse(session, 488, "Not Acceptable Here") };
        let call = self.ids.call(now.wall);
        let mut data = CallData::default();
        let metadata = describe::absorb(&mut data, request, now);
        let family = if request.flow.remote.is_ipv6() { Family::V6 } else { Family::V4 };
        let mut leg = self.leg(session, call, family, request);
        leg.sides.learn(request, &data);
        leg.lines = match &offer {
            Some(sdp) => self.read_lines(&leg, sdp, now),
            None => lines::asked(&ask::codecs(), family, &mut self.ids, now),
        };
        if leg.lines.iter().all(|l| l.stream.is_none()) {
            return self.refuse(session, 488, "Not Acceptable Here");
        }
        self.stats.begun += 1;
        let record = CallRecord {
            id: call,
            tenant: self.config.tenant.clone(),
            started: now.wall,
            ended: None,
            total: 0,
            data,
        };
        self.calls.insert(LiveCall::new(record, session));
        self.negotiate(now, &mut leg, offer, metadata);
        self.legs.insert(session, leg);
    }

    /// One alarm for all refusals of some seconds: a flood of calls must not become a flood of rows.
    fn tell_refusals(&mut self, now: Now) {
        let why = if self.draining { "callspool is stopping" } else { "the limit of calls is reached" };
        let count = std::mem::take(&mut self.refused_since);
        self.alarm(AlarmKind::NotRecorded, None, None, format!("calls were refused ({count}): {why}"));
        self.arm(now, REFUSALS_TOLD, Timer::RefusalsTold);
    }

    fn reoffered(&mut self, now: Now, session: SessionId, request: &RequestInfo) {
        let Some(mut leg) = self.legs.remove(&session) else {
            return self.refuse(session, 481, "Call/Transaction Does Not Exist");
        };
        let metadata = self.absorb(now, &mut leg, request);
        match read_sdp(request) {
            Err(_) => self.refuse(session, 488, "Not Acceptable Here"),
            Ok(offer) => {
                if let Some(sdp) = &offer {
                    leg.lines = self.read_lines(&leg, sdp, now);
                } else {
                    reactivate(&mut leg);
                }
                self.negotiate(now, &mut leg, offer, metadata);
            }
        }
        self.legs.insert(session, leg);
    }

    /// The lines of a leg are as the client wants them; moves the segment along and answers, now or later.
    fn negotiate(&mut self, now: Now, leg: &mut Leg, offer: Option<Sdp>, metadata: Vec<Metadata>) {
        let pending = offer.map_or(Pending::Offer, |sdp| Pending::Answer(Box::new(sdp)));
        let held = lines::all_held(&leg.lines);
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
                let segment = self.open_segment(now, leg);
                leg.phase = Phase::Opening { segment, pending };
            }
        }
    }

    fn hold(&mut self, now: Now, leg: &mut Leg, pending: Pending) {
        leg.phase = Phase::Held;
        lines::close(&mut leg.lines);
        self.arm(now, self.config.hold_timeout, Timer::Hold(leg.session));
        self.respond(leg, &pending);
        self.tell_call(leg.call);
    }

    fn open_segment(&mut self, now: Now, leg: &mut Leg) -> SegmentId {
        let segment = self.ids.segment(now.wall);
        if let Some(call) = self.calls.get_mut(leg.call) {
            let number = call.begin(segment);
            let open = OpenSegment {
                segment,
                call: leg.call,
                call_started: call.record.started,
                tenant: call.record.tenant.clone(),
                number,
                total: call.record.total,
                respondent: Respondent::No,
                started: now.wall,
                trigger: StartTrigger::Manager,
                data: call.record.data.clone(),
                metadata: leg.take_kept(),
                streams: lines::streams(&leg.lines),
            };
            self.calls.own_segment(segment, leg.call);
            self.actions.push_back(Action::Order(Order::Open(Box::new(open))));
            self.arm(now, OPEN_DEADLINE, Timer::Open(segment));
        }
        segment
    }

    fn opened(&mut self, now: Now, segment: SegmentId, ports: &[StreamPorts]) {
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

    fn end_orphan(&mut self, now: Now, segment: SegmentId) {
        if self.timers.is_set(Timer::Close(segment)) {
            return;
        }
        let reason = EndReason::Internal(Failure::Resources("ports came too late".to_owned()));
        self.arm(now, END_DEADLINE, Timer::Close(segment));
        self.actions.push_back(Action::Order(Order::End { segment, at: now.wall, reason }));
    }

    fn order_refused(&mut self, now: Now, segment: SegmentId, why: &Failure) {
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
            Phase::Opening { .. } => {
                self.withdraw(call, segment, text);
                self.refuse(leg.session, 503, "Service Unavailable");
                if !leg.is_answered {
                    // A refused first INVITE leaves no dialog.
                    self.calls.remove(call);
                    return;
                }
                leg.phase = Phase::Held;
                self.arm(now, self.config.hold_timeout, Timer::Hold(leg.session));
            }
            Phase::Changing { pending, .. } => {
                self.alarm(AlarmKind::NotRecorded, Some(call), Some(segment), text);
                if !matches!(pending, Pending::Nothing) {
                    self.refuse(leg.session, 503, "Service Unavailable");
                }
            }
            Phase::Recording { .. } | Phase::Held => {}
        }
        self.legs.insert(leg.session, leg);
    }

    /// A segment was wanted and is not recorded: its number is free again, and somebody hears of it.
    fn withdraw(&mut self, call: CallId, segment: SegmentId, text: String) {
        if let Some(call) = self.calls.get_mut(call) {
            call.withdraw(segment);
        }
        self.calls.forget_segment(segment);
        self.stats.not_recorded += 1;
        self.alarm(AlarmKind::NotRecorded, Some(call), Some(segment), text);
    }

    /// The ACK brought the answer to our offer.
    fn answered(&mut self, now: Now, session: SessionId, bytes: &[u8]) {
        let Some(mut leg) = self.legs.remove(&session) else { return };
        if let (Ok(sdp), Some(segment)) = (sdp::read(bytes), leg.segment()) {
            let ports: Vec<_> = leg.lines.iter().filter_map(|l| l.ports.clone()).collect();
            leg.lines = self.read_lines(&leg, &sdp, now);
            lines::set_ports(&mut leg.lines, &ports);
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

    fn ended(&mut self, now: Now, session: SessionId, cause: EndCause, request: Option<&RequestInfo>) {
        if let Some(request) = request {
            self.annotate(now, session, request);
        }
        self.leave(now, session, end_reason(cause, request), None);
    }

    /// A segment failed in mid-call: it ends, and so does the dialog, so that the client knows.
    fn fail(&mut self, now: Now, segment: SegmentId, reason: EndReason) {
        let Some(leg) = self.leg_of(segment) else { return };
        let (session, call) = (leg.session, leg.call);
        let kind = match reason {
            EndReason::Upstream(_) => AlarmKind::UpstreamFailure,
            _ => AlarmKind::InternalFailure,
        };
        let phrase = reason.describe();
        self.alarm(kind, Some(call), Some(segment), format!("a segment ended early: {phrase}"));
        self.leave(now, session, reason, Some(&phrase));
    }

    /// The dialog is over, or is made to be.
    fn leave(&mut self, now: Now, session: SessionId, reason: EndReason, hang_up: Option<&str>) {
        let Some(leg) = self.legs.remove(&session) else { return };
        self.timers.clear(Timer::Hold(session));
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
            if matches!(leg.phase, Phase::Opening { .. }) {
                self.timers.clear(Timer::Open(segment));
            }
            self.end_segment(now, leg.call, segment, reason);
        }
        if let Some(call) = self.calls.get_mut(leg.call) {
            call.end(now.wall);
        }
        self.tell_call(leg.call);
        self.settle(now, leg.call);
    }

    fn end_segment(&mut self, now: Now, call: CallId, segment: SegmentId, reason: EndReason) {
        if let Some(call) = self.calls.get_mut(call) {
            call.ending(segment, &reason);
        }
        self.timers.clear(Timer::Open(segment));
        self.arm(now, END_DEADLINE, Timer::Close(segment));
        self.actions.push_back(Action::Order(Order::End { segment, at: now.wall, reason }));
    }

    fn sealed(&mut self, now: Now, record: &SegmentRecord) {
        self.timers.clear(Timer::Close(record.id));
        let Some(call) = self.calls.of_segment(record.id) else { return };
        if let Some(mut leg) = self.take_leg(record.id) {
            // It ended by itself, without our order: storage failed under it.
            let session = leg.session;
            leg.phase = Phase::Held;
            self.legs.insert(session, leg);
            let reason = record.end.clone().unwrap_or(EndReason::Internal(Failure::Process));
            let phrase = reason.describe();
            self.alarm(
                AlarmKind::InternalFailure,
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

    fn close_is_late(&mut self, segment: SegmentId) {
        let call = self.calls.of_segment(segment);
        let text =
            format!("a segment is not closed after {} s: is its disk in trouble?", END_DEADLINE.as_secs());
        self.alarm(AlarmKind::Storage, call, Some(segment), text);
    }

    fn hold_timed_out(&mut self, now: Now, session: SessionId) {
        self.leave(now, session, EndReason::Stop, Some("on hold for too long"));
    }

    /// Starts the linger when a call ended and its segments are sealed.
    fn settle(&mut self, now: Now, call: CallId) {
        let Some(live) = self.calls.get(call) else { return };
        if live.is_empty() {
            self.calls.remove(call);
        } else if live.is_settled() {
            self.arm(now, self.config.linger, Timer::Linger(call));
        }
    }

    fn conclude(&mut self, call: CallId) {
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

    fn annotate(&mut self, now: Now, session: SessionId, request: &RequestInfo) {
        let Some(mut leg) = self.legs.remove(&session) else { return };
        let metadata = self.absorb(now, &mut leg, request);
        if !metadata.is_empty() {
            self.tell_or_keep(&mut leg, metadata);
            self.tell_call(leg.call);
        }
        self.legs.insert(session, leg);
    }

    /// Takes what a request says of the call; returns the metadata bodies that it carried.
    fn absorb(&mut self, now: Now, leg: &mut Leg, request: &RequestInfo) -> Vec<Metadata> {
        let Some(call) = self.calls.get_mut(leg.call) else { return Vec::new() };
        let metadata = describe::absorb(&mut call.record.data, request, now);
        leg.sides.learn(request, &call.record.data);
        metadata
    }

    fn read_lines(&mut self, leg: &Leg, sdp: &Sdp, now: Now) -> Vec<lines::Line> {
        let reading = Reading { sides: &leg.sides, inactive: self.config.inactive, addresses: leg.addresses };
        lines::read(sdp, &leg.lines, &reading, &mut self.ids, now)
    }

    /// Metadata go to the segment that records, else to the next one.
    fn tell_or_keep(&mut self, leg: &mut Leg, metadata: Vec<Metadata>) {
        match (leg.segment(), &leg.phase) {
            _ if metadata.is_empty() => {}
            // A segment that is being opened cannot take any yet.
            (None, _) | (_, Phase::Opening { .. }) => leg.keep(metadata),
            (Some(segment), _) => self.tell_segment(leg.call, segment, metadata),
        }
    }

    fn tell_segment(&mut self, call: CallId, segment: SegmentId, metadata: Vec<Metadata>) {
        if let Some(call) = self.calls.get(call) {
            let data = call.record.data.clone();
            self.actions.push_back(Action::Order(Order::Annotate { segment, data, metadata }));
        }
    }

    fn tell_call(&mut self, call: CallId) {
        if let Some(call) = self.calls.get(call).filter(|c| c.is_recorded) {
            let (tenant, record) = (call.record.tenant.clone(), Box::new(call.record.clone()));
            self.actions.push_back(Action::Tell(tenant, ChangeKind::Call(record)));
        }
    }

    fn respond(&mut self, leg: &mut Leg, pending: &Pending) {
        let sdp = match pending {
            Pending::Answer(offer) => leg.answer(offer),
            Pending::Offer => leg.offer(),
            Pending::Nothing => return,
        };
        leg.is_answered = true;
        self.actions.push_back(Action::Accept { session: leg.session, sdp });
    }

    fn refuse(&mut self, session: SessionId, code: u16, reason: &'static str) {
        let headers = match code {
            503 => vec![("Retry-After".to_owned(), RETRY_AFTER.to_owned())],
            _ => Vec::new(),
        };
        self.actions.push_back(Action::Refuse { session, code, reason, headers });
    }

    fn alarm(&mut self, kind: AlarmKind, call: Option<CallId>, segment: Option<SegmentId>, text: String) {
        let alarm = ChangeKind::Alarm(Alarm { kind, call, segment, text });
        self.actions.push_back(Action::Tell(self.config.tenant.clone(), alarm));
    }

    fn leg(&self, session: SessionId, call: CallId, family: Family, request: &RequestInfo) -> Leg {
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
        Leg::new(session, call, origin, addresses)
    }

    fn leg_of(&self, segment: SegmentId) -> Option<&Leg> {
        let call = self.calls.of_segment(segment)?;
        let session = self.calls.get(call)?.session;
        self.legs.get(&session).filter(|l| l.segment() == Some(segment))
    }

    fn take_leg(&mut self, segment: SegmentId) -> Option<Leg> {
        let session = self.leg_of(segment)?.session;
        self.legs.remove(&session)
    }

    /// A hold time-out of zero means never.
    fn arm(&mut self, now: Now, after: Duration, timer: Timer) {
        if after.is_zero() && matches!(timer, Timer::Hold(_)) {
            return;
        }
        self.timers.set(timer, now.mono + after);
    }
}

/// A re-INVITE without description asks for our offer: what was held is offered again, because the client
/// resumes this way (a refresh would carry what it has).
fn reactivate(leg: &mut Leg) {
    for stream in leg.lines.iter_mut().filter_map(|l| l.stream.as_mut()) {
        stream.flowing = Flowing::Active;
    }
}

fn read_sdp(request: &RequestInfo) -> Result<Option<Sdp>, sdp::SdpError> {
    request.sdp().map(|part| sdp::read(&part.bytes)).transpose()
}

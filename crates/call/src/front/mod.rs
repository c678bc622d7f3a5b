//! The machine behind a recorder's SIP front: every INVITE becomes a call, every stretch of media a segment.
//!
//! Hold ends a segment, resume begins the next; the end of the dialog ends the call. It answers a request only
//! when the record server has given ports, and gives up waiting after [`OPEN_DEADLINE`].

mod carrying;
mod elsewhere;
mod ending;
mod failover;
mod joining;
mod keys;
mod negotiation;
mod opening;
mod orders;
mod parting;
mod pauses;
mod recognition;
mod servers;
mod stops;
mod terms;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{
    CallId, ChangeKind, EndReason, Failure, IdGenerator, Incident, JoinReason, Metadata, Mono, Now,
    Occurrence, Order, Report, SegmentId,
};
use sip::siprec::{self, SessionState};
use sip::{Event, RequestInfo, SessionId};

use self::servers::Servers;
use self::stops::Came;
pub use self::terms::{Action, FrontConfig, FrontStats, Intake};
use crate::admission::{Admission, Crowded};
use crate::anchors::Copies;
use crate::bridge;
use crate::calls::Calls;
use crate::correlate::{self, Correlator};
use crate::describe::{self, Absorbed, Documents};
use crate::encryption::OwnKeys;
use crate::gate::{TurnedAway, Unwelcome};
use crate::leg::{Leg, Offered};
use crate::live_call::LiveCall;
use crate::refusers::Refusers;
use crate::servers::Room;
use crate::timers::Timers;

/// How long a record server may take to open a segment or change its streams before the request is refused:
/// a fifth of the client's own patience (timer B, 32 s, is the end of it), so that it can still go elsewhere.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// How long a record server may take to close a segment before an alarm says so. Digests of a day's audio take
/// a few seconds; a disk that needs longer is in trouble.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// How long after that the call goes on waiting: then it is concluded as if the segment had failed, because calls
/// that wait count as calls.
const CLOSE_GIVEN_UP: Duration = Duration::from_secs(300);
/// How long an order to pause, to resume or to change streams may take before it is taken to be lost and given again: the
/// recorder itself waits a second for a queue that is full.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long a call may be paused by what dialogs asked for that are over, before somebody hears of it: both dialogs of a
/// phone that puts the call on hold end within a second.
const LEFT_BEHIND: Duration = Duration::from_secs(10);
/// At most one alarm for calls refused at a limit in so much time.
const REFUSALS_TOLD: Duration = Duration::from_secs(10);
/// What a refused client is told to wait (Retry-After, seconds) before it tries us again.
const RETRY_AFTER: &str = "10";
/// The same while calls come too fast, which is soon over: one of these in turn, so that not all come back at once.
const RETRY_SOON: [&str; 3] = ["1", "2", "3"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Open(SegmentId),
    Close(SegmentId),
    GiveUp(SegmentId),
    /// Until then what was ordered of it should be carried out.
    Again(SegmentId),
    Hold(SessionId),
    Pause(CallId),
    Linger(CallId),
    /// Until then it may go on although it is concluded.
    Forget(CallId),
    /// Until then the dialog of the other end should come.
    Pair(CallId),
    /// Until then somebody should have resumed what dialogs paused that are over.
    Left(CallId),
    /// Until then the client of a segment that another took over from should send elsewhere.
    Part(SegmentId),
    /// Until then further refusals are counted only.
    RefusalsTold,
}

/// See the module.
#[derive(Debug)]
pub struct Front {
    config: FrontConfig,
    ids: IdGenerator,
    /// What our side of encryption is made of; none: encrypted lines are refused.
    own_keys: Option<OwnKeys>,
    /// Trunks of which it was told that keys come over signalling in the clear.
    clear_keys_told: BTreeSet<Arc<str>>,
    legs: BTreeMap<SessionId, Leg>,
    calls: Calls,
    correlator: Correlator,
    /// Calls that are to become one as soon as no segment of theirs is being opened.
    unions: Vec<(CallId, CallId, JoinReason)>,
    timers: Timers<Timer>,
    actions: VecDeque<Action>,
    intake: Intake,
    stats: FrontStats,
    /// What is being opened, and whether more can be.
    admission: Admission,
    /// Calls refused at a limit that no alarm has told of yet.
    refused_since: u64,
    /// Why some of them were refused although no limit is reached.
    crowded: Option<Crowded>,
    /// Orders to pause and resume and keys so far: their numbers.
    gate_orders: u64,
    /// While a request is heard: the calls whose pauses it may change, for that is carried out when all of it is known.
    unobeyed: Option<BTreeSet<CallId>>,
    /// Requests so far that waited for ports: who waits longest has the lowest number.
    asks: u64,
    /// The last who was turned away at the gate and whom no alarm has told of yet.
    unwelcome: Option<Unwelcome>,
    /// How many record servers its segments may lie on.
    servers: Servers,
    /// Whether they take new calls.
    room: Room,
    /// Calls of which something may have changed, where others may carry them on.
    touched: Option<BTreeSet<CallId>>,
    /// Clients that cannot be told of other ports.
    refusers: Refusers,
    /// How many copies there are of what goes through the proxy.
    copies: Copies,
    /// Where the next call goes, if not here.
    redirect: Option<String>,
}

impl Front {
    /// A front without calls.
    #[must_use]
    pub fn new(config: FrontConfig, ids: IdGenerator) -> Self {
        Self {
            config,
            ids,
            own_keys: None,
            clear_keys_told: BTreeSet::new(),
            legs: BTreeMap::new(),
            calls: Calls::default(),
            correlator: Correlator::default(),
            unions: Vec::new(),
            timers: Timers::new(),
            actions: VecDeque::new(),
            intake: Intake::Open,
            stats: FrontStats::default(),
            admission: Admission::default(),
            refused_since: 0,
            crowded: None,
            gate_orders: 0,
            unobeyed: None,
            asks: 0,
            unwelcome: None,
            servers: Servers::One,
            room: Room::Free,
            touched: None,
            refusers: Refusers::default(),
            copies: Copies::One,
            redirect: None,
        }
    }

    /// The same with what our side of encryption is made of: then encrypted media are taken.
    #[must_use]
    pub fn with_keys(mut self, own: OwnKeys) -> Self {
        self.own_keys = Some(own);
        self
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
        FrontStats {
            dialogs: self.legs.len(),
            calls: self.calls.len(),
            calls_max: self.config.calls_max,
            opening: self.admission.opening(),
            ..self.stats
        }
    }

    /// How long a call that came now would wait for its ports, as far as can be foreseen.
    #[must_use]
    pub fn opening_wait(&self, now: Now) -> Duration {
        self.admission.wait(now.mono)
    }

    /// Something happened in a SIP session.
    pub fn handle_event(&mut self, now: Now, event: Event) {
        let session = event.session();
        self.touch_session(session);
        match event {
            Event::Invited { session, request } => self.invited(now, session, &request),
            Event::Reoffered { session, request } => self.reoffered(now, session, &request),
            Event::Informed { session, request } => self.informed(now, session, &request),
            Event::Confirmed { session, answer } => {
                match answer {
                    Some(part) => self.answered(now, session, &part.bytes),
                    None => self.is_unanswered(session),
                }
                self.ask_metadata(session);
            }
            Event::Accepted { session, sdp, .. } => {
                self.reoffer_accepted(now, session, sdp.as_ref().map(|part| part.bytes.as_ref()));
            }
            Event::Refused { session, status, .. } => self.reoffer_refused(now, session, status),
            Event::Ended { session, cause, request } => self.ended(now, session, cause, request.as_deref()),
            // Media come whether the client has acknowledged our 200 or not, and are what a segment is judged by:
            // where none come it ends by its time-out, and a hold by its own.
            Event::Unacknowledged { session } => self.is_unanswered(session),
            // The rest is about sessions that we begin, or says nothing new.
            _ => {}
        }
        self.touch_session(session);
    }

    /// A record server reports.
    pub fn handle_report(&mut self, now: Now, report: Report) {
        self.touch_segment(report.segment());
        match report {
            Report::Opened { segment, ports } => self.opened(now, segment, &ports),
            Report::Refused { segment, why } => self.order_refused(now, segment, &why),
            Report::Withdrawn { segment } => self.withdrawn(now, segment),
            Report::CarriedOut { segment, order } => self.carried_out(segment, order),
            Report::MediaTimedOut { segment } => {
                self.fail(now, segment, EndReason::Upstream(Failure::MediaTimeout));
            }
            Report::Failing { segment, why } => self.fail_over(now, segment, EndReason::Internal(why)),
            Report::Ended { record } => self.sealed(now, &record),
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            self.touch_timer(timer);
            match timer {
                Timer::Open(segment) => {
                    let why = Failure::Resources("the record server did not answer".to_owned());
                    self.order_refused(now, segment, &why);
                }
                Timer::Close(segment) => self.close_is_late(now, segment),
                Timer::GiveUp(segment) => self.close_is_given_up(now, segment),
                Timer::Again(segment) => self.order_again(now, segment),
                Timer::Part(segment) => self.has_parted(now, segment),
                Timer::Hold(session) => self.hold_timed_out(now, session),
                Timer::Pause(call) => self.pause_timed_out(now, call),
                Timer::Linger(call) => self.conclude(now, call),
                Timer::Forget(call) => self.forget(call),
                Timer::Pair(call) => self.other_end_is_late(call),
                Timer::Left(call) => self.is_left_paused(call),
                Timer::RefusalsTold => {
                    if self.refused_since > 0 {
                        self.tell_refusals(now);
                    }
                }
            }
        }
    }

    /// Whether every new call would be refused with 503: whoever sees that before may do it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self.intake {
            Intake::Open => self.calls.len() >= self.config.calls_max || self.room == Room::Unreachable,
            Intake::Refused => true,
            Intake::HandedOver(_) => false,
        }
    }

    /// So many calls were refused because it is full, before they came here.
    pub fn count_refused(&mut self, now: Now, calls: u64) {
        if calls > 0 {
            self.refused(now, calls, None);
        }
    }

    /// So many calls came too fast and were refused before they came here.
    pub fn count_crowded(&mut self, now: Now, calls: u64) {
        if calls > 0 {
            self.stats.crowded += calls;
            self.crowded = Some(Crowded::Signalling);
            self.refused(now, calls, None);
        }
    }

    /// Whether media wait for every disk to an extent that might become loss: then new calls are refused.
    pub fn set_writing_behind(&mut self, is_behind: bool) {
        self.admission.writing(is_behind);
    }

    /// What becomes of new calls from now on; those in progress go on.
    pub fn set_intake(&mut self, intake: Intake) {
        self.intake = intake;
    }

    /// What becomes of new calls.
    #[must_use]
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// The gate turned some away before they came here.
    pub fn turned_away(&mut self, now: Now, away: TurnedAway) {
        let TurnedAway { strangers, wrong, too_fast, last } = away;
        self.stats.strangers += strangers;
        self.stats.unauthenticated += wrong;
        self.refused(now, strangers + wrong + too_fast, Some(last));
    }

    /// Counts refusals and tells of them, at a pace.
    fn refused(&mut self, now: Now, count: u64, last: Option<Unwelcome>) {
        self.stats.refused += count;
        self.refused_since += count;
        self.unwelcome = last.or(self.unwelcome.take());
        if !self.timers.is_set(Timer::RefusalsTold) {
            self.tell_refusals(now);
        }
    }

    /// Other settings from now on, also for calls in progress. The node and the tenant stay as they are.
    pub fn configure(&mut self, config: FrontConfig) {
        let FrontConfig { node, tenant, .. } = self.config.clone();
        self.config = FrontConfig { node, tenant, ..config };
    }

    /// Ends every call now, as a failure of ours: the rest of each conversation will not be recorded.
    pub fn end_all(&mut self, now: Now) {
        self.intake = Intake::Refused;
        self.config.linger = Duration::ZERO;
        for call in self.calls.ids() {
            let legs = self.legs_of(call);
            self.leave_all(now, &legs, EndReason::Internal(Failure::Process), Some("callspool is stopping"));
        }
        for call in self.calls.settled() {
            self.settle(now, call);
        }
        self.unions.clear();
    }

    /// One alarm for all refusals of some seconds: a flood of calls must not become a flood of rows.
    fn tell_refusals(&mut self, now: Now) {
        let why = match (self.unwelcome.take(), self.crowded.take(), &self.intake) {
            (Some(unwelcome), ..) => unwelcome.to_string(),
            (None, Some(crowded), _) => crowded.describe().to_owned(),
            (None, None, Intake::Open) => self.why_full().to_owned(),
            (None, None, Intake::Refused | Intake::HandedOver(_)) => "callspool is stopping".to_owned(),
        };
        let count = std::mem::take(&mut self.refused_since);
        self.alarm(Incident::NotRecorded, None, None, format!("calls were refused ({count}): {why}"));
        self.arm(now, REFUSALS_TOLD, Timer::RefusalsTold);
    }

    /// INFO, MESSAGE, or UPDATE without SDP. Bodies other than metadata, such as digits, are not looked at.
    fn informed(&mut self, now: Now, session: SessionId, request: &RequestInfo) {
        let state = self.annotate(now, session, request);
        self.obey_words(now, session, request, state);
        if let Some(call) = self.legs.get(&session).map(|leg| leg.call) {
            self.indicate(call);
        }
        self.ask_metadata(session);
    }

    /// Does what a request says of the recording, apart from SDP.
    fn obey_words(
        &mut self,
        now: Now,
        session: SessionId,
        request: &RequestInfo,
        state: Option<SessionState>,
    ) {
        self.hear();
        if state.is_some() {
            self.obey_state(now, session, state);
            // Its lines may mean something else now.
            self.obey_sdp(now, session, Offered::Nothing);
        }
        self.obey_header(now, session, request, Came::Alone);
        self.was_heard(now);
    }

    /// Notes what a request says; returns what its metadata say of the recording's state.
    fn annotate(&mut self, now: Now, session: SessionId, request: &RequestInfo) -> Option<SessionState> {
        let absorbed = self.absorb(now, session, request);
        if !absorbed.metadata.is_empty() {
            self.tell_or_keep(session, absorbed.metadata);
            if let Some(call) = self.legs.get(&session).map(|l| l.call) {
                self.tell_call(call);
            }
        }
        absorbed.state
    }

    /// Takes what a request says of the call.
    fn absorb(&mut self, now: Now, session: SessionId, request: &RequestInfo) -> Absorbed {
        let Some(leg) = self.legs.get_mut(&session) else { return Absorbed::default() };
        let Some(call) = self.calls.get_mut(leg.call) else { return Absorbed::default() };
        let documents = Documents::of(request);
        let said = correlate::read(request, &documents);
        let absorbed = describe::absorb(&mut call.record.data, request, documents, now, &mut leg.sides);
        leg.ask_about(&absorbed);
        if let Some(bridge) = bridge::read(request) {
            bridge.describe(&mut call.record.data);
        }
        self.recognize_again(now, session, &said);
        absorbed
    }

    /// Asks the client for what its metadata left open, where it is to be asked.
    fn ask_metadata(&mut self, session: SessionId) {
        let Some(leg) = self.legs.get_mut(&session).filter(|leg| leg.is_answered) else { return };
        if let Some((form, why)) = leg.asking.take() {
            let (content_type, body) = (form.content_type(), siprec::request_snapshot(why));
            self.actions.push_back(Action::AskMetadata { session, content_type, body });
        }
    }

    /// Metadata go to the segment that records, else to the next one.
    fn tell_or_keep(&mut self, session: SessionId, metadata: Vec<Metadata>) {
        if metadata.is_empty() {
            return;
        }
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let call = leg.call;
        // A segment that is being opened cannot take any yet.
        let opening = self.calls.get(call).and_then(LiveCall::opening);
        match leg.segment().filter(|segment| Some(*segment) != opening) {
            None => leg.keep(metadata),
            Some(segment) => self.tell_segment(call, segment, metadata),
        }
    }

    fn tell_segment(&mut self, call: CallId, segment: SegmentId, metadata: Vec<Metadata>) {
        if let Some(call) = self.calls.get(call) {
            let data = call.record.data.clone();
            self.actions.push_back(Action::Order(Order::Annotate { segment, data, metadata }));
        }
    }

    fn tell_call(&mut self, call: CallId) {
        self.touch(call);
        if let Some(call) = self.calls.get(call).filter(|c| c.is_recorded) {
            let (tenant, record) = (call.record.tenant.clone(), Box::new(call.record.clone()));
            self.actions.push_back(Action::Tell(tenant, ChangeKind::Call(record)));
        }
    }

    fn refuse(&mut self, session: SessionId, code: u16, reason: &'static str) {
        let headers = match code {
            503 | 600 => vec![("Retry-After".to_owned(), RETRY_AFTER.to_owned())],
            _ => Vec::new(),
        };
        self.actions.push_back(Action::Refuse { session, code, reason, headers });
    }

    fn hand_over(&mut self, session: SessionId, to: &str) {
        self.stats.handed_over += 1;
        let headers = vec![("Contact".to_owned(), format!("<{to}>"))];
        self.actions.push_back(Action::Refuse { session, code: 302, reason: "Moved Temporarily", headers });
    }

    fn alarm(&mut self, incident: Incident, call: Option<CallId>, segment: Option<SegmentId>, text: String) {
        let owner = call.and_then(|call| self.calls.get(call)).map(|call| &call.record.tenant);
        let tenant = owner.unwrap_or(&self.config.tenant).clone();
        self.actions.push_back(Action::Alarm(Occurrence { tenant, incident, call, segment, text }));
    }

    /// The dialogs of a call.
    fn legs_of(&self, call: CallId) -> Vec<SessionId> {
        self.calls.get(call).map(|call| call.legs.iter().copied().collect()).unwrap_or_default()
    }

    /// Those that have streams in a segment, or are to have.
    fn legs_in(&self, segment: SegmentId) -> Vec<SessionId> {
        let Some(call) = self.calls.of_segment(segment) else { return Vec::new() };
        let is_in = |s: &SessionId| self.legs.get(s).is_some_and(|l| l.segment() == Some(segment));
        self.legs_of(call).into_iter().filter(is_in).collect()
    }

    /// Whether nothing is expected on any line of these legs.
    fn are_held(&self, legs: &[SessionId]) -> bool {
        legs.iter().filter_map(|session| self.legs.get(session)).all(Leg::is_held)
    }

    /// A hold time-out of zero means never.
    fn arm(&mut self, now: Now, after: Duration, timer: Timer) {
        if after.is_zero() && matches!(timer, Timer::Hold(_)) {
            return;
        }
        self.timers.set(timer, now.mono + after);
    }
}

//! Orders of people and programs to live calls: start, stop, pause, resume; by API, by header, by SDP.
//!
//! A pause is a fact of the call ([`Pausing`](crate::pausing::Pausing)). Here it is told to whatever segment records: one that is open is
//! paused, one that begins later begins paused.

use std::time::Duration;

use model::peer::Flowing;
use model::{
    CallId, EndReason, Failure, Incident, Mono, Now, OpenPause, Order, PauseSource, SegmentId, StartTrigger,
    TenantId,
};
use sip::siprec::SessionState;
use sip::{RequestInfo, SessionId};

use super::{Action, Front, Intake, Timer};
use crate::command::{Ask, Changed, Command, CommandError, Done, Recording};
use crate::indication::Indication;
use crate::leg::{Leg, Pending, Phase};
use crate::lines;
use crate::live_call::{LiveCall, Standing};
use crate::signals::{self, Signal};

/// How a pause is named that the metadata of a client ask for.
const PAUSED_BY_METADATA: &str = "metadata: paused";

/// How an order came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// By itself: ports and their end are offered in a re-INVITE of ours.
    Alone,
    /// With an offer of this client: the answer tells it.
    With(SessionId),
}

/// Whether media were offered before a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    Media,
    Nothing,
}

impl Front {
    /// Carries out an order of a person or a program, as far as it can be at once: see [`Done::awaits`].
    ///
    /// # Errors
    /// When the tenant has no such call here, when it is over, or when it cannot be done now.
    pub fn handle_command(&mut self, now: Now, command: Command) -> Result<Done, CommandError> {
        self.is_in_progress(command.call, &command.tenant)?;
        let call = self.calls.resolve(command.call);
        let by = PauseSource::Api(command.by.clone());
        let changed = match command.ask {
            Ask::Pause { timeout } => self.pause(now, call, by, timeout),
            Ask::Resume => self.resume(call, &by),
            Ask::Stop => self.stop(now, call, command.by, Came::Alone),
            Ask::Start => self.start(now, call, command.by, Came::Alone)?,
        };
        self.indicate(call);
        Ok(self.done(now, call, changed))
    }

    /// Whether a call of the tenant is in progress here.
    ///
    /// # Errors
    /// When the tenant has no such call here, or when it is over.
    pub fn is_in_progress(&self, call: CallId, tenant: &TenantId) -> Result<(), CommandError> {
        let live = self.calls.get(self.calls.resolve(call)).filter(|c| c.record.tenant == *tenant);
        let live = live.ok_or(CommandError::NoSuchCall)?;
        if live.legs.is_empty() { Err(CommandError::NotLive) } else { Ok(()) }
    }

    /// Whether a call goes on. One that ended does not, though its last segments may not be sealed yet.
    #[must_use]
    pub fn goes_on(&self, call: CallId) -> bool {
        self.calls.get(self.calls.resolve(call)).is_some_and(|c| c.record.ended.is_none())
    }

    /// How a call stands.
    fn done(&self, now: Now, call: CallId, changed: Changed) -> Done {
        let Some(live) = self.calls.get(call) else {
            return Done { recording: Recording::Off, changed, awaits: Vec::new() };
        };
        let recording = match live.pausing.open() {
            _ if live.stopped.is_some() => Recording::Off,
            Some(pause) => Recording::Paused {
                since: pause.since,
                until: self.timers.at(Timer::Pause(call)).map(|at| now.wall + at.since(now.mono)),
            },
            None => Recording::On,
        };
        Done { recording, changed, awaits: live.awaited() }
    }

    /// What a request orders by a header, before its SDP is looked at.
    pub(super) fn obey_header(&mut self, now: Now, session: SessionId, request: &RequestInfo, came: Came) {
        let Some((signal, by)) = signals::read(request).filter(|_| self.config.orders_by_header) else {
            return;
        };
        let Some(call) = self.legs.get(&session).map(|leg| leg.call) else { return };
        let who = by.describe();
        match signal {
            Signal::Pause => _ = self.pause(now, call, by, None),
            Signal::Resume => _ = self.resume(call, &by),
            Signal::Stop => _ = self.stop(now, call, who, came),
            Signal::Start => {
                if let Err(e) = self.start(now, call, who, came) {
                    let text = format!("the client ordered to start, which cannot be done: {e}");
                    self.alarm(Incident::NotRecorded, Some(call), None, text);
                }
            }
        }
    }

    /// Whether the client has media on its way as far as it has offered.
    pub(super) fn offered(&self, session: SessionId) -> Offered {
        let is_active = |leg: &Leg| leg.lines.iter().any(lines::Line::is_active);
        if self.legs.get(&session).is_some_and(is_active) { Offered::Media } else { Offered::Nothing }
    }

    /// What metadata say of the recording's state, once the lines of the request are read. A pause that they began
    /// ends when they say so, or when media are offered again without a word after they were not (`before`): a refresh
    /// of what is offered already says nothing.
    pub(super) fn obey_state(
        &mut self,
        now: Now,
        session: SessionId,
        said: Option<SessionState>,
        before: Offered,
    ) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let (call, is_active) = (leg.call, leg.lines.iter().any(lines::Line::is_active));
        let (asked, offers_again) = (leg.asks_pause, is_active && before == Offered::Nothing);
        leg.asks_pause = match said {
            Some(state) => state == SessionState::Paused,
            None => asked && !offers_again,
        };
        // Only who asked for it ends it, and of several who did the last.
        let others = self.legs_of(call).iter().any(|s| self.legs.get(s).is_some_and(|l| l.asks_pause));
        let by = PauseSource::Sip(PAUSED_BY_METADATA.to_owned());
        let is_paused = self.calls.get(call).is_some_and(|c| c.pausing.is_asked_by(&by)) && asked && !others;
        match said {
            Some(SessionState::Paused) if self.config.orders_by_header => _ = self.pause(now, call, by, None),
            Some(SessionState::Active | SessionState::Held) if is_paused => _ = self.resume(call, &by),
            None if is_paused && offers_again => _ = self.resume(call, &by),
            _ => {}
        }
    }

    /// What SDP means for the pause, once its lines are read: nothing active on any leg, but something that is only
    /// paused.
    pub(super) fn obey_sdp(&mut self, now: Now, call: CallId) {
        let legs = self.legs_of(call);
        let legs = || legs.iter().filter_map(|session| self.legs.get(session));
        // Lines that are paused because a header or metadata say so are their pause.
        let is_said = |leg: &Leg| leg.sides.state() == Some(SessionState::Paused);
        let means_pause = legs().any(|leg| !is_said(leg) && self.inactive_of(leg) == Flowing::Paused);
        let paused = means_pause && lines::all_paused(legs().flat_map(|leg| &leg.lines));
        let Some(live) = self.calls.get_mut(call) else { return };
        if paused {
            live.pausing.ask(OpenPause { since: now.wall, by: PauseSource::Sdp });
            self.tell_gates(call, &PauseSource::Sdp);
        } else if live.pausing.resume(&PauseSource::Sdp) {
            self.tell_gates(call, &PauseSource::Sdp);
        }
    }

    fn pause(&mut self, now: Now, call: CallId, by: PauseSource, timeout: Option<Duration>) -> Changed {
        let Some(live) = self.calls.get_mut(call) else { return Changed::No };
        let was_ordered = live.pausing.is_ordered();
        let is_new = live.pausing.ask(OpenPause { since: now.wall, by: by.clone() });
        let segments = live.all_live();
        self.limit_pause(now, call, was_ordered, timeout.unwrap_or(self.config.pause_timeout));
        if !is_new {
            return Changed::No;
        }
        for segment in segments {
            let of_call = self.calls.get(call).and_then(|live| live.segment(segment));
            if of_call.is_some_and(|s| s.gate.is_closed() && matches!(s.standing, Standing::Open)) {
                // Paused by another already: who asks now is noted.
                self.order_gate(call, segment, &by);
            } else {
                self.tell_gate(call, segment, &by);
            }
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

    fn resume(&mut self, call: CallId, by: &PauseSource) -> Changed {
        let Some(live) = self.calls.get_mut(call) else { return Changed::No };
        if !live.pausing.resume(by) {
            return Changed::No;
        }
        if !live.pausing.is_ordered() {
            self.timers.clear(Timer::Pause(call));
        }
        self.tell_gates(call, by);
        Changed::Yes
    }

    pub(super) fn pause_timed_out(&mut self, call: CallId) {
        if self.calls.get(call).is_none_or(|live| live.legs.is_empty()) {
            // Nothing is recorded: if the call goes on, it is not paused any more.
            return self.calls.end_pause(call);
        }
        if self.resume(call, &PauseSource::Timeout) == Changed::Yes {
            self.indicate(call);
            let segment = self.calls.get(call).and_then(LiveCall::live);
            let text = "a pause lasted as long as it may: recording goes on. What is said now is kept; whoever paused should pause again if that is not wanted";
            self.alarm(Incident::PauseTimedOut, Some(call), segment, text.to_owned());
        }
    }

    /// Tells the record server whether the call is paused, for each segment that does not know.
    pub(super) fn tell_gates(&mut self, call: CallId, by: &PauseSource) {
        for segment in self.calls.get(call).map(LiveCall::all_live).unwrap_or_default() {
            self.tell_gate(call, segment, by);
        }
    }

    /// The same for one. One that is being opened is told when it is, before the client learns where to send.
    fn tell_gate(&mut self, call: CallId, segment: SegmentId, by: &PauseSource) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let paused = live.pausing.is_paused();
        let Some(of_call) = live.segment_mut(segment).filter(|s| s.gate.is_closed() != paused) else {
            return;
        };
        match of_call.standing {
            Standing::Open => {
                of_call.gate.set(paused);
                self.order_gate(call, segment, by);
            }
            Standing::Opening { .. } => {
                // It is ordered when the segment is open, and not true before.
                self.gate_orders += 1;
                of_call.gate.reserve(self.gate_orders);
            }
            Standing::Ending => {}
        }
    }

    /// A segment that was being opened is told what changed meanwhile.
    pub(super) fn catch_up_gate(&mut self, call: CallId, segment: SegmentId) {
        let by = self.calls.get(call).map_or(PauseSource::Sdp, |c| c.pausing.last());
        self.tell_gate(call, segment, &by);
        let of_call = self.calls.get(call).and_then(|live| live.segment(segment));
        if of_call.is_some_and(|s| s.gate.is_reserved()) {
            // Paused and resumed meanwhile: whoever asked waits for an answer all the same.
            self.order_gate(call, segment, &by);
        }
    }

    fn order_gate(&mut self, call: CallId, segment: SegmentId, by: &PauseSource) {
        let of_call = self.calls.get_mut(call).and_then(|live| live.segment_mut(segment));
        let Some(of_call) = of_call else { return };
        let next = self.gate_orders + 1;
        let (order, by) = (of_call.gate.order(next), by.clone());
        self.gate_orders = self.gate_orders.max(order);
        self.actions.push_back(Action::Order(if of_call.gate.is_closed() {
            Order::Pause { segment, order, by }
        } else {
            Order::Resume { segment, order, by }
        }));
    }

    /// Ends what records by order; the dialogs stay, and their clients are told that nothing is wanted.
    fn stop(&mut self, now: Now, call: CallId, by: String, came: Came) -> Changed {
        let Some(live) = self.calls.get_mut(call).filter(|live| live.stopped.is_none()) else {
            return Changed::No;
        };
        live.stopped = Some(by.clone());
        live.failing.clear();
        let waiting = std::mem::take(&mut live.waiting);
        let segments = live.all_live();
        for (session, pending, _) in waiting {
            self.hold(now, session, &pending);
        }
        if segments.is_empty() {
            return Changed::Yes;
        }
        for segment in segments {
            let legs = self.legs_in(segment);
            self.end_segment_by(now, call, segment, EndReason::Stop, Some(by.clone()));
            for session in legs {
                let pending = self.legs.get_mut(&session).map(Leg::release);
                match pending.unwrap_or(Pending::Nothing) {
                    // The offer that it came with is answered.
                    Pending::Nothing if came == Came::With(session) => {}
                    Pending::Nothing => self.reoffer(session),
                    pending => self.respond(session, &pending),
                }
            }
        }
        self.tell_call(call);
        Changed::Yes
    }

    fn start(&mut self, now: Now, call: CallId, by: String, came: Came) -> Result<Changed, CommandError> {
        if self.intake != Intake::Open {
            return Err(CommandError::NotAllowed("callspool is stopping"));
        }
        let Some(live) = self.calls.get_mut(call) else { return Err(CommandError::NoSuchCall) };
        if live.live().is_some() {
            return Ok(Changed::No);
        }
        let is_answered = |session: &SessionId| self.legs.get(session).is_some_and(|l| l.is_answered);
        if !live.legs.iter().any(is_answered) {
            return Err(CommandError::NotAllowed("the call has not begun yet"));
        }
        let changed = if live.stopped.take().is_some() { Changed::Yes } else { Changed::No };
        // An offer that it came with begins a segment; on hold, the one by which the client resumes.
        let legs = self.legs_of(call).into_iter().filter(|session| {
            let leg = self.legs.get(session);
            came != Came::With(*session) && leg.is_some_and(|leg| leg.is_answered && !leg.is_held())
        });
        let legs: Vec<_> = legs.map(|session| (session, Pending::Reoffer)).collect();
        if legs.is_empty() {
            return Ok(changed);
        }
        for (session, _) in &legs {
            self.timers.clear(Timer::Hold(*session));
        }
        self.open_segment(now, call, legs, StartTrigger::Api(by), None);
        Ok(Changed::Yes)
    }

    /// Offers the lines as they are in a re-INVITE of ours: with ports, or inactive.
    pub(super) fn reoffer(&mut self, session: SessionId) {
        self.take_indication(session);
        if let Some(leg) = self.legs.get_mut(&session).filter(|leg| leg.is_answered) {
            leg.is_offering = true;
            let sdp = leg.offer();
            self.actions.push_back(Action::Reoffer { session, sdp });
        }
    }

    /// What a peer that is aware of recording is told from now on; whether that is news to it.
    pub(super) fn take_indication(&mut self, session: SessionId) -> bool {
        let Some(leg) = self.legs.get_mut(&session) else { return false };
        let Some(before) = leg.indication else { return false };
        let live = self.calls.get(leg.call);
        let is_off = leg.is_held() || live.is_none_or(|live| live.stopped.is_some());
        let now = match live {
            _ if is_off => Indication::Off,
            Some(live) if live.pausing.is_paused() => Indication::Paused,
            _ => Indication::On,
        };
        leg.indication = Some(now);
        now != before
    }

    /// Peers that are aware of recording are told what has become of it, by offers of ours. Nothing depends on what
    /// they answer: the ports are the same.
    pub(super) fn indicate(&mut self, call: CallId) {
        for session in self.legs_of(call) {
            let is_news = self.take_indication(session);
            let leg = self.legs.get_mut(&session).filter(|leg| leg.is_answered && !leg.is_offering);
            if let Some(leg) = leg.filter(|_| is_news) {
                let sdp = leg.offer();
                self.actions.push_back(Action::Reoffer { session, sdp });
            }
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
        let Some(leg) = self.legs.get_mut(&session) else { return };
        if !std::mem::take(&mut leg.is_offering) {
            return;
        }
        let Phase::Recording { segment } = leg.phase else { return };
        let call = leg.call;
        leg.release();
        let why = format!("the client refuses to send again ({status})");
        let text = format!("a call that was started by order is not recorded: {why}");
        self.alarm(Incident::NotRecorded, Some(call), Some(segment), text);
        self.thin_out(now, call, segment, &EndReason::Upstream(Failure::Dialog(why)));
        let alone = |live: &LiveCall| live.live().is_none() && live.legs.len() == 1;
        if let Some(live) = self.calls.get_mut(call).filter(|live| alone(live)) {
            live.stopped = Some("callspool".to_owned());
        }
        self.tell_call(call);
    }

    /// A record server carried out an order to pause or resume.
    pub(super) fn carried_out(&mut self, segment: SegmentId, order: u64) {
        let call = self.calls.of_segment(segment).and_then(|call| self.calls.get_mut(call));
        if let Some(of_call) = call.and_then(|live| live.segment_mut(segment)) {
            of_call.gate.carried_out(order);
        }
    }
}

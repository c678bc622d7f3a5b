//! Stops and starts of live calls: which dialogs are recorded, and what their clients are told by re-INVITEs of ours.
//!
//! Who stopped what is a fact of the call ([`Stops`](crate::stopping::Stops)). Whatever changes it ends in
//! [`Front::obey_stops`], which alone takes legs out of their segments for it.

use model::{CallId, EndReason, Failure, Incident, Now, SegmentId, StartTrigger};
use sip::SessionId;

use super::servers::Servers;
use super::{Action, Front, Intake, Timer};
use crate::command::{Changed, CommandError};
use crate::indication::Indication;
use crate::leg::{Leg, Offering, Pending, Phase};
use crate::lines;
use crate::live_call::LiveCall;
use crate::reach::Reach;

/// How an order came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// By itself: ports and their end are offered in a re-INVITE of ours.
    Alone,
    /// With an offer of this client: the answer tells it.
    With(SessionId),
}

impl Front {
    /// Ends what records by order; the dialogs stay, and their clients are told that nothing is wanted.
    pub(super) fn stop(&mut self, now: Now, call: CallId, reach: Reach, by: String, came: Came) -> Changed {
        let Some(live) = self.calls.get_mut(call) else { return Changed::No };
        let was_stopped = live.stopped().is_some();
        live.stop(reach, by);
        self.obey_stops(now, call, came);
        if was_stopped { Changed::No } else { Changed::Yes }
    }

    /// Dialogs that somebody has stopped leave their segments, and those that wait for one are answered: after each stop
    /// and when calls become one. Whether that took anything out of what records.
    pub(super) fn obey_stops(&mut self, now: Now, call: CallId, came: Came) -> Changed {
        let Some(live) = self.calls.get_mut(call) else { return Changed::No };
        let is_whole = live.stopped().is_some();
        if is_whole {
            live.failing.clear();
        }
        let waiting = std::mem::take(&mut live.waiting);
        let segments = live.all_live();
        let (stopped, waiting): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(session, ..)| self.stopped(*session).is_some());
        if let Some(live) = self.calls.get_mut(call) {
            live.waiting = waiting;
        }
        for (session, pending, _) in stopped {
            self.hold(now, session, &pending);
        }
        let mut changed = Changed::No;
        for segment in segments {
            let (stopped, left): (Vec<_>, Vec<_>) =
                self.legs_in(segment).into_iter().partition(|session| self.stopped(*session).is_some());
            if is_whole || !stopped.is_empty() {
                self.take_out(now, call, segment, &stopped, &left, came);
                changed = Changed::Yes;
            }
        }
        if changed == Changed::Yes {
            self.tell_call(call);
        }
        changed
    }

    /// These legs leave a segment by order of somebody; those that are left go on in it.
    fn take_out(
        &mut self,
        now: Now,
        call: CallId,
        segment: SegmentId,
        stopped: &[SessionId],
        left: &[SessionId],
        came: Came,
    ) {
        let by = stopped.first().and_then(|session| self.stopped(*session));
        let by = by.or_else(|| self.calls.get(call).and_then(|live| live.stopped().map(str::to_owned)));
        let mut pending = Vec::new();
        for session in stopped {
            self.timers.clear(Timer::Hold(*session));
            pending.extend(self.legs.get_mut(session).map(|leg| (*session, leg.release())));
        }
        if left.is_empty() {
            self.end_segment_by(now, call, segment, EndReason::Stop, by);
        } else {
            self.thin_out(now, call, segment, &EndReason::Stop);
        }
        for (session, pending) in pending {
            match pending {
                // The offer that it came with is answered.
                Pending::Nothing if came == Came::With(session) => {}
                Pending::Nothing => self.reoffer(session),
                pending => self.respond(session, &pending),
            }
        }
    }

    /// Who stopped what this leg brings; none while it is wanted.
    pub(super) fn stopped(&self, session: SessionId) -> Option<String> {
        let leg = self.legs.get(&session)?;
        self.calls.get(leg.call)?.stopped_for(session).map(str::to_owned)
    }

    pub(super) fn start(
        &mut self,
        now: Now,
        call: CallId,
        reach: &Reach,
        by: String,
        came: Came,
    ) -> Result<Changed, CommandError> {
        if self.intake != Intake::Open {
            return Err(CommandError::NotAllowed("callspool is stopping"));
        }
        let Some(live) = self.calls.get_mut(call) else { return Err(CommandError::NoSuchCall) };
        if *reach != Reach::Order && live.is_stopped_by_order() {
            return Err(CommandError::NotAllowed("it was stopped by the interface, and is started there"));
        }
        let is_answered = |session: &SessionId| self.legs.get(session).is_some_and(|l| l.is_answered);
        if live.live().is_none() && !live.legs.iter().any(is_answered) {
            return Err(CommandError::NotAllowed("the call has not begun yet"));
        }
        let changed = if live.start(reach) { Changed::Yes } else { Changed::No };
        // An offer that it came with begins a segment; on hold, the one by which the client resumes.
        let waits: Vec<SessionId> = live.waiting.iter().map(|(session, ..)| *session).collect();
        let legs = self.legs_of(call).into_iter().filter(|session| {
            let is_new = came != Came::With(*session) && !waits.contains(session);
            is_new && self.stopped(*session).is_none() && self.legs.get(session).is_some_and(is_left_out)
        });
        let legs: Vec<_> = legs.map(|session| (session, Pending::Reoffer)).collect();
        if legs.is_empty() {
            return Ok(changed);
        }
        for (session, _) in &legs {
            self.timers.clear(Timer::Hold(*session));
        }
        match self.calls.get(call).and_then(LiveCall::live) {
            None => self.open_segment(now, call, legs, StartTrigger::Api(by), None),
            Some(segment) => {
                for (session, pending) in legs {
                    self.join_segment(now, session, segment, pending);
                }
            }
        }
        Ok(Changed::Yes)
    }

    /// Offers the lines as they are in a re-INVITE of ours: with ports, or inactive.
    pub(super) fn reoffer(&mut self, session: SessionId) {
        self.take_indication(session);
        if let Some(leg) = self.legs.get_mut(&session).filter(|leg| leg.is_answered) {
            leg.offering = Offering::Ports;
            let sdp = leg.offer();
            lines::note_offered(&mut leg.lines);
            self.actions.push_back(Action::Reoffer { session, sdp });
        }
    }

    /// What a peer that is aware of recording is told from now on; whether that is news to it.
    pub(super) fn take_indication(&mut self, session: SessionId) -> bool {
        let Some(leg) = self.legs.get_mut(&session) else { return false };
        let Some(before) = leg.indication else { return false };
        let live = self.calls.get(leg.call);
        let is_off = leg.is_held() || live.is_none_or(|live| live.stopped_for(session).is_some());
        let now = match live {
            _ if is_off => Indication::Off,
            Some(live) if live.pausing.is_paused_for(session) => Indication::Paused,
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
            let leg =
                self.legs.get_mut(&session).filter(|leg| leg.is_answered && leg.offering != Offering::Ports);
            if let Some(leg) = leg.filter(|_| is_news) {
                if leg.offering == Offering::Nothing {
                    leg.offering = Offering::Indication;
                }
                let sdp = leg.offer();
                self.actions.push_back(Action::Reoffer { session, sdp });
            }
        }
    }

    /// Tells a client of ports that have changed in mid-call, by an offer of ours; once none is under way.
    pub(super) fn tell_ports(&mut self, session: SessionId) {
        // At one record server only the ports of those that share them ever change in mid-call.
        let may_change = |leg: &&Leg| self.servers == Servers::Several || leg.trunk.sends_as_announced;
        if self.legs.get(&session).filter(may_change).is_some_and(Leg::is_misled) {
            self.reoffer(session);
            if let Some(leg) = self.legs.get_mut(&session) {
                leg.offering = Offering::Telling;
            }
        }
    }

    /// The client answered our re-INVITE.
    pub(super) fn reoffer_accepted(&mut self, now: Now, session: SessionId, answer: Option<&[u8]>) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        if let Offering::Telling | Offering::Ports = leg.take_offering()
            && let (Some(answer), Phase::Recording { .. }) = (answer, &leg.phase)
        {
            self.answered(now, session, answer);
        }
        self.tell_ports(session);
        self.has_heard_of_ports(now, session);
    }

    /// The client refused our re-INVITE: nothing will come to the ports that it offered.
    pub(super) fn reoffer_refused(&mut self, now: Now, session: SessionId, status: u16) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        match leg.take_offering() {
            Offering::Nothing => {}
            Offering::Indication => self.tell_ports(session),
            Offering::Telling => self.telling_refused(now, session, status),
            Offering::Ports => self.ports_refused(now, session, status),
        }
    }

    /// It was recorded before, and its other lines are still.
    fn telling_refused(&mut self, now: Now, session: SessionId, status: u16) {
        if !DIALOG_IS_OVER.contains(&status) {
            self.refuses_ports(now, session);
        }
        let Some(leg) = self.legs.get(&session) else { return };
        if let Some(segment) = leg.segment() {
            let text = format!(
                "a client refuses to be told of ports that have changed ({status}): what it sends is lost"
            );
            self.alarm(Incident::NotRecorded, Some(leg.call), Some(segment), text);
        }
        self.tell_ports(session);
    }

    fn ports_refused(&mut self, now: Now, session: SessionId, status: u16) {
        let Some(leg) = self.legs.get_mut(&session) else { return };
        let Phase::Recording { segment } = leg.phase else { return };
        let (call, reach) = (leg.call, Reach::Trunk(leg.trunk.name.clone()));
        leg.release();
        let why = format!("the client refuses to send again ({status})");
        let text =
            format!("a call that was started by order, or went on after a hold, is not recorded: {why}");
        self.alarm(Incident::NotRecorded, Some(call), Some(segment), text);
        self.thin_out(now, call, segment, &EndReason::Upstream(Failure::Dialog(why)));
        let alone = |live: &LiveCall| live.live().is_none() && live.legs.len() == 1;
        if let Some(live) = self.calls.get_mut(call).filter(|live| alone(live)) {
            live.stop(reach, "callspool".to_owned());
        }
        self.tell_call(call);
    }
}

/// What says nothing of what was asked for (RFC 3261 section 12.2.1.2).
const DIALOG_IS_OVER: [u16; 2] = [408, 481];

/// Whether a leg has media to record that no segment has.
fn is_left_out(leg: &Leg) -> bool {
    leg.is_answered && !leg.is_held() && leg.segment().is_none()
}

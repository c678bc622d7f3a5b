//! Calls that go from one front to another.
//!
//! ```text
//!  something of a call changes ──► its state is written ──► (kept elsewhere)
//!  (kept elsewhere) ──► adopt: as if it had been here from the first INVITE on
//!  another front has it ──► forget: nobody is told, nothing is ended
//! ```
//!
//! What is under way in one front is not handed on: an offer that is being answered is made again by its client, and what
//! was ordered of a segment and may be lost is ordered again.

use std::collections::BTreeSet;

use model::peer::FileNames;
use model::{CallId, Now, SegmentId};
use sip::{Agent, Gate, SessionId};

use super::{END_DEADLINE, Front, Timer};
use crate::correlate::Rest;
use crate::leg::{Leg, LegForm};
use crate::lines::Line;
use crate::live_call::LiveCall;
use crate::servers::RecordServers;
use crate::snapshot::Snapshot;

impl Front {
    /// The same, of which others may carry on calls: whoever has it asks which have changed.
    #[must_use]
    pub fn carried_on(mut self) -> Self {
        self.touched = Some(BTreeSet::new());
        self
    }

    /// Calls of which something may have changed since it was asked last.
    pub fn take_touched(&mut self) -> BTreeSet<CallId> {
        self.touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether a call is in progress here, or waits for its conclusion.
    #[must_use]
    pub fn has(&self, call: CallId) -> bool {
        self.calls.get(call).is_some()
    }

    /// The state of a call; none while it is not settled, and when it cannot be handed on.
    #[must_use]
    pub fn snapshot<G: Gate>(
        &self,
        now: Now,
        call: CallId,
        agent: &Agent<G>,
        servers: &RecordServers,
    ) -> Option<Snapshot> {
        let live = self.calls.get(call)?;
        let legs = live.legs.iter().map(|session| self.legs.get(session)?.form(agent.portrait(*session)?));
        let legs: Vec<LegForm> = legs.collect::<Option<_>>()?;
        let form = live.form(now, |segment| servers.portray(segment))?;
        Some(Snapshot::new(form, legs, self.correlator.portrait(call), servers.places_of(call)))
    }

    /// Whether a call of another front can be carried on here.
    #[must_use]
    pub fn may_adopt(&self, snapshot: &Snapshot) -> bool {
        let is_known = |leg: &LegForm| self.config.trunks.named(&leg.trunk).is_some();
        self.calls.known(snapshot.call()).is_none() && snapshot.legs.iter().all(is_known)
    }

    /// Carries on a call of another front, whose dialogs are these sessions here, in the order of [`Snapshot::dialogs`].
    /// Record servers have heard of it already.
    pub fn adopt(&mut self, now: Now, snapshot: Snapshot, sessions: &[SessionId]) {
        let Snapshot { call: form, legs, known, .. } = snapshot;
        let call = form.record.id;
        self.touch(call);
        let mut unsure = Vec::new();
        for segment in form.segments.iter().filter(|s| s.ended.is_none()) {
            self.calls.own_segment(segment.id, call);
            if !segment.is_live {
                self.arm(now, END_DEADLINE, Timer::Close(segment.id));
            } else if segment.is_unsure {
                unsure.push(segment.id);
            }
        }
        let mut live = LiveCall::of_form(form, sessions, now);
        // What the owner before ordered since it told this state may have the number that the next segment gets.
        live.files = FileNames::ById;
        let goes_on = live.all_live();
        self.calls.insert(live);
        let foreign = legs.iter().filter(|leg| leg.is_anchored).filter_map(|leg| leg.segment);
        self.note_foreign(call, foreign.collect::<Vec<_>>());
        self.go_on_parting(now, call);
        self.correlator.adopt(call, known);
        let owing = self.adopt_legs(now, call, legs, sessions, &goes_on);
        if goes_on.is_empty() {
            let rest = if sessions.is_empty() { Rest::Over } else { Rest::Held };
            self.correlator.rests(call, now.mono, rest);
        }
        self.order_anew(now, call, &goes_on, &unsure);
        for session in sessions {
            if owing.contains(session) { self.reoffer(*session) } else { self.tell_ports(*session) }
        }
        self.tell_call(call);
        self.settle(now, call);
    }

    /// Another front carries on a call: it is not of this one any more. The sessions of its dialogs.
    pub fn forget_quietly(&mut self, call: CallId) -> BTreeSet<SessionId> {
        let Some(live) = self.calls.remove(call) else { return BTreeSet::new() };
        for session in &live.legs {
            self.legs.remove(session);
            self.timers.clear(Timer::Hold(*session));
        }
        for segment in &live.segments {
            self.admission.gone(segment.id);
            for timer in [Timer::Open, Timer::Close, Timer::GiveUp, Timer::Again, Timer::Part] {
                self.timers.clear(timer(segment.id));
            }
        }
        self.timers.clear(Timer::Linger(call));
        self.forget(call);
        live.legs
    }

    /// The legs of a call that is adopted. Those whose offer of ports was under way.
    fn adopt_legs(
        &mut self,
        now: Now,
        call: CallId,
        legs: Vec<LegForm>,
        sessions: &[SessionId],
        goes_on: &[SegmentId],
    ) -> BTreeSet<SessionId> {
        let mut owing = BTreeSet::new();
        for (mut form, session) in legs.into_iter().zip(sessions.iter().copied()) {
            let Some(trunk) = self.config.trunks.named(&form.trunk).cloned() else { continue };
            form.segment = form.segment.filter(|segment| goes_on.contains(segment));
            if form.owes_offer {
                owing.insert(session);
            }
            let was_anchored = form.is_anchored;
            let mut leg = Leg::of_form(form, session, call, trunk);
            if was_anchored {
                // Its ports are gone with the other proxy: whether it gets some here is for this one to say.
                leg.route = self.route_of(now, &leg);
            }
            if !leg.lines.iter().any(Line::is_active) {
                // Since when it is on hold the other knew.
                self.arm(now, self.config.hold_timeout, Timer::Hold(session));
            }
            self.legs.insert(session, leg);
        }
        owing
    }

    /// What was ordered of segments may be lost with the link of whoever ordered it.
    fn order_anew(&mut self, now: Now, call: CallId, goes_on: &[SegmentId], unsure: &[SegmentId]) {
        let Some(by) = self.calls.get(call).map(|live| live.pausing.last()) else { return };
        for segment in unsure {
            self.order_gate(now, call, *segment, &by);
        }
        self.obey_pauses(now, call, &by);
        for segment in goes_on {
            self.order_change(now, *segment);
        }
    }

    /// Something of a call may change.
    pub(super) fn touch(&mut self, call: CallId) {
        if let Some(touched) = &mut self.touched {
            touched.insert(call);
        }
    }

    pub(super) fn touch_session(&mut self, session: Option<SessionId>) {
        if let Some(call) = session.and_then(|session| self.legs.get(&session)).map(|leg| leg.call) {
            self.touch(call);
        }
    }

    pub(super) fn touch_segment(&mut self, segment: SegmentId) {
        if let Some(call) = self.calls.of_segment(segment) {
            self.touch(call);
        }
    }

    pub(super) fn touch_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Open(segment)
            | Timer::Close(segment)
            | Timer::GiveUp(segment)
            | Timer::Again(segment)
            | Timer::Part(segment) => self.touch_segment(segment),
            Timer::Hold(session) => self.touch_session(Some(session)),
            Timer::Pause(call)
            | Timer::Linger(call)
            | Timer::Forget(call)
            | Timer::Pair(call)
            | Timer::Left(call) => self.touch(call),
            Timer::RefusalsTold => {}
        }
    }
}

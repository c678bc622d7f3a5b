//! Pauses of live calls: who asks for one, and what record servers are told.
//!
//! Who asks is a fact of the call ([`Pausing`](crate::pausing::Pausing)). Whatever changes it ends in
//! [`Front::obey_pauses`], which alone makes orders of it:
//!
//! ```text
//!  the whole call is paused ──► the gate of each segment: one that is open is closed, one that begins later begins so
//!  some of its legs are     ──► the streams of its legs, within their segments
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use model::peer::Flowing;
use model::{CallId, Incident, Now, OpenPause, Order, PauseSource, SegmentId};
use sip::SessionId;
use sip::siprec::SessionState;

use super::{AGAIN_AFTER, Action, Front, LEFT_BEHIND, Timer};
use crate::command::Changed;
use crate::leg::{Leg, Offered};
use crate::lines;
use crate::live_call::{LiveCall, Standing};
use crate::pausing::{Asker, Pausing};

/// How a pause is named that the metadata of a client ask for.
const PAUSED_BY_METADATA: &str = "metadata: paused";

impl Front {
    /// What metadata say of the recording's state.
    pub(super) fn obey_state(&mut self, now: Now, session: SessionId, said: Option<SessionState>) {
        let Some(call) = self.legs.get(&session).map(|leg| leg.call) else { return };
        let (asker, by) = (Asker::Metadata(session), PauseSource::Sip(PAUSED_BY_METADATA.to_owned()));
        match said {
            Some(SessionState::Paused) if self.config.orders_by_header => {
                self.pause(now, call, asker, by, None);
            }
            Some(SessionState::Active | SessionState::Held) => _ = self.resume(now, call, asker, &by),
            Some(SessionState::Paused) | None => {}
        }
    }

    /// Media that are offered again without a word, after they were not (`before`), end a pause that metadata began: a
    /// refresh of what is offered already says nothing.
    pub(super) fn obey_offer(&mut self, now: Now, session: SessionId, before: Offered) {
        let Some(leg) = self.legs.get(&session) else { return };
        let (call, by) = (leg.call, PauseSource::Sip(PAUSED_BY_METADATA.to_owned()));
        if before == Offered::Nothing && leg.offered() == Offered::Media {
            self.resume(now, call, Asker::Metadata(session), &by);
        }
    }

    /// What the SDP of a leg means for the pause, once its lines are read and what was said beside it is known: nothing
    /// active, but something that is only paused. `before` is what it offered until then.
    pub(super) fn obey_sdp(&mut self, now: Now, session: SessionId, before: Offered) {
        let Some(leg) = self.legs.get(&session).filter(|leg| leg.unanswered.is_none()) else { return };
        let call = leg.call;
        let Some(live) = self.calls.get(call) else { return };
        let asks = lines::all_paused(&leg.lines) && self.means_pause(leg, &live.pausing, before);
        let Some(live) = self.calls.get_mut(call) else { return };
        if asks {
            live.pausing.ask(Asker::Sdp(session), OpenPause { since: now.wall, by: PauseSource::Sdp }, None);
        } else {
            live.pausing.resume(Asker::Sdp(session), &PauseSource::Sdp);
        }
        self.obey_pauses(now, call, &PauseSource::Sdp);
    }

    /// Whether the client of this leg asks for a pause by lines on which nothing is sent.
    fn means_pause(&self, leg: &Leg, pausing: &Pausing, before: Offered) -> bool {
        let session = leg.session;
        match leg.sides.state() {
            Some(SessionState::Held) => false,
            _ if leg.trunk.inactive.unwrap_or(self.config.inactive) == Flowing::Paused => true,
            // It showed what it means. The pause of its metadata says so itself as long as it lasts, and what ends that
            // is not undone by a refresh.
            Some(SessionState::Paused) if self.config.orders_by_header => {
                let is_new = before == Offered::Media && !pausing.is_asked_by(Asker::Metadata(session));
                is_new || pausing.is_asked_by(Asker::Sdp(session))
            }
            Some(SessionState::Paused | SessionState::Active) | None => false,
        }
    }

    /// A client asked for an offer of ours and does not answer it: a pause by its lines or its metadata goes on, and
    /// somebody hears of that.
    pub(super) fn is_unanswered(&mut self, session: SessionId) {
        let Some(leg) = self.legs.get(&session).filter(|leg| leg.unanswered.is_some()) else { return };
        let (call, segment) = (leg.call, leg.segment());
        let asks = |live: &LiveCall| {
            [Asker::Sdp(session), Asker::Metadata(session)].iter().any(|a| live.pausing.is_asked_by(*a))
        };
        if self.calls.get(call).is_some_and(asks) {
            let text = "a client that paused asked for an offer and did not answer it: the pause goes on until it offers media again";
            self.alarm(Incident::NotRecorded, Some(call), segment, text.to_owned());
        }
    }

    /// A request is heard from here on: what it asks for of pauses is carried out when all of it is known.
    pub(super) fn hear(&mut self) {
        self.unobeyed = Some(BTreeSet::new());
    }

    /// All that a request says of pauses is known: it is carried out at once, so that what ends by one part of it and
    /// begins by another does not end for a moment.
    pub(super) fn was_heard(&mut self, now: Now) {
        for call in self.unobeyed.take().unwrap_or_default() {
            let call = self.calls.resolve(call);
            let by = self.calls.get(call).map_or(PauseSource::Sdp, |live| live.pausing.last());
            self.obey_pauses(now, call, &by);
        }
    }

    /// Somebody asks for a pause, with a time-out of its own or the configured one.
    pub(super) fn pause(
        &mut self,
        now: Now,
        call: CallId,
        asker: Asker,
        by: PauseSource,
        timeout: Option<Duration>,
    ) -> Changed {
        let timeout = timeout.unwrap_or(self.config.pause_timeout);
        let until = (!timeout.is_zero()).then(|| now.mono + timeout);
        let Some(live) = self.calls.get_mut(call) else { return Changed::No };
        let is_new = live.pausing.ask(asker, OpenPause { since: now.wall, by: by.clone() }, until);
        // Paused by another already: who asks now is noted.
        let noted: Vec<SegmentId> =
            if is_new && live.pausing.is_whole(asker) { live.all_closed() } else { Vec::new() };
        self.obey_pauses(now, call, &by);
        for segment in noted {
            self.order_gate(now, call, segment, &by);
        }
        if is_new { Changed::Yes } else { Changed::No }
    }

    /// Somebody asks to go on.
    pub(super) fn resume(&mut self, now: Now, call: CallId, asker: Asker, by: &PauseSource) -> Changed {
        let Some(live) = self.calls.get_mut(call) else { return Changed::No };
        if !live.pausing.resume(asker, by) {
            return Changed::No;
        }
        self.obey_pauses(now, call, by);
        Changed::Yes
    }

    pub(super) fn pause_timed_out(&mut self, now: Now, call: CallId) {
        let Some(live) = self.calls.known_mut(call) else { return };
        let before = live.pausing.paused();
        live.pausing.expire(now.mono);
        let goes_on = live.pausing.paused() < before;
        self.obey_pauses(now, call, &PauseSource::Timeout);
        if goes_on {
            self.indicate(call);
            let segment = self.calls.get(call).and_then(LiveCall::live);
            let text = "a pause lasted as long as it may: recording goes on. What is said now is kept; whoever paused should pause again if that is not wanted";
            self.alarm(Incident::PauseTimedOut, Some(call), segment, text.to_owned());
        }
    }

    /// What everybody asks for is computed anew and told to record servers where they do not know: after each change of
    /// who asks, whenever a leg comes or goes, and when calls become one. By whom the change came is noted.
    pub(super) fn obey_pauses(&mut self, now: Now, call: CallId, by: &PauseSource) {
        if let Some(unobeyed) = &mut self.unobeyed {
            unobeyed.insert(call);
            return;
        }
        match self.calls.known(call).and_then(|live| live.pausing.next_end()) {
            Some(at) => self.timers.set(Timer::Pause(call), at),
            None => self.timers.clear(Timer::Pause(call)),
        }
        // What closes goes first: nothing may pass while a pause of the call becomes one of some streams, or the reverse.
        let closes = self.calls.get(call).is_some_and(|live| live.pausing.open().is_some());
        if closes {
            self.tell_gates(now, call, by);
        }
        self.tell_streams(now, call);
        if !closes {
            self.tell_gates(now, call, by);
        }
        self.watch_for_heirs(now, call);
    }

    fn tell_gates(&mut self, now: Now, call: CallId, by: &PauseSource) {
        for segment in self.calls.get(call).map(LiveCall::all_keeping).unwrap_or_default() {
            self.tell_gate(now, call, segment, by);
        }
    }

    /// Tells the record server of legs whose streams are to be kept, or not, apart from the rest of the call.
    fn tell_streams(&mut self, now: Now, call: CallId) {
        let Some(live) = self.calls.get(call) else { return };
        let mut changed = BTreeSet::new();
        for session in &live.legs {
            let Some(leg) = self.legs.get_mut(session) else { continue };
            let is_apart = live.pausing.is_apart(*session);
            if leg.is_apart != is_apart {
                leg.is_apart = is_apart;
                changed.extend(leg.segment());
            }
        }
        if !changed.is_empty() {
            self.part_at_once(now, call);
        }
        for segment in changed {
            self.order_change(now, segment);
        }
    }

    /// A call that is paused by dialogs that are over stays so until somebody resumes it, who must hear of that.
    fn watch_for_heirs(&mut self, now: Now, call: CallId) {
        let Some(live) = self.calls.get_mut(call) else { return };
        if !live.pausing.has_left() {
            live.is_left_told = false;
            self.timers.clear(Timer::Left(call));
        } else if !live.is_left_told && !self.timers.is_set(Timer::Left(call)) {
            self.arm(now, LEFT_BEHIND, Timer::Left(call));
        }
    }

    pub(super) fn is_left_paused(&mut self, call: CallId) {
        let Some(live) = self.calls.get_mut(call).filter(|live| live.pausing.has_left()) else { return };
        live.is_left_told = true;
        let segment = live.live();
        let text = "a call stays paused because a dialog of it asked for that, which is over: resume it by the interface when it may be recorded";
        self.alarm(Incident::NotRecorded, Some(call), segment, text.to_owned());
    }

    /// Tells the record server whether the call is paused, if the segment does not know. One that is being opened is
    /// told when it is, before the client learns where to send; one that it takes over from is told at once, because it
    /// records until then.
    fn tell_gate(&mut self, now: Now, call: CallId, segment: SegmentId, by: &PauseSource) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let paused = live.pausing.open().is_some();
        let is_taken_over = live.is_taken_over(segment);
        let Some(of_call) = live.segment_mut(segment).filter(|s| s.gate.is_closed() != paused) else {
            return;
        };
        match of_call.standing {
            Standing::Ending if !is_taken_over => {}
            Standing::Open | Standing::Parting(_) | Standing::Ending => {
                of_call.gate.set(paused);
                self.order_gate(now, call, segment, by);
            }
            Standing::Opening { .. } => {
                // It is ordered when the segment is open, and not true before.
                self.gate_orders += 1;
                of_call.gate.reserve(self.gate_orders);
            }
        }
    }

    /// A segment that was being opened is told what changed meanwhile; what closes goes first, as ever.
    pub(super) fn catch_up(&mut self, now: Now, call: CallId, segment: SegmentId, is_outdated: bool) {
        let Some(live) = self.calls.get(call) else { return };
        let (closes, by) = (live.pausing.open().is_some(), live.pausing.last());
        if closes {
            self.catch_up_gate(now, call, segment, &by);
        }
        if is_outdated {
            self.order_change(now, segment);
        }
        if !closes {
            self.catch_up_gate(now, call, segment, &by);
        }
    }

    fn catch_up_gate(&mut self, now: Now, call: CallId, segment: SegmentId, by: &PauseSource) {
        self.tell_gate(now, call, segment, by);
        let of_call = self.calls.get(call).and_then(|live| live.segment(segment));
        if of_call.is_some_and(|s| s.gate.is_reserved()) {
            // Paused and resumed meanwhile: whoever asked waits for an answer all the same.
            self.order_gate(now, call, segment, by);
        }
    }

    pub(super) fn order_gate(&mut self, now: Now, call: CallId, segment: SegmentId, by: &PauseSource) {
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
        self.arm(now, AGAIN_AFTER, Timer::Again(segment));
    }

    /// An order to pause or resume that is not carried out may be lost.
    pub(super) fn order_gate_again(&mut self, now: Now, call: CallId, segment: SegmentId) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let (by, keeps) = (live.pausing.last(), live.all_keeping().contains(&segment));
        let Some(of_call) = live.segment_mut(segment).filter(|_| keeps) else { return };
        let Some(order) = of_call.gate.given() else { return };
        self.actions.push_back(Action::Order(if of_call.gate.is_closed() {
            Order::Pause { segment, order, by }
        } else {
            Order::Resume { segment, order, by }
        }));
        self.arm(now, AGAIN_AFTER, Timer::Again(segment));
    }

    /// A segment takes over from one whose record server may not stand as it was told: it is told itself.
    pub(super) fn take_over_gate(&mut self, call: CallId, failed: SegmentId, segment: SegmentId) {
        let Some(live) = self.calls.get_mut(call) else { return };
        let is_sure = live.segment(failed).is_none_or(|s| s.gate.awaited().is_none());
        if let Some(of_call) = live.segment_mut(segment).filter(|_| !is_sure) {
            self.gate_orders += 1;
            of_call.gate.reserve(self.gate_orders);
        }
    }

    /// A record server carried out an order to pause or resume.
    pub(super) fn carried_out(&mut self, segment: SegmentId, order: u64) {
        let call = self.calls.of_segment(segment).and_then(|call| self.calls.get_mut(call));
        if let Some(of_call) = call.and_then(|live| live.segment_mut(segment)) {
            of_call.gate.carried_out(order);
            if of_call.gate.awaited().is_none() && !of_call.is_change_lost {
                self.timers.clear(Timer::Again(segment));
            }
        }
    }
}

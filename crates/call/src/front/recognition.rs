//! Which call a new dialog is of, and calls that turn out to be one.
//!
//! ```text
//!  INVITE ──► of a call in progress ──► its streams join what records
//!        ├──► of one that ended lately ──► that goes on: `complete` goes back to `partial`
//!        └──► of none ──► another call
//!  any request that shows that two calls are one ──► the one of the lower id has the segments of both
//! ```
//!
//! Calls become one only while no segment of theirs is being opened: numbers are given for good then.

use std::sync::Arc;
use std::time::Duration;

use model::{
    CallId, CallKey, ChangeKind, Conclusion, Copy, CopyOf, EndReason, Incident, Join, JoinReason, Location,
    Now, Order, PauseSource, Transition,
};
use sip::SessionId;

use super::stops::Came;
use super::{Action, Front, Timer};
use crate::bridge::End;
use crate::command::Changed;
use crate::correlate::{Owner, Rest, Said};
use crate::live_call::{CameTo, LiveCall};
use crate::trunk::Trunk;

/// Dialogs that a call has at a time: each phone of a conference of some size forks two.
const LEGS_MAX: usize = 16;
/// Dialogs that a call has in its life: two for each of thirty holds. What has more is no call: its id is a constant.
const DIALOGS_MAX: u16 = 64;
/// Calls that ended lately and may go on: their data take some 3 kB each.
const REMEMBERED_MAX: usize = 4_096;
/// How long they may where holds have no time-out: twice the longest hold that is likely.
const REMEMBERED: Duration = Duration::from_secs(7_200);
/// Calls that are to become one, and wait for segments that are being opened.
const UNIONS_MAX: usize = 1_024;
/// How long the dialog of the other end may take before somebody hears that only one is recorded: both are sent at
/// once, and the slowest take a second.
const OTHER_END_WITHIN: Duration = Duration::from_secs(10);

/// Whether what arrives of a call is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
    /// It is over.
    Ended,
}

impl Front {
    /// The calls that a dialog is of, by what it says: the first is the one that stays, with which the others become
    /// one.
    pub(super) fn recognize(
        &mut self,
        now: Now,
        trunk: &Trunk,
        said: &Said,
        own: Option<CallId>,
    ) -> Vec<(CallId, JoinReason)> {
        let owner = owner(trunk);
        let mut found = self.correlator.find(now.mono, &owner, said, self.remembered_for());
        found.retain(|(call, _)| {
            let Some(known) = self.calls.known(*call).filter(|_| own != Some(*call)) else { return false };
            if known.legs.len() < LEGS_MAX && known.legs_begun < DIALOGS_MAX {
                return true;
            }
            for name in self.correlator.wear_out(*call, &owner, said) {
                let text = format!(
                    "a value of {name} is on more dialogs than a call has: trunk {} sends it with every call, and calls are not told by it any more",
                    trunk.name
                );
                let (call, tenant) = (Some(*call), owner.tenant.clone());
                let (incident, segment) = (Incident::Limit, None);
                self.actions.push_back(Action::Alarm(model::Occurrence { tenant, incident, call, segment, text }));
            }
            false
        });
        found
    }

    /// What a later request says may show that its call and another are one.
    pub(super) fn recognize_again(&mut self, now: Now, session: SessionId, said: &Said) {
        let Some(leg) = self.legs.get(&session) else { return };
        let (call, trunk) = (leg.call, leg.trunk.clone());
        let found = self.recognize(now, &trunk, said, Some(call));
        self.correlator.learn(call, &owner(&trunk), said);
        self.unite_all(now, call, found);
    }

    pub(super) fn unite_all(&mut self, now: Now, call: CallId, others: Vec<(CallId, JoinReason)>) {
        for (other, why) in others {
            self.unite(now, call, other, why);
        }
    }

    /// Two calls are one.
    pub(super) fn unite(&mut self, now: Now, a: CallId, b: CallId, why: JoinReason) {
        let (a, b) = (self.calls.resolve(a), self.calls.resolve(b));
        let recorded = |call: CallId| self.calls.known(call).map(|known| known.is_recorded);
        let (into, from) = match (recorded(a), recorded(b)) {
            (None, _) | (_, None) => return,
            // Nobody has heard of the other yet.
            (Some(true), Some(false)) => (a, b),
            (Some(false), Some(true)) => (b, a),
            _ => (a.min(b), a.max(b)),
        };
        if into == from || self.is_joined_elsewhere(into, from) {
            return;
        }
        if [into, from]
            .iter()
            .any(|call| self.calls.get(*call).is_some_and(|c| c.awaited_beside(None).is_some()))
        {
            if self.unions.len() < UNIONS_MAX {
                self.unions.push((into, from, why));
            } else {
                let text = format!("call {from} is this one, and is not joined with it: too many wait");
                self.alarm(Incident::Limit, Some(into), None, text);
            }
            return;
        }
        if !self.have_room_for_each_other(into, from) {
            let text = format!(
                "call {from} is this one by its ids, and is not joined with it: it would have more dialogs than a call has"
            );
            return self.alarm(Incident::Limit, Some(into), None, text);
        }
        let came_to = self.recall(into);
        let before = [into, from].map(|call| self.kept(call));
        self.touch(from);
        let Some(gone) = self.calls.take(from) else { return };
        // Time-outs of pauses stand with who asked for them.
        let timers = [Timer::Linger, Timer::Forget, Timer::Pair, Timer::Pause, Timer::Left];
        for timer in timers {
            self.timers.clear(timer(from));
        }
        for session in &gone.legs {
            if let Some(leg) = self.legs.get_mut(session) {
                leg.call = into;
            }
        }
        let (from_key, is_told) = (key(&gone), gone.is_recorded);
        self.correlator.join(from, into);
        let Some((numbers, live)) = self.calls.merge(gone, into) else { return };
        if live.legs.is_empty() {
            let ended = live.record.ended.unwrap_or(now.wall);
            live.end(ended);
        }
        if is_told {
            let (into, total, at) = (key(live), live.record.total, now.wall);
            let join = Join { into, from: from_key, numbers, total, at, why };
            self.actions.push_back(Action::Order(Order::Join(join)));
        }
        if let Some(came_to) = came_to {
            // By the same way as the conclusion, which may not be written yet when the join is noted.
            self.tell_taken_back(into, came_to);
        }
        let by = self.calls.get(into).map_or(PauseSource::Sdp, |c| c.pausing.last());
        self.obey_pauses(now, into, &by);
        let stopped = self.obey_stops(now, into, Came::Alone);
        self.tell_of_silence(into, before, stopped);
        self.indicate(into);
        self.tell_call(into);
        self.settle(now, into);
    }

    /// Whether somebody is there, and what arrives is kept.
    fn kept(&self, call: CallId) -> Kept {
        match self.calls.known(call) {
            Some(live) if live.legs.is_empty() => Kept::Ended,
            Some(live) if live.live().is_some() && live.pausing.open().is_none() => Kept::Yes,
            _ => Kept::No,
        }
    }

    /// A join ends what was recorded, or what is kept of it, by what was ordered of the other call: nobody who ordered
    /// that may be there any more, so somebody hears of it.
    fn tell_of_silence(&mut self, call: CallId, before: [Kept; 2], stopped: Changed) {
        let Some(live) = self.calls.get(call).filter(|_| before.contains(&Kept::Yes)) else { return };
        let paused = live.pausing.ordered_by().filter(|_| before.contains(&Kept::Ended));
        let text = match (stopped, live.stopped(), paused) {
            (Changed::Yes, by, _) => {
                let by = by.unwrap_or("another client");
                format!(
                    "a call turned out to be one that {by} stopped: it is not recorded until it is started"
                )
            }
            (Changed::No, _, Some(by)) => {
                let by = by.describe();
                format!(
                    "a call turned out to be one that {by} paused before it ended: nothing of it is kept until it is resumed"
                )
            }
            _ => return,
        };
        let segment = live.live();
        self.alarm(Incident::NotRecorded, Some(call), segment, text);
    }

    pub(super) fn have_room_for_each_other(&self, a: CallId, b: CallId) -> bool {
        let sum = |of: fn(&LiveCall) -> usize| {
            [a, b].iter().filter_map(|c| self.calls.known(*c)).map(of).sum::<usize>()
        };
        sum(|call| call.legs.len()) <= LEGS_MAX
            && sum(|call| usize::from(call.legs_begun)) <= DIALOGS_MAX.into()
    }

    /// Calls that waited to become one.
    pub(super) fn unite_those_that_waited(&mut self, now: Now) {
        for (into, from, why) in std::mem::take(&mut self.unions) {
            self.unite(now, into, from, why);
        }
    }

    /// A call that ended is not over yet; what it had come to, if it was concluded.
    pub(super) fn recall(&mut self, call: CallId) -> Option<CameTo> {
        self.timers.clear(Timer::Linger(call));
        self.timers.clear(Timer::Forget(call));
        let live = self.calls.recall(call)?;
        let from = live.concluded.take()?;
        live.taken_back = Some(from.state.apply(Transition::Continued).unwrap_or(from.state));
        Some(from)
    }

    /// A call that ended, or has been concluded, goes on.
    pub(super) fn take_back(&mut self, call: CallId, trunk: &Arc<str>) {
        let from = self.recall(call);
        let Some(live) = self.calls.get_mut(call) else { return };
        let had_ended = live.record.ended.is_some();
        live.goes_on();
        let paused = live.pausing.ordered_by().cloned();
        if let Some(by) = live.stopped_by_trunk(trunk).map(str::to_owned).filter(|_| had_ended) {
            let text = format!(
                "a call goes on that {by} stopped before it ended: it is not recorded until it is started"
            );
            self.alarm(Incident::NotRecorded, Some(call), None, text);
        } else if let Some(by) = paused.filter(|_| had_ended) {
            let by = by.describe();
            let text = format!(
                "a call goes on that {by} paused before it ended: nothing of it is kept until it is resumed"
            );
            self.alarm(Incident::NotRecorded, Some(call), None, text);
        }
        if let Some(from) = from {
            self.tell_taken_back(call, from);
        }
    }

    pub(super) fn tell_taken_back(&mut self, call: CallId, from: CameTo) {
        let Some(live) = self.calls.get(call) else { return };
        let Some(state) = live.taken_back else { return };
        let conclusion = Conclusion {
            call,
            call_started: live.record.started,
            tenant: live.record.tenant.clone(),
            total: live.record.total,
            from: Some(from.state),
            state: Some(state),
        };
        let tenant = live.record.tenant.clone();
        let copy = Copy { of: CopyOf::Call(call), at: Location::Node(from.at), state };
        self.actions.push_back(Action::Order(Order::Conclude(conclusion)));
        self.actions.push_back(Action::Tell(tenant, ChangeKind::Copy { call, copy }));
    }

    /// A call is concluded; what comes later may be of it.
    pub(super) fn remember(&mut self, now: Now, live: LiveCall) {
        let call = live.record.id;
        if !self.correlator.is_known(call) || self.intake != super::Intake::Open {
            return self.forget(call);
        }
        self.calls.remember(live);
        self.timers.set(Timer::Forget(call), now.mono + self.remembered_for());
        if let Some(oldest) = self.calls.oldest_beyond(REMEMBERED_MAX) {
            self.forget(oldest);
        }
    }

    pub(super) fn forget(&mut self, call: CallId) {
        self.touch(call);
        for timer in [Timer::Forget, Timer::Pair, Timer::Pause, Timer::Left] {
            self.timers.clear(timer(call));
        }
        self.calls.forget(call);
        self.correlator.forget(call);
    }

    fn remembered_for(&self) -> Duration {
        if self.config.hold_timeout.is_zero() { REMEMBERED } else { self.config.hold_timeout }
    }

    /// A segment of a call ended: if it was the last that recorded, the line is free, or waits.
    pub(super) fn rests(&mut self, now: Now, call: CallId, reason: &EndReason) {
        if self.calls.get(call).is_some_and(|live| live.live().is_none()) {
            let rest = match reason {
                EndReason::Hold | EndReason::Transfer => Rest::Held,
                EndReason::HangUp | EndReason::Stop => Rest::Over,
                EndReason::Upstream(_) | EndReason::Internal(_) => Rest::PerhapsHeld,
            };
            self.correlator.rests(call, now.mono, rest);
        }
    }

    /// A dialog of a phone's bridge ended without a word why: that may be a hold.
    pub(super) fn perhaps_held(&mut self, now: Now, call: CallId) {
        if self.calls.get(call).is_some_and(|live| live.live().is_none() && live.stopped().is_none()) {
            self.correlator.rests(call, now.mono, Rest::PerhapsHeld);
        }
    }

    /// Of the two ends of a phone's bridge one is there: the other is waited for.
    pub(super) fn watch_for_other_end(&mut self, now: Now, call: CallId) {
        if self.lonely_end(call).is_none() {
            self.timers.clear(Timer::Pair(call));
        } else if !self.timers.is_set(Timer::Pair(call)) {
            self.timers.set(Timer::Pair(call), now.mono + OTHER_END_WITHIN);
        }
    }

    /// The other end is of a call of another front.
    pub(super) fn other_end_may_be_elsewhere(&mut self, call: CallId) {
        if self.lonely_end(call).is_none() {
            self.timers.clear(Timer::Pair(call));
        }
    }

    pub(super) fn other_end_is_late(&mut self, call: CallId) {
        let Some(end) = self.lonely_end(call) else { return };
        let segment = self.calls.get(call).and_then(LiveCall::live);
        let text = format!(
            "only the {} of a call is recorded: no dialog of the other came within {} s",
            end.name(),
            OTHER_END_WITHIN.as_secs()
        );
        self.alarm(Incident::NotRecorded, Some(call), segment, text);
    }

    fn lonely_end(&self, call: CallId) -> Option<End> {
        let legs = self.legs_of(call);
        let ends: Vec<End> = legs.iter().filter_map(|s| self.legs.get(s)?.bridge).collect();
        let first = *ends.first()?;
        let elsewhere = self.calls.get(call).into_iter().flat_map(|live| live.elsewhere.values());
        if elsewhere.flat_map(|other| &other.bridged).any(|side| *side != first.side()) {
            return None;
        }
        ends.iter().all(|end| *end == first).then_some(first)
    }
}

pub(super) fn owner(trunk: &Trunk) -> Owner {
    Owner { tenant: trunk.tenant.clone(), trunk: trunk.name.clone() }
}

pub(super) fn key(call: &LiveCall) -> CallKey {
    let record = &call.record;
    CallKey { call: record.id, call_started: record.started, tenant: record.tenant.clone() }
}

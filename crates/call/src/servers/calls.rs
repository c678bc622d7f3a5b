//! Which record servers have segments of which call, and what is noted in the files of a call there.
//!
//! A conclusion goes to all of them. Only where there is one does the call have a copy, and a state; a call that goes on
//! after that is told there alone. What is for one that is gone waits for its return: it is about files, which outlive the
//! process.

use std::collections::{BTreeMap, BTreeSet};

use model::{CallId, Conclusion, Incident, Join, Now, Order, PeerName, RecordingState};

use super::several::{Several, Timer};

/// Calls that are concluded and may go on: as many as `Front` remembers.
const CONCLUDED_MAX: usize = 4_096;
/// All calls: those concluded, and several times as many as one proxy has in progress, on hold too. Beyond it the oldest is
/// forgotten: its conclusion is noted nowhere, and somebody hears of it then.
const CALLS_MAX: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Calls {
    known: BTreeMap<CallId, OfCall>,
    concluded: BTreeSet<CallId>,
}

#[derive(Debug, Default)]
struct OfCall {
    /// Where segments of it were opened.
    on: BTreeSet<PeerName>,
    /// Where it came to a state.
    copy_at: Option<PeerName>,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// A segment of a call was opened there, so it goes on. The calls that are not concluded any more, or forgotten for it.
    pub(super) fn began(&mut self, call: CallId, at: PeerName) -> Vec<CallId> {
        self.known.entry(call).or_default().on.insert(at);
        let mut changed = Vec::new();
        changed.extend(self.concluded.take(&call));
        if self.known.len() > CALLS_MAX {
            let oldest = self.concluded.first().or_else(|| self.known.keys().next()).copied();
            changed.extend(oldest.inspect(|oldest| self.forget(*oldest)));
        }
        changed
    }

    /// Where it has segments.
    pub(super) fn places(&self, call: CallId) -> BTreeSet<PeerName> {
        self.known.get(&call).map(|of_call| of_call.on.clone()).unwrap_or_default()
    }

    pub(super) fn forget(&mut self, call: CallId) {
        self.known.remove(&call);
        self.concluded.remove(&call);
    }

    /// A call is concluded. The oldest such that is forgotten for it.
    fn conclude(&mut self, call: CallId) -> Option<CallId> {
        self.concluded.insert(call);
        let oldest = self.concluded.first().copied().filter(|_| self.concluded.len() > CONCLUDED_MAX)?;
        self.forget(oldest);
        Some(oldest)
    }

    /// Two calls are one. Who has segments of either.
    fn join(&mut self, join: &Join) -> BTreeSet<PeerName> {
        let (into, from) = (join.into.call, join.from.call);
        let on = |call| self.known.get(&call).map(|of_call| of_call.on.clone());
        let all: BTreeSet<PeerName> = [into, from].into_iter().filter_map(on).flatten().collect();
        // Else one of them is elsewhere, and each goes on as it is called.
        if is_here(join) && !all.is_empty() {
            self.concluded.remove(&into);
            self.forget(from);
            self.known.entry(into).or_default().on.extend(all.iter().cloned());
        }
        all
    }
}

/// Whether both calls are of this proxy: then it has given numbers to the segments of the one that is taken in.
fn is_here(join: &Join) -> bool {
    !join.numbers.is_empty()
}

impl Several {
    /// A call ended, or goes on.
    pub(super) fn conclude(&mut self, now: Now, mut conclusion: Conclusion) {
        let call = conclusion.call;
        let Some(of_call) = self.calls.known.get_mut(&call) else {
            let text = format!(
                "how call {call} came out is noted nowhere: it is not known any more where its segments are"
            );
            return self.alarm(Incident::Limit, text);
        };
        let goes_on = conclusion.state.is_some_and(|state| !state.is_gathered());
        let to: BTreeSet<PeerName> = match (goes_on, of_call.on.len()) {
            (true, _) => of_call.copy_at.take().into_iter().collect(),
            (false, 1) => of_call.on.clone(),
            (false, _) => {
                (conclusion.state, conclusion.from) = (None, None);
                of_call.on.clone()
            }
        };
        if conclusion.state.is_some_and(RecordingState::is_gathered) {
            of_call.copy_at = to.first().cloned();
        }
        for name in &to {
            self.send_or_keep(now, name, Order::Conclude(conclusion.clone()));
        }
        if goes_on {
            self.calls.concluded.remove(&call);
            return self.timers.clear(Timer::Forget(call));
        }
        self.timers.set(Timer::Forget(call), now.mono + self.config.remembered);
        if let Some(forgotten) = self.calls.conclude(call) {
            self.timers.clear(Timer::Forget(forgotten));
        }
    }

    /// Two calls turned out to be one.
    pub(super) fn join(&mut self, now: Now, join: &Join) {
        for call in [join.into.call, join.from.call].into_iter().filter(|_| is_here(join)) {
            self.timers.clear(Timer::Forget(call));
        }
        let all = self.calls.join(join);
        if all.is_empty() {
            let text = format!(
                "that call {} is call {} is noted nowhere: it is not known any more where their segments are",
                join.from.call, join.into.call
            );
            self.alarm(Incident::Limit, text);
        }
        for name in all {
            self.send_or_keep(now, &name, Order::Join(join.clone()));
        }
    }

    /// What is to be noted in files goes to a record server, or waits for its return.
    pub(super) fn send_or_keep(&mut self, now: Now, to: &PeerName, order: Order) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        if peer.is_up() {
            peer.noting(now.mono, order.clone());
            return self.send(to, order);
        }
        let given_up = peer.keep(order);
        self.tell_given_up(to, given_up);
    }

    /// At the limit something is not noted that was to be.
    pub(super) fn tell_given_up(&mut self, at: &PeerName, orders: impl IntoIterator<Item = Order>) {
        for order in orders {
            let call = match order {
                Order::Conclude(conclusion) => conclusion.call,
                Order::Join(join) => join.into.call,
                _ => continue,
            };
            let text = format!(
                "record server {at} is gone for long: how call {call} came out is not noted there when it returns"
            );
            self.alarm(Incident::Limit, text);
        }
    }
}

//! Which calls are kept in mind: those that something is left to be done about, as many as there is room for.
//!
//! One that only waits keeps no other out: beyond room the one that has waited longest is put off, and found again when the
//! shell looks through what lies here. One of which something is under way is never put off, nor one with copies that are marked
//! and not noted yet.

use std::time::Duration;

use model::{CallId, CallKey, Mono, Now};

use super::keeper::leftovers;
use super::known::Known;
use super::synchronizer::Synchronizer;
use super::{CALLS_MAX, Stage};

/// How long a call stays in mind that is at rest with copies at several nodes: its nodes answer each other from memory until all
/// are at rest. A node that had forgotten it would take it in, and ask in its turn, for ever. It is longer than an answer
/// takes.
const REST: Duration = Duration::from_secs(30);
/// How long a call that waits keeps its place from those that are found by looking through everything: all nodes that can answer
/// have by then.
const TURN: Duration = Duration::from_secs(60);

impl Synchronizer {
    /// Whether another call is taken in that something happened to. Those that are not are handed in again later.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.calls.len() < CALLS_MAX || !self.waits.is_empty()
    }

    /// Whether another is taken in that was found by looking through everything: those that wait have had their turn.
    #[must_use]
    pub fn has_room_for_found(&self, now: Mono) -> bool {
        let longest = || self.waits.first().is_some_and(|(since, _)| *since + TURN <= now);
        self.calls.len() < CALLS_MAX || longest()
    }

    /// Whether calls were put off since this was asked: everything is to be looked through again some time.
    pub fn has_put_off(&mut self) -> bool {
        std::mem::take(&mut self.has_put_off)
    }

    /// Calls in mind.
    #[must_use]
    pub fn calls_in_mind(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn take_in(&mut self, key: &CallKey) -> Option<&mut Known> {
        if !self.calls.contains_key(&key.call) && self.calls.len() >= CALLS_MAX {
            self.put_off();
            if self.calls.len() >= CALLS_MAX {
                return None;
            }
        }
        Some(self.calls.entry(key.call).or_insert_with(|| Known::new(key.clone())))
    }

    /// The one that has waited longest goes, if it may.
    fn put_off(&mut self) {
        let may = |call: &CallId| {
            let known = self.calls.get(call);
            known.is_some_and(|known| known.job.is_none() && !self.keeper.holds_on_to(known))
        };
        let Some(call) = self.waits.iter().map(|(_, call)| *call).find(may) else { return };
        let rests = self.calls.get(&call).is_some_and(|known| known.rests_until.is_some());
        self.has_put_off |= !rests;
        self.drop_call(call);
    }

    /// Since when a call only waits; none when something is to be done about it.
    pub(super) fn set_waits(&mut self, known: &mut Known, since: Option<Mono>) {
        let call = known.key.call;
        if let Some(before) = std::mem::replace(&mut known.waits_since, since) {
            self.waits.remove(&(before, call));
        }
        self.waits.extend(since.map(|since| (since, call)));
    }

    /// A call about which nothing is left to be done is not kept in mind.
    pub(super) fn forget(&mut self, now: Now, call: CallId) {
        let Some(known) = self.calls.get(&call) else { return };
        let node = self.terms.node;
        let has_here = known.at(node).is_some_and(|own| leftovers(own).next().is_some());
        if known.job.is_some() || has_here || self.keeper.is_about(call) {
            return;
        }
        let holds = |known: &Known, here: bool| {
            let mut held = known.nodes.iter().filter(|(n, _)| (**n == node) == here);
            held.any(|(_, held)| held.copies().any(|(_, copy)| copy.is_kept()))
        };
        match self.plan(known).stage {
            Stage::Virtual => self.drop_call(call),
            Stage::Done if holds(known, true) && holds(known, false) => self.rest(now, call),
            Stage::Done => self.drop_call(call),
            _ => self.with(call, |machine, known| {
                if known.rests_until.take().is_some() {
                    machine.set_waits(known, Some(now.mono));
                }
            }),
        }
    }

    fn rest(&mut self, now: Now, call: CallId) {
        let mut is_over = false;
        self.with(call, |machine, known| {
            let until = *known.rests_until.get_or_insert(now.mono + REST);
            is_over = until <= now.mono;
            // It goes before any that waits for something.
            machine.set_waits(known, Some(Mono::ZERO));
            Self::wake_known(&mut machine.agenda, known, until);
        });
        if is_over {
            self.drop_call(call);
        }
    }

    fn drop_call(&mut self, call: CallId) {
        let Some(mut known) = self.calls.remove(&call) else { return };
        self.set_waits(&mut known, None);
        if let Some(due) = known.due {
            self.agenda.remove(&(due, call));
        }
        known.listing.values().for_each(|(ticket, _)| _ = self.tickets.remove(ticket));
        self.blocked.remove(&call);
    }
}

//! Whose calls are in truth: who has each, who keeps its state, and whether anybody can carry it on.
//!
//! A call has one owner here: who carried it on last. What another does that does not know yet that it has lost a call is
//! not counted as done to it.

use std::collections::{BTreeMap, BTreeSet};

use call::Stage;
use model::{CallId, SegmentId};
use sip::SessionId;

use super::{Answer, Dialog, Known, Truth};

/// A dialog that another proxy has now.
pub(crate) struct Adopted {
    pub(crate) session: SessionId,
    pub(crate) tag: String,
    pub(crate) is_held: bool,
}

impl Truth {
    /// Whether a call is this proxy's.
    pub(crate) fn has(&self, proxy: usize, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|of| of.proxy == proxy)
    }

    /// A segment of a call that is this proxy's, and of which it knows.
    pub(super) fn known_to(&mut self, proxy: usize, segment: SegmentId) -> Option<&mut Known> {
        let known = self.segments.get_mut(&segment)?;
        let is_its_own = self.calls.get(&known.call).is_some_and(|of| of.proxy == proxy);
        Some(known).filter(|known| is_its_own && !known.is_strange)
    }

    /// A record server has the state of a call.
    pub(crate) fn kept_at(&mut self, call: CallId, server: usize) {
        if let Some(of) = self.calls.get_mut(&call) {
            of.kept_at.insert(server);
        }
    }

    /// A record server has it no more.
    pub(crate) fn released_at(&mut self, call: CallId, server: usize) {
        if let Some(of) = self.calls.get_mut(&call) {
            of.kept_at.remove(&server);
        }
    }

    /// A record server hears how a call came out.
    pub(crate) fn heard(&mut self, call: CallId) {
        if let Some(of) = self.calls.get_mut(&call) {
            of.is_unheard = false;
        }
    }

    /// A record server is gone, and what it kept in its memory with it.
    pub(crate) fn keeper_left(&mut self, server: usize) {
        for of in self.calls.values_mut() {
            of.kept_at.remove(&server);
            of.is_lost |= of.is_left && of.kept_at.is_empty();
        }
    }

    /// A proxy is gone: others may carry on its calls, as far as they are not over.
    pub(crate) fn left(&mut self, proxy: usize) {
        for of in self.calls.values_mut().filter(|of| of.proxy == proxy) {
            // What it said last may have been lost with it.
            let is_over = of.is_concluded && !of.is_unheard;
            of.is_left |= !is_over;
            of.is_lost |= of.is_left && of.kept_at.is_empty();
        }
        // The next process gives its sessions the same numbers.
        let of_proxy = self.dialogs.extract_if(.., |(of, _), _| *of == proxy);
        self.former.extend(of_proxy.map(|(_, dialog)| dialog));
    }

    /// Dialogs of a proxy have tags by which another proxy may know them.
    pub(crate) fn tag(&mut self, proxy: usize, tag_of: impl Fn(SessionId) -> Option<String>) {
        let of_proxy = self.dialogs.range_mut((proxy, SessionId(0))..=(proxy, SessionId(u64::MAX)));
        for ((_, session), dialog) in of_proxy.filter(|(_, dialog)| dialog.tag.is_none() && !dialog.is_over) {
            dialog.tag = tag_of(*session);
        }
    }

    /// A call is this proxy's from now on, as a state of it says.
    pub(crate) fn carried(
        &mut self,
        proxy: usize,
        call: CallId,
        stages: &BTreeMap<SegmentId, Stage>,
        dialogs: Vec<Adopted>,
    ) {
        let Some(of) = self.calls.get_mut(&call) else {
            return self.violated(format!("call {call} is carried on, which never was"));
        };
        if of.is_concluded && !of.is_left {
            *self.revived.entry(call).or_default() += 1;
        }
        (of.proxy, of.is_concluded, of.is_left, of.is_lost, of.is_unheard) =
            (proxy, false, false, false, false);
        *self.carried.entry(call).or_default() += 1;
        for (id, known) in self.segments.iter_mut().filter(|(_, known)| known.call == call) {
            match stages.get(id) {
                Some(Stage::Ended) => known.is_live = false,
                Some(stage) => {
                    (known.answer, known.at) = (Answer::Opened, None);
                    known.is_live = *stage == Stage::Live;
                }
                None => {
                    (known.answer, known.at) = (Answer::Never, None);
                    (known.is_live, known.is_strange) = (false, true);
                }
            }
        }
        for adopted in dialogs {
            self.adopted(proxy, adopted);
        }
    }

    fn adopted(&mut self, proxy: usize, adopted: Adopted) {
        let Adopted { session, tag, is_held } = adopted;
        let all = self.dialogs.values_mut().chain(&mut self.former);
        let mut same = all.filter(|dialog| dialog.tag.as_ref() == Some(&tag));
        let Some(before) = same.next() else {
            return self.violated(format!("a dialog is carried on by the tag {tag}, which nobody had"));
        };
        let (caller, call_id) = (before.caller, before.call_id.clone());
        // Whoever had it will hear that it is another's.
        [before].into_iter().chain(same).for_each(|dialog| dialog.is_over = true);
        let dialog = Dialog {
            caller,
            call_id,
            tag: Some(tag),
            is_accepted: true,
            is_held,
            is_over: false,
            uncared: None,
        };
        self.dialogs.insert((proxy, session), dialog);
    }

    /// Dialogs are not this proxy's any more, and it says nothing of them.
    pub(crate) fn forgotten(&mut self, proxy: usize, sessions: &BTreeSet<SessionId>) {
        for session in sessions {
            if let Some(dialog) = self.dialogs.get_mut(&(proxy, *session)) {
                dialog.is_over = true;
            }
        }
    }

    /// Whether a call is left, and could have been carried on.
    pub(crate) fn is_left_alone(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|of| of.is_left && !of.is_lost)
    }
}

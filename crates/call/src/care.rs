//! At a record server: whether anybody who is linked has a call, and will say how it came out.
//!
//! Whoever ordered the last segment of a call has it, until the call is concluded, or until that process is not linked any more.
//! What a proxy that is gone may leave to another is [kept](crate::Keeper), which is another matter; and what is live is seen to
//! be so.
//!
//! What it forgets, or never knew because this process began after it, costs nothing: a call that is concluded without its
//! proxy is continued when it goes on.

use std::collections::BTreeMap;

use model::{CallId, Order, PeerName, RecordingState};

/// Calls that are not concluded: those of several proxies at their limits. Beyond it the oldest is forgotten.
const CALLS_MAX: usize = 65_536;

/// Who has a call.
#[derive(Debug, PartialEq, Eq)]
enum By {
    /// The front of this process.
    Front,
    /// A proxy, as the process that it was; none: it did not say.
    Proxy(PeerName, Option<u64>),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Care {
    /// Proxies that are linked.
    here: BTreeMap<PeerName, Option<u64>>,
    calls: BTreeMap<CallId, By>,
}

impl Care {
    /// A proxy is linked.
    pub fn arrived(&mut self, name: &PeerName) {
        self.here.insert(name.clone(), None);
    }

    /// It says which process it is.
    pub fn present(&mut self, name: &PeerName, run: u64) {
        let Some(before) = self.here.insert(name.clone(), Some(run)) else { return };
        if before.is_none() {
            let unsaid = By::Proxy(name.clone(), None);
            let by_it = self.calls.values_mut().filter(|by| **by == unsaid);
            by_it.for_each(|by| *by = By::Proxy(name.clone(), Some(run)));
        }
    }

    /// Its link is gone.
    pub fn left(&mut self, name: &PeerName) {
        self.here.remove(name);
    }

    /// A proxy orders something.
    pub fn ordered(&mut self, by: &PeerName, order: &Order) {
        match order {
            Order::Open(open) => self.has_by(open.call, by),
            Order::Conclude(c) if c.state.is_none_or(RecordingState::is_gathered) => {
                self.calls.remove(&c.call);
            }
            Order::Conclude(c) => self.has_by(c.call, by),
            _ => {}
        }
    }

    /// A call is this proxy's from now on.
    pub fn moved(&mut self, call: CallId, to: &PeerName) {
        self.has_by(call, to);
    }

    /// The front of this process has a call, and concludes it.
    pub fn is_own(&mut self, call: CallId) {
        self.note(call, By::Front);
    }

    /// Whether somebody who is there has it.
    #[must_use]
    pub fn has(&self, call: CallId) -> bool {
        match self.calls.get(&call) {
            None => false,
            Some(By::Front) => true,
            Some(By::Proxy(name, run)) => match self.here.get(name) {
                None => false,
                Some(here) => here.is_none() || run.is_none() || here == run,
            },
        }
    }

    fn has_by(&mut self, call: CallId, by: &PeerName) {
        let run = self.here.get(by).copied().flatten();
        self.note(call, By::Proxy(by.clone(), run));
    }

    fn note(&mut self, call: CallId, by: By) {
        self.calls.insert(call, by);
        if self.calls.len() > CALLS_MAX {
            self.calls.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Conclusion, OpenSegment, SegmentId, TenantId, WallTime};

    fn call(n: u64) -> CallId {
        CallId::from_u64(n)
    }

    fn open(n: u64) -> Order {
        Order::Open(Box::new(OpenSegment::first(SegmentId::from_u64(n), call(n), WallTime(0), Vec::new())))
    }

    fn conclude(n: u64, state: Option<RecordingState>) -> Order {
        let (call_started, tenant) = (WallTime(0), TenantId::default());
        Order::Conclude(Conclusion { call: call(n), call_started, tenant, total: 1, from: None, state })
    }

    #[test]
    fn a_call_is_had_by_the_process_that_ordered_it_while_that_is_linked() {
        let (mut care, p) = (Care::default(), "p".parse().unwrap());
        care.arrived(&p);
        care.ordered(&p, &open(1));
        care.present(&p, 5);
        care.ordered(&p, &open(2));
        let has = |care: &Care| [1, 2, 3].map(|n| care.has(call(n)));
        assert_eq!(has(&care), [true, true, false]);
        care.left(&p);
        assert_eq!(has(&care), [false; 3]);
        care.arrived(&p);
        assert_eq!(has(&care), [true, true, false], "it may be the same");
        care.present(&p, 5);
        assert_eq!(has(&care), [true, true, false]);
        care.left(&p);
        care.arrived(&p);
        care.present(&p, 6);
        assert_eq!(has(&care), [false; 3], "another process has nothing of before");
        care.moved(call(2), &p);
        assert_eq!(has(&care), [false, true, false]);
    }

    #[test]
    fn a_call_that_is_concluded_is_nobody_s_until_it_goes_on() {
        let (mut care, p) = (Care::default(), "p".parse().unwrap());
        care.arrived(&p);
        care.ordered(&p, &open(1));
        care.ordered(&p, &conclude(1, None));
        assert!(!care.has(call(1)));
        care.ordered(&p, &conclude(1, Some(RecordingState::Partial)));
        assert!(care.has(call(1)));
        care.ordered(&p, &conclude(1, Some(RecordingState::Complete)));
        assert!(!care.has(call(1)));
    }

    #[test]
    fn what_is_remembered_is_limited() {
        let mut care = Care::default();
        (0..=CALLS_MAX as u64).for_each(|n| care.is_own(call(n)));
        assert_eq!(care.calls.len(), CALLS_MAX);
        assert!(!care.has(call(0)) && care.has(call(1)));
    }
}

//! Calls of other fronts, as those told of them: for dialogs that come here later and are of the same conversations.
//!
//! What is told may come late, twice or never, and in any order; what is known then is the same. It knows ids and which
//! call has them, and decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{CallId, CallKey};

use super::Scoped;

/// Calls elsewhere that are remembered: as many as calls here that may go on. The oldest are forgotten first.
const SIGHTINGS_MAX: usize = 4_096;

/// A call of a front, as others need to know it to find that one of theirs is of the same conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The call.
    pub(crate) call: CallKey,
    /// How many segments it expects.
    pub(crate) total: u16,
    /// Its ids.
    pub(crate) ids: BTreeSet<Scoped>,
}

impl Sighting {
    /// The call that it is of.
    #[must_use]
    pub const fn call(&self) -> CallId {
        self.call.call
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    sightings: BTreeMap<CallId, Sighting>,
    by_id: BTreeMap<Scoped, BTreeSet<CallId>>,
    /// The calls, the one that was heard of first at the front.
    in_order: VecDeque<CallId>,
}

impl Elsewhere {
    /// Another front told of a call.
    pub(crate) fn heard(&mut self, sighting: Sighting) {
        let call = sighting.call();
        for id in &sighting.ids {
            self.by_id.entry(id.clone()).or_default().insert(call);
        }
        if let Some(known) = self.sightings.get_mut(&call) {
            // What comes late may say less than what is known.
            known.ids.extend(sighting.ids);
            known.total = known.total.max(sighting.total);
        } else {
            self.sightings.insert(call, sighting);
            self.in_order.push_back(call);
        }
        if self.in_order.len() > SIGHTINGS_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.in_order.pop_front().and_then(|call| self.sightings.remove(&call));
        let Some(oldest) = oldest else { return };
        for id in &oldest.ids {
            let calls = self.by_id.get_mut(id);
            if calls.is_some_and(|calls| calls.remove(&oldest.call()) && calls.is_empty()) {
                self.by_id.remove(id);
            }
        }
    }

    /// The calls elsewhere that have one of these ids, and which.
    pub(crate) fn find(&self, ids: &BTreeSet<Scoped>) -> Vec<(Sighting, Scoped)> {
        let mut found = BTreeMap::new();
        for id in ids {
            for call in self.by_id.get(id).into_iter().flatten() {
                found.entry(*call).or_insert(id);
            }
        }
        let sighting = |(call, id): (CallId, &Scoped)| Some((self.sightings.get(&call)?.clone(), id.clone()));
        found.into_iter().filter_map(sighting).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sightings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use model::WallTime;

    use super::*;
    use crate::correlate::{Key, Owner};

    fn id(n: u64) -> Scoped {
        let owner = Owner { tenant: "bonn".parse().unwrap(), trunk: "sbc".into() };
        Scoped::of(&owner, &Key::SessionId(format!("{n:032x}")))
    }

    fn sighting(call: u64, ids: &[u64]) -> Sighting {
        let call = CallId::from_u64(call);
        let call = CallKey { call, call_started: WallTime(0), tenant: "bonn".parse().unwrap() };
        Sighting { call, total: 1, ids: ids.iter().map(|n| id(*n)).collect() }
    }

    #[test]
    fn what_comes_late_or_twice_takes_nothing_away() {
        let mut elsewhere = Elsewhere::default();
        for told in [sighting(1, &[1, 2]), sighting(1, &[1]), sighting(2, &[2]), sighting(1, &[1])] {
            elsewhere.heard(told);
        }
        let found = |n: u64| {
            let found = elsewhere.find(&[id(n)].into());
            found.into_iter().map(|(s, _)| s.call().as_u64()).collect::<Vec<_>>()
        };
        assert_eq!([found(1), found(2), found(3)], [vec![1], vec![1, 2], vec![]]);
    }

    #[test]
    fn beyond_the_limit_the_oldest_are_forgotten_and_leave_nothing() {
        let mut elsewhere = Elsewhere::default();
        let most = SIGHTINGS_MAX as u64;
        (0..most + 10).for_each(|n| elsewhere.heard(sighting(n, &[n, most * 2])));
        assert_eq!((elsewhere.sightings.len(), elsewhere.in_order.len()), (SIGHTINGS_MAX, SIGHTINGS_MAX));
        assert_eq!(elsewhere.by_id.len(), SIGHTINGS_MAX + 1);
        assert!(elsewhere.find(&[id(9)].into()).is_empty() && !elsewhere.find(&[id(10)].into()).is_empty());
    }
}

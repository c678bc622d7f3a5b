//! Calls of this front that are one with calls of others: two proxies may each have dialogs of a conversation.
//!
//! ```text
//!  sighting(call) ──► told to others, late, twice or never ──► heard_of(call, sighting) at whoever has a sign of it
//!                                                                     │ the call has that sign
//!                                                                     └──► Order::Join, once for each pair
//! ```
//!
//! Each front goes on with its own call and its segments; that the two are one stands in their logs. One of the two
//! fronts that finds it is enough, and both that do say the same: the call of the lower id survives, and the join gives
//! no numbers, because neither front knows all segments. They follow from the segments ([`model::join::numbering`]).

use std::collections::BTreeSet;

use model::join::CALLS_MAX;
use model::{CallId, Incident, Join, JoinReason, Now, Order, PeerName, Sighting};

use super::recognition::key;
use super::{Action, Front};
use crate::live_call::Other;

impl Front {
    /// What other fronts are to be told of a call that has segments on these record servers; none while nothing of it is
    /// recorded, and when nothing is known of it any more.
    #[must_use]
    pub fn sighting(&self, call: CallId, on: BTreeSet<PeerName>) -> Option<Sighting> {
        let live = self.calls.known(call).filter(|live| live.is_recorded)?;
        let signs: BTreeSet<_> = self.correlator.ids(call).map(|id| id.sign()).collect();
        let bridged = live.legs.iter().filter_map(|leg| Some(self.legs.get(leg)?.bridge?.side())).collect();
        (!signs.is_empty()).then(|| Sighting {
            call: key(live),
            total: live.record.total,
            signs,
            bridged,
            on,
        })
    }

    /// A call of another front has signs of this one, which has segments on these record servers: the two are one, unless
    /// what they have in common is no id any more.
    pub fn heard_of(&mut self, now: Now, call: CallId, other: &Sighting, on: &BTreeSet<PeerName>) {
        let call = self.calls.resolve(call);
        let Some(why) = self.has_sign_of(call, other) else { return };
        let Some(live) = self.calls.known_mut(call).filter(|live| live.is_recorded) else { return };
        let other_id = other.call.call;
        if other_id == call || other.call.tenant != live.record.tenant {
            return;
        }
        let is_apart = on.union(&other.on).nth(1).is_some();
        let heard = Other { bridged: other.bridged.clone(), is_apart };
        let before = live.elsewhere.get(&other_id);
        if before.is_none() && live.elsewhere.len() + 1 >= CALLS_MAX {
            let text = format!(
                "call {other_id} of another proxy is this one by its ids, and is not joined with it: it would be more calls than one is made of"
            );
            return self.alarm(Incident::Limit, Some(call), None, text);
        }
        let (is_new, was_apart) = (before.is_none(), before.is_some_and(|before| before.is_apart));
        live.elsewhere.insert(other_id, heard);
        let survives = call < other_id;
        let comes_apart = is_apart && !was_apart;
        let came_to = if survives && (is_new || comes_apart) { self.recall(call) } else { None };
        if is_new {
            self.join_elsewhere(now, call, other, why);
        }
        if let Some(came_to) = came_to {
            self.tell_taken_back(call, came_to);
        }
        self.other_end_may_be_elsewhere(call);
        self.touch(call);
        self.settle(now, call);
    }

    /// Whether two calls were at different fronts when they were found to be one. They stay two here, though both are known:
    /// the join that stands in their logs gives no numbers, and the segments of one would leave holes in those of the other.
    pub(super) fn is_joined_elsewhere(&self, a: CallId, b: CallId) -> bool {
        let has =
            |call, other| self.calls.known(call).is_some_and(|live| live.elsewhere.contains_key(&other));
        has(a, b) || has(b, a)
    }

    fn join_elsewhere(&mut self, now: Now, call: CallId, other: &Sighting, why: JoinReason) {
        let Some(live) = self.calls.known(call) else { return };
        let (own, total) = (key(live), live.record.total.saturating_add(other.total));
        let (into, from) =
            if call < other.call.call { (own, other.call.clone()) } else { (other.call.clone(), own) };
        let join = Join { into, from, numbers: Vec::new(), total, at: now.wall, why };
        self.actions.push_back(Action::Order(Order::Join(join)));
    }

    /// By what a call has a sign of another, if it has.
    fn has_sign_of(&self, call: CallId, other: &Sighting) -> Option<JoinReason> {
        self.correlator.ids(call).find(|id| other.signs.contains(&id.sign())).map(|id| id.reason())
    }
}

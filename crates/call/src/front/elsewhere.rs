//! Calls of this front that are one with calls of others: two recording proxies may each have a dialog of a conversation.
//!
//! ```text
//!  sighting(call) ──► told to other fronts, late, twice or never ──► heard_of(sighting)
//!                                                        │ an id of a call here
//!                                                        └──► Order::Join, once for each pair
//! ```
//!
//! Each front goes on with its own call and its segments; that the two are one stands in their logs. One of the two
//! fronts that finds it is enough, and both that do say the same: the call of the lower id survives, and the join gives
//! no numbers, because neither front knows all segments. They follow from the segments ([`model::join::numbering`]).

use model::join::CALLS_MAX;
use model::{CallId, Incident, Join, Now, Order};

use super::recognition::key;
use super::{Action, Front};
use crate::correlate::Sighting;

impl Front {
    /// What other fronts are to be told of a call, whenever it was told of; none while nothing of it is recorded, or
    /// nothing shows to which conversation it belongs.
    #[must_use]
    pub fn sighting(&self, call: CallId) -> Option<Sighting> {
        let live = self.calls.known(self.calls.resolve(call)).filter(|live| live.is_recorded)?;
        let ids = self.correlator.ids(live.record.id);
        (!ids.is_empty()).then(|| Sighting { call: key(live), total: live.record.total, ids })
    }

    /// Another front told of a call of its own. If one here has an id of it, now or later, the two are one.
    pub fn heard_of(&mut self, now: Now, sighting: Sighting) {
        let ids = sighting.ids.clone();
        self.elsewhere.heard(sighting);
        for call in self.correlator.with(&ids) {
            self.join_elsewhere(now, call);
        }
    }

    /// Calls of which something was told may be known elsewhere.
    pub(super) fn look_elsewhere(&mut self, now: Now) {
        for call in std::mem::take(&mut self.changed) {
            self.join_elsewhere(now, self.calls.resolve(call));
        }
    }

    /// Calls elsewhere that are this one, and of which it was not said yet.
    fn join_elsewhere(&mut self, now: Now, call: CallId) {
        if self.elsewhere.is_empty() {
            return;
        }
        for (other, id) in self.elsewhere.find(&self.correlator.ids(call)) {
            let Some(live) = self.calls.known_mut(call).filter(|live| live.is_recorded) else { return };
            if live.elsewhere.contains(&other.call()) || other.call() == call {
                continue;
            }
            if live.elsewhere.len() + 1 >= CALLS_MAX {
                let text = format!(
                    "call {} of another recorder is this one by its ids, and is not joined with it: it would be more calls than one is made of",
                    other.call()
                );
                return self.alarm(Incident::Limit, Some(call), None, text);
            }
            live.elsewhere.insert(other.call());
            let (own, total) = (key(live), live.record.total.saturating_add(other.total));
            let (into, from) = if own.call < other.call.call { (own, other.call) } else { (other.call, own) };
            let survives = into.call == call;
            let join = Join { into, from, numbers: Vec::new(), total, at: now.wall, why: id.reason() };
            let came_to = if survives { self.recall(call) } else { None };
            self.actions.push_back(Action::Order(Order::Join(join)));
            if let Some(came_to) = came_to {
                self.tell_taken_back(call, came_to);
            }
            self.settle(now, call);
        }
    }
}

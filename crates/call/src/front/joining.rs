//! A person says that two calls are one.
//!
//! What is known here is joined here, as if an id had told it: calls in progress, and those that ended lately. Of two
//! that are over for longer nothing is known here any more; whoever keeps their files joins those.

use model::{CallId, JoinReason, Now, TenantId};

use super::Front;
use crate::command::{Changed, CommandError, JoinCommand, Joined};
use crate::live_call::LiveCall;

impl Front {
    /// Joins two calls.
    ///
    /// # Errors
    /// [`CommandError::NoSuchCall`] when none of the two is in progress and not both are remembered; then
    /// [`Front::forget_over`] is to be called when they are joined elsewhere. [`CommandError::NotAllowed`] when they
    /// cannot be joined now.
    pub fn join(&mut self, now: Now, command: JoinCommand) -> Result<Joined, CommandError> {
        let JoinCommand { calls, tenant, by } = command;
        let calls = calls.map(|call| self.calls.resolve(call));
        let known = |call: &CallId| self.calls.known(*call).filter(|c| c.record.tenant == tenant);
        let found: Vec<&LiveCall> = calls.iter().filter_map(known).collect();
        if found.len() < calls.len() {
            let goes_on = found.iter().any(|c| self.calls.get(c.record.id).is_some());
            return Err(match goes_on {
                true => CommandError::NotAllowed(
                    "one of the calls goes on or ended just now, and the other is not known any more: they can be joined when both are over",
                ),
                false => CommandError::NoSuchCall,
            });
        }
        let [a, b] = calls;
        if a == b || self.is_joined_elsewhere(a, b) {
            return Ok(Joined { call: a.min(b), changed: Changed::No });
        }
        if found.iter().any(|c| !c.is_recorded) {
            return Err(CommandError::NotAllowed("nothing is recorded yet of one of the calls"));
        }
        if found.iter().any(|c| c.awaited_beside(None).is_some()) {
            return Err(CommandError::NotAllowed("a segment is just being begun: try again in a moment"));
        }
        if !self.have_room_for_each_other(a, b) {
            return Err(CommandError::NotAllowed("together they would have more dialogs than a call has"));
        }
        self.unite(now, a, b, JoinReason::Person(by));
        Ok(Joined { call: self.calls.resolve(a), changed: Changed::Yes })
    }

    /// Calls that are over were joined by whoever keeps their files: what comes later is another call. One that is in
    /// progress is left as it is.
    pub fn forget_over(&mut self, tenant: &TenantId, calls: [CallId; 2]) {
        for call in calls.map(|call| self.calls.resolve(call)) {
            let is_over = self.calls.get(call).is_none();
            if is_over && self.calls.known(call).is_some_and(|c| c.record.tenant == *tenant) {
                self.forget(call);
            }
        }
    }
}

//! Whose calls are: whom orders of people go to, and one owner each once all is well.

use call::Ask;
use model::CallId;

use super::World;
use crate::core::Input;
use crate::scenario::{HEALED, MS, S, Who};
use crate::truth::Dialog;

/// How long after the last fault two proxies may take a call for theirs: until links are there again, and those that were
/// offered what nobody had have it.
const ONE_OWNER_AFTER: u64 = HEALED + 15 * S;

impl World {
    /// Somebody orders something of a caller's call, of whoever has it.
    pub(super) fn order(&mut self, caller: usize, ask: Ask) {
        let is_of = |dialog: &Dialog| dialog.caller == caller && dialog.is_accepted && !dialog.is_over;
        let truth = &self.core.truth;
        let of_caller = truth.dialogs.iter().filter(|(_, dialog)| is_of(dialog));
        let mut found =
            of_caller.filter_map(|((proxy, _), d)| Some((*proxy, truth.call_of(*proxy, &d.call_id)?)));
        if let Some((proxy, call)) = found.next_back() {
            self.core.tell_at(self.core.at + MS, Who::Proxy(proxy), Input::Ordered(caller, call, ask));
        }
    }

    /// A call is no two proxies', so no two send for a dialog of it.
    pub(super) fn look_at_owners(&mut self) {
        if self.core.at < ONE_OWNER_AFTER {
            return;
        }
        let has = |call: CallId| self.proxies.iter().enumerate().filter(move |(_, p)| p.front.has(call));
        let twice = self.core.truth.calls.keys().find_map(|call| {
            let mut owners = has(*call).map(|(index, _)| index);
            Some((*call, owners.next()?, owners.next()?))
        });
        if let Some((call, one, other)) = twice {
            self.core
                .violated(format!("call {call} is taken by proxy {one} and by proxy {other} to be its own"));
        }
    }
}

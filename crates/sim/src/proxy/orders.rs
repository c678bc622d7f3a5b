//! Orders of people to live calls, and when they hear that they are carried out.

use std::collections::BTreeSet;

use call::{Ask, Command};
use model::{CallId, Now, Report, TenantId};

use super::Proxy;
use crate::core::Core;

/// Somebody waits for an order to be carried out.
pub(super) struct Awaited {
    caller: usize,
    ask: Ask,
    /// Numbers of what is to be carried out.
    open: BTreeSet<u64>,
}

impl Proxy {
    /// A person orders something of the call of a caller.
    pub(super) fn obey(&mut self, core: &mut Core, now: Now, caller: usize, call: CallId, ask: Ask) {
        // Whoever asked for something else before does not wait for it any more.
        self.awaited.retain(|awaited| awaited.caller != caller);
        let command = Command { call, tenant: TenantId::default(), ask, by: "alice".to_owned() };
        let Ok(done) = self.front.handle_command(now, command) else { return };
        let open: BTreeSet<u64> = done.awaits.into_iter().collect();
        if open.is_empty() {
            self.is_so(core, caller, ask);
        } else {
            self.awaited.push(Awaited { caller, ask, open });
        }
    }

    /// A record server says what it has carried out.
    pub(super) fn carried_out(&mut self, core: &mut Core, report: &Report) {
        let Report::CarriedOut { order, .. } = report else { return };
        let awaited = &mut self.awaited;
        awaited.iter_mut().for_each(|awaited| _ = awaited.open.remove(order));
        let done: Vec<Awaited> = awaited.extract_if(.., |awaited| awaited.open.is_empty()).collect();
        done.into_iter().for_each(|done| self.is_so(core, done.caller, done.ask));
    }

    fn is_so(&self, core: &mut Core, caller: usize, ask: Ask) {
        core.say(format_args!("p{}: caller {caller}, {ask:?} is carried out", self.index));
        core.truth.is_so(caller, ask);
    }
}

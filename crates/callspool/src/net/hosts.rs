//! Names of servers that are dialed, by number: a destination is a small value, and a number is never given to
//! another name.

use std::collections::BTreeMap;
use std::sync::Arc;

use sip::HostId;

/// As many names as an agent keeps. Beyond it the oldest is forgotten: sending to it fails, and its next lookup
/// gives it another number.
const HOSTS_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Hosts {
    by_number: BTreeMap<HostId, Arc<str>>,
    by_name: BTreeMap<Arc<str>, HostId>,
    last: u64,
}

impl Hosts {
    pub(super) fn number(&mut self, name: &str) -> HostId {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        if self.by_number.len() >= HOSTS_MAX
            && let Some((_, oldest)) = self.by_number.pop_first()
        {
            self.by_name.remove(&oldest);
        }
        self.last += 1;
        let (id, name) = (HostId(self.last), Arc::from(name));
        self.by_number.insert(id, Arc::clone(&name));
        self.by_name.insert(name, id);
        id
    }

    pub(super) fn name(&self, id: HostId) -> Option<Arc<str>> {
        self.by_number.get(&id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_no_number_is_used_twice() {
        let mut hosts = Hosts::default();
        let first = hosts.number("a.example");
        assert_eq!((hosts.number("a.example"), hosts.name(first).as_deref()), (first, Some("a.example")));
        (0..HOSTS_MAX).for_each(|n| _ = hosts.number(&format!("h{n}")));
        assert_eq!((hosts.name(first), hosts.by_name.len()), (None, HOSTS_MAX));
        assert_ne!(hosts.number("a.example"), first);
    }
}

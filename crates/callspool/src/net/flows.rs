//! UDP flows: a number for each (port, remote address), the longest unused forgotten first.
//!
//! A flow number is never used again, so a late answer cannot reach another peer.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use sip::FlowId;

/// Which of our UDP ports, by its index.
pub(super) type PortIndex = usize;

/// What a flow is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct UdpFlow {
    /// Our port.
    pub(super) port: PortIndex,
    /// Our address as the remote sees it.
    pub(super) local: SocketAddr,
    /// The peer.
    pub(super) remote: SocketAddr,
}

struct Entry {
    id: FlowId,
    flow: UdpFlow,
    used: u64,
}

/// The table. Forgets by use: each lookup counts as one.
pub(super) struct UdpFlows {
    max: usize,
    uses: u64,
    entries: HashMap<(PortIndex, SocketAddr), Entry>,
    by_id: HashMap<FlowId, (PortIndex, SocketAddr)>,
    by_use: BTreeMap<u64, (PortIndex, SocketAddr)>,
}

impl UdpFlows {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            uses: 0,
            entries: HashMap::new(),
            by_id: HashMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    /// The flow of a datagram from `remote`, when it is known.
    pub(super) fn find(&mut self, port: PortIndex, remote: SocketAddr) -> Option<(FlowId, UdpFlow)> {
        let key = (port, remote);
        let entry = self.entries.get_mut(&key)?;
        self.uses += 1;
        self.by_use.remove(&entry.used);
        entry.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some((entry.id, entry.flow))
    }

    /// Where a flow leads, when it is known.
    pub(super) fn get(&mut self, id: FlowId) -> Option<UdpFlow> {
        let (port, remote) = *self.by_id.get(&id)?;
        self.find(port, remote).map(|(_, flow)| flow)
    }

    /// Notes a flow under a number that was never used; gives the one that was forgotten for it.
    pub(super) fn insert(&mut self, id: FlowId, flow: UdpFlow) -> Option<FlowId> {
        let key = (flow.port, flow.remote);
        self.uses += 1;
        if let Some(old) = self.entries.insert(key, Entry { id, flow, used: self.uses }) {
            self.by_id.remove(&old.id);
            self.by_use.remove(&old.used);
        }
        self.by_id.insert(id, key);
        self.by_use.insert(self.uses, key);
        if self.entries.len() > self.max { self.forget_oldest() } else { None }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn forget_oldest(&mut self) -> Option<FlowId> {
        let (_, key) = self.by_use.pop_first()?;
        let entry = self.entries.remove(&key)?;
        self.by_id.remove(&entry.id);
        Some(entry.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(last: u8) -> UdpFlow {
        let remote = SocketAddr::from(([10, 0, 0, last], 5060));
        UdpFlow { port: 0, local: SocketAddr::from(([10, 0, 0, 1], 5060)), remote }
    }

    #[test]
    fn the_longest_unused_flow_is_forgotten_and_only_that() {
        let mut flows = UdpFlows::new(2);
        assert_eq!(flows.insert(FlowId(1), flow(1)), None);
        assert_eq!(flows.insert(FlowId(2), flow(2)), None);
        assert!(flows.get(FlowId(1)).is_some(), "a use makes it young");
        assert_eq!(flows.insert(FlowId(3), flow(3)), Some(FlowId(2)));
        assert_eq!(flows.get(FlowId(2)), None);
        assert_eq!(flows.find(0, flow(1).remote).map(|f| f.0), Some(FlowId(1)));
        assert_eq!(flows.find(0, flow(2).remote), None);
        assert_eq!(flows.len(), 2);
        assert_eq!((flows.by_id.len(), flows.by_use.len()), (2, 2), "the three maps agree");
    }
}

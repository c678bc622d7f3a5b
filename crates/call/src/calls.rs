//! The calls in progress, those that are concluded and may go on, and which segment belongs to which.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{CallId, SegmentId, TenantId};

use crate::live_call::LiveCall;

/// The calls in progress, and which segment belongs to which.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: BTreeMap<CallId, LiveCall>,
    by_segment: BTreeMap<SegmentId, CallId>,
    /// How many each trunk has; none is left out.
    by_trunk: BTreeMap<Arc<str>, usize>,
    /// How many each tenant has; none is left out.
    by_tenant: BTreeMap<TenantId, usize>,
    /// Those that are concluded and may go on.
    remembered: BTreeMap<CallId, LiveCall>,
    /// Calls that became another: which.
    aliases: BTreeMap<CallId, CallId>,
}

impl Calls {
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// How many a trunk brought.
    pub(crate) fn of_trunk(&self, trunk: &str) -> usize {
        self.by_trunk.get(trunk).copied().unwrap_or(0)
    }

    /// How many a tenant owns.
    pub(crate) fn of_tenant(&self, tenant: &TenantId) -> usize {
        self.by_tenant.get(tenant).copied().unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, call: LiveCall) {
        *self.by_trunk.entry(call.trunk.clone()).or_default() += 1;
        *self.by_tenant.entry(call.record.tenant.clone()).or_default() += 1;
        self.calls.insert(call.record.id, call);
    }

    pub(crate) fn get(&self, id: CallId) -> Option<&LiveCall> {
        self.calls.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: CallId) -> Option<&mut LiveCall> {
        self.calls.get_mut(&id)
    }

    /// One in progress, or concluded and remembered.
    pub(crate) fn known(&self, id: CallId) -> Option<&LiveCall> {
        self.calls.get(&id).or_else(|| self.remembered.get(&id))
    }

    /// The same, to be changed.
    pub(crate) fn known_mut(&mut self, id: CallId) -> Option<&mut LiveCall> {
        self.calls.get_mut(&id).or_else(|| self.remembered.get_mut(&id))
    }

    /// The call that one has become, or is.
    pub(crate) fn resolve(&self, id: CallId) -> CallId {
        self.aliases.get(&id).copied().unwrap_or(id)
    }

    /// One that is concluded, and may go on.
    pub(crate) fn remember(&mut self, call: LiveCall) {
        self.remembered.insert(call.record.id, call);
    }

    /// The oldest of those that are remembered, if there are more than so many.
    pub(crate) fn oldest_beyond(&self, most: usize) -> Option<CallId> {
        let oldest = self.remembered.keys().next().copied();
        oldest.filter(|_| self.remembered.len() > most)
    }

    /// One that was concluded is in progress again; one that is in progress is as it was.
    pub(crate) fn recall(&mut self, id: CallId) -> Option<&mut LiveCall> {
        if let Some(call) = self.remembered.remove(&id) {
            self.insert(call);
        }
        self.calls.get_mut(&id)
    }

    /// Nothing is remembered of it any more.
    pub(crate) fn forget(&mut self, id: CallId) {
        self.remembered.remove(&id);
        if !self.aliases.is_empty() {
            self.aliases.retain(|_, into| *into != id);
        }
    }

    /// Takes one out, in progress or remembered; its segments are known still.
    pub(crate) fn take(&mut self, id: CallId) -> Option<LiveCall> {
        self.remembered.remove(&id).or_else(|| self.uncount(id))
    }

    /// One that was taken out is another, which is in progress: the numbers that its segments have there.
    pub(crate) fn merge(
        &mut self,
        gone: LiveCall,
        into: CallId,
    ) -> Option<(Vec<(SegmentId, u16)>, &mut LiveCall)> {
        let live = self.calls.get_mut(&into)?;
        self.aliases.insert(gone.record.id, into);
        for alias in &gone.aliases {
            self.aliases.insert(*alias, into);
        }
        for segment in &gone.segments {
            if let Some(call) = self.by_segment.get_mut(&segment.id) {
                *call = into;
            }
        }
        let numbers = live.absorb(gone);
        Some((numbers, live))
    }

    /// All of them, by id.
    pub(crate) fn ids(&self) -> Vec<CallId> {
        self.calls.keys().copied().collect()
    }

    pub(crate) fn own_segment(&mut self, segment: SegmentId, call: CallId) {
        self.by_segment.insert(segment, call);
    }

    pub(crate) fn of_segment(&self, segment: SegmentId) -> Option<CallId> {
        self.by_segment.get(&segment).copied()
    }

    pub(crate) fn forget_segment(&mut self, segment: SegmentId) {
        self.by_segment.remove(&segment);
    }

    /// The calls that wait for their conclusion only.
    pub(crate) fn settled(&self) -> Vec<CallId> {
        self.calls.iter().filter(|(_, c)| c.is_settled()).map(|(id, _)| *id).collect()
    }

    pub(crate) fn remove(&mut self, id: CallId) -> Option<LiveCall> {
        let call = self.uncount(id)?;
        for segment in &call.segments {
            self.by_segment.remove(&segment.id);
        }
        Some(call)
    }

    fn uncount(&mut self, id: CallId) -> Option<LiveCall> {
        let call = self.calls.remove(&id)?;
        take_one(&mut self.by_trunk, &call.trunk);
        take_one(&mut self.by_tenant, &call.record.tenant);
        Some(call)
    }
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

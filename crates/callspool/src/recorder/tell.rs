//! Tells the catalogue what changed, with an event id and the time. Never waits and never loses: what the
//! catalogue cannot take goes to its journal.

use std::sync::{Arc, Mutex};

use model::{
    Alarm, AlarmKind, CallId, Change, ChangeKind, Copy, CopyOf, EventId, IdGenerator, Location, SegmentId,
    SegmentRecord, TenantId,
};

use crate::clock::now;

/// Cheap to clone; one generator of event ids for the process, so that ids order what was told.
#[derive(Clone)]
pub(crate) struct Teller {
    ids: Arc<Mutex<IdGenerator>>,
    catalog: store::Handle,
}

impl Teller {
    pub(crate) fn new(ids: IdGenerator, catalog: store::Handle) -> Self {
        Self { ids: Arc::new(Mutex::new(ids)), catalog }
    }

    pub(crate) fn tell(&self, tenant: TenantId, kind: ChangeKind) {
        if let ChangeKind::Alarm(alarm) = &kind {
            tracing::warn!(kind = %alarm.kind, call = ?alarm.call, segment = ?alarm.segment, "{}", alarm.text);
        }
        let at = now().wall;
        // The lock is held while telling, so that changes are told in the order of their ids.
        let mut ids = self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let id = ids.event(at);
        self.catalog.tell(Change { id, at, tenant, kind });
    }

    /// Ids for what is read from files now and told later: a change that happens meanwhile is newer.
    pub(crate) fn draw(&self, count: usize) -> Vec<EventId> {
        let at = now().wall;
        let mut ids = self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (0..count).map(|_| ids.event(at)).collect()
    }

    /// Tells with an id that was drawn before.
    pub(crate) fn tell_as(&self, id: EventId, tenant: TenantId, kind: ChangeKind) {
        self.catalog.tell(Change { id, at: now().wall, tenant, kind });
    }

    pub(crate) fn segment(&self, record: SegmentRecord, directory: String) {
        self.tell(record.tenant.clone(), ChangeKind::Segment { record: Box::new(record), directory });
    }

    /// A segment as it stands, and the state of its copy at its record server.
    pub(crate) fn segment_with_copy(&self, record: &SegmentRecord, directory: &str) {
        let copy =
            Copy { of: CopyOf::Segment(record.id), at: Location::Node(record.node), state: record.state };
        self.segment(record.clone(), directory.to_owned());
        self.copy(&record.tenant, record.call, copy);
    }

    pub(crate) fn copy(&self, tenant: &TenantId, call: CallId, copy: Copy) {
        self.tell(tenant.clone(), ChangeKind::Copy { call, copy });
    }

    pub(crate) fn alarm(
        &self,
        tenant: &TenantId,
        kind: AlarmKind,
        call: Option<CallId>,
        segment: Option<SegmentId>,
        text: String,
    ) {
        self.tell(tenant.clone(), ChangeKind::Alarm(Alarm { kind, call, segment, text }));
    }
}

//! Tells the catalogue what changed, with an event id and the time, and people what they should know. Never waits
//! and never loses: what the catalogue cannot take goes to its journal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::alarm::{About, AlarmRules, Alarms, Seen};
use model::{
    Alarm, AlarmKind, CallId, Change, ChangeKind, Condition, Copy, CopyOf, EventId, IdGenerator, Incident,
    Location, Mono, NodeNumber, Occurrence, SegmentId, SegmentRecord, Severity, Subject, TenantId,
};

use crate::alarms::Told;
use crate::clock::now;
use crate::gathering::Notice;

/// Cheap to clone; one generator of event ids for the process, so that ids order what was told.
#[derive(Clone)]
pub(crate) struct Teller {
    ids: Arc<Mutex<IdGenerator>>,
    node: NodeNumber,
    catalog: store::Handle,
    /// Locked before the ids, and only for the time of a decision.
    alarms: Arc<Mutex<Alarms>>,
    /// What was told of alarms, for when the catalog is away.
    told: Told,
    /// Whoever gathers segments.
    scattered: Notice,
}

impl Teller {
    pub(crate) fn new(ids: IdGenerator, rules: AlarmRules, catalog: store::Handle) -> Self {
        let node = ids.node();
        let alarms = Arc::new(Mutex::new(Alarms::new(node, rules)));
        Self {
            ids: Arc::new(Mutex::new(ids)),
            node,
            catalog,
            alarms,
            told: Told::default(),
            scattered: Notice::default(),
        }
    }

    /// Whether the catalog does not take what it is told.
    pub(crate) fn is_catalog_away(&self) -> bool {
        self.catalog.status().away_for.is_some()
    }

    /// The node that tells.
    pub(crate) const fn node(&self) -> NodeNumber {
        self.node
    }

    /// What was told of alarms.
    pub(crate) const fn told(&self) -> &Told {
        &self.told
    }

    /// Calls whose segments may lie elsewhere too are told of there.
    pub(crate) const fn scattered(&self) -> &Notice {
        &self.scattered
    }

    pub(crate) fn tell(&self, tenant: TenantId, kind: ChangeKind) {
        let at = now().wall;
        // The lock is held while telling, so that changes are told in the order of their ids.
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let change = Change { id: ids.event(at), at, tenant, kind };
        self.told.note(&change);
        self.catalog.tell(change);
    }

    /// Ids for what is read from files now and told later: a change that happens meanwhile is newer.
    pub(crate) fn draw(&self, count: usize) -> Vec<EventId> {
        let at = now().wall;
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        (0..count).map(|_| ids.event(at)).collect()
    }

    /// An id that is newer than all that was told, and older than what will be.
    pub(crate) fn newest(&self) -> EventId {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).event(now().wall)
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

    /// Something happened that a person should know.
    pub(crate) fn alarm(
        &self,
        tenant: &TenantId,
        incident: Incident,
        call: Option<CallId>,
        segment: Option<SegmentId>,
        text: String,
    ) {
        self.occurred(Occurrence { tenant: tenant.clone(), incident, call, segment, text });
    }

    /// The same.
    pub(crate) fn occurred(&self, occurrence: Occurrence) {
        let mut alarms = self.alarms();
        alarms.occurred(now(), occurrence);
        self.tell_alarms(&mut alarms);
    }

    /// How something looks that may become an alarm, be one, or be over.
    pub(crate) fn observe(&self, condition: Condition, subject: &Subject, about: &About, seen: Seen) {
        let mut alarms = self.alarms();
        alarms.observe(now(), condition, subject, about, seen);
        self.tell_alarms(&mut alarms);
    }

    /// The same about the node as a whole.
    pub(crate) fn observe_node(&self, condition: Condition, tenant: &TenantId, seen: Seen) {
        let about = About { tenant: tenant.clone(), ..About::default() };
        self.observe(condition, &Subject::Node(self.node), &about, seen);
    }

    /// A segment has ended, and with it what was raised about it.
    pub(crate) fn segment_ended(&self, segment: SegmentId) {
        let mut alarms = self.alarms();
        alarms.segment_ended(now(), segment);
        self.tell_alarms(&mut alarms);
    }

    /// Lets time pass for the alarms; says when it should be called again.
    pub(crate) fn tick(&self) -> Option<Mono> {
        let mut alarms = self.alarms();
        alarms.handle_timeout(now());
        self.tell_alarms(&mut alarms);
        alarms.next_timeout()
    }

    /// Other limits of alarms from now on.
    pub(crate) fn set_rules(&self, rules: AlarmRules) {
        self.alarms().configure(rules);
    }

    /// What is raised is told again, to a catalogue that knows nothing.
    pub(crate) fn tell_alarms_again(&self) {
        let mut alarms = self.alarms();
        alarms.tell_again();
        self.tell_alarms(&mut alarms);
    }

    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock, so that a condition is never told as cleared before it is told as raised.
    fn tell_alarms(&self, alarms: &mut Alarms) {
        while let Some((tenant, alarm)) = alarms.poll() {
            log(&alarm);
            self.tell(tenant, ChangeKind::Alarm(Box::new(alarm)));
        }
    }
}

fn log(alarm: &Alarm) {
    let Alarm { kind, subject, call, segment, count, text, .. } = alarm;
    match (kind, alarm.cleared, alarm.severity) {
        (AlarmKind::Condition(_), Some(_), _) => {
            tracing::info!(%kind, %subject, ?call, ?segment, count, "cleared: {text}");
        }
        (_, _, Severity::Critical) => tracing::error!(%kind, %subject, ?call, ?segment, count, "{text}"),
        (_, _, Severity::Warning) => tracing::warn!(%kind, %subject, ?call, ?segment, count, "{text}"),
        (_, _, Severity::Notice) => tracing::info!(%kind, %subject, ?call, ?segment, count, "{text}"),
    }
}

//! What this process has told of alarms, in memory: for those who ask while the catalog is away.
//!
//! The conditions that last, as rows of the catalog would have them, and the latest events. Both are bounded: the
//! first by `alarms.max_subjects`, the second here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{AlarmKind, Change, ChangeKind, EventId, Subject, WallTime};
use store::{AlarmRow, Event};

/// Events that are kept, some 1 KiB each: more alarms than a catalog that is away for a day should see.
const RECENT_MAX: usize = 1_024;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Arc<Mutex<Memory>>);

/// What names an alarm: the same is told again with a count, or as cleared.
type Name = (AlarmKind, Subject, WallTime);

#[derive(Debug, Default)]
struct Memory {
    lasting: BTreeMap<Name, AlarmRow>,
    recent: VecDeque<Event>,
}

impl Told {
    /// Notes a change when it is an alarm. Changes come in the order of their ids.
    pub(crate) fn note(&self, change: &Change) {
        let ChangeKind::Alarm(alarm) = &change.kind else { return };
        let name = (alarm.kind, alarm.subject.clone(), alarm.raised);
        let mut memory = self.memory();
        if memory.recent.len() >= RECENT_MAX {
            memory.recent.pop_front();
        }
        memory.recent.push_back(Event::of(change));
        if !alarm.is_active() {
            memory.lasting.remove(&name);
            return;
        }
        // Its place in a list is where it was told first.
        let first = memory.lasting.get(&name).map_or(change.id, |row| row.id);
        let (tenant, node, alarm) = (change.tenant.clone(), change.id.node(), (**alarm).clone());
        memory.lasting.insert(name, AlarmRow { id: first, tenant, node, alarm });
    }

    /// The conditions that last, newest first.
    pub(crate) fn lasting(&self) -> Vec<AlarmRow> {
        let mut rows: Vec<AlarmRow> = self.memory().lasting.values().cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        rows
    }

    /// Events of alarms after one, oldest first; the oldest of many are not kept.
    pub(crate) fn recent_after(&self, after: EventId) -> Vec<Event> {
        self.memory().recent.iter().filter(|event| event.id > after).cloned().collect()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use model::{Alarm, Condition, Incident, TenantId};

    use super::*;

    fn alarm(id: u64, kind: impl Into<AlarmKind>, raised: i64, cleared: Option<i64>) -> Change {
        let kind = kind.into();
        let alarm = Alarm {
            kind,
            severity: kind.severity(),
            subject: Subject::Webhook("ops".to_owned()),
            call: None,
            segment: None,
            raised: WallTime(raised),
            cleared: cleared.map(WallTime),
            count: 1,
            text: format!("told by {id}"),
        };
        let (id, at, tenant) = (EventId::from_u64(id), WallTime(0), TenantId::default());
        Change { id, at, tenant, kind: ChangeKind::Alarm(Box::new(alarm)) }
    }

    #[test]
    fn what_lasts_is_kept_where_it_was_told_first_until_it_is_cleared() {
        let told = Told::default();
        told.note(&alarm(1, Condition::CatalogAway, 10, None));
        told.note(&alarm(2, Incident::Limit, 11, None));
        told.note(&alarm(3, Condition::DiskSpace, 12, None));
        told.note(&alarm(4, Condition::CatalogAway, 10, None));
        let rows: Vec<_> = told.lasting().into_iter().map(|r| (r.id.as_u64(), r.alarm.text)).collect();
        assert_eq!(rows, [(3, "told by 3".to_owned()), (1, "told by 4".to_owned())]);
        told.note(&alarm(5, Condition::CatalogAway, 10, Some(20)));
        assert_eq!(told.lasting().len(), 1);
        let recent: Vec<u64> =
            told.recent_after(EventId::from_u64(2)).iter().map(|e| e.id.as_u64()).collect();
        assert_eq!(recent, [3, 4, 5]);
    }

    #[test]
    fn the_latest_events_are_kept_and_no_more() {
        let told = Told::default();
        let all = RECENT_MAX as u64 + 3;
        (1..=all).for_each(|id| told.note(&alarm(id, Incident::Limit, 1, None)));
        let recent = told.recent_after(EventId::from_u64(0));
        assert_eq!((recent.len(), recent[0].id.as_u64()), (RECENT_MAX, 4));
    }
}

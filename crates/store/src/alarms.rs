//! Alarms: which to list, and how their rows are read.

use model::{Alarm, AlarmKind, CallId, EventId, NodeNumber, SegmentId, Severity, TenantId};
use sqlx::FromRow;

use crate::error::CatalogError;
use crate::rows;

/// Which alarms to list, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlarmQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Only conditions that last.
    pub active: bool,
    /// Only those as bad as this.
    pub severity: Option<Severity>,
    /// Only those of this kind.
    pub kind: Option<AlarmKind>,
    /// Only those of this call.
    pub call: Option<CallId>,
    /// The [`AlarmRow::id`] of the last one of the page before.
    pub before: Option<EventId>,
    /// How many; [`LIST_DEFAULT`](crate::LIST_DEFAULT) when not said, never more than [`LIST_MAX`](crate::LIST_MAX).
    pub limit: Option<usize>,
}

impl AlarmQuery {
    /// Whether an alarm is one of those that are asked for, apart from the limit.
    #[must_use]
    pub fn takes(&self, row: &AlarmRow) -> bool {
        let alarm = &row.alarm;
        row.tenant == self.tenant
            && (!self.active || alarm.is_active())
            && self.severity.is_none_or(|severity| alarm.severity == severity)
            && self.kind.is_none_or(|kind| alarm.kind == kind)
            && self.call.is_none_or(|call| alarm.call == Some(call))
            && self.before.is_none_or(|before| row.id < before)
    }
}

/// An alarm as the catalog knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlarmRow {
    /// The event by which it was told first: its place in a list.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// The node that told it.
    pub node: NodeNumber,
    /// The alarm.
    pub alarm: Alarm,
}

#[derive(FromRow)]
pub(crate) struct Columns {
    kind: String,
    subject: String,
    raised: i64,
    cleared: Option<i64>,
    severity: String,
    tenant: String,
    node: i64,
    call: Option<i64>,
    segment: Option<i64>,
    count: i64,
    text: String,
    first: i64,
}

impl Columns {
    pub(crate) fn read(self) -> Result<AlarmRow, CatalogError> {
        let bad = |e: &dyn std::fmt::Display| CatalogError::Unreadable(e.to_string());
        let node = rows::small(self.node)?;
        Ok(AlarmRow {
            id: rows::event_id(self.first)?,
            tenant: rows::tenant(&self.tenant)?,
            node: NodeNumber::new(node).map_err(|e| bad(&e))?,
            alarm: Alarm {
                kind: self.kind.parse().map_err(|e| bad(&e))?,
                severity: self.severity.parse().map_err(|e| bad(&e))?,
                subject: self.subject.parse().map_err(|e| bad(&e))?,
                call: self.call.map(rows::from_id).transpose()?.map(CallId::from_u64),
                segment: self.segment.map(rows::from_id).transpose()?.map(SegmentId::from_u64),
                raised: rows::time(self.raised),
                cleared: self.cleared.map(rows::time),
                count: rows::from_id(self.count)?,
                text: self.text,
            },
        })
    }
}

//! What the outbox tells of a change: what happened in short, for those who are told. Whoever needs more asks for the
//! call.

use std::collections::BTreeMap;

use model::{Change, ChangeKind, CopyOf, Note};
use serde_json::{Value, json};

use crate::rows;
use crate::view::Event;

impl Event {
    /// What the outbox tells of a change: the same whether it is read there, or told while the catalog is away.
    #[must_use]
    pub fn of(change: &Change) -> Self {
        let segment = match &change.kind {
            ChangeKind::Segment { record, .. } => Some(record.id),
            ChangeKind::Copy { copy, .. } => match copy.of {
                CopyOf::Segment(id) => Some(id),
                CopyOf::Call(_) => None,
            },
            ChangeKind::Alarm(alarm) => alarm.segment,
            ChangeKind::Call(_) | ChangeKind::Noted { .. } | ChangeKind::Joined(_) | ChangeKind::Sides(_) => {
                None
            }
        };
        Self {
            id: change.id,
            at: change.at,
            tenant: change.tenant.clone(),
            kind: change.kind.name().to_owned(),
            call: change.kind.call(),
            segment,
            body: body(&change.kind).to_string(),
        }
    }
}

fn body(kind: &ChangeKind) -> Value {
    match kind {
        ChangeKind::Call(c) => json!({ "started": c.started, "ended": c.ended, "total": c.total }),
        ChangeKind::Segment { record, .. } => {
            json!({ "number": record.number, "total": record.total, "state": record.state,
                    "live": record.is_live(), "end": record.end.as_ref().map(|e| e.describe()) })
        }
        ChangeKind::Copy { copy, .. } => json!({ "at": rows::place(&copy.at), "state": copy.state }),
        ChangeKind::Noted { note, by, .. } => noted(note, by),
        ChangeKind::Joined(join) => {
            let numbers: BTreeMap<String, u16> =
                join.numbers.iter().map(|(segment, number)| (segment.to_string(), *number)).collect();
            json!({ "from": join.from.call, "numbers": numbers, "total": join.total, "why": join.why.describe() })
        }
        ChangeKind::Sides(c) => json!({ "from": c.from, "to": c.to, "by": c.by }),
        ChangeKind::Alarm(alarm) => {
            json!({ "alarm": alarm.kind, "severity": alarm.severity, "subject": alarm.subject,
                    "raised": alarm.raised, "cleared": alarm.cleared, "count": alarm.count, "text": alarm.text })
        }
    }
}

fn noted(note: &Note, by: &str) -> Value {
    match note {
        Note::Tagged { tag } => json!({ "tag": tag, "present": true, "by": by }),
        Note::Untagged { tag } => json!({ "tag": tag, "present": false, "by": by }),
        Note::Put { key, value } => json!({ "key": key, "value": value, "by": by }),
        Note::Removed { key } => json!({ "key": key, "value": null, "by": by }),
    }
}

//! The outbox: what happened in short, in the order of ids, for those who are told. Whoever needs more asks for the
//! call.

use std::collections::BTreeMap;

use model::{Change, ChangeKind, CopyOf, Note};
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use crate::bulk;
use crate::error::CatalogError;
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

/// Writes events within the transaction that `db` is in. What was told before is there already.
pub(crate) async fn write(db: &mut SqliteConnection, events: &[Event]) -> Result<(), CatalogError> {
    bulk::insert(
        db,
        "INSERT INTO events (id, at, tenant, kind, call, segment, body) ",
        events,
        |values, event| {
            values.push_bind(rows::id(event.id.as_u64())).push_bind(event.at.0);
            values.push_bind(event.tenant.as_str()).push_bind(event.kind.as_str());
            values.push_bind(event.call.map(|c| rows::id(c.as_u64())));
            values.push_bind(event.segment.map(|s| rows::id(s.as_u64()))).push_bind(event.body.as_str());
        },
        " ON CONFLICT (id) DO NOTHING",
    )
    .await?;
    Ok(())
}

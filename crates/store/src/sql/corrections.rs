//! How people corrected who of a call is the agent and who is external, of calls that are one too.

use std::collections::BTreeMap;

use model::sides::concerned;
use model::{CallId, Join, Sides, WallTime};

use super::engine::Connection;
use super::joins::Group;
use crate::error::CatalogError;
use crate::rows;

/// What people said last of a call by itself.
pub(crate) struct Corrected {
    /// When, to the microsecond.
    pub(crate) at: i64,
    pub(crate) sides: Sides,
    /// The change that told of it.
    pub(crate) changed: i64,
}

/// What people said of calls that are one.
pub(crate) struct Corrections {
    by_call: BTreeMap<CallId, Corrected>,
    joins: Vec<Join>,
}

impl Corrections {
    pub(crate) async fn of(db: &mut Connection, group: &Group) -> Result<Self, CatalogError> {
        let mut by_call = BTreeMap::new();
        for call in &group.calls {
            let found: Option<(String, i64, i64)> =
                sqlx::query_as("SELECT body, at, changed FROM sides WHERE call = $1")
                    .bind(rows::id(call.as_u64()))
                    .fetch_optional(&mut *db)
                    .await?;
            if let Some((body, at, changed)) = found {
                by_call.insert(*call, Corrected { at, sides: rows::from_json("sides", &body)?, changed });
            }
        }
        Ok(Self { by_call, joins: group.joins.clone() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_call.is_empty()
    }

    /// Of a call by itself.
    pub(crate) fn of_call(&self, call: CallId) -> Option<&Corrected> {
        self.by_call.get(&call)
    }

    /// What counts for a segment that was recorded as of one of them, and began then.
    pub(crate) fn of_segment(&self, recorded_as: CallId, began: WallTime) -> Option<&Sides> {
        let calls = concerned(recorded_as, began, &self.joins);
        let said = self.by_call.iter().filter(|(call, _)| calls.contains(call));
        said.map(|(_, c)| c).max_by_key(|c| c.at).map(|c| &c.sides)
    }

    /// What counts for a segment that would begin now.
    pub(crate) fn now(&self) -> Sides {
        self.by_call.values().max_by_key(|c| c.at).map(|c| c.sides.clone()).unwrap_or_default()
    }

    /// The newest change to any of it.
    pub(crate) fn changed(&self) -> i64 {
        self.by_call.values().map(|c| c.changed).max().unwrap_or(0)
    }
}

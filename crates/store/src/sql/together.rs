//! What is known of a call beside what was told of it: of calls that it took in, and what people corrected.

use model::{CallData, CallId, Direction};

use super::corrections::Corrections;
use super::derive::{SegmentRow, Told};
use super::engine::Connection;
use super::joins::Group;
use crate::error::CatalogError;
use crate::rows;

/// A call with all that it took in, and with its sides as people corrected them.
pub(crate) struct Together {
    pub(crate) data: CallData,
    pub(crate) started: i64,
    pub(crate) ended: Option<i64>,
    /// The total that a join left.
    pub(crate) total_left: i64,
    /// The highest number that there is of a call that took others in.
    pub(crate) last_number: i64,
    /// The newest change to any of it.
    pub(crate) changed: i64,
    /// The data of the calls that it took in, each by itself.
    pub(crate) others: Vec<CallData>,
}

impl Together {
    /// None when it is what was told of it.
    pub(crate) async fn of(
        db: &mut Connection,
        group: &Group,
        told: &Told,
        segments: &[SegmentRow],
    ) -> Result<Option<Self>, CatalogError> {
        let corrections = Corrections::of(db, group).await?;
        if !group.is_joined() && corrections.is_empty() {
            return Ok(None);
        }
        let correct = |call: CallId, data: &mut CallData| {
            if let Some(corrected) = corrections.of_call(call) {
                corrected.sides.correct_data(data);
            }
        };
        let mut data: CallData = rows::from_json("call data", &told.data)?;
        correct(group.survivor, &mut data);
        let mut together = Self {
            data,
            started: told.started,
            ended: told.ended,
            total_left: 0,
            last_number: 0,
            changed: corrections.changed(),
            others: Vec::new(),
        };
        if group.is_joined() {
            let own = corrections.of_call(group.survivor).map(|c| c.at);
            let mut said_later = Vec::new();
            for other in others(db, group).await? {
                together.changed = together.changed.max(other.changed);
                if let Some(mut data) = other.data {
                    correct(other.call, &mut data);
                    together.started = together.started.min(other.started);
                    together.data.absorb(&data);
                    if let Some(said) = corrections.of_call(other.call).filter(|c| Some(c.at) > own) {
                        said_later.push((said.at, data.clone()));
                    }
                    together.others.push(data);
                }
            }
            said_later.sort_by_key(|(at, _)| *at);
            said_later.iter().for_each(|(_, data)| together.believe(data));
            together.count(segments);
            together.total_left = group.total_left();
        }
        Ok(Some(together))
    }

    /// A person said who is who in a call that was taken in, later than of the surviving one: what the two have in
    /// common follows.
    fn believe(&mut self, said: &CallData) {
        for party in &mut self.data.parties {
            if let Some(found) = said.parties.iter().find(|p| p.is_same(party)) {
                party.side = found.side;
            }
        }
        if said.direction != Direction::Unknown {
            self.data.direction = said.direction;
        }
    }

    fn count(&mut self, segments: &[SegmentRow]) {
        self.started = segments.iter().map(|s| s.started).fold(self.started, i64::min);
        self.last_number = segments.iter().map(|s| s.number).max().unwrap_or(0);
        // It is over when the surviving one is, and no segment goes on.
        let ends: Option<Vec<i64>> = segments.iter().map(|s| s.ended).collect();
        self.ended = self.ended.zip(ends).map(|(end, ends)| ends.into_iter().fold(end, i64::max));
    }
}

/// A call that was taken in.
struct Other {
    call: CallId,
    /// What was told of it; none when nobody told.
    data: Option<CallData>,
    started: i64,
    changed: i64,
}

async fn others(db: &mut Connection, group: &Group) -> Result<Vec<Other>, CatalogError> {
    let found: Vec<(i64, i64, String, i64, i64)> =
        sqlx::query_as("SELECT id, told, data, started, changed FROM calls WHERE joined = $1 ORDER BY id")
            .bind(rows::id(group.survivor.as_u64()))
            .fetch_all(db)
            .await?;
    let other = |(id, told, data, started, changed): (i64, i64, String, i64, i64)| {
        let data = if told > 0 { Some(rows::from_json("call data", &data)?) } else { None };
        Ok(Other { call: CallId::from_u64(rows::from_id(id)?), data, started, changed })
    };
    found.into_iter().map(other).collect()
}

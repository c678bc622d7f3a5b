//! The months that tables are parted by, made before they are needed.
//!
//! Ids begin with the time in milliseconds, so that a month is a range of ids. Partitions of this month and the next two
//! are made by whoever writes, and those of older months when a reindex tells of them. What belongs to none lies in the
//! default partition: nothing depends on a partition being there, and where rows lie there already none is made.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{CallId, Change, ChangeKind, WallTime};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::engine;
use crate::concerned::concerned;

/// The tables that are parted.
const TABLES: [&str; 3] = ["calls", "segments", "events"];
/// Months that are made ahead, this one included: a node may be away for weeks, and no month begins without its own.
const AHEAD: u32 = 3;
/// How soon it is tried again where it failed: until then rows go to the default partition.
const AGAIN: Duration = Duration::from_secs(60);
/// What an id has below its milliseconds: node and sequence.
const BELOW_MILLIS: u32 = 21;
/// 2020-01-01T00:00:00Z in milliseconds of Unix, where ids begin, as a month of [`Month`].
const FIRST: Month = Month(2020 * 12);

/// Months since the year 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Month(u32);

impl Month {
    fn of(at: WallTime) -> Self {
        let days = at.millis().div_euclid(86_400_000);
        // Days to years and months, in eras of 400 years that begin in March (Howard Hinnant, "chrono-compatible
        // low-level date algorithms").
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let months = (era * 400 + year) * 12 + from_march + 2;
        Self(u32::try_from(months).unwrap_or(0))
    }

    fn after(self, months: u32) -> Self {
        Self(self.0 + months)
    }

    const fn year(self) -> u32 {
        self.0 / 12
    }

    /// From 1.
    const fn number(self) -> u32 {
        self.0 % 12 + 1
    }

    /// The first millisecond of it, in milliseconds of Unix.
    fn begins(self) -> i64 {
        let (year, month) = (i64::from(self.year()), i64::from(self.number()));
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let from_march = (month + 9) % 12;
        let of_year = (153 * from_march + 2) / 5;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        days * 86_400_000
    }

    /// The lowest id of it.
    fn first_id(self) -> i64 {
        (self.begins() - FIRST.begins()) << BELOW_MILLIS
    }
}

/// Which months are known to be made.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    made: BTreeSet<Month>,
    failed: Option<Instant>,
}

impl Partitions {
    /// Sees to it that there are partitions for changes that are about to be written, and for the months to come.
    pub(crate) async fn ensure(&self, db: &PgPool, changes: &[Change]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = WallTime::from_millis(i64::try_from(now.as_millis()).unwrap_or(0));
        for month in self.missing(wanted(changes, now)) {
            match make(db, month).await {
                Ok(()) => self.note(|known| {
                    known.made.insert(month);
                }),
                Err(error) => {
                    tracing::warn!(%error, year = month.year(), month = month.number(),
                        "no partition can be made; what belongs there goes to the default one");
                    self.note(|known| known.failed = Some(Instant::now()));
                    return;
                }
            }
        }
    }

    fn missing(&self, wanted: BTreeSet<Month>) -> Vec<Month> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.failed {
            Some(at) if at.elapsed() < AGAIN => Vec::new(),
            _ => wanted.difference(&known.made).copied().collect(),
        }
    }

    fn note(&self, what: impl FnOnce(&mut Known)) {
        what(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The months that ids of changes are of, and those to come. What is of no time that can be is in none.
fn wanted(changes: &[Change], now: WallTime) -> BTreeSet<Month> {
    let this = Month::of(now);
    let last = this.after(AHEAD - 1);
    let mut months: BTreeSet<Month> = (0..AHEAD).map(|n| this.after(n)).collect();
    for change in changes {
        months.insert(Month::of(change.id.made_at()));
        months.extend(concerned(change).map(|call: CallId| Month::of(call.made_at())));
        if let ChangeKind::Segment { record, .. } = &change.kind {
            months.insert(Month::of(record.id.made_at()));
        }
    }
    months.retain(|month| (FIRST..=last).contains(month));
    months
}

/// Makes the partitions of a month that there are not.
async fn make(db: &PgPool, month: Month) -> Result<(), sqlx::Error> {
    // Nobody writes meanwhile: a table that is written could not be changed, and would hold up all who come behind.
    let mut transaction = engine::begin_alone(db).await?;
    // Whoever else has the table is not waited for: all who write would wait too.
    sqlx::query("SET LOCAL lock_timeout = '1s'").execute(&mut *transaction).await?;
    for table in TABLES {
        make_one(&mut transaction, table, month).await?;
    }
    transaction.commit().await
}

async fn make_one(db: &mut PgConnection, table: &str, month: Month) -> Result<(), sqlx::Error> {
    let name = format!("{table}_{:04}_{:02}", month.year(), month.number());
    let (from, to) = (month.first_id(), month.after(1).first_id());
    let made: bool =
        sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&name).fetch_one(&mut *db).await?;
    if made {
        return Ok(());
    }
    let in_default = format!("SELECT EXISTS (SELECT 1 FROM {table}_default WHERE id >= $1 AND id < $2)");
    let in_default: bool =
        sqlx::query_scalar(AssertSqlSafe(in_default)).bind(from).bind(to).fetch_one(&mut *db).await?;
    if !in_default {
        let make = format!("CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ({from}) TO ({to})");
        sqlx::query(AssertSqlSafe(make)).execute(&mut *db).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{EventId, IdGenerator, NodeNumber};

    /// 2026-11-20T09:00:00Z
    const NINE: WallTime = WallTime(1_795_165_200_000_000_000);

    #[test]
    fn a_month_is_a_range_of_ids() {
        let mut month = FIRST;
        while month.year() < 2159 {
            let next = month.after(1);
            let last = WallTime::from_millis(next.begins() - 1);
            assert_eq!((Month::of(WallTime::from_millis(month.begins())), Month::of(last)), (month, month));
            let days = (next.begins() - month.begins()) / 86_400_000;
            assert!((28..=31).contains(&days), "{month:?}: {days}");
            month = next;
        }
        let november = Month::of(NINE);
        assert_eq!((november.year(), november.number()), (2026, 11));
        let id = IdGenerator::new(NodeNumber::SINGLE, 0).call(NINE).as_u64();
        let ids = november.first_id()..november.after(1).first_id();
        assert!(ids.contains(&i64::try_from(id).unwrap()) && FIRST.first_id() == 0);
    }

    #[test]
    fn months_that_cannot_be_are_not_made() {
        let change = |id: u64| Change {
            id: EventId::from_u64(id),
            at: NINE,
            tenant: model::TenantId::default(),
            kind: ChangeKind::Noted {
                call: CallId::from_u64(u64::MAX),
                note: model::Note::Tagged { tag: "x".parse().unwrap() },
                by: "test".to_owned(),
            },
        };
        let names = |changes: &[Change]| {
            wanted(changes, NINE).iter().map(|m| (m.year(), m.number())).collect::<Vec<_>>()
        };
        let ahead = [(2026, 11), (2026, 12), (2027, 1)];
        assert_eq!(names(&[]), ahead);
        assert_eq!(names(&[change(u64::MAX)]), ahead);
        assert_eq!(names(&[change(1)]), [[(2020, 1)].as_slice(), &ahead].concat());
    }
}

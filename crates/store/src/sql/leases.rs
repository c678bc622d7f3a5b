//! Leases as rows. A row stays when its lease is over, so that epochs go on.

use std::time::Duration;

use model::Change;
use sqlx::AssertSqlSafe;

use super::engine::{self, Connection, Pool};
use crate::error::CatalogError;
use crate::leases::{Guarded, Lease};
use crate::rows;

fn sql(text: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(text.replace("NOW", engine::NOW_MS).replace("LOCKED", engine::LOCKED))
}

fn millis(lasts: Duration) -> i64 {
    i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX / 2)
}

/// Takes a lease that nobody holds, or the same holder: who was started again need not wait for itself.
pub(crate) async fn acquire(
    db: &Pool,
    name: &str,
    holder: &str,
    lasts: Duration,
) -> Result<Option<Lease>, CatalogError> {
    const ACQUIRE: &str = "INSERT INTO leases (name, holder, epoch, until) VALUES ($1, $2, 1, NOW + $3) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = leases.epoch + 1, until = NOW + $3 \
         WHERE leases.until <= NOW OR leases.holder = excluded.holder RETURNING epoch";
    let epoch: Option<i64> = sqlx::query_scalar(sql(ACQUIRE))
        .bind(rows::text(name))
        .bind(rows::text(holder))
        .bind(millis(lasts))
        .fetch_optional(db)
        .await?;
    Ok(epoch.map(|epoch| Lease { name: name.to_owned(), holder: holder.to_owned(), epoch }))
}

/// Who holds it now.
pub(crate) async fn holder(db: &Pool, name: &str) -> Result<Option<String>, CatalogError> {
    const HOLDER: &str = "SELECT holder FROM leases WHERE name = $1 AND until > NOW";
    Ok(sqlx::query_scalar(sql(HOLDER)).bind(rows::text(name)).fetch_optional(db).await?)
}

/// Holds it longer, from now. One that was over and that nobody took meanwhile is held again. False: it is lost.
pub(crate) async fn renew(db: &Pool, lease: &Lease, lasts: Duration) -> Result<bool, CatalogError> {
    const RENEW: &str = "UPDATE leases SET until = NOW + $4 WHERE name = $1 AND holder = $2 AND epoch = $3";
    let done = sqlx::query(sql(RENEW))
        .bind(rows::text(&lease.name))
        .bind(rows::text(&lease.holder))
        .bind(lease.epoch)
        .bind(millis(lasts))
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives it back. False: it was lost before.
pub(crate) async fn release(db: &Pool, lease: &Lease) -> Result<bool, CatalogError> {
    // It counts as a new epoch: what was held once is not held again by a late renewal.
    const RELEASE: &str = "UPDATE leases SET until = 0, holder = '', epoch = epoch + 1 \
         WHERE name = $1 AND holder = $2 AND epoch = $3";
    let done = sqlx::query(sql(RELEASE))
        .bind(rows::text(&lease.name))
        .bind(rows::text(&lease.holder))
        .bind(lease.epoch)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes changes if the lease is held, in one transaction with the look at it.
pub(crate) async fn apply_guarded(
    db: &Pool,
    lease: &Lease,
    changes: &[Change],
) -> Result<Guarded, CatalogError> {
    let mut transaction = engine::begin(db, changes).await?;
    if !is_held(&mut transaction, lease).await? {
        transaction.rollback().await?;
        return Ok(Guarded::Stale);
    }
    super::apply(&mut transaction, changes).await?;
    transaction.commit().await?;
    Ok(Guarded::Written)
}

/// Whether it is held; it stays so until the transaction ends.
async fn is_held(db: &mut Connection, lease: &Lease) -> Result<bool, CatalogError> {
    const HELD: &str =
        "SELECT epoch FROM leases WHERE name = $1 AND holder = $2 AND epoch = $3 AND until > NOW LOCKED";
    let found: Option<i64> = sqlx::query_scalar(sql(HELD))
        .bind(rows::text(&lease.name))
        .bind(rows::text(&lease.holder))
        .bind(lease.epoch)
        .fetch_optional(db)
        .await?;
    Ok(found.is_some())
}

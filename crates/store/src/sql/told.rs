//! What was told of a call, read as it was told.

use model::{CallId, CallRecord, TenantId};
use sqlx::FromRow;

use super::engine::{self, Connection, Pool};
use crate::error::CatalogError;
use crate::query::{LIST_MAX, limit};
use crate::rows;
use crate::told::{ToldCall, ToldSegment};

#[derive(FromRow)]
struct Row {
    tenant: String,
    data: String,
    started: i64,
    ended: Option<i64>,
    total: i64,
}

/// The tenants that have calls, or had some.
pub(crate) async fn tenants(db: &Pool) -> Result<Vec<TenantId>, CatalogError> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM tenants ORDER BY name").fetch_all(db).await?;
    names.iter().map(|name| rows::tenant(name)).collect()
}

/// One call as it was told, if the tenant has it. Of one that turned out to be another it is that other.
pub(crate) async fn call(
    db: &Pool,
    tenant: &TenantId,
    call: CallId,
) -> Result<Option<ToldCall>, CatalogError> {
    // One transaction: the call and its segments of the same moment.
    let mut transaction = engine::look(db).await?;
    let told = told(&mut transaction, tenant, call).await?;
    transaction.rollback().await?;
    Ok(told)
}

async fn told(
    db: &mut Connection,
    tenant: &TenantId,
    call: CallId,
) -> Result<Option<ToldCall>, CatalogError> {
    let surviving: Option<i64> = sqlx::query_scalar("SELECT COALESCE(joined, id) FROM calls WHERE id = $1")
        .bind(rows::id(call.as_u64()))
        .fetch_optional(&mut *db)
        .await?;
    let Some(id) = surviving else { return Ok(None) };
    let row: Option<Row> = sqlx::query_as(
        "SELECT tenant, COALESCE(told_data, data) AS data, \
         CASE WHEN told_data IS NULL THEN started ELSE told_started END AS started, \
         CASE WHEN told_data IS NULL THEN ended ELSE told_ended END AS ended, \
         CASE WHEN told > 0 THEN told_total ELSE total END AS total FROM calls WHERE id = $1 AND tenant = $2",
    )
    .bind(id)
    .bind(tenant.as_str())
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let segments: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT directory, record, number FROM segments WHERE call = $1 ORDER BY number, id LIMIT $2",
    )
    .bind(id)
    .bind(limit(Some(LIST_MAX)))
    .fetch_all(&mut *db)
    .await?;
    let segment = |(directory, record, number): (String, String, i64)| {
        let record = rows::from_json("a segment's record", &record)?;
        Ok(ToldSegment { record, directory, number: rows::small(number)? })
    };
    let segments: Result<Vec<_>, CatalogError> = segments.into_iter().map(segment).collect();
    let call = CallRecord {
        id: CallId::from_u64(rows::from_id(id)?),
        tenant: rows::tenant(&row.tenant)?,
        started: rows::time(row.started),
        ended: row.ended.map(rows::time),
        total: rows::small(row.total)?,
        data: rows::from_json("call data", &row.data)?,
    };
    Ok(Some(ToldCall { call, segments: segments? }))
}

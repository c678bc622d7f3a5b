//! What was told of a call, as it was told: without what people corrected, and with segments as they were recorded.
//!
//! Who tells something anew must not tell what followed from other rows: that would follow twice.

use model::{CallId, CallRecord, SegmentRecord, TenantId};
use sqlx::{FromRow, SqliteConnection};

use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::query::{LIST_MAX, limit};
use crate::rows;

/// A call as it was told.
#[derive(Clone, PartialEq, Debug)]
pub struct ToldCall {
    /// The call, without those that it took in.
    pub call: CallRecord,
    /// Its segments and those of the calls that it took in, in order of their numbers in it; at most
    /// [`LIST_MAX`](crate::LIST_MAX).
    pub segments: Vec<ToldSegment>,
}

/// A segment as it was told.
#[derive(Clone, PartialEq, Debug)]
pub struct ToldSegment {
    /// The segment, of the call that it was recorded as, with sides as they were recorded.
    pub record: SegmentRecord,
    /// Its directory, relative to the repository of its node.
    pub directory: String,
    /// Its number in the call that survives.
    pub number: u16,
}

#[derive(FromRow)]
struct Row {
    tenant: String,
    data: String,
    started: i64,
    ended: Option<i64>,
    total: i64,
}

impl Catalog {
    /// The tenants that have calls, or had some.
    pub async fn tenants(&self) -> Result<Vec<TenantId>, CatalogError> {
        self.answer(async {
            let database = self.database().await?;
            let names: Vec<String> = sqlx::query_scalar("SELECT name FROM tenants ORDER BY name")
                .fetch_all(&database.readers)
                .await?;
            names.iter().map(|name| rows::tenant(name)).collect()
        })
        .await
    }

    /// One call as it was told, if the tenant has it. Of one that turned out to be another it is that other.
    pub async fn call_as_told(
        &self,
        tenant: &TenantId,
        call: CallId,
    ) -> Result<Option<ToldCall>, CatalogError> {
        self.answer(async {
            let database = self.database().await?;
            // One transaction: the call and its segments of the same moment.
            let mut transaction = database.readers.begin().await?;
            let told = told(&mut transaction, tenant, call).await?;
            transaction.rollback().await?;
            Ok(told)
        })
        .await
    }
}

async fn told(
    db: &mut SqliteConnection,
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

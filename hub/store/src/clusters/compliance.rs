//! What policy engines found in clusters.

use std::collections::BTreeMap;

use bellwether_api::compliance::Compliance;
use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    column::{from_json, ms, timestamp},
    error::Doing,
};

/// Records what was found in a cluster; of the same nothing is written, so that its time is since when it
/// is so.
///
/// # Errors
/// The database fails.
pub async fn record_compliance(
    store: &Store,
    id: Uuid,
    found: &Compliance,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE cluster SET compliance = $2, compliance_at_ms = $3
         WHERE id = $1 AND state <> 'Revoked' AND compliance IS DISTINCT FROM $2",
    )
    .bind(id)
    .bind(Json(found))
    .bind(ms(now))
    .execute(&store.pool)
    .await
    .doing("record what policy engines found")?;
    Ok(())
}

/// What was found in each cluster, and since when that is so; clusters of which nothing was ever said are
/// left out.
///
/// # Errors
/// The database fails.
pub async fn compliance(
    store: &Store,
) -> Result<BTreeMap<Uuid, (Compliance, Timestamp)>, StoreError> {
    let rows: Vec<(Uuid, serde_json::Value, i64)> = sqlx::query_as(
        "SELECT id, compliance, compliance_at_ms FROM cluster WHERE compliance IS NOT NULL",
    )
    .fetch_all(&store.pool)
    .await
    .doing("read what policy engines found")?;
    rows.into_iter()
        .map(|(id, found, at)| {
            let found = from_json("cluster.compliance", found)?;
            let at = timestamp("cluster.compliance_at_ms", at)?;
            Ok((id, (found, at)))
        })
        .collect()
}

//! Who shows a cluster's identity, and the quarantine of one that two show.

use bellwether_api::{
    call::Condition,
    status::{RunEvent, Severity},
};
use bellwether_hub_core::clones::Presence;
use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Cluster, write::fence};
use crate::{Store, StoreError, Tx, error::Doing, events};

/// Records who shows a cluster's identity now, unless somebody else recorded another one since `known` was
/// read; tells whether it was recorded.
///
/// # Errors
/// The database fails.
pub async fn record_presence(
    store: &Store,
    id: Uuid,
    known: Option<&Presence>,
    now: &Presence,
) -> Result<bool, StoreError> {
    let written = sqlx::query(
        "UPDATE cluster SET presence = $3 WHERE id = $1 AND presence IS NOT DISTINCT FROM $2",
    )
    .bind(id)
    .bind(known.map(Json))
    .bind(Json(now))
    .execute(&store.pool)
    .await
    .doing("record who shows a cluster's identity")?;
    Ok(written.rows_affected() > 0)
}

/// Ends the streams of a cluster whose identity two agents show, and lets none in until it enrols again.
/// What it shall hold stays as it is. Tells whether that is news.
///
/// # Errors
/// The database fails.
pub async fn quarantine(
    tx: &mut Tx,
    cluster: &Cluster,
    why: &Condition,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let written = sqlx::query(
        "UPDATE cluster SET cloned = $2, resource_version = nextval('resource_version')
         WHERE id = $1 AND state = 'Active' AND cloned IS NULL
           AND kube_uid IS NOT DISTINCT FROM $3",
    )
    .bind(cluster.id)
    .bind(Json(why))
    .bind(&cluster.kube_uid)
    .execute(&mut *tx.inner)
    .await
    .doing("quarantine a cluster")?;
    if written.rows_affected() == 0 {
        return Ok(false);
    }
    fence(tx, cluster.id).await?;
    let key = format!("cluster/{}", cluster.name);
    let event = RunEvent {
        seq: events::highest(tx, cluster.id, &key).await? + 1,
        at: now.to_string(),
        run: Uuid::nil(),
        attempt: 0,
        severity: Severity::Error,
        reason: why.kind.clone(),
        object: None,
        message: why.message.clone(),
        notify: Vec::new(),
    };
    events::insert(tx, cluster.id, &key, &[event], now).await?;
    Ok(true)
}

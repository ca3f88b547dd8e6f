//! Announcing, changing, revoking and deleting clusters.

use bellwether_api::call::Condition;
use jiff::Timestamp;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    Cluster, ClusterPatch, CreateError, NewCluster, get_in,
    read::{BY_ID, find},
};
use crate::{
    Store, StoreError, Tx,
    column::{ms, refuse_nul, unsigned},
    error::Doing,
    records::WriteError,
};

/// Announces a cluster: it is Pending and holds nothing.
///
/// # Errors
/// [`CreateError::Exists`] when one has that name, or the database fails.
pub async fn create(tx: &mut Tx, new: &NewCluster, now: Timestamp) -> Result<Cluster, CreateError> {
    refuse_nul("cluster.spec", &new.spec)?;
    let written = sqlx::query(
        "INSERT INTO cluster (id, name, labels, annotations, spec, state, created_at_ms, created_by)
         VALUES ($1, $2, $3, $4, $5, 'Pending', $6, $7) ON CONFLICT (name) DO NOTHING",
    )
    .bind(new.id)
    .bind(&new.name)
    .bind(Json(&new.labels))
    .bind(Json(&new.annotations))
    .bind(&new.spec)
    .bind(ms(now))
    .bind(&new.by)
    .execute(&mut *tx.inner)
    .await
    .doing("write a cluster")?;
    if written.rows_affected() == 0 {
        return Err(CreateError::Exists {
            name: new.name.clone(),
        });
    }
    sqlx::query("INSERT INTO cluster_sync (cluster) VALUES ($1)")
        .bind(new.id)
        .execute(&mut *tx.inner)
        .await
        .doing("write a cluster's sync row")?;
    let cluster = find(&mut *tx.inner, BY_ID, new.id).await?;
    Ok(cluster.ok_or_else(|| gone("cluster"))?)
}

fn gone(what: &'static str) -> StoreError {
    StoreError::Corrupt {
        what,
        detail: "it is gone within its own transaction".to_owned(),
    }
}

/// Changes what a user may change, and gives the cluster as it is then; absent when there is none.
/// With `expected`, only if it is at that version now. A patch that changes nothing writes nothing.
///
/// # Errors
/// [`WriteError::Conflict`] when it is at another version, or the database fails.
pub async fn update(
    tx: &mut Tx,
    name: &str,
    patch: &ClusterPatch,
    expected: Option<u64>,
) -> Result<Option<Cluster>, WriteError> {
    if let Some(spec) = &patch.spec {
        refuse_nul("cluster.spec", spec)?;
    }
    let version: Option<i64> =
        sqlx::query_scalar("SELECT resource_version FROM cluster WHERE name = $1 FOR UPDATE")
            .bind(name)
            .fetch_optional(&mut *tx.inner)
            .await
            .doing("lock a cluster")?;
    let actual = version
        .map(|version| unsigned("cluster.resource_version", version))
        .transpose()?;
    if let Some(expected) = expected
        && actual != Some(expected)
    {
        return Err(WriteError::Conflict { expected, actual });
    }
    if actual.is_none() {
        return Ok(None);
    }
    sqlx::query(
        "UPDATE cluster SET labels = coalesce($2, labels), annotations = coalesce($3, annotations),
            spec = coalesce($4, spec),
            generation = generation + (coalesce($4, spec) <> spec)::int,
            resource_version = nextval('resource_version')
         WHERE name = $1 AND (coalesce($2, labels), coalesce($3, annotations), coalesce($4, spec))
            IS DISTINCT FROM (labels, annotations, spec)",
    )
    .bind(name)
    .bind(patch.labels.as_ref().map(Json))
    .bind(patch.annotations.as_ref().map(Json))
    .bind(&patch.spec)
    .execute(&mut *tx.inner)
    .await
    .doing("write a cluster")?;
    Ok(get_in(tx, name).await?)
}

/// Makes a cluster Active when it enrols, again too: a new token gives a revoked or lost cluster
/// its place back. Streams of its old identity are fenced.
///
/// # Errors
/// The database fails.
pub async fn activate(
    tx: &mut Tx,
    id: Uuid,
    kube_uid: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE cluster SET state = 'Active', kube_uid = $2, revoked_by = NULL,
            revocation_reason = NULL, presence = NULL, cloned = NULL,
            registered_at_ms = coalesce(registered_at_ms, $3) WHERE id = $1",
    )
    .bind(id)
    .bind(kube_uid)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("activate a cluster")?;
    fence(tx, id).await
}

/// Records how far the clock of a cluster's agent is ahead of the hub's; negative = behind.
///
/// # Errors
/// The database fails.
pub async fn record_clock(store: &Store, id: Uuid, ahead_ms: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE cluster SET clock_ahead_ms = $2 WHERE id = $1")
        .bind(id)
        .bind(ahead_ms)
        .execute(&store.pool)
        .await
        .doing("record a cluster's clock")?;
    Ok(())
}

/// Records since when a cluster's agent has not looked at everything that it holds; absent = it does.
///
/// # Errors
/// The database fails.
pub async fn record_drift(
    store: &Store,
    id: Uuid,
    unseen_since: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE cluster SET drift_unseen_since_ms = $2 WHERE id = $1")
        .bind(id)
        .bind(unseen_since.map(ms))
        .execute(&store.pool)
        .await
        .doing("record that drift is not looked for")?;
    Ok(())
}

/// Records whether the metrics of a cluster answered its agent; `None` = there is nothing to ask.
///
/// # Errors
/// The database fails.
pub async fn record_metrics(
    store: &Store,
    id: Uuid,
    condition: Option<&Condition>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE cluster SET metrics_condition = $2 WHERE id = $1")
        .bind(id)
        .bind(condition.map(Json))
        .execute(&store.pool)
        .await
        .doing("record whether a cluster's metrics answer")?;
    Ok(())
}

/// Takes a cluster's identity away: its certificates, and its streams at the next look of the
/// tailer. Tells whether it had one.
///
/// # Errors
/// The database fails.
pub async fn revoke(tx: &mut Tx, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
    let revoked = sqlx::query(
        "UPDATE cluster SET state = 'Revoked', resource_version = nextval('resource_version')
         WHERE id = $1 AND state <> 'Revoked'",
    )
    .bind(id)
    .execute(&mut *tx.inner)
    .await
    .doing("revoke a cluster")?;
    sqlx::query(
        "UPDATE certificate SET revoked_at_ms = $2 WHERE cluster = $1 AND revoked_at_ms IS NULL",
    )
    .bind(id)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("revoke a cluster's certificates")?;
    fence(tx, id).await?;
    Ok(revoked.rows_affected() > 0)
}

/// Keeps who revoked a cluster and why, until it enrols again.
///
/// # Errors
/// The database fails.
pub async fn note_revocation(
    tx: &mut Tx,
    id: Uuid,
    by: &str,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE cluster SET revoked_by = $2, revocation_reason = $3 WHERE id = $1")
        .bind(id)
        .bind(by)
        .bind(reason)
        .execute(&mut *tx.inner)
        .await
        .doing("keep why a cluster was revoked")?;
    Ok(())
}

/// Ends the cluster's streams, wherever they are: their epoch is old from now on, and the tailer
/// of the hub that holds one sees it.
pub(super) async fn fence(tx: &mut Tx, id: Uuid) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE cluster_sync SET session_epoch = session_epoch + 1, replica = NULL,
            tx = pg_current_xact_id() WHERE cluster = $1",
    )
    .bind(id)
    .execute(&mut *tx.inner)
    .await
    .doing("fence a cluster's streams")?;
    Ok(())
}

/// Forgets a cluster with everything that it shall hold and said; its events stay. Tells whether
/// it existed.
///
/// # Errors
/// The database fails.
pub async fn delete(tx: &mut Tx, id: Uuid) -> Result<bool, StoreError> {
    let deleted = sqlx::query(
        "WITH moved AS (SELECT nextval('resource_version'))
         DELETE FROM cluster USING moved WHERE id = $1",
    )
    .bind(id)
    .execute(&mut *tx.inner)
    .await
    .doing("delete a cluster")?;
    Ok(deleted.rows_affected() > 0)
}

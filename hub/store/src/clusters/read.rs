//! Reading clusters.

use std::collections::BTreeMap;

use bellwether_api::{
    call::Condition,
    cluster::{Cordon, NodeProperties},
};
use bellwether_hub_core::clones::Presence;
use serde_json::Value;
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use super::{Cluster, Connection};
use crate::{
    Store, StoreError, Tx,
    column::{from_name, timestamp, timestamp_option, unsigned},
    error::Doing,
};

const ALL: &str = "SELECT c.*, s.replica, l.expires_at_ms AS lease_expires_at_ms, s.session_epoch,
    greatest(s.last_seen_at_ms, l.renewed_at_ms) AS last_seen_at_ms, s.target_gen, s.acked_gen,
    s.applied_gen
    FROM cluster c JOIN cluster_sync s ON s.cluster = c.id
    LEFT JOIN replica_lease l ON l.replica = s.replica ORDER BY c.name";
const BY_NAME: &str =
    "SELECT c.*, s.replica, l.expires_at_ms AS lease_expires_at_ms, s.session_epoch,
    greatest(s.last_seen_at_ms, l.renewed_at_ms) AS last_seen_at_ms, s.target_gen, s.acked_gen,
    s.applied_gen
    FROM cluster c JOIN cluster_sync s ON s.cluster = c.id
    LEFT JOIN replica_lease l ON l.replica = s.replica WHERE c.name = $1";
const NAMED: &str =
    "SELECT c.*, s.replica, l.expires_at_ms AS lease_expires_at_ms, s.session_epoch,
    greatest(s.last_seen_at_ms, l.renewed_at_ms) AS last_seen_at_ms, s.target_gen, s.acked_gen,
    s.applied_gen
    FROM cluster c JOIN cluster_sync s ON s.cluster = c.id
    LEFT JOIN replica_lease l ON l.replica = s.replica WHERE c.name = ANY($1) ORDER BY c.name";
pub(super) const BY_ID: &str =
    "SELECT c.*, s.replica, l.expires_at_ms AS lease_expires_at_ms, s.session_epoch,
    greatest(s.last_seen_at_ms, l.renewed_at_ms) AS last_seen_at_ms, s.target_gen, s.acked_gen,
    s.applied_gen
    FROM cluster c JOIN cluster_sync s ON s.cluster = c.id
    LEFT JOIN replica_lease l ON l.replica = s.replica WHERE c.id = $1";

#[derive(sqlx::FromRow)]
struct ClusterRow {
    id: Uuid,
    name: String,
    labels: Json<BTreeMap<String, String>>,
    annotations: Json<BTreeMap<String, String>>,
    spec: Value,
    generation: i64,
    resource_version: i64,
    state: String,
    kube_uid: Option<String>,
    agent_version: Option<String>,
    kubernetes_version: Option<String>,
    capabilities: Vec<String>,
    certificate_not_after_ms: Option<i64>,
    clock_ahead_ms: Option<i64>,
    drift_unseen_since_ms: Option<i64>,
    metrics_condition: Option<Json<Condition>>,
    node_properties: Option<Json<NodeProperties>>,
    missing_rights: Vec<String>,
    cordon: Option<Json<Cordon>>,
    presence: Option<Json<Presence>>,
    cloned: Option<Json<Condition>>,
    revoked_by: Option<String>,
    revocation_reason: Option<String>,
    created_at_ms: i64,
    registered_at_ms: Option<i64>,
    created_by: String,
    replica: Option<Uuid>,
    lease_expires_at_ms: Option<i64>,
    session_epoch: i64,
    last_seen_at_ms: Option<i64>,
    target_gen: i64,
    acked_gen: i64,
    applied_gen: i64,
}

impl ClusterRow {
    fn into_cluster(self) -> Result<Cluster, StoreError> {
        let at = timestamp_option;
        Ok(Cluster {
            id: self.id,
            name: self.name,
            labels: self.labels.0,
            annotations: self.annotations.0,
            spec: self.spec,
            generation: unsigned("cluster.generation", self.generation)?,
            resource_version: unsigned("cluster.resource_version", self.resource_version)?,
            state: from_name("cluster.state", self.state)?,
            kube_uid: self.kube_uid,
            agent_version: self.agent_version,
            kubernetes_version: self.kubernetes_version,
            capabilities: self.capabilities,
            certificate_not_after: at("certificate_not_after_ms", self.certificate_not_after_ms)?,
            revoked_by: self.revoked_by,
            revocation_reason: self.revocation_reason.unwrap_or_default(),
            clock_ahead_ms: self.clock_ahead_ms,
            drift_unseen_since: at("cluster.drift_unseen_since_ms", self.drift_unseen_since_ms)?,
            metrics: self.metrics_condition.map(|condition| condition.0),
            nodes: self.node_properties.map(|nodes| nodes.0),
            missing_rights: self.missing_rights,
            cordon: self.cordon.map(|cordon| cordon.0),
            presence: self.presence.map(|presence| presence.0),
            cloned: self.cloned.map(|cloned| cloned.0),
            created_at: timestamp("cluster.created_at_ms", self.created_at_ms)?,
            registered_at: at("cluster.registered_at_ms", self.registered_at_ms)?,
            created_by: self.created_by,
            connection: Connection {
                replica: self.replica,
                lease_expires_at: at("replica_lease.expires_at_ms", self.lease_expires_at_ms)?,
                epoch: unsigned("cluster_sync.session_epoch", self.session_epoch)?,
                last_seen: at("cluster_sync.last_seen_at_ms", self.last_seen_at_ms)?,
                target_generation: unsigned("cluster_sync.target_gen", self.target_gen)?,
                acked_generation: unsigned("cluster_sync.acked_gen", self.acked_gen)?,
                applied_generation: unsigned("cluster_sync.applied_gen", self.applied_gen)?,
            },
        })
    }
}

/// One cluster by its name; absent when there is none.
///
/// # Errors
/// The database fails.
pub async fn get(store: &Store, name: &str) -> Result<Option<Cluster>, StoreError> {
    find(&store.pool, BY_NAME, name).await
}

/// One cluster by its name, as the transaction sees it; absent when there is none.
///
/// # Errors
/// The database fails.
pub async fn get_in(tx: &mut Tx, name: &str) -> Result<Option<Cluster>, StoreError> {
    find(&mut *tx.inner, BY_NAME, name).await
}

/// One cluster by its identity; absent when there is none.
///
/// # Errors
/// The database fails.
pub async fn by_id(store: &Store, id: Uuid) -> Result<Option<Cluster>, StoreError> {
    find(&store.pool, BY_ID, id).await
}

pub(super) async fn find<'q, B>(
    executor: impl PgExecutor<'_>,
    statement: &'static str,
    by: B,
) -> Result<Option<Cluster>, StoreError>
where
    B: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + 'q,
{
    let row: Option<ClusterRow> = sqlx::query_as(statement)
        .bind(by)
        .fetch_optional(executor)
        .await
        .doing("read a cluster")?;
    row.map(ClusterRow::into_cluster).transpose()
}

/// The clusters with these names, by name; those that are not registered are left out.
///
/// # Errors
/// The database fails.
pub async fn named(store: &Store, names: &[String]) -> Result<Vec<Cluster>, StoreError> {
    named_from(&store.pool, names).await
}

/// The clusters with these names, by name, as the transaction sees them; those that are not
/// registered are left out.
///
/// # Errors
/// The database fails.
pub async fn named_in(tx: &mut Tx, names: &[String]) -> Result<Vec<Cluster>, StoreError> {
    named_from(&mut *tx.inner, names).await
}

async fn named_from(
    executor: impl PgExecutor<'_>,
    names: &[String],
) -> Result<Vec<Cluster>, StoreError> {
    let rows: Vec<ClusterRow> = sqlx::query_as(NAMED)
        .bind(names)
        .fetch_all(executor)
        .await
        .doing("read clusters")?;
    rows.into_iter().map(ClusterRow::into_cluster).collect()
}

/// Every cluster, by name.
///
/// # Errors
/// The database fails.
pub async fn list(store: &Store) -> Result<Vec<Cluster>, StoreError> {
    list_from(&store.pool).await
}

/// Every cluster, by name, as the transaction sees them.
///
/// # Errors
/// The database fails.
pub async fn list_in(tx: &mut Tx) -> Result<Vec<Cluster>, StoreError> {
    list_from(&mut *tx.inner).await
}

async fn list_from(executor: impl PgExecutor<'_>) -> Result<Vec<Cluster>, StoreError> {
    let rows: Vec<ClusterRow> = sqlx::query_as(ALL)
        .fetch_all(executor)
        .await
        .doing("list clusters")?;
    rows.into_iter().map(ClusterRow::into_cluster).collect()
}

/// Which of these clusters may not speak: revoked, or deleted. Sorted.
///
/// # Errors
/// The database fails.
pub async fn refused_among(store: &Store, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(
        "SELECT id FROM unnest($1::uuid[]) AS asked(id)
         WHERE NOT EXISTS (SELECT FROM cluster c WHERE c.id = asked.id AND c.state <> 'Revoked')
         ORDER BY id",
    )
    .bind(ids)
    .fetch_all(&store.pool)
    .await
    .doing("look for revoked clusters")
}

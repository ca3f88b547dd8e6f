//! Registered member clusters.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{from_name, ms, refuse_nul, timestamp, timestamp_option, unsigned},
    error::Doing,
    records::WriteError,
};

/// Whether a cluster may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterState {
    /// Announced; it has no certificate yet.
    Pending,
    /// Enrolled.
    Active,
    /// Its identity was taken away.
    Revoked,
}

/// A registered cluster with what is known of its connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The identity in its certificate.
    pub id: Uuid,
    /// Unique.
    pub name: String,
    /// For selection.
    pub labels: BTreeMap<String, String>,
    /// For whatever its user likes.
    pub annotations: BTreeMap<String, String>,
    /// `bellwether_api::cluster::ClusterSpec` as JSON.
    pub spec: Value,
    /// Rises with every change of the spec, from 1.
    pub generation: u64,
    /// Changes with every write by a user.
    pub resource_version: u64,
    /// Whether it may speak.
    pub state: ClusterState,
    /// UID of its kube-system namespace; absent = never enrolled.
    pub kube_uid: Option<String>,
    /// The agent's version; absent = never connected.
    pub agent_version: Option<String>,
    /// The cluster's Kubernetes version; absent = never connected.
    pub kubernetes_version: Option<String>,
    /// API groups with versions that capabilities depend on; empty = never connected, or none.
    pub capabilities: Vec<String>,
    /// When its certificate ends; absent = it has none.
    pub certificate_not_after: Option<Timestamp>,
    /// When it was announced.
    pub created_at: Timestamp,
    /// When it first enrolled; absent = never.
    pub registered_at: Option<Timestamp>,
    /// Who announced it.
    pub created_by: String,
    /// Its stream, as it was last written.
    pub connection: Connection,
}

/// A cluster's stream as the database knows it. Beats are not written: while the stream is open,
/// `last_seen` is at least as new as the replica's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The hub that holds the stream; absent = none.
    pub replica: Option<Uuid>,
    /// When that hub's lease ends; absent = there is no stream, or that hub has no lease.
    pub lease_expires_at: Option<Timestamp>,
    /// Rises with every stream; 0 = never connected.
    pub epoch: u64,
    /// When the cluster was last known to be there; absent = never.
    pub last_seen: Option<Timestamp>,
    /// The generation that it shall hold.
    pub target_generation: u64,
    /// The generation that it holds.
    pub acked_generation: u64,
    /// The generation up to which everything is finished or failed.
    pub applied_generation: u64,
}

impl Connection {
    /// Tells whether a live hub holds the cluster's stream.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.lease_expires_at
            .is_some_and(|expires_at| expires_at > now)
    }
}

/// A cluster to announce.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCluster {
    /// Its identity from now on.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// For selection.
    pub labels: BTreeMap<String, String>,
    /// For whatever its user likes.
    pub annotations: BTreeMap<String, String>,
    /// `bellwether_api::cluster::ClusterSpec` as JSON.
    pub spec: Value,
    /// Who announces it.
    pub by: String,
}

/// What a user may change of a cluster; absent = stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterPatch {
    /// For selection.
    pub labels: Option<BTreeMap<String, String>>,
    /// For whatever its user likes.
    pub annotations: Option<BTreeMap<String, String>>,
    /// `bellwether_api::cluster::ClusterSpec` as JSON.
    pub spec: Option<Value>,
}

/// Why a cluster was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A cluster has that name.
    #[error("failed to register the cluster: one named {name:?} exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

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
const BY_ID: &str =
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

async fn find<'q, B>(
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
        "UPDATE cluster SET state = 'Active', kube_uid = $2,
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

/// Ends the cluster's streams, wherever they are: their epoch is old from now on, and the tailer
/// of the hub that holds one sees it.
async fn fence(tx: &mut Tx, id: Uuid) -> Result<(), StoreError> {
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

//! What the planning loop must look at: which records moved, who waits for an answer, which
//! applications clusters still hold. Names and numbers only, no contents.

use std::collections::BTreeSet;

use bellwether_api::reference::NamespacedName;
use uuid::Uuid;

use crate::{Store, StoreError, column::unsigned, error::Doing};

/// That a record or cluster is at a version now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordVersion {
    /// `Application`, `Cluster`, `Fleet`, `MetricTemplate` or `Rollout`.
    pub kind: String,
    /// The namespace; empty for global kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Changes with every write.
    pub resource_version: u64,
}

/// The version of every record and cluster.
///
/// # Errors
/// The database fails.
pub async fn record_versions(store: &Store) -> Result<BTreeSet<RecordVersion>, StoreError> {
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(
        "SELECT kind, namespace, name, resource_version FROM record
         UNION ALL SELECT 'Cluster', state, name, resource_version FROM cluster",
    )
    .fetch_all(&store.pool)
    .await
    .doing("read the versions of records")?;
    rows.into_iter()
        .map(|(kind, namespace, name, version)| {
            let resource_version = unsigned("record.resource_version", version)?;
            Ok(RecordVersion {
                kind,
                namespace,
                name,
                resource_version,
            })
        })
        .collect()
}

/// The applications whose runs have unanswered actions, sorted.
///
/// # Errors
/// The database fails.
pub async fn with_pending_actions(store: &Store) -> Result<BTreeSet<NamespacedName>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT DISTINCT namespace, application FROM run_action WHERE executed_at_ms IS NULL",
    )
    .fetch_all(&store.pool)
    .await
    .doing("look for unanswered actions")?;
    Ok(rows
        .into_iter()
        .map(|(namespace, name)| NamespacedName { namespace, name })
        .collect())
}

/// The keys of application units that at least one cluster shall hold, sorted.
///
/// # Errors
/// The database fails.
pub async fn held_applications(store: &Store) -> Result<BTreeSet<String>, StoreError> {
    let keys: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT key FROM desired
         WHERE digest IS NOT NULL AND key LIKE 'application/%'",
    )
    .fetch_all(&store.pool)
    .await
    .doing("read which applications are held")?;
    Ok(keys.into_iter().collect())
}

/// The unanswered actions of an application that were said to other runs than `latest`, in the
/// order in which they were said.
///
/// # Errors
/// The database fails.
pub async fn pending_of_older_runs(
    store: &Store,
    application: &NamespacedName,
    latest: Uuid,
) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(
        "SELECT id FROM run_action
         WHERE namespace = $1 AND application = $2 AND run <> $3 AND executed_at_ms IS NULL
         ORDER BY seq",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .bind(latest)
    .fetch_all(&store.pool)
    .await
    .doing("look for actions on older runs")
}

//! What the planning loop must look at: who waits for an answer, which applications clusters still
//! hold or are planned in. Names only, no contents.

use std::collections::BTreeSet;

use bellwether_api::reference::NamespacedName;
use uuid::Uuid;

use crate::{Store, StoreError, error::Doing};

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

/// The applications whose newest runs have one of these clusters in their plans, sorted.
///
/// # Errors
/// The database fails.
pub async fn concerning(
    store: &Store,
    clusters: &[Uuid],
) -> Result<BTreeSet<NamespacedName>, StoreError> {
    // Only the newest run of an application is not superseded.
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT DISTINCT run.namespace, run.application FROM run_cluster
         JOIN run ON run.id = run_cluster.run
         WHERE run_cluster.cluster = ANY($1) AND run.status <> 'Superseded'",
    )
    .bind(clusters)
    .fetch_all(&store.pool)
    .await
    .doing("look for the applications of clusters")?;
    Ok(rows
        .into_iter()
        .map(|(namespace, name)| NamespacedName { namespace, name })
        .collect())
}

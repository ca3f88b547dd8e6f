//! Rollouts of workloads that the hub does not deliver: which there are.

use std::collections::BTreeSet;

use bellwether_api::{bundle::UnitKey, reference::NamespacedName};

use crate::{Store, StoreError, error::Doing};

/// The Rollouts without an application, and those that clusters still hold although their records are
/// gone.
///
/// # Errors
/// The database fails.
pub async fn names(store: &Store) -> Result<BTreeSet<NamespacedName>, StoreError> {
    let records: Vec<(String, String)> = sqlx::query_as(
        "SELECT namespace, name FROM record
         WHERE kind = 'Rollout' AND spec ->> 'application' IS NULL AND spec ? 'destination'",
    )
    .fetch_all(&store.pool)
    .await
    .doing("list the rollouts without an application")?;
    let held: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT key FROM desired WHERE digest IS NOT NULL AND key LIKE 'rollout/%'",
    )
    .fetch_all(&store.pool)
    .await
    .doing("read which rollouts are held")?;
    let mut names: BTreeSet<NamespacedName> = records
        .into_iter()
        .map(|(namespace, name)| NamespacedName { namespace, name })
        .collect();
    names.extend(held.iter().filter_map(|key| match key.parse() {
        Ok(UnitKey::Rollout(name)) => Some(name),
        _ => None,
    }));
    Ok(names)
}

//! Who took the Rollouts of applications away: a deleted record can no longer say.

use bellwether_api::reference::NamespacedName;

use super::RolloutRemoval;
use crate::{Store, StoreError, Tx, column::unsigned, error::Doing};

/// Remembers who deleted a Rollout of an application, in the transaction that deletes it.
///
/// # Errors
/// The database fails.
pub async fn note_removal(
    tx: &mut Tx,
    application: &NamespacedName,
    by: &str,
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO rollout_removal (namespace, application, removed_by, reason)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (namespace, application) DO UPDATE SET
            resource_version = excluded.resource_version, removed_by = excluded.removed_by,
            reason = excluded.reason",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .bind(by)
    .bind(reason)
    .execute(&mut *tx.inner)
    .await
    .doing("remember who deleted a rollout")?;
    Ok(())
}

/// The last removal of a Rollout of an application; absent = there was none.
///
/// # Errors
/// The database fails.
pub async fn last_removal(
    store: &Store,
    application: &NamespacedName,
) -> Result<Option<RolloutRemoval>, StoreError> {
    let row: Option<(i64, String, String)> = sqlx::query_as(
        "SELECT resource_version, removed_by, reason FROM rollout_removal
         WHERE namespace = $1 AND application = $2",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .fetch_optional(&store.pool)
    .await
    .doing("read who deleted a rollout")?;
    row.map(|(version, by, reason)| {
        Ok(RolloutRemoval {
            resource_version: unsigned("rollout_removal.resource_version", version)?,
            by,
            reason,
        })
    })
    .transpose()
}

/// Forgets the removals of an application that is deleted itself.
///
/// # Errors
/// The database fails.
pub async fn forget_removals(tx: &mut Tx, application: &NamespacedName) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM rollout_removal WHERE namespace = $1 AND application = $2")
        .bind(&application.namespace)
        .bind(&application.name)
        .execute(&mut *tx.inner)
        .await
        .doing("forget who deleted a rollout")?;
    Ok(())
}

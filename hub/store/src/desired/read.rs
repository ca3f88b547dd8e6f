//! Reading: consistent cuts of one cluster, and lookups over many.

use std::collections::BTreeMap;

use bellwether_api::sync_policy::{DeletionPolicies, DeletionPolicy};
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Delta, Snapshot, Target, UnitVersion, target};
use crate::{
    Digest, Store, StoreError, Tx,
    column::{digest, from_json, unsigned},
    error::Doing,
};

#[derive(sqlx::FromRow)]
struct CutRow {
    target_gen: i64,
    target_root: Vec<u8>,
    key: Option<String>,
    digest: Option<Vec<u8>>,
    generation: Option<i64>,
    deletion: Option<String>,
    component_deletion: Option<Value>,
}

impl CutRow {
    /// The unit of the row; `None` = the cluster has none.
    fn unit(self) -> Option<Result<UnitVersion, StoreError>> {
        let (key, generation) = (self.key?, self.generation?);
        let held = self.digest.map(|held| digest("desired.digest", &held));
        let said = said(self.deletion.as_deref(), self.component_deletion);
        let unit = || {
            Ok(UnitVersion {
                key,
                generation: unsigned("desired.gen", generation)?,
                digest: held.transpose()?,
                deletion: said?,
            })
        };
        Some(unit())
    }
}

/// What was said of a tombstone; a row of before there were words of components has none.
fn said(
    application: Option<&str>,
    components: Option<Value>,
) -> Result<Option<DeletionPolicies>, StoreError> {
    let Some(application) = application.and_then(policy) else {
        return Ok(None);
    };
    let components = components.map(|said| from_json("desired.component_deletion", said));
    Ok(Some(DeletionPolicies {
        application,
        components: components.transpose()?.unwrap_or_default(),
    }))
}

/// What changed in a cluster after generation `since`; absent when the cluster is not registered.
/// A `since` beyond the target gives a delta without changes whose `to` is lower: the caller then
/// speaks of another history ([`super::jump_past`]).
///
/// # Errors
/// The database fails.
pub async fn delta(store: &Store, cluster: Uuid, since: u64) -> Result<Option<Delta>, StoreError> {
    let Some((target, changes)) = cut(store, cluster, since).await? else {
        return Ok(None);
    };
    Ok(Some(Delta {
        from: since,
        to: target.generation,
        root: target.root,
        changes,
    }))
}

/// Everything that a cluster shall hold, tombstones too; absent when it is not registered.
///
/// # Errors
/// The database fails.
pub async fn snapshot(store: &Store, cluster: Uuid) -> Result<Option<Snapshot>, StoreError> {
    let Some((target, units)) = cut(store, cluster, 0).await? else {
        return Ok(None);
    };
    Ok(Some(Snapshot {
        generation: target.generation,
        root: target.root,
        units,
    }))
}

/// Reads target and units in one statement: one consistent cut.
async fn cut(
    store: &Store,
    cluster: Uuid,
    since: u64,
) -> Result<Option<(Target, Vec<UnitVersion>)>, StoreError> {
    let rows: Vec<CutRow> = sqlx::query_as(
        "SELECT s.target_gen, s.target_root, d.key, d.digest, d.gen AS generation, d.deletion,
            d.component_deletion
         FROM cluster_sync s LEFT JOIN desired d ON d.cluster = s.cluster AND d.gen > $2
         WHERE s.cluster = $1 ORDER BY d.key",
    )
    .bind(cluster)
    .bind(i64::try_from(since).unwrap_or(i64::MAX))
    .fetch_all(&store.pool)
    .await
    .doing("read the desired state")?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let target = target(Ok(first.target_gen), Ok(first.target_root.clone()))?;
    let units = rows
        .into_iter()
        .filter_map(CutRow::unit)
        .collect::<Result<_, StoreError>>()?;
    Ok(Some((target, units)))
}

/// The column admits no other word.
fn policy(word: &str) -> Option<DeletionPolicy> {
    use DeletionPolicy::{Delete, Orphan, SelectivelyOrphan};
    [Delete, Orphan, SelectivelyOrphan]
        .into_iter()
        .find(|policy| super::word(*policy) == word)
}

/// The targets of many clusters by one lookup; those that are not registered are left out.
///
/// # Errors
/// The database fails.
pub async fn targets(
    store: &Store,
    clusters: &[Uuid],
) -> Result<BTreeMap<Uuid, Target>, StoreError> {
    let rows: Vec<(Uuid, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT cluster, target_gen, target_root FROM cluster_sync WHERE cluster = ANY($1)",
    )
    .bind(clusters)
    .fetch_all(&store.pool)
    .await
    .doing("read targets")?;
    rows.into_iter()
        .map(|(cluster, generation, root)| Ok((cluster, target(Ok(generation), Ok(root))?)))
        .collect()
}

/// The clusters that shall hold a unit now, sorted, with its digest.
///
/// # Errors
/// The database fails.
pub async fn holders(store: &Store, key: &str) -> Result<BTreeMap<Uuid, Digest>, StoreError> {
    holders_from(&store.pool, key).await
}

/// The clusters that shall hold a unit now, each with its digest, as the transaction sees them.
///
/// # Errors
/// The database fails.
pub async fn holders_in(tx: &mut Tx, key: &str) -> Result<BTreeMap<Uuid, Digest>, StoreError> {
    holders_from(&mut *tx.inner, key).await
}

async fn holders_from(
    executor: impl PgExecutor<'_>,
    key: &str,
) -> Result<BTreeMap<Uuid, Digest>, StoreError> {
    let rows: Vec<(Uuid, Vec<u8>)> =
        sqlx::query_as("SELECT cluster, digest FROM desired WHERE key = $1 AND digest IS NOT NULL")
            .bind(key)
            .fetch_all(executor)
            .await
            .doing("read who holds a unit")?;
    rows.into_iter()
        .map(|(cluster, held)| Ok((cluster, digest("desired.digest", &held)?)))
        .collect()
}

/// The keys of application units that each of `clusters` shall hold now; a cluster that holds none
/// is left out.
///
/// # Errors
/// The database fails.
pub async fn applications_of(
    store: &Store,
    clusters: &[Uuid],
) -> Result<BTreeMap<Uuid, Vec<String>>, StoreError> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT cluster, key FROM desired
         WHERE cluster = ANY($1) AND digest IS NOT NULL AND key LIKE 'application/%'
         ORDER BY cluster, key",
    )
    .bind(clusters)
    .fetch_all(&store.pool)
    .await
    .doing("read what clusters hold")?;
    let mut found: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for (cluster, key) in rows {
        found.entry(cluster).or_default().push(key);
    }
    Ok(found)
}

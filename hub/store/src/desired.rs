//! What each cluster shall hold: units by key, at the generation of their last change.
//!
//! State is synchronised by generation and never as a log: a delta is a query. A cluster's row in
//! `cluster_sync` is locked before anything of it is read, so that generation order is commit
//! order and the root is always the sum of what is written.

use std::collections::BTreeMap;

use bellwether_api::root::Root;
use sqlx::Row as _;
use uuid::Uuid;

use crate::{
    Digest, Store, StoreError, Tx,
    column::{bytes32, digest, signed, unsigned},
    error::Doing,
};

/// Clusters that one transaction of a fan-out locks at most.
pub const BATCH: usize = 500;

/// Units that one generation may take away without an allowance, whatever their share.
pub const FREE_DELETIONS: u64 = 5;

/// A change of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitChange {
    /// The unit's key.
    pub key: String,
    /// Digest of its blob, which must be stored already; absent = tombstone.
    pub digest: Option<Digest>,
    /// Where the change comes from, for people, such as `run/<id>`.
    pub origin: String,
}

/// The changes of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterChange {
    /// The cluster.
    pub cluster: Uuid,
    /// Its changes; of several for one key the last counts.
    pub changes: Vec<UnitChange>,
}

/// Whether a write may take many units away at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletions {
    /// At most max(5, 20 %) of a cluster's units.
    Braked,
    /// Any number: somebody confirmed it.
    Allowed,
}

/// A cluster's new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The cluster.
    pub cluster: Uuid,
    /// Its generation from now on.
    pub generation: u64,
    /// The root at that generation.
    pub root: Root,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Too many units would go at once.
    #[error(
        "failed to remove {count} of {total} units from cluster {cluster} at once: \
         that takes an explicit allowance"
    )]
    MassDelete {
        /// The cluster.
        cluster: Uuid,
        /// Units that would go.
        count: u64,
        /// Units that it has.
        total: u64,
    },
    /// The cluster is not registered.
    #[error("failed to write the desired state of cluster {cluster}: it is not registered")]
    UnknownCluster {
        /// The cluster.
        cluster: Uuid,
    },
    /// A blob was not stored before it was named.
    #[error("failed to write the desired state: a blob that it names is not stored")]
    UnknownBlob,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One unit as a cluster shall hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitVersion {
    /// The unit's key.
    pub key: String,
    /// The generation of its last change.
    pub generation: u64,
    /// Digest of its blob; absent = tombstone.
    pub digest: Option<Digest>,
}

/// Everything that changed after a generation; versions in between are collapsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The generation that it starts from.
    pub from: u64,
    /// The generation that it leads to.
    pub to: u64,
    /// The root at `to`.
    pub root: Root,
    /// The changed units, by key; empty when `from` is `to`.
    pub changes: Vec<UnitVersion>,
}

/// Every unit at a generation, tombstones too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The generation.
    pub generation: u64,
    /// The root at that generation; counts live units only.
    pub root: Root,
    /// The units, by key.
    pub units: Vec<UnitVersion>,
}

/// What a cluster shall hold, in two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The generation.
    pub generation: u64,
    /// The root at that generation.
    pub root: Root,
}

/// Tells whether taking `count` of `total` units away needs an allowance.
#[must_use]
pub const fn needs_allowance(count: u64, total: u64) -> bool {
    count > FREE_DELETIONS && count.saturating_mul(5) > total
}

/// Writes changes of many clusters in the caller's transaction. A unit that is that already is no
/// change; a cluster without changes gets no generation and is left out of the answer, which is
/// sorted by cluster. Give at most [`BATCH`] clusters, or call [`fan_out`].
///
/// # Errors
/// [`WriteError::MassDelete`], a cluster or blob that does not exist, or the database fails. The
/// transaction is then of no further use where the database refused.
pub async fn write(
    tx: &mut Tx,
    changes: &[ClusterChange],
    deletions: Deletions,
) -> Result<Vec<Written>, WriteError> {
    let mut wanted: BTreeMap<Uuid, BTreeMap<&str, &UnitChange>> = BTreeMap::new();
    for change in changes {
        let units = wanted.entry(change.cluster).or_default();
        units.extend(change.changes.iter().map(|unit| (unit.key.as_str(), unit)));
    }
    let targets = lock(tx, &wanted).await?;
    let held = read_held(tx, &wanted).await?;
    let effective = effective(wanted, &held);
    if deletions == Deletions::Braked {
        brake(tx, &effective, &held).await?;
    }
    let mut written = Vec::with_capacity(effective.len());
    for (cluster, units) in &effective {
        let Target {
            generation,
            mut root,
        } = targets[cluster];
        for (key, unit) in units {
            if let Some(Some(old)) = held.get(&(*cluster, (*key).to_owned())) {
                root.remove(key, &old.0);
            }
            if let Some(new) = &unit.digest {
                root.add(key, &new.0);
            }
        }
        written.push(Written {
            cluster: *cluster,
            generation: generation + 1,
            root,
        });
    }
    save(tx, &effective, &written).await?;
    Ok(written)
}

/// Writes changes of any number of clusters, [`BATCH`] sorted clusters a transaction. Repeating it
/// after a failure is safe: what was written already is no change.
///
/// # Errors
/// As [`write`]; batches before the failing one stay written.
pub async fn fan_out(
    store: &Store,
    mut changes: Vec<ClusterChange>,
    deletions: Deletions,
) -> Result<Vec<Written>, WriteError> {
    changes.sort_by_key(|change| change.cluster);
    let mut written = Vec::new();
    for batch in changes.chunks(BATCH) {
        let mut tx = store.begin().await?;
        written.extend(write(&mut tx, batch, deletions).await?);
        tx.commit().await?;
    }
    Ok(written)
}

type Wanted<'a> = BTreeMap<Uuid, BTreeMap<&'a str, &'a UnitChange>>;
type Held = BTreeMap<(Uuid, String), Option<Digest>>;

async fn lock(tx: &mut Tx, wanted: &Wanted<'_>) -> Result<BTreeMap<Uuid, Target>, WriteError> {
    let clusters: Vec<Uuid> = wanted.keys().copied().collect();
    let rows = sqlx::query(
        "SELECT cluster, target_gen, target_root FROM cluster_sync
         WHERE cluster = ANY($1) ORDER BY cluster FOR UPDATE",
    )
    .bind(&clusters)
    .fetch_all(&mut *tx.inner)
    .await
    .doing("lock clusters")?;
    let mut targets = BTreeMap::new();
    for row in rows {
        let cluster: Uuid = row.try_get(0).doing("read a cluster's target")?;
        targets.insert(cluster, target(row.try_get(1), row.try_get(2))?);
    }
    match clusters
        .iter()
        .find(|cluster| !targets.contains_key(cluster))
    {
        Some(cluster) => Err(WriteError::UnknownCluster { cluster: *cluster }),
        None => Ok(targets),
    }
}

fn target(
    generation: Result<i64, sqlx::Error>,
    root: Result<Vec<u8>, sqlx::Error>,
) -> Result<Target, StoreError> {
    let generation = generation.doing("read a target generation")?;
    let root = root.doing("read a target root")?;
    Ok(Target {
        generation: unsigned("cluster_sync.target_gen", generation)?,
        root: Root::from_bytes(bytes32("cluster_sync.target_root", &root)?),
    })
}

async fn read_held(tx: &mut Tx, wanted: &Wanted<'_>) -> Result<Held, StoreError> {
    let (clusters, keys): (Vec<Uuid>, Vec<&str>) = wanted
        .iter()
        .flat_map(|(cluster, units)| units.keys().map(|key| (*cluster, *key)))
        .unzip();
    let rows: Vec<(Uuid, String, Option<Vec<u8>>)> = sqlx::query_as(
        "SELECT d.cluster, d.key, d.digest FROM desired d
         JOIN unnest($1::uuid[], $2::text[]) AS w(cluster, key)
           ON d.cluster = w.cluster AND d.key = w.key",
    )
    .bind(clusters)
    .bind(keys)
    .fetch_all(&mut *tx.inner)
    .await
    .doing("read the desired state")?;
    rows.into_iter()
        .map(|(cluster, key, old)| {
            let old = old.map(|old| digest("desired.digest", &old)).transpose()?;
            Ok(((cluster, key), old))
        })
        .collect()
}

/// Leaves out what is so already. A tombstone for a unit that never was is no change either.
fn effective<'a>(wanted: Wanted<'a>, held: &Held) -> Wanted<'a> {
    wanted
        .into_iter()
        .filter_map(|(cluster, mut units)| {
            units.retain(|key, unit| {
                let old = held.get(&(cluster, (*key).to_owned())).copied().flatten();
                old != unit.digest
            });
            (!units.is_empty()).then_some((cluster, units))
        })
        .collect()
}

async fn brake(tx: &mut Tx, effective: &Wanted<'_>, held: &Held) -> Result<(), WriteError> {
    let mut deletions: BTreeMap<Uuid, u64> = BTreeMap::new();
    for (cluster, units) in effective {
        let count = units
            .iter()
            .filter(|(key, unit)| {
                unit.digest.is_none()
                    && held
                        .get(&(*cluster, (**key).to_owned()))
                        .copied()
                        .flatten()
                        .is_some()
            })
            .count();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        if count > FREE_DELETIONS {
            deletions.insert(*cluster, count);
        }
    }
    if deletions.is_empty() {
        return Ok(());
    }
    let clusters: Vec<Uuid> = deletions.keys().copied().collect();
    let totals: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT cluster, count(*) FROM desired
         WHERE cluster = ANY($1) AND digest IS NOT NULL GROUP BY cluster ORDER BY cluster",
    )
    .bind(clusters)
    .fetch_all(&mut *tx.inner)
    .await
    .doing("count units")?;
    for (cluster, total) in totals {
        let (count, total) = (deletions[&cluster], unsigned("count of units", total)?);
        if needs_allowance(count, total) {
            return Err(WriteError::MassDelete {
                cluster,
                count,
                total,
            });
        }
    }
    Ok(())
}

async fn save(tx: &mut Tx, effective: &Wanted<'_>, written: &[Written]) -> Result<(), WriteError> {
    if written.is_empty() {
        return Ok(());
    }
    let clusters: Vec<Uuid> = written.iter().map(|written| written.cluster).collect();
    let generations = written
        .iter()
        .map(|written| signed("cluster_sync.target_gen", written.generation))
        .collect::<Result<Vec<_>, _>>()?;
    let roots: Vec<&[u8]> = written
        .iter()
        .map(|written| written.root.as_bytes().as_slice())
        .collect();
    sqlx::query(
        "UPDATE cluster_sync s SET target_gen = w.gen, target_root = w.root,
            tx = pg_current_xact_id()
         FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) AS w(cluster, gen, root)
         WHERE s.cluster = w.cluster",
    )
    .bind(&clusters)
    .bind(&generations)
    .bind(roots)
    .execute(&mut *tx.inner)
    .await
    .doing("write targets")?;

    let mut columns = DesiredColumns::default();
    for ((cluster, units), generation) in effective.iter().zip(generations) {
        for (key, unit) in units {
            columns.clusters.push(*cluster);
            columns.keys.push(key);
            columns
                .digests
                .push(unit.digest.as_ref().map(|digest| digest.0.as_slice()));
            columns.generations.push(generation);
            columns.origins.push(&unit.origin);
        }
    }
    let saved = sqlx::query(
        "INSERT INTO desired (cluster, key, digest, gen, origin)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bigint[], $5::text[])
         ON CONFLICT (cluster, key) DO UPDATE
         SET digest = excluded.digest, gen = excluded.gen, origin = excluded.origin",
    )
    .bind(columns.clusters)
    .bind(columns.keys)
    .bind(columns.digests)
    .bind(columns.generations)
    .bind(columns.origins)
    .execute(&mut *tx.inner)
    .await
    .doing("write the desired state");
    match saved {
        Err(error) if error.violates("desired_digest_fkey") => Err(WriteError::UnknownBlob),
        other => Ok(other.map(|_| ())?),
    }
}

#[derive(Default)]
struct DesiredColumns<'a> {
    clusters: Vec<Uuid>,
    keys: Vec<&'a str>,
    digests: Vec<Option<&'a [u8]>>,
    generations: Vec<i64>,
    origins: Vec<&'a str>,
}

#[derive(sqlx::FromRow)]
struct CutRow {
    target_gen: i64,
    target_root: Vec<u8>,
    key: Option<String>,
    digest: Option<Vec<u8>>,
    generation: Option<i64>,
}

/// What changed in a cluster after generation `since`; absent when the cluster is not registered.
/// A `since` beyond the target gives a delta without changes whose `to` is lower: the caller then
/// speaks of another history ([`jump_past`]).
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
        "SELECT s.target_gen, s.target_root, d.key, d.digest, d.gen AS generation
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
        .filter_map(|row| Some((row.key?, row.generation?, row.digest)))
        .map(|(key, generation, held)| {
            Ok(UnitVersion {
                key,
                generation: unsigned("desired.gen", generation)?,
                digest: held
                    .map(|held| digest("desired.digest", &held))
                    .transpose()?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Some((target, units)))
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

/// Moves a cluster's generation beyond one that the agent holds although the database never gave
/// it (a restore lost it). The units stay as they are; the agent then takes a snapshot.
///
/// # Errors
/// [`WriteError::UnknownCluster`], or the database fails.
pub async fn jump_past(tx: &mut Tx, cluster: Uuid, held: u64) -> Result<Target, WriteError> {
    let held = signed("cluster_sync.target_gen", held)?;
    // Room for every generation to come: an agent's word alone must not use the counter up.
    if held >= i64::MAX / 2 {
        return Err(StoreError::Unstorable {
            what: "cluster_sync.target_gen",
            detail: "no agent can hold that generation",
        }
        .into());
    }
    let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "UPDATE cluster_sync SET target_gen = greatest(target_gen, $2 + 1),
            tx = pg_current_xact_id() WHERE cluster = $1 RETURNING target_gen, target_root",
    )
    .bind(cluster)
    .bind(held)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("move a cluster's generation")?;
    let (generation, root) = row.ok_or(WriteError::UnknownCluster { cluster })?;
    Ok(target(Ok(generation), Ok(root))?)
}

/// The clusters that shall hold a unit now, sorted, with its digest.
///
/// # Errors
/// The database fails.
pub async fn holders(store: &Store, key: &str) -> Result<BTreeMap<Uuid, Digest>, StoreError> {
    let rows: Vec<(Uuid, Vec<u8>)> =
        sqlx::query_as("SELECT cluster, digest FROM desired WHERE key = $1 AND digest IS NOT NULL")
            .bind(key)
            .fetch_all(&store.pool)
            .await
            .doing("read who holds a unit")?;
    rows.into_iter()
        .map(|(cluster, held)| Ok((cluster, digest("desired.digest", &held)?)))
        .collect()
}

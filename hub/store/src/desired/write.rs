//! Writing: lock, read what is held, add the roots up, save.

use std::collections::BTreeMap;

use bellwether_api::sync_policy::DeletionPolicies;
use sqlx::{Row as _, types::Json};
use uuid::Uuid;

use super::{
    BATCH, ClusterChange, Deletions, FREE_DELETIONS, Target, UnitChange, WriteError, Written,
    needs_allowance, target,
};
use crate::{
    Digest, Store, StoreError, Tx,
    column::{digest, signed, unsigned},
    error::Doing,
};

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
/// As [`write()`]; batches before the failing one stay written.
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
         SET digest = excluded.digest, gen = excluded.gen, origin = excluded.origin,
            deletion = NULL, component_deletion = NULL",
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

/// Says what becomes of the objects of a unit in clusters that it has left: in the transaction that
/// [`write()`] wrote the tombstones in, before anybody reads them. Of a unit that is live there nothing
/// is said.
///
/// # Errors
/// The database fails.
pub async fn say_deletion(
    tx: &mut Tx,
    clusters: &[Uuid],
    key: &str,
    said: &DeletionPolicies,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE desired SET deletion = $3, component_deletion = $4
         WHERE cluster = ANY($1) AND key = $2 AND digest IS NULL",
    )
    .bind(clusters)
    .bind(key)
    .bind(super::word(said.application))
    .bind(Json(&said.components))
    .execute(&mut *tx.inner)
    .await
    .doing("say what becomes of a unit's objects")?;
    Ok(())
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

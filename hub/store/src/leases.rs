//! Leases: which hubs are alive, and which hub works on which shard.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{ms, signed, timestamp, unsigned},
    error::Doing,
};

/// Shards of the background work.
pub const SHARDS: u8 = 128;

/// A shard that this hub may work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLease {
    /// The shard, below [`SHARDS`].
    pub shard: u8,
    /// Rises with every change of owner; every write of the work is fenced by it.
    pub epoch: u64,
    /// When the lease ends unless it is renewed.
    pub expires_at: Timestamp,
}

/// The lease of a shard is another's.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// It was lost: whatever was decided under it must not be written.
    #[error("failed to work on shard {shard}: its lease was lost")]
    Lost {
        /// The shard.
        shard: u8,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The shard of a name: stable over hubs and releases.
#[must_use]
pub fn shard_of(name: &str) -> u8 {
    crate::Digest::of(name.as_bytes()).0[0] % SHARDS
}

fn end(now: Timestamp, ttl: Duration) -> i64 {
    ms(now).saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
}

/// Says that this hub is alive until `now + ttl`.
///
/// # Errors
/// The database fails.
pub async fn renew_replica(
    store: &Store,
    replica: Uuid,
    now: Timestamp,
    ttl: Duration,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO replica_lease (replica, renewed_at_ms, expires_at_ms) VALUES ($1, $2, $3)
         ON CONFLICT (replica) DO UPDATE
         SET renewed_at_ms = excluded.renewed_at_ms, expires_at_ms = excluded.expires_at_ms",
    )
    .bind(replica)
    .bind(ms(now))
    .bind(end(now, ttl))
    .execute(&store.pool)
    .await
    .doing("renew this hub's lease")?;
    Ok(())
}

/// The hubs that are alive, sorted.
///
/// # Errors
/// The database fails.
pub async fn live_replicas(store: &Store, now: Timestamp) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(
        "SELECT replica FROM replica_lease WHERE expires_at_ms > $1 ORDER BY replica",
    )
    .bind(ms(now))
    .fetch_all(&store.pool)
    .await
    .doing("list hubs that are alive")
}

/// Gives everything of this hub back at a clean stop: its lease, its shards and its streams.
///
/// # Errors
/// The database fails.
pub async fn release_replica(
    store: &Store,
    replica: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    sqlx::query("SELECT FROM cluster_sync WHERE replica = $1 ORDER BY cluster FOR UPDATE")
        .bind(replica)
        .execute(&mut *tx.inner)
        .await
        .doing("lock this hub's streams")?;
    sqlx::query(
        "UPDATE cluster_sync SET replica = NULL, tx = pg_current_xact_id(),
            last_seen_at_ms = greatest(last_seen_at_ms, $2) WHERE replica = $1",
    )
    .bind(replica)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("close this hub's streams")?;
    sqlx::query("UPDATE shard_lease SET owner = NULL, expires_at_ms = 0 WHERE owner = $1")
        .bind(replica)
        .execute(&mut *tx.inner)
        .await
        .doing("give shards back")?;
    sqlx::query("DELETE FROM replica_lease WHERE replica = $1")
        .bind(replica)
        .execute(&mut *tx.inner)
        .await
        .doing("give this hub's lease back")?;
    tx.commit().await
}

/// Renews this hub's shards and takes free ones until it has `want` in all; gives its shards,
/// sorted. With several hubs alive `want` is the share of each.
///
/// # Errors
/// The database fails.
pub async fn acquire_shards(
    store: &Store,
    owner: Uuid,
    want: u8,
    now: Timestamp,
    ttl: Duration,
) -> Result<Vec<ShardLease>, StoreError> {
    let mut tx = store.begin().await?;
    // An own lease that ran out may have been worked on by nobody else, but its epoch moves all
    // the same: whoever holds the old one is late.
    let rows: Vec<(i16, i64, i64)> = sqlx::query_as(
        "WITH mine AS (
            SELECT shard FROM shard_lease
            WHERE owner = $1 OR owner IS NULL OR expires_at_ms <= $3
            ORDER BY (owner IS NOT DISTINCT FROM $1) DESC, shard LIMIT $2
            FOR UPDATE SKIP LOCKED)
         UPDATE shard_lease l SET
            epoch = CASE WHEN l.owner = $1 AND l.expires_at_ms > $3 THEN l.epoch
                         ELSE l.epoch + 1 END,
            owner = $1, expires_at_ms = $4
         FROM mine WHERE l.shard = mine.shard RETURNING l.shard, l.epoch, l.expires_at_ms",
    )
    .bind(owner)
    .bind(i64::from(want))
    .bind(ms(now))
    .bind(end(now, ttl))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("take shards")?;
    let mut shards = rows
        .into_iter()
        .map(|(shard, epoch, expires_at_ms)| {
            Ok(ShardLease {
                shard: u8::try_from(shard).map_err(|_| StoreError::Corrupt {
                    what: "shard_lease.shard",
                    detail: format!("{shard} is no shard"),
                })?,
                epoch: unsigned("shard_lease.epoch", epoch)?,
                expires_at: timestamp("shard_lease.expires_at_ms", expires_at_ms)?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    shards.sort_by_key(|lease| lease.shard);
    // What it holds beyond its share goes to the others.
    let kept: Vec<i16> = shards.iter().map(|lease| i16::from(lease.shard)).collect();
    sqlx::query(
        "UPDATE shard_lease SET owner = NULL, expires_at_ms = 0
         WHERE owner = $1 AND shard <> ALL($2)",
    )
    .bind(owner)
    .bind(kept)
    .execute(&mut *tx.inner)
    .await
    .doing("give shards back")?;
    tx.commit().await?;
    Ok(shards)
}

/// Holds a shard's lease still until the transaction ends: nobody takes it before the commit.
///
/// # Errors
/// [`FenceError::Lost`] when the lease is another's or ran out, or the database fails.
pub async fn fence(
    tx: &mut Tx,
    owner: Uuid,
    lease: &ShardLease,
    now: Timestamp,
) -> Result<(), FenceError> {
    let held: Option<i16> = sqlx::query_scalar(
        "SELECT shard FROM shard_lease
         WHERE shard = $1 AND owner = $2 AND epoch = $3 AND expires_at_ms > $4 FOR SHARE",
    )
    .bind(i16::from(lease.shard))
    .bind(owner)
    .bind(signed("shard_lease.epoch", lease.epoch)?)
    .bind(ms(now))
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("check a shard's lease")?;
    held.map(|_| ())
        .ok_or(FenceError::Lost { shard: lease.shard })
}

/// Forgets hubs whose lease ended before `before`; gives their number.
///
/// # Errors
/// The database fails.
pub async fn sweep(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    let deleted = sqlx::query("DELETE FROM replica_lease WHERE expires_at_ms < $1")
        .bind(ms(before))
        .execute(&store.pool)
        .await
        .doing("delete ended leases")?;
    Ok(deleted.rows_affected())
}

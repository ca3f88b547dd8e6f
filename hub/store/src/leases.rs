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

/// The lease of a shard, if `owner` holds it now.
///
/// # Errors
/// The database fails.
pub async fn held(
    store: &Store,
    owner: Uuid,
    shard: u8,
    now: Timestamp,
) -> Result<Option<ShardLease>, StoreError> {
    let row: Option<LeaseRow> = sqlx::query_as(
        "SELECT shard, epoch, expires_at_ms FROM shard_lease
         WHERE shard = $1 AND owner = $2 AND expires_at_ms > $3",
    )
    .bind(i16::from(shard))
    .bind(owner)
    .bind(ms(now))
    .fetch_optional(&store.pool)
    .await
    .doing("read a shard's lease")?;
    row.map(LeaseRow::into_lease).transpose()
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

/// One hub's sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaLease {
    /// The hub.
    pub replica: Uuid,
    /// When it said last that it is alive.
    pub renewed_at: Timestamp,
    /// Until when that holds.
    pub expires_at: Timestamp,
}

/// The leases of all hubs, ended ones too, sorted by hub.
///
/// # Errors
/// The database fails.
pub async fn replicas(store: &Store) -> Result<Vec<ReplicaLease>, StoreError> {
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        "SELECT replica, renewed_at_ms, expires_at_ms FROM replica_lease ORDER BY replica",
    )
    .fetch_all(&store.pool)
    .await
    .doing("read the hubs' leases")?;
    rows.into_iter()
        .map(|(replica, renewed, expires)| {
            Ok(ReplicaLease {
                replica,
                renewed_at: timestamp("replica_lease.renewed_at_ms", renewed)?,
                expires_at: timestamp("replica_lease.expires_at_ms", expires)?,
            })
        })
        .collect()
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
    sqlx::query(
        "WITH given AS (
            SELECT shard FROM shard_lease WHERE owner = $1 ORDER BY shard FOR UPDATE)
         UPDATE shard_lease l SET owner = NULL, expires_at_ms = 0
         FROM given WHERE l.shard = given.shard",
    )
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
/// sorted. With several hubs alive `want` is the share of each. Never waits for work under way.
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
    // Renewing locks no key, so that it passes by the fences of this hub's own transactions.
    let mut rows: Vec<LeaseRow> = sqlx::query_as(
        "WITH mine AS (
            SELECT shard FROM shard_lease WHERE owner = $1 AND expires_at_ms > $3
            ORDER BY shard LIMIT $2 FOR NO KEY UPDATE)
         UPDATE shard_lease l SET expires_at_ms = $4
         FROM mine WHERE l.shard = mine.shard RETURNING l.shard, l.epoch, l.expires_at_ms",
    )
    .bind(owner)
    .bind(i64::from(want))
    .bind(ms(now))
    .bind(end(now, ttl))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("renew shards")?;
    let missing = usize::from(want).saturating_sub(rows.len());
    if missing > 0 {
        rows.extend(take_free(&mut tx, owner, missing, now, ttl).await?);
    }
    let mut shards = rows
        .into_iter()
        .map(LeaseRow::into_lease)
        .collect::<Result<Vec<_>, StoreError>>()?;
    shards.sort_by_key(|lease| lease.shard);
    // What it holds beyond its share goes to the others; what is being worked on, the next time.
    let kept: Vec<i16> = shards.iter().map(|lease| i16::from(lease.shard)).collect();
    sqlx::query(
        "WITH given AS (
            SELECT shard FROM shard_lease WHERE owner = $1 AND shard <> ALL($2)
            ORDER BY shard FOR UPDATE SKIP LOCKED)
         UPDATE shard_lease l SET owner = NULL, expires_at_ms = 0
         FROM given WHERE l.shard = given.shard",
    )
    .bind(owner)
    .bind(kept)
    .execute(&mut *tx.inner)
    .await
    .doing("give shards back")?;
    tx.commit().await?;
    Ok(shards)
}

/// Takes shards that nobody holds any more. An own lease that ran out may have been worked on by
/// nobody else, but its epoch moves all the same: whoever holds the old one is late.
async fn take_free(
    tx: &mut Tx,
    owner: Uuid,
    count: usize,
    now: Timestamp,
    ttl: Duration,
) -> Result<Vec<LeaseRow>, StoreError> {
    sqlx::query_as(
        "WITH free AS (
            SELECT shard FROM shard_lease WHERE owner IS NULL OR expires_at_ms <= $3
            ORDER BY (owner IS NOT DISTINCT FROM $1) DESC, shard LIMIT $2
            FOR UPDATE SKIP LOCKED)
         UPDATE shard_lease l SET epoch = l.epoch + 1, owner = $1, expires_at_ms = $4
         FROM free WHERE l.shard = free.shard RETURNING l.shard, l.epoch, l.expires_at_ms",
    )
    .bind(owner)
    .bind(i64::try_from(count).unwrap_or(i64::MAX))
    .bind(ms(now))
    .bind(end(now, ttl))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("take shards")
}

#[derive(sqlx::FromRow)]
struct LeaseRow {
    shard: i16,
    epoch: i64,
    expires_at_ms: i64,
}

impl LeaseRow {
    fn into_lease(self) -> Result<ShardLease, StoreError> {
        Ok(ShardLease {
            shard: u8::try_from(self.shard).map_err(|_| StoreError::Corrupt {
                what: "shard_lease.shard",
                detail: format!("{} is no shard", self.shard),
            })?,
            epoch: unsigned("shard_lease.epoch", self.epoch)?,
            expires_at: timestamp("shard_lease.expires_at_ms", self.expires_at_ms)?,
        })
    }
}

/// Holds a shard's lease until the transaction ends: nobody takes it before the commit. Its owner
/// may renew it meanwhile, and any number of transactions may hold it.
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
         WHERE shard = $1 AND owner = $2 AND epoch = $3 AND expires_at_ms > $4
         FOR KEY SHARE",
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

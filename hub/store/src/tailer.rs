//! What changed since the last look, by transaction id.
//!
//! A sequence is not commit order: a reader that remembers the highest number misses what a slow
//! transaction commits later. So a reader remembers the oldest transaction that was still running
//! at its last look (the snapshot's xmin) and reads everything from there on: a slow writer can
//! only cause repeats, which are dropped in memory, and never a miss. xmin is read in the same
//! statement as the rows, so that both come from one snapshot.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    column::{timestamp_option, unsigned},
    error::Doing,
};

/// How far a tailer has read: the oldest transaction that may still write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

impl Cursor {
    /// Before everything: the first look gives every row once.
    pub const START: Self = Self(0);
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A cluster whose sync row changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncChange {
    /// The cluster.
    pub cluster: Uuid,
    /// The generation that it shall hold now.
    pub generation: u64,
    /// The epoch of its newest session; a stream of a lower one must end.
    pub epoch: u64,
    /// The hub that holds its stream; absent = none.
    pub replica: Option<Uuid>,
    /// When it was last known to be there, as it was last written; absent = never.
    pub last_seen: Option<Timestamp>,
    /// Whether its identity was taken away.
    pub revoked: bool,
}

/// Reads the clusters whose target, session or identity changed after `cursor`, by cluster, and
/// the cursor for the next look. Gives repeats; [`SyncTailer`] drops them. A cluster that was
/// deleted is in no answer ([`crate::clusters::refused_among`] finds it).
///
/// # Errors
/// The database fails.
pub async fn changed_since(
    store: &Store,
    cursor: Cursor,
) -> Result<(Vec<SyncChange>, Cursor), StoreError> {
    let rows: Vec<SyncRow> = sqlx::query_as(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin, s.cluster, s.target_gen,
            s.session_epoch, s.replica, s.last_seen_at_ms, c.state = 'Revoked' AS revoked
         FROM (SELECT) AS always
         LEFT JOIN cluster_sync s ON s.tx >= $1::text::xid8
         LEFT JOIN cluster c ON c.id = s.cluster
         ORDER BY s.cluster",
    )
    .bind(cursor.to_string())
    .fetch_all(&store.pool)
    .await
    .doing("look for changed clusters")?;
    let next = next_cursor(cursor, rows.first().map(|row| row.xmin.as_str()))?;
    let changes = rows
        .into_iter()
        .filter_map(|row| {
            Some((
                row.cluster?,
                row.target_gen?,
                row.session_epoch?,
                row.replica,
                row.last_seen_at_ms,
                row.revoked?,
            ))
        })
        .map(|(cluster, generation, epoch, replica, seen, revoked)| {
            Ok(SyncChange {
                cluster,
                generation: unsigned("cluster_sync.target_gen", generation)?,
                epoch: unsigned("cluster_sync.session_epoch", epoch)?,
                replica,
                last_seen: timestamp_option("cluster_sync.last_seen_at_ms", seen)?,
                revoked,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok((changes, next))
}

#[derive(sqlx::FromRow)]
struct SyncRow {
    xmin: String,
    cluster: Option<Uuid>,
    target_gen: Option<i64>,
    session_epoch: Option<i64>,
    replica: Option<Uuid>,
    last_seen_at_ms: Option<i64>,
    revoked: Option<bool>,
}

/// A unit whose status changed, with the session and number of its latest report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    /// The cluster.
    pub cluster: Uuid,
    /// The unit's key.
    pub key: String,
    /// The session of the latest report.
    pub epoch: u64,
    /// The number of the latest report.
    pub sequence: u64,
}

/// Reads the units whose status changed after `cursor`, by cluster and key, and the cursor for the
/// next look. Gives repeats; [`StatusTailer`] drops them.
///
/// # Errors
/// The database fails.
pub async fn status_changed_since(
    store: &Store,
    cursor: Cursor,
) -> Result<(Vec<StatusChange>, Cursor), StoreError> {
    let rows: Vec<StatusRow> = sqlx::query_as(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin, s.cluster, s.key, s.epoch,
            s.seq
         FROM (SELECT) AS always LEFT JOIN status s ON s.tx >= $1::text::xid8
         ORDER BY s.cluster, s.key",
    )
    .bind(cursor.to_string())
    .fetch_all(&store.pool)
    .await
    .doing("look for changed status")?;
    let next = next_cursor(cursor, rows.first().map(|row| row.xmin.as_str()))?;
    let changes = rows
        .into_iter()
        .filter_map(|row| Some((row.cluster?, row.key?, row.epoch?, row.seq?)))
        .map(|(cluster, key, epoch, sequence)| {
            Ok(StatusChange {
                cluster,
                key,
                epoch: unsigned("status.epoch", epoch)?,
                sequence: unsigned("status.seq", sequence)?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok((changes, next))
}

#[derive(sqlx::FromRow)]
struct StatusRow {
    xmin: String,
    cluster: Option<Uuid>,
    key: Option<String>,
    epoch: Option<i64>,
    seq: Option<i64>,
}

/// A snapshot older than the cursor's means that the database is another one (a restore, a
/// failover): the caller starts again.
pub(crate) fn next_cursor(cursor: Cursor, xmin: Option<&str>) -> Result<Cursor, StoreError> {
    let corrupt = |detail: String| StoreError::Corrupt {
        what: "pg_snapshot_xmin",
        detail,
    };
    let xmin = xmin.ok_or_else(|| corrupt("there is none".to_owned()))?;
    let next = xmin
        .parse()
        .map(Cursor)
        .map_err(|_| corrupt(format!("{xmin:?} is no number")))?;
    Ok(if next < cursor { Cursor::START } else { next })
}

/// Follows the clusters' targets, sessions and identities, each change once.
pub struct SyncTailer {
    store: Store,
    cursor: Cursor,
    last: BTreeMap<Uuid, SyncChange>,
}

impl SyncTailer {
    /// Starts before everything: the first look gives every cluster.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            cursor: Cursor::START,
            last: BTreeMap::new(),
        }
    }

    /// What changed since the last look, by cluster.
    ///
    /// # Errors
    /// The database fails; the next look then gives what this one would have given.
    pub async fn poll(&mut self) -> Result<Vec<SyncChange>, StoreError> {
        let (changes, cursor) = changed_since(&self.store, self.cursor).await?;
        // Whatever can come again comes again at every look, so the last look is all it takes.
        let fresh: Vec<SyncChange> = changes
            .iter()
            .filter(|change| self.last.get(&change.cluster) != Some(change))
            .cloned()
            .collect();
        self.last = changes
            .into_iter()
            .map(|change| (change.cluster, change))
            .collect();
        self.cursor = cursor;
        Ok(fresh)
    }
}

/// Follows the units' status, each report at most once; reports that were overtaken are left out.
pub struct StatusTailer {
    store: Store,
    cursor: Cursor,
    last: BTreeMap<(Uuid, String), (u64, u64)>,
}

impl StatusTailer {
    /// Starts before everything: the first look gives every unit.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            cursor: Cursor::START,
            last: BTreeMap::new(),
        }
    }

    /// The units whose status changed since the last look, by cluster and key.
    ///
    /// # Errors
    /// The database fails; the next look then gives what this one would have given.
    pub async fn poll(&mut self) -> Result<Vec<StatusChange>, StoreError> {
        let (changes, cursor) = status_changed_since(&self.store, self.cursor).await?;
        let fresh: Vec<StatusChange> = changes
            .iter()
            .filter(|change| {
                self.last.get(&(change.cluster, change.key.clone()))
                    != Some(&(change.epoch, change.sequence))
            })
            .cloned()
            .collect();
        self.last = changes
            .into_iter()
            .map(|change| {
                (
                    (change.cluster, change.key),
                    (change.epoch, change.sequence),
                )
            })
            .collect();
        self.cursor = cursor;
        Ok(fresh)
    }

    /// The keys of the units whose status changed since the last look, whichever the cluster.
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub async fn poll_keys(&mut self) -> Result<BTreeSet<String>, StoreError> {
        Ok(self
            .poll()
            .await?
            .into_iter()
            .map(|change| change.key)
            .collect())
    }
}

/// Milliseconds since the oldest writing transaction began, 0 when none is running: how far the
/// tailers' windows reach back. Past 10 s somebody should look.
///
/// # Errors
/// The database fails.
pub async fn xmin_age_ms(store: &Store) -> Result<u64, StoreError> {
    let age_ms: i64 = sqlx::query_scalar(
        "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start) * 1000), 0)::bigint
         FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND datname = current_database()",
    )
    .fetch_one(&store.pool)
    .await
    .doing("read the age of the oldest transaction")?;
    Ok(u64::try_from(age_ms).unwrap_or(0))
}

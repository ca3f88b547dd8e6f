//! Which records, clusters and runs moved since the last look, by transaction id as in
//! [`crate::tailer`]. Names and numbers only, no contents.

use std::collections::BTreeMap;

use bellwether_api::reference::NamespacedName;
use jiff::Timestamp;

use crate::{
    Store, StoreError,
    clusters::ClusterState,
    column::{from_name, ms, unsigned},
    error::Doing,
    tailer::{Cursor, next_cursor},
};

/// Names a record or a cluster: kind (`Application`, `Cluster`, `Fleet`, `MetricTemplate` or
/// `Rollout`; `Secret`; `Push`, whose name is an application's), namespace (empty for global kinds), name.
pub type ChangedName = (String, String, String);

/// What a record or cluster is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    /// Changes with every write by a user.
    pub resource_version: u64,
    /// Whether a cluster may speak; absent for records.
    pub state: Option<ClusterState>,
    /// The application that a Rollout names; absent = none, its spec is sealed, or it is no Rollout.
    pub application: Option<String>,
    /// Whether it was deleted.
    pub gone: bool,
}

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordLook {
    /// Whether this is everything that there is, deleted records of the last day included.
    pub complete: bool,
    /// What changed, by name.
    pub changes: BTreeMap<ChangedName, RecordChange>,
}

#[derive(sqlx::FromRow)]
struct RecordRow {
    xmin: String,
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    resource_version: Option<i64>,
    state: Option<String>,
    application: Option<String>,
    gone: Option<bool>,
}

/// Follows the writes of records and clusters, each at most once. A write that changes nothing
/// that [`RecordChange`] shows, such as an agent's new version, is told of too.
pub struct RecordTailer {
    store: Store,
    cursor: Cursor,
    /// What may come again: the writes since the cursor, by the transaction that made them.
    last: BTreeMap<ChangedName, (RecordChange, String)>,
}

impl RecordTailer {
    /// Starts before everything: the first look is complete.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            cursor: Cursor::START,
            last: BTreeMap::new(),
        }
    }

    /// What changed since the last look.
    ///
    /// # Errors
    /// The database fails; the next look then gives what this one would have given.
    pub async fn poll(&mut self) -> Result<RecordLook, StoreError> {
        let rows: Vec<(RecordRow, Option<String>)> = sqlx::query_as::<_, TailedRow>(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin, c.kind, c.namespace,
                c.name, c.resource_version, c.state, c.application,
                c.gone_at_ms IS NOT NULL AS gone, c.tx::text AS tx
             FROM (SELECT) AS always LEFT JOIN record_change c ON c.tx >= $1::text::xid8",
        )
        .bind(self.cursor.to_string())
        .fetch_all(&self.store.pool)
        .await
        .doing("look for changed records")?
        .into_iter()
        .map(|row| (row.record, row.tx))
        .collect();
        let next = next_cursor(self.cursor, rows.first().map(|(row, _)| row.xmin.as_str()))?;
        let complete = self.cursor == Cursor::START;
        let mut found = BTreeMap::new();
        for (row, tx) in rows {
            if let (Some((name, change)), Some(tx)) = (change(row)?, tx) {
                found.insert(name, (change, tx));
            }
        }
        let changes = found
            .iter()
            .filter(|(name, now)| self.last.get(*name) != Some(now))
            .map(|(name, (change, _))| (name.clone(), change.clone()))
            .collect();
        self.last = found;
        self.cursor = next;
        Ok(RecordLook { complete, changes })
    }
}

#[derive(sqlx::FromRow)]
struct TailedRow {
    #[sqlx(flatten)]
    record: RecordRow,
    tx: Option<String>,
}

fn change(row: RecordRow) -> Result<Option<(ChangedName, RecordChange)>, StoreError> {
    let (Some(kind), Some(namespace), Some(name), Some(version), Some(gone)) = (
        row.kind,
        row.namespace,
        row.name,
        row.resource_version,
        row.gone,
    ) else {
        return Ok(None);
    };
    let state = row
        .state
        .map(|state| from_name("record_change.state", state))
        .transpose()?;
    let change = RecordChange {
        resource_version: unsigned("record_change.resource_version", version)?,
        state,
        application: row.application,
        gone,
    };
    Ok(Some(((kind, namespace, name), change)))
}

/// Forgets that records were deleted before `before`; at most `limit`. Gives their number.
///
/// # Errors
/// The database fails.
pub async fn sweep(store: &Store, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "DELETE FROM record_change WHERE (kind, namespace, name) IN (
            SELECT kind, namespace, name FROM record_change WHERE gone_at_ms < $1
            ORDER BY gone_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(ms(before))
    .bind(i64::from(limit))
    .execute(&store.pool)
    .await
    .doing("forget deleted records")?;
    Ok(deleted.rows_affected())
}

#[derive(sqlx::FromRow)]
struct RunRow {
    xmin: String,
    namespace: Option<String>,
    application: Option<String>,
    version: Option<i64>,
    id: Option<uuid::Uuid>,
}

/// Follows the saves of runs, each at most once.
pub struct RunTailer {
    store: Store,
    cursor: Cursor,
    last: BTreeMap<uuid::Uuid, i64>,
}

impl RunTailer {
    /// Starts before everything: the first look gives every application that has runs.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            cursor: Cursor::START,
            last: BTreeMap::new(),
        }
    }

    /// The applications whose runs were made or saved since the last look, sorted.
    ///
    /// # Errors
    /// The database fails; the next look then gives what this one would have given.
    pub async fn poll(&mut self) -> Result<Vec<NamespacedName>, StoreError> {
        let rows: Vec<RunRow> = sqlx::query_as(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin, r.namespace,
                r.application, r.version, r.id
             FROM (SELECT) AS always LEFT JOIN run r ON r.tx >= $1::text::xid8
             ORDER BY r.namespace, r.application",
        )
        .bind(self.cursor.to_string())
        .fetch_all(&self.store.pool)
        .await
        .doing("look for saved runs")?;
        let next = next_cursor(self.cursor, rows.first().map(|row| row.xmin.as_str()))?;
        let mut seen = BTreeMap::new();
        let mut applications = Vec::new();
        for row in rows {
            let (Some(namespace), Some(name), Some(version), Some(id)) =
                (row.namespace, row.application, row.version, row.id)
            else {
                continue;
            };
            if self.last.get(&id) != Some(&version) {
                applications.push(NamespacedName { namespace, name });
            }
            seen.insert(id, version);
        }
        applications.dedup();
        self.last = seen;
        self.cursor = next;
        Ok(applications)
    }
}

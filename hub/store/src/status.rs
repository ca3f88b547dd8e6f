//! What agents report of their units: the latest value of each, and the events that came with it.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{reference::NamespacedName, status::RunEvent};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Store, StoreError,
    column::{ms, timestamp, unsigned, without_nul},
    error::Doing,
    events::{self, Told},
};

/// A report of one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusReport {
    /// The cluster.
    pub cluster: Uuid,
    /// The unit's key.
    pub key: String,
    /// The session in which it came.
    pub epoch: u64,
    /// Rises with every report of the key within the session.
    pub sequence: u64,
    /// `bellwether_api::status::UnitStatus` as JSON.
    pub detail: Value,
    /// The events that came with it, oldest first; empty = none.
    pub events: Vec<RunEvent>,
}

/// A report that is committed, or was overtaken by a newer one that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusAcked {
    /// The cluster.
    pub cluster: Uuid,
    /// The unit's key.
    pub key: String,
    /// The report's number.
    pub sequence: u64,
    /// The last event of the report's, all of which are kept; absent = it brought none.
    pub event_sequence: Option<u64>,
}

/// What became of a batch of reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Reports that may be confirmed, by cluster and key.
    pub acked: Vec<StatusAcked>,
    /// Clusters whose reports were refused since their session is old: their streams here must
    /// end. Sorted.
    pub fenced: Vec<Uuid>,
}

/// The latest report of one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusRow {
    /// The cluster.
    pub cluster: Uuid,
    /// The unit's key.
    pub key: String,
    /// The session in which it came.
    pub epoch: u64,
    /// Its number within the session.
    pub sequence: u64,
    /// `bellwether_api::status::UnitStatus` as JSON.
    pub detail: Value,
    /// When the hub took it.
    pub received_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    cluster: Uuid,
    key: String,
    epoch: i64,
    seq: i64,
    detail: Value,
    received_at_ms: i64,
}

impl Row {
    fn into_status(self) -> Result<StatusRow, StoreError> {
        Ok(StatusRow {
            cluster: self.cluster,
            key: self.key,
            epoch: unsigned("status.epoch", self.epoch)?,
            sequence: unsigned("status.seq", self.seq)?,
            detail: self.detail,
            received_at: timestamp("status.received_at_ms", self.received_at_ms)?,
        })
    }
}

/// Takes a batch of reports in one transaction: their events are kept once each, the newest report
/// of each unit replaces the one before. What comes from an old session is refused whole.
///
/// # Errors
/// The database fails; nothing of the batch is then kept.
pub async fn ingest(
    store: &Store,
    reports: &[StatusReport],
    now: Timestamp,
) -> Result<Ingested, StoreError> {
    if reports.is_empty() {
        return Ok(Ingested::default());
    }
    let mut tx = store.begin().await?;
    let current = current_epochs(&mut tx, reports).await?;
    let is_current = |report: &&StatusReport| current.get(&report.cluster) == Some(&report.epoch);
    let fenced: BTreeSet<Uuid> = reports
        .iter()
        .filter(|report| !is_current(report))
        .map(|report| report.cluster)
        .collect();
    // Sorted by key, so that two hubs' batches never wait for each other crosswise.
    let mut newest: BTreeMap<(Uuid, &str), &StatusReport> = BTreeMap::new();
    let mut told = Vec::new();
    let mut acked: BTreeMap<(Uuid, &str), StatusAcked> = BTreeMap::new();
    for report in reports.iter().filter(is_current) {
        let unit = (report.cluster, report.key.as_str());
        told.push(Told {
            cluster: report.cluster,
            key: &report.key,
            events: &report.events,
        });
        let last_event = report.events.iter().map(|event| event.seq).max();
        let ack = acked.entry(unit).or_insert_with(|| StatusAcked {
            cluster: report.cluster,
            key: report.key.clone(),
            sequence: report.sequence,
            event_sequence: None,
        });
        ack.sequence = ack.sequence.max(report.sequence);
        ack.event_sequence = ack.event_sequence.max(last_event);
        match newest.get(&unit) {
            Some(other) if other.sequence > report.sequence => {}
            _ => {
                newest.insert(unit, report);
            }
        }
    }
    events::insert_told(&mut tx, &told, now).await?;
    upsert(&mut tx, newest.into_values(), now).await?;
    tx.commit().await?;
    Ok(Ingested {
        acked: acked.into_values().collect(),
        fenced: fenced.into_iter().collect(),
    })
}

/// The epochs of the reports' clusters, held still until the transaction ends.
async fn current_epochs(
    tx: &mut crate::Tx,
    reports: &[StatusReport],
) -> Result<BTreeMap<Uuid, u64>, StoreError> {
    let clusters: BTreeSet<Uuid> = reports.iter().map(|report| report.cluster).collect();
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT cluster, session_epoch FROM cluster_sync
         WHERE cluster = ANY($1) ORDER BY cluster FOR SHARE",
    )
    .bind(clusters.into_iter().collect::<Vec<_>>())
    .fetch_all(&mut *tx.inner)
    .await
    .doing("read session epochs")?;
    rows.into_iter()
        .map(|(cluster, epoch)| Ok((cluster, unsigned("cluster_sync.session_epoch", epoch)?)))
        .collect()
}

async fn upsert<'a>(
    tx: &mut crate::Tx,
    reports: impl Iterator<Item = &'a StatusReport>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (mut clusters, mut keys, mut epochs, mut sequences, mut details) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for report in reports {
        let mut detail = report.detail.clone();
        without_nul(&mut detail);
        clusters.push(report.cluster);
        keys.push(report.key.replace('\0', "\u{fffd}"));
        epochs.push(i64::try_from(report.epoch).unwrap_or(i64::MAX));
        sequences.push(i64::try_from(report.sequence).unwrap_or(i64::MAX));
        details.push(detail);
    }
    if clusters.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO status (cluster, key, epoch, seq, detail, received_at_ms)
         SELECT *, $6 FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::jsonb[])
         ON CONFLICT (cluster, key) DO UPDATE
         SET epoch = excluded.epoch, seq = excluded.seq, detail = excluded.detail,
             received_at_ms = excluded.received_at_ms, tx = pg_current_xact_id()
         WHERE (status.epoch, status.seq) < (excluded.epoch, excluded.seq)",
    )
    .bind(clusters)
    .bind(keys)
    .bind(epochs)
    .bind(sequences)
    .bind(details)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("write status")?;
    Ok(())
}

/// The latest reports of one application, by cluster.
///
/// # Errors
/// The database fails.
pub async fn list_for_application(
    store: &Store,
    application: &NamespacedName,
) -> Result<Vec<StatusRow>, StoreError> {
    list_for_unit(store, &format!("application/{application}")).await
}

/// The latest reports of one unit, by cluster.
///
/// # Errors
/// The database fails.
pub async fn list_for_unit(store: &Store, key: &str) -> Result<Vec<StatusRow>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT cluster, key, epoch, seq, detail, received_at_ms FROM status
         WHERE key = $1 ORDER BY cluster",
    )
    .bind(key)
    .fetch_all(&store.pool)
    .await
    .doing("list a unit's status")?;
    rows.into_iter().map(Row::into_status).collect()
}

/// The latest reports of one cluster, by key.
///
/// # Errors
/// The database fails.
pub async fn list_for_cluster(store: &Store, cluster: Uuid) -> Result<Vec<StatusRow>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT cluster, key, epoch, seq, detail, received_at_ms FROM status
         WHERE cluster = $1 ORDER BY key",
    )
    .bind(cluster)
    .fetch_all(&store.pool)
    .await
    .doing("list a cluster's status")?;
    rows.into_iter().map(Row::into_status).collect()
}

/// Forgets the reports of one unit everywhere, after its application is gone. Gives their number.
///
/// # Errors
/// The database fails.
pub async fn forget(tx: &mut crate::Tx, key: &str) -> Result<u64, StoreError> {
    let deleted = sqlx::query("DELETE FROM status WHERE key = $1")
        .bind(key)
        .execute(&mut *tx.inner)
        .await
        .doing("delete status")?;
    Ok(deleted.rows_affected())
}

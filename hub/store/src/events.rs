//! What happened in runs, as agents reported it: kept once, however often it is told.

mod cursor;
mod page;

use bellwether_api::{
    reference::{NamespacedName, ObjectRef},
    status::{RunEvent, Severity},
};
use jiff::Timestamp;
use uuid::Uuid;

pub use cursor::{EventCursor, ParseCursorError};
pub use page::{EventPage, Order, Within, list, page, page_within};

use crate::{
    Store, StoreError, Tx,
    alerts::Named,
    column::{from_json, from_name, ms, name_of, small_unsigned, timestamp, unsigned, without_nul},
    error::Doing,
};

/// An event with the cluster and unit that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Names it; of two events of one transaction the later one's is higher.
    pub id: u64,
    /// The transaction that kept it.
    pub tx: u64,
    /// The cluster.
    pub cluster: Uuid,
    /// The cluster's name when it was told.
    pub cluster_name: String,
    /// The unit's key.
    pub key: String,
    /// What happened.
    pub event: RunEvent,
    /// When the hub kept it.
    pub received_at: Timestamp,
}

/// Which events to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    /// Of one run.
    Run(Uuid),
    /// Of one application, over all its runs.
    Application(NamespacedName),
    /// Of one Rollout without an application, over all its runs.
    Rollout(NamespacedName),
    /// Of one cluster.
    Cluster(Uuid),
    /// All.
    All,
}

#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    id: i64,
    tx: String,
    cluster: Uuid,
    cluster_name: String,
    key: String,
    seq: i64,
    run: Uuid,
    attempt: i32,
    at_ms: i64,
    severity: String,
    reason: String,
    message: String,
    object: Option<serde_json::Value>,
    received_at_ms: i64,
}

impl Row {
    pub(crate) fn into_event(self) -> Result<EventRow, StoreError> {
        let object: Option<ObjectRef> = self
            .object
            .map(|object| from_json("event.object", object))
            .transpose()?;
        Ok(EventRow {
            id: unsigned("event.id", self.id)?,
            tx: self.tx.parse().map_err(|_| StoreError::Corrupt {
                what: "event.tx",
                detail: format!("{:?} is no number", self.tx),
            })?,
            cluster: self.cluster,
            cluster_name: self.cluster_name,
            key: self.key,
            event: RunEvent {
                notify: Vec::new(),
                seq: unsigned("event.seq", self.seq)?,
                at: timestamp("event.at_ms", self.at_ms)?.to_string(),
                run: self.run,
                attempt: small_unsigned("event.attempt", self.attempt)?,
                severity: from_name::<Severity>("event.severity", self.severity)?,
                reason: self.reason,
                object,
                message: self.message,
            },
            received_at: timestamp("event.received_at_ms", self.received_at_ms)?,
        })
    }
}

/// Events of one unit in one cluster, as told.
#[derive(Clone, Debug)]
pub(crate) struct Told<'a> {
    pub cluster: Uuid,
    pub key: &'a str,
    pub events: &'a [RunEvent],
}

#[derive(Default)]
struct Columns {
    clusters: Vec<Uuid>,
    keys: Vec<String>,
    seqs: Vec<i64>,
    runs: Vec<Uuid>,
    attempts: Vec<i32>,
    at: Vec<i64>,
    severities: Vec<String>,
    reasons: Vec<String>,
    messages: Vec<String>,
    objects: Vec<Option<serde_json::Value>>,
}

impl Columns {
    fn push(&mut self, cluster: Uuid, key: &str, event: &RunEvent, now: Timestamp) {
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        // An agent's clock or numbers may be wrong: its events are kept all the same.
        let at = event.at.parse::<Timestamp>().unwrap_or(now);
        let object = event.object.as_ref().and_then(|object| {
            let mut object = serde_json::to_value(object).ok()?;
            without_nul(&mut object);
            Some(object)
        });
        let severity = name_of("event.severity", &event.severity);
        self.clusters.push(cluster);
        self.keys.push(clean(key));
        self.seqs.push(i64::try_from(event.seq).unwrap_or(i64::MAX));
        self.runs.push(event.run);
        self.attempts
            .push(i32::try_from(event.attempt).unwrap_or(i32::MAX));
        self.at.push(ms(at));
        self.severities
            .push(severity.unwrap_or_else(|_| "Info".to_owned()));
        self.reasons.push(clean(&event.reason));
        self.messages.push(clean(&event.message));
        self.objects.push(object);
    }
}

/// Keeps events, in the transaction of the status that brought them. Those that are kept already
/// stay as they are.
pub(crate) async fn insert_told(
    tx: &mut Tx,
    told: &[Told<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let (mut columns, mut named) = (Columns::default(), Named::default());
    for unit in told {
        for event in unit.events {
            columns.push(unit.cluster, unit.key, event, now);
            named.push(unit.cluster, unit.key, event);
        }
    }
    if columns.clusters.is_empty() {
        return Ok(());
    }
    let kept: Vec<i64> = sqlx::query_scalar(
        "INSERT INTO event (cluster, cluster_name, key, seq, run, attempt, at_ms, severity, reason,
            message, object, received_at_ms)
         SELECT t.cluster, coalesce(c.name, ''), t.key, t.seq, t.run, t.attempt, t.at_ms, t.severity, t.reason,
            t.message, t.object, $11
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::int[], $6::bigint[],
            $7::text[], $8::text[], $9::text[], $10::jsonb[])
            AS t(cluster, key, seq, run, attempt, at_ms, severity, reason, message, object)
         LEFT JOIN cluster c ON c.id = t.cluster
         ORDER BY t.cluster, t.key, t.seq
         ON CONFLICT (cluster, key, seq) DO NOTHING RETURNING id",
    )
    .bind(columns.clusters)
    .bind(columns.keys)
    .bind(columns.seqs)
    .bind(columns.runs)
    .bind(columns.attempts)
    .bind(columns.at)
    .bind(columns.severities)
    .bind(columns.reasons)
    .bind(columns.messages)
    .bind(columns.objects)
    .bind(ms(now))
    .fetch_all(&mut *tx.inner)
    .await
    .doing("write events")?;
    named.insert(tx, &kept, now).await
}

/// Keeps events of one unit in one cluster. Those that are kept already stay as they are.
///
/// # Errors
/// The database fails.
pub async fn insert(
    tx: &mut Tx,
    cluster: Uuid,
    key: &str,
    events: &[RunEvent],
    now: Timestamp,
) -> Result<(), StoreError> {
    insert_told(
        tx,
        &[Told {
            cluster,
            key,
            events,
        }],
        now,
    )
    .await
}

/// The highest event of one unit in one cluster that is kept; 0 = none is.
///
/// # Errors
/// The database fails.
pub async fn highest(tx: &mut Tx, cluster: Uuid, key: &str) -> Result<u64, StoreError> {
    let highest: Option<i64> =
        sqlx::query_scalar("SELECT max(seq) FROM event WHERE cluster = $1 AND key = $2")
            .bind(cluster)
            .bind(key)
            .fetch_one(&mut *tx.inner)
            .await
            .doing("look for the highest event")?;
    unsigned("event.seq", highest.unwrap_or_default())
}

/// The highest event that is kept with every one from `from` on; absent when `from` itself is not
/// kept. `from` is the oldest event that the agent still holds: what it dropped before cannot come.
///
/// # Errors
/// The database fails.
pub async fn highest_without_gap(
    store: &Store,
    cluster: Uuid,
    key: &str,
    from: u64,
) -> Result<Option<u64>, StoreError> {
    let highest: Option<i64> = sqlx::query_scalar(
        "SELECT max(seq) FROM (
            SELECT seq, seq - row_number() OVER (ORDER BY seq) AS run_start FROM event
            WHERE cluster = $1 AND key = $2 AND seq >= $3) AS numbered
         WHERE run_start = $3 - 1",
    )
    .bind(cluster)
    .bind(key)
    .bind(i64::try_from(from).unwrap_or(i64::MAX))
    .fetch_one(&store.pool)
    .await
    .doing("look for the highest event without a gap")?;
    highest
        .map(|highest| unsigned("event.seq", highest))
        .transpose()
}

/// Forgets events that came before `before`; at most `limit`, oldest first. Gives their number.
///
/// # Errors
/// The database fails.
pub async fn sweep(store: &Store, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "DELETE FROM event WHERE id IN (
            SELECT id FROM event WHERE received_at_ms < $1 ORDER BY received_at_ms LIMIT $2)",
    )
    .bind(ms(before))
    .bind(i64::from(limit))
    .execute(&store.pool)
    .await
    .doing("delete old events")?;
    Ok(deleted.rows_affected())
}

//! Messages about events: kept with the event that they are of, sent once each.

use bellwether_api::{reference::NamespacedName, status::RunEvent, validate::is_dns_label};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{ms, small_unsigned, timestamp, unsigned},
    error::Doing,
    events::{EventRow, Row},
};

/// Providers that one event may name; more are not told.
const MAX_PROVIDERS: usize = 8;
/// Messages that may wait, of all namespaces; more are not kept.
const MAX_WAITING: i64 = 10_000;
/// The longest reason that is kept, in characters.
const MAX_ERROR: usize = 300;

/// A message that is to be sent, and is counted as sent already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueAlert {
    /// What it is about.
    pub event: EventRow,
    /// The provider.
    pub provider: NamespacedName,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertOutcome {
    /// It arrived.
    Sent,
    /// It did not arrive, and is to be tried again.
    Again {
        /// When.
        at: Timestamp,
        /// Why it did not.
        why: String,
    },
    /// It did not arrive, and is not tried again.
    Failed {
        /// Why.
        why: String,
    },
    /// Nobody knows whether it arrived: it is not tried again.
    Unknown {
        /// Why nobody does.
        why: String,
    },
}

/// What became of the messages of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertCounts {
    /// Those that arrived.
    pub sent: u64,
    /// Those that wait, those that are tried again among them.
    pub waiting: u64,
    /// Those that did not arrive.
    pub failed: u64,
    /// Those of which nobody knows.
    pub unknown: u64,
    /// When the last one arrived; absent = none did.
    pub last_sent: Option<Timestamp>,
    /// Why the last attempt failed; empty = it did not.
    pub last_error: String,
}

/// Messages of events that are about to be kept.
#[derive(Debug, Default)]
pub(crate) struct Named {
    clusters: Vec<Uuid>,
    keys: Vec<String>,
    seqs: Vec<i64>,
    namespaces: Vec<String>,
    providers: Vec<String>,
}

impl Named {
    /// Takes whom an event names, in the namespace of its unit.
    pub(crate) fn push(&mut self, cluster: Uuid, key: &str, event: &RunEvent) {
        let key = key.replace('\0', "\u{fffd}");
        let mut parts = key.split('/');
        let (Some("application" | "rollout"), Some(namespace)) = (parts.next(), parts.next())
        else {
            return;
        };
        // What an agent says may be anything.
        let named = event.notify.iter().filter(|name| is_dns_label(name));
        for provider in named.take(MAX_PROVIDERS) {
            self.clusters.push(cluster);
            self.keys.push(key.clone());
            self.seqs.push(i64::try_from(event.seq).unwrap_or(i64::MAX));
            self.namespaces.push(namespace.to_owned());
            self.providers.push(provider.clone());
        }
    }

    /// Keeps the messages of those events that are `kept` for the first time.
    pub(crate) async fn insert(
        self,
        tx: &mut Tx,
        kept: &[i64],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if self.clusters.is_empty() || kept.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO alert (event, namespace, provider, state, due_at_ms, changed_at_ms)
             SELECT e.id, n.namespace, n.provider, 'Waiting', $7, $7
             FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[])
                AS n(cluster, key, seq, namespace, provider)
             JOIN event e ON e.cluster = n.cluster AND e.key = n.key AND e.seq = n.seq
             WHERE e.id = ANY($6)
                AND (SELECT count(*) FROM alert WHERE state = 'Waiting') < $8
             ON CONFLICT DO NOTHING",
        )
        .bind(self.clusters)
        .bind(self.keys)
        .bind(self.seqs)
        .bind(self.namespaces)
        .bind(self.providers)
        .bind(kept)
        .bind(ms(now))
        .bind(MAX_WAITING)
        .execute(&mut *tx.inner)
        .await
        .doing("keep messages about events")?;
        Ok(())
    }
}

/// The providers that have a message due, at most `limit`.
///
/// # Errors
/// The database fails.
pub async fn due(
    store: &Store,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<NamespacedName>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT namespace, provider FROM alert WHERE state = 'Waiting' AND due_at_ms <= $1
         GROUP BY namespace, provider ORDER BY min(due_at_ms) LIMIT $2",
    )
    .bind(ms(now))
    .bind(i64::from(limit))
    .fetch_all(&store.pool)
    .await
    .doing("look for messages that are due")?;
    Ok(rows
        .into_iter()
        .map(|(namespace, name)| NamespacedName { namespace, name })
        .collect())
}

/// Takes the oldest message that is due of a provider, so that nobody else sends it: from now on it
/// counts as being sent, whatever becomes of the caller. Absent = none is due.
///
/// # Errors
/// The database fails; nothing was taken then.
pub async fn take(
    store: &Store,
    provider: &NamespacedName,
    now: Timestamp,
) -> Result<Option<DueAlert>, StoreError> {
    let mut tx = store.begin().await?;
    let taken: Option<(i64, i32)> = sqlx::query_as(
        "UPDATE alert SET state = 'Sending', attempts = attempts + 1, changed_at_ms = $3
         WHERE (event, namespace, provider) = (
            SELECT event, namespace, provider FROM alert
            WHERE namespace = $1 AND provider = $2 AND state = 'Waiting' AND due_at_ms <= $3
            ORDER BY event LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING event, attempts",
    )
    .bind(&provider.namespace)
    .bind(&provider.name)
    .bind(ms(now))
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("take a message")?;
    let Some((event, attempts)) = taken else {
        return Ok(None);
    };
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, tx::text AS tx, cluster, cluster_name, key, seq, run, attempt, at_ms, severity,
            reason, message, object, received_at_ms
         FROM event WHERE id = $1",
    )
    .bind(event)
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("read the event of a message")?;
    tx.commit().await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(DueAlert {
        event: row.into_event()?,
        provider: provider.clone(),
        attempt: small_unsigned("alert.attempts", attempts)?,
    }))
}

/// Notes what became of a message that was taken.
///
/// # Errors
/// The database fails.
pub async fn note(
    store: &Store,
    alert: &DueAlert,
    outcome: &AlertOutcome,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (state, due, why) = match outcome {
        AlertOutcome::Sent => ("Sent", now, ""),
        AlertOutcome::Again { at, why } => ("Waiting", *at, why.as_str()),
        AlertOutcome::Failed { why } => ("Failed", now, why.as_str()),
        AlertOutcome::Unknown { why } => ("Unknown", now, why.as_str()),
    };
    let why: String = why
        .replace('\0', "\u{fffd}")
        .chars()
        .take(MAX_ERROR)
        .collect();
    sqlx::query(
        "UPDATE alert SET state = $4, due_at_ms = $5, error = $6, changed_at_ms = $7
         WHERE event = $1 AND namespace = $2 AND provider = $3 AND state = 'Sending'",
    )
    .bind(i64::try_from(alert.event.id).unwrap_or(i64::MAX))
    .bind(&alert.provider.namespace)
    .bind(&alert.provider.name)
    .bind(state)
    .bind(ms(due))
    .bind(why)
    .bind(ms(now))
    .execute(&store.pool)
    .await
    .doing("note what became of a message")?;
    Ok(())
}

/// What became of the messages of one provider, as far as their events are kept. A message whose
/// sender died counts as one of which nobody knows.
///
/// # Errors
/// The database fails.
pub async fn counts(store: &Store, provider: &NamespacedName) -> Result<AlertCounts, StoreError> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT state, count(*), max(changed_at_ms) FROM alert
         WHERE namespace = $1 AND provider = $2 GROUP BY state",
    )
    .bind(&provider.namespace)
    .bind(&provider.name)
    .fetch_all(&store.pool)
    .await
    .doing("count messages")?;
    let last: Option<String> = sqlx::query_scalar(
        "SELECT error FROM alert WHERE namespace = $1 AND provider = $2 AND attempts > 0
         ORDER BY changed_at_ms DESC, event DESC LIMIT 1",
    )
    .bind(&provider.namespace)
    .bind(&provider.name)
    .fetch_optional(&store.pool)
    .await
    .doing("read what became of a message")?;
    let mut counts = AlertCounts {
        last_error: last.unwrap_or_default(),
        ..AlertCounts::default()
    };
    for (state, count, at) in rows {
        let count = unsigned("alert", count)?;
        match state.as_str() {
            "Sent" => {
                counts.sent = count;
                counts.last_sent = Some(timestamp("alert.changed_at_ms", at)?);
            }
            "Waiting" => counts.waiting = count,
            "Failed" => counts.failed = count,
            _ => counts.unknown += count,
        }
    }
    Ok(counts)
}

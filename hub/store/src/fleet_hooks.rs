//! What hooks of fleets are to be told: written with what they are told of, tried until it is told.

use std::collections::BTreeMap;

use bellwether_api::fleet_hook::FleetEvent;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{from_name, ms, name_of, small, small_unsigned, timestamp},
    error::Doing,
};

/// Calls of one hook that wait at most; the oldest give way.
const MAX_WAITING: i64 = 1_000;
/// Calls that are shown at most.
const MAX_SHOWN: i64 = 1_000;

/// What a call that gave way is told to have failed by.
const GAVE_WAY: &str = "too many calls of this hook waited";

/// A call to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCall {
    /// Goes with every try.
    pub id: Uuid,
    /// The fleet.
    pub fleet: String,
    /// The hook's name within it.
    pub hook: String,
    /// What is told.
    pub event: FleetEvent,
    /// The cluster that it is told of.
    pub cluster: Uuid,
    /// Its name.
    pub cluster_name: String,
    /// What is posted.
    pub body: String,
}

/// How a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallState {
    /// It is tried, or will be.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// It is not tried any more.
    GivenUp,
}

/// A call of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookCall {
    /// Goes with every try.
    pub id: Uuid,
    /// The fleet.
    pub fleet: String,
    /// The hook's name within it.
    pub hook: String,
    /// What is told.
    pub event: FleetEvent,
    /// The cluster that it is told of.
    pub cluster: Uuid,
    /// Its name.
    pub cluster_name: String,
    /// What is posted.
    pub body: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is tried next.
    pub next_at: Timestamp,
    /// How often it was tried, the try under way among them.
    pub tries: u32,
    /// How it stands.
    pub state: CallState,
    /// Why the last try failed; empty = there was none, or it did not.
    pub message: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    fleet: String,
    hook: String,
    event: String,
    cluster: Uuid,
    cluster_name: String,
    body: String,
    created_at_ms: i64,
    next_at_ms: i64,
    tries: i32,
    state: String,
    message: String,
}

impl Row {
    fn into_call(self) -> Result<HookCall, StoreError> {
        Ok(HookCall {
            id: self.id,
            fleet: self.fleet,
            hook: self.hook,
            event: from_name("fleet_hook_call.event", self.event)?,
            cluster: self.cluster,
            cluster_name: self.cluster_name,
            body: self.body,
            created_at: timestamp("fleet_hook_call.created_at_ms", self.created_at_ms)?,
            next_at: timestamp("fleet_hook_call.next_at_ms", self.next_at_ms)?,
            tries: small_unsigned("fleet_hook_call.tries", self.tries)?,
            state: from_name("fleet_hook_call.state", self.state)?,
            message: self.message,
        })
    }
}

/// The specs of the fleets that have hooks, by name.
///
/// # Errors
/// The database fails.
pub async fn fleets_with_hooks(tx: &mut Tx) -> Result<BTreeMap<String, Value>, StoreError> {
    let rows: Vec<(String, Value)> = sqlx::query_as(
        "SELECT name, spec FROM record
         WHERE kind = 'Fleet' AND jsonb_typeof(spec -> 'hooks') = 'array'",
    )
    .fetch_all(&mut *tx.inner)
    .await
    .doing("look for hooks of fleets")?;
    Ok(rows.into_iter().collect())
}

/// Writes calls, each to be tried at once. Of one hook so many wait at most; the oldest give way.
///
/// # Errors
/// The database fails.
pub async fn enqueue(tx: &mut Tx, calls: &[NewCall], now: Timestamp) -> Result<(), StoreError> {
    for call in calls {
        sqlx::query(
            "INSERT INTO fleet_hook_call
                (id, fleet, hook, event, cluster, cluster_name, body, created_at_ms, next_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        )
        .bind(call.id)
        .bind(&call.fleet)
        .bind(&call.hook)
        .bind(name_of("fleet_hook_call.event", &call.event)?)
        .bind(call.cluster)
        .bind(&call.cluster_name)
        .bind(&call.body)
        .bind(ms(now))
        .execute(&mut *tx.inner)
        .await
        .doing("write a call of a fleet's hook")?;
        sqlx::query(
            "UPDATE fleet_hook_call SET state = 'GivenUp', message = $4, ended_at_ms = $5
             WHERE id IN (SELECT id FROM fleet_hook_call
                WHERE fleet = $1 AND hook = $2 AND state = 'Waiting'
                ORDER BY created_at_ms DESC, id DESC OFFSET $3)",
        )
        .bind(&call.fleet)
        .bind(&call.hook)
        .bind(MAX_WAITING)
        .bind(GAVE_WAY)
        .bind(ms(now))
        .execute(&mut *tx.inner)
        .await
        .doing("bound the calls of a fleet's hook")?;
    }
    Ok(())
}

/// Takes calls that are due, so that nobody else tries them before `until`. What one hook is told of one
/// cluster is told in order: a later call waits for the earlier one.
///
/// # Errors
/// The database fails.
pub async fn claim(
    store: &Store,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<HookCall>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "UPDATE fleet_hook_call SET next_at_ms = $2, tries = tries + 1
         WHERE id IN (
            SELECT id FROM fleet_hook_call due
            WHERE state = 'Waiting' AND next_at_ms <= $1 AND NOT EXISTS (
                SELECT FROM fleet_hook_call former
                WHERE former.state = 'Waiting' AND former.cluster = due.cluster
                  AND former.fleet = due.fleet AND former.hook = due.hook
                  AND (former.created_at_ms, former.id) < (due.created_at_ms, due.id))
            ORDER BY next_at_ms LIMIT $3 FOR UPDATE SKIP LOCKED)
         RETURNING *",
    )
    .bind(ms(now))
    .bind(ms(until))
    .bind(i64::from(limit))
    .fetch_all(&store.pool)
    .await
    .doing("take calls of fleets' hooks")?;
    rows.into_iter().map(Row::into_call).collect()
}

/// Writes how a try ended, unless another try began meanwhile; tells whether it was written. A call that
/// goes on waiting is tried again at `next_at`.
///
/// # Errors
/// The database fails.
pub async fn finish(
    tx: &mut Tx,
    call: &HookCall,
    state: CallState,
    message: &str,
    next_at: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let written = sqlx::query(
        "UPDATE fleet_hook_call SET state = $3, message = $4, next_at_ms = $5,
            ended_at_ms = CASE WHEN $3 = 'Waiting' THEN NULL ELSE $6::bigint END
         WHERE id = $1 AND tries = $2 AND state = 'Waiting'",
    )
    .bind(call.id)
    .bind(small("fleet_hook_call.tries", call.tries)?)
    .bind(name_of("fleet_hook_call.state", &state)?)
    .bind(message)
    .bind(ms(next_at))
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("write how a call of a fleet's hook ended")?;
    Ok(written.rows_affected() > 0)
}

/// Calls that failed and are not made up for: those that are tried again, and those that were given up
/// with none delivered to the same hook for the same cluster since. Newest first.
///
/// # Errors
/// The database fails.
pub async fn unsettled(store: &Store) -> Result<Vec<HookCall>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM fleet_hook_call failed WHERE state <> 'Delivered' AND message <> ''
            AND NOT EXISTS (SELECT FROM fleet_hook_call later
                WHERE later.state = 'Delivered' AND later.cluster = failed.cluster
                  AND later.fleet = failed.fleet AND later.hook = failed.hook
                  AND later.created_at_ms >= failed.created_at_ms)
         ORDER BY created_at_ms DESC, id DESC LIMIT $1",
    )
    .bind(MAX_SHOWN)
    .fetch_all(&store.pool)
    .await
    .doing("list calls of fleets' hooks")?;
    rows.into_iter().map(Row::into_call).collect()
}

/// Forgets calls that ended before `before`; at most `limit`. Gives their number.
///
/// # Errors
/// The database fails.
pub async fn sweep(store: &Store, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "DELETE FROM fleet_hook_call WHERE id IN (
            SELECT id FROM fleet_hook_call WHERE ended_at_ms < $1 LIMIT $2)",
    )
    .bind(ms(before))
    .bind(i64::from(limit))
    .execute(&store.pool)
    .await
    .doing("delete old calls of fleets' hooks")?;
    Ok(deleted.rows_affected())
}

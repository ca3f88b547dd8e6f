//! What people said to runs: create-only, answered once.

use bellwether_api::{number::Weight, reference::NamespacedName, strategy::Manual};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{
        from_name, ms, name_of, refuse_nul, signed, small, small_unsigned, timestamp,
        timestamp_option, unsigned,
    },
    error::Doing,
};

/// What an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionType {
    /// Opens a gate.
    Approve,
    /// Skips all remaining steps and promotes.
    Promote,
    /// Stops; weights stay.
    Suspend,
    /// Goes on.
    Resume,
    /// Skips a step or a cluster.
    Skip,
    /// Ends the run and goes back.
    Abort,
    /// Makes a new attempt.
    Retry,
    /// Sets weight and pods of canaries that are driven by hand.
    SetWeight,
    /// Goes back to an earlier release.
    Rollback,
    /// Puts an ended run away.
    Finish,
}

/// An action to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAction {
    /// Its id.
    pub id: Uuid,
    /// The application.
    pub application: NamespacedName,
    /// The run.
    pub run: Uuid,
    /// What to do.
    pub action: ActionType,
    /// Only this wave; absent = the run, or whichever wave waits.
    pub wave: Option<String>,
    /// Only this cluster; absent = all.
    pub cluster: Option<Uuid>,
    /// The step that whoever said it saw, from 0; absent = whichever is current.
    pub step: Option<u32>,
    /// The revision that whoever said it saw; absent = whichever is current.
    pub expected_revision: Option<u64>,
    /// What [`ActionType::SetWeight`] sets, and no other type.
    pub set: Option<Manual>,
    /// The revision that [`ActionType::Rollback`] goes back to; absent = the last one that succeeded.
    pub to_revision: Option<u64>,
    /// Why; empty when nothing was said.
    pub reason: String,
    /// Who.
    pub by: String,
    /// The same key of the same application is the same action.
    pub idempotency_key: String,
}

/// An action with its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// What was said.
    pub said: NewAction,
    /// Rises with every action; their order.
    pub sequence: u64,
    /// When it was said.
    pub created_at: Timestamp,
    /// What became of it; absent = nothing yet.
    pub result: Option<Value>,
    /// When it was answered; absent = not yet.
    pub executed_at: Option<Timestamp>,
}

/// What recording an action did.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// It is new.
    New(Action),
    /// It was said already, under the same key.
    Repeated(Action),
}

/// Why an action was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The key was used for something else.
    #[error("failed to record the action: its idempotency key was used for another action")]
    KeyReused,
    /// There is no such run.
    #[error("failed to record the action: there is no run {run}")]
    UnknownRun {
        /// The run.
        run: Uuid,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(sqlx::FromRow)]
struct ActionRow {
    id: Uuid,
    namespace: String,
    application: String,
    run: Uuid,
    r#type: String,
    wave: Option<String>,
    cluster: Option<Uuid>,
    step: Option<i32>,
    expected_revision: Option<i64>,
    weight: Option<i32>,
    replicas: Option<String>,
    to_revision: Option<i64>,
    reason: String,
    by: String,
    idempotency_key: String,
    created_at_ms: i64,
    result: Option<Value>,
    executed_at_ms: Option<i64>,
    seq: i64,
}

impl ActionRow {
    fn set(&mut self) -> Result<Option<Manual>, StoreError> {
        let Some(percent) = self.weight else {
            return Ok(None);
        };
        let percent = small_unsigned("run_action.weight", percent)?;
        let replicas = self
            .replicas
            .take()
            .map(|text| from_name("run_action.replicas", text))
            .transpose()?;
        Ok(Some(Manual {
            // The database holds no other than 0 to 100.
            weight: Weight::clamped(percent),
            replicas,
        }))
    }

    fn into_action(mut self) -> Result<Action, StoreError> {
        let set = self.set()?;
        Ok(Action {
            said: NewAction {
                id: self.id,
                application: NamespacedName {
                    namespace: self.namespace,
                    name: self.application,
                },
                run: self.run,
                action: from_name("run_action.type", self.r#type)?,
                wave: self.wave,
                cluster: self.cluster,
                step: self
                    .step
                    .map(|step| small_unsigned("run_action.step", step))
                    .transpose()?,
                expected_revision: self
                    .expected_revision
                    .map(|revision| unsigned("run_action.expected_revision", revision))
                    .transpose()?,
                set,
                to_revision: self
                    .to_revision
                    .map(|revision| unsigned("run_action.to_revision", revision))
                    .transpose()?,
                reason: self.reason,
                by: self.by,
                idempotency_key: self.idempotency_key,
            },
            sequence: unsigned("run_action.seq", self.seq)?,
            created_at: timestamp("run_action.created_at_ms", self.created_at_ms)?,
            result: self.result,
            executed_at: timestamp_option("run_action.executed_at_ms", self.executed_at_ms)?,
        })
    }
}

/// Records an action, once for one idempotency key.
///
/// # Errors
/// [`RecordError::KeyReused`], [`RecordError::UnknownRun`], or the database fails.
pub async fn record(tx: &mut Tx, new: &NewAction, now: Timestamp) -> Result<Recorded, RecordError> {
    let text = [&new.reason, &new.idempotency_key].map(|text| Value::String(text.clone()));
    refuse_nul("run_action", &Value::Array(text.to_vec()))?;
    let written: Result<Option<ActionRow>, StoreError> = sqlx::query_as(
        "INSERT INTO run_action (id, namespace, application, run, type, wave, cluster, step,
            expected_revision, weight, replicas, reason, by, idempotency_key, created_at_ms,
            to_revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (namespace, application, idempotency_key) DO NOTHING RETURNING *",
    )
    .bind(new.id)
    .bind(&new.application.namespace)
    .bind(&new.application.name)
    .bind(new.run)
    .bind(name_of("run_action.type", &new.action)?)
    .bind(&new.wave)
    .bind(new.cluster)
    .bind(
        new.step
            .map(|step| small("run_action.step", step))
            .transpose()?,
    )
    .bind(
        new.expected_revision
            .map(|revision| signed("run_action.expected_revision", revision))
            .transpose()?,
    )
    .bind(new.set.map(|set| i32::from(set.weight.percent())))
    .bind(
        new.set
            .and_then(|set| set.replicas)
            .map(|replicas| replicas.to_string()),
    )
    .bind(&new.reason)
    .bind(&new.by)
    .bind(&new.idempotency_key)
    .bind(ms(now))
    .bind(
        new.to_revision
            .map(|revision| signed("run_action.to_revision", revision))
            .transpose()?,
    )
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("record an action");
    match written {
        Ok(Some(row)) => Ok(Recorded::New(row.into_action()?)),
        Ok(None) => repeated(tx, new).await,
        Err(error) if error.violates("run_action_run_fkey") => {
            Err(RecordError::UnknownRun { run: new.run })
        }
        Err(error) => Err(error.into()),
    }
}

async fn repeated(tx: &mut Tx, new: &NewAction) -> Result<Recorded, RecordError> {
    let row: ActionRow = sqlx::query_as(
        "SELECT * FROM run_action
         WHERE namespace = $1 AND application = $2 AND idempotency_key = $3",
    )
    .bind(&new.application.namespace)
    .bind(&new.application.name)
    .bind(&new.idempotency_key)
    .fetch_one(&mut *tx.inner)
    .await
    .doing("read an action")?;
    let action = row.into_action()?;
    let same = NewAction {
        id: new.id,
        ..action.said.clone()
    } == *new;
    if same {
        Ok(Recorded::Repeated(action))
    } else {
        Err(RecordError::KeyReused)
    }
}

/// Answers an action, in the transaction of its effect. Tells whether it was unanswered: if not,
/// its effect must not be written a second time.
///
/// # Errors
/// The database fails.
pub async fn answer(
    tx: &mut Tx,
    id: Uuid,
    result: &Value,
    now: Timestamp,
) -> Result<bool, StoreError> {
    refuse_nul("run_action.result", result)?;
    let answered = sqlx::query(
        "UPDATE run_action SET result = $2, executed_at_ms = $3
         WHERE id = $1 AND executed_at_ms IS NULL",
    )
    .bind(id)
    .bind(result)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("answer an action")?;
    Ok(answered.rows_affected() > 0)
}

/// The unanswered actions of a run, in the order in which they were said.
///
/// # Errors
/// The database fails.
pub async fn pending(store: &Store, run: Uuid) -> Result<Vec<Action>, StoreError> {
    list_by(
        store,
        "SELECT * FROM run_action WHERE run = $1 AND executed_at_ms IS NULL ORDER BY seq",
        run,
    )
    .await
}

/// The unanswered actions of an application, whichever run they were said to, in the order in which
/// they were said.
///
/// # Errors
/// The database fails.
pub async fn unanswered(
    store: &Store,
    application: &NamespacedName,
) -> Result<Vec<Action>, StoreError> {
    let rows: Vec<ActionRow> = sqlx::query_as(
        "SELECT * FROM run_action
         WHERE namespace = $1 AND application = $2 AND executed_at_ms IS NULL ORDER BY seq",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .fetch_all(&store.pool)
    .await
    .doing("list unanswered actions")?;
    rows.into_iter().map(ActionRow::into_action).collect()
}

/// Every action of a run, in the order in which they were said.
///
/// # Errors
/// The database fails.
pub async fn list(store: &Store, run: Uuid) -> Result<Vec<Action>, StoreError> {
    list_by(
        store,
        "SELECT * FROM run_action WHERE run = $1 ORDER BY seq",
        run,
    )
    .await
}

/// The newest actions of a run, at most `limit`, in the order in which they were said.
///
/// # Errors
/// The database fails.
pub async fn recent(store: &Store, run: Uuid, limit: u32) -> Result<Vec<Action>, StoreError> {
    let rows: Vec<ActionRow> = sqlx::query_as(
        "SELECT * FROM (SELECT * FROM run_action WHERE run = $1 ORDER BY seq DESC LIMIT $2) AS newest
         ORDER BY seq",
    )
    .bind(run)
    .bind(i64::from(limit))
    .fetch_all(&store.pool)
    .await
    .doing("list actions")?;
    rows.into_iter().map(ActionRow::into_action).collect()
}

/// One action; absent when there is none.
///
/// # Errors
/// The database fails.
pub async fn get(store: &Store, id: Uuid) -> Result<Option<Action>, StoreError> {
    Ok(list_by(store, "SELECT * FROM run_action WHERE id = $1", id)
        .await?
        .pop())
}

async fn list_by(
    store: &Store,
    statement: &'static str,
    id: Uuid,
) -> Result<Vec<Action>, StoreError> {
    let rows: Vec<ActionRow> = sqlx::query_as(statement)
        .bind(id)
        .fetch_all(&store.pool)
        .await
        .doing("list actions")?;
    rows.into_iter().map(ActionRow::into_action).collect()
}

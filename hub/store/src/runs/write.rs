//! Making and saving runs.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{NewRun, RunCluster, SaveError, SaveRun};
use crate::{
    StoreError, Tx,
    column::{ms, name_of, refuse_nul, signed, small, unsigned},
    error::Doing,
};

/// Makes the run of a release with its first plan, at version 1.
///
/// # Errors
/// [`SaveError::Conflict`] when the release has a run already, or the database fails.
pub async fn create(tx: &mut Tx, new: &NewRun, now: Timestamp) -> Result<(), SaveError> {
    refuse_nul("run.state", &new.state)?;
    let written = sqlx::query(
        "INSERT INTO run (id, namespace, application, release, previous_release, plan, status,
            state, created_at_ms, updated_at_ms, finished_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10) ON CONFLICT (release) DO NOTHING",
    )
    .bind(new.id)
    .bind(&new.application.namespace)
    .bind(&new.application.name)
    .bind(new.release)
    .bind(new.previous_release)
    .bind(new.plan)
    .bind(name_of("run.status", &new.status)?)
    .bind(&new.state)
    .bind(ms(now))
    .bind(new.status.is_terminal().then(|| ms(now)))
    .execute(&mut *tx.inner)
    .await
    .doing("write a run")?;
    if written.rows_affected() == 0 {
        return Err(SaveError::Conflict);
    }
    let plan = NewPlan {
        id: new.plan,
        run: new.id,
        parent: None,
        content: &new.plan_content,
    };
    insert_plan(tx, &plan, now).await?;
    Ok(save_clusters(tx, new.id, &new.clusters, now).await?)
}

struct NewPlan<'a> {
    id: Uuid,
    run: Uuid,
    parent: Option<Uuid>,
    content: &'a Value,
}

async fn insert_plan(tx: &mut Tx, plan: &NewPlan<'_>, now: Timestamp) -> Result<(), StoreError> {
    refuse_nul("plan.content", plan.content)?;
    sqlx::query(
        "INSERT INTO plan (id, run, parent, content, created_at_ms) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(plan.id)
    .bind(plan.run)
    .bind(plan.parent)
    .bind(plan.content)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("write a plan")?;
    Ok(())
}

/// Saves a decision and gives the run's new version. Does nothing unless the run is still at the
/// version that was decided on; holds its row until the transaction ends.
///
/// # Errors
/// [`SaveError::Conflict`] when it is at another version or is gone, or the database fails.
pub async fn save(tx: &mut Tx, save: &SaveRun<'_>, now: Timestamp) -> Result<u64, SaveError> {
    refuse_nul("run.state", save.state)?;
    let version: Option<i64> = sqlx::query_scalar(
        "UPDATE run SET status = $3, state = $4, version = version + 1, updated_at_ms = $5,
            tx = pg_current_xact_id(),
            finished_at_ms = CASE WHEN $6 THEN coalesce(finished_at_ms, $5) END
         WHERE id = $1 AND version = $2 RETURNING version",
    )
    .bind(save.id)
    .bind(signed("run.version", save.expected_version)?)
    .bind(name_of("run.status", &save.status)?)
    .bind(save.state)
    .bind(ms(now))
    .bind(save.status.is_terminal())
    .fetch_optional(&mut *tx.inner)
    .await
    .doing("save a run")?;
    let version = version.ok_or(SaveError::Conflict)?;
    Ok(unsigned("run.version", version)?)
}

/// Writes clusters of a run, new ones too. Call it after [`save`] in the same transaction, which
/// holds the run; after the desired state is written, so that the granted generation is known.
///
/// # Errors
/// The database fails.
pub async fn save_clusters(
    tx: &mut Tx,
    run: Uuid,
    clusters: &[RunCluster],
    now: Timestamp,
) -> Result<(), StoreError> {
    if clusters.is_empty() {
        return Ok(());
    }
    let mut columns = Columns::default();
    for cluster in clusters {
        columns.push(cluster)?;
    }
    sqlx::query(
        "INSERT INTO run_cluster (run, cluster, cluster_name, wave, position, status, attempt,
            state, granted_gen, updated_at_ms)
         SELECT $1, t.*, $10 FROM unnest($2::uuid[], $3::text[], $4::int[], $5::int[], $6::text[],
            $7::int[], $8::jsonb[], $9::bigint[]) AS t
         ON CONFLICT (run, cluster) DO UPDATE
         SET wave = excluded.wave, position = excluded.position, status = excluded.status,
             attempt = excluded.attempt, state = excluded.state,
             granted_gen = excluded.granted_gen, updated_at_ms = excluded.updated_at_ms",
    )
    .bind(run)
    .bind(columns.clusters)
    .bind(columns.names)
    .bind(columns.waves)
    .bind(columns.positions)
    .bind(columns.statuses)
    .bind(columns.attempts)
    .bind(columns.states)
    .bind(columns.granted)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("write a run's clusters")?;
    Ok(())
}

#[derive(Default)]
struct Columns {
    clusters: Vec<Uuid>,
    names: Vec<String>,
    waves: Vec<i32>,
    positions: Vec<i32>,
    statuses: Vec<String>,
    attempts: Vec<i32>,
    states: Vec<Value>,
    granted: Vec<Option<i64>>,
}

impl Columns {
    fn push(&mut self, cluster: &RunCluster) -> Result<(), StoreError> {
        refuse_nul("run_cluster.state", &cluster.state)?;
        self.clusters.push(cluster.cluster);
        self.names.push(cluster.cluster_name.clone());
        self.waves.push(small("run_cluster.wave", cluster.wave)?);
        self.positions
            .push(small("run_cluster.position", cluster.position)?);
        self.statuses
            .push(name_of("run_cluster.status", &cluster.status)?);
        self.attempts
            .push(small("run_cluster.attempt", cluster.attempt)?);
        self.states.push(cluster.state.clone());
        self.granted.push(
            cluster
                .granted_generation
                .map(|generation| signed("run_cluster.granted_gen", generation))
                .transpose()?,
        );
        Ok(())
    }
}

/// Replaces a run's plan, if `parent` is still the current one. Call it after [`save`] in the same
/// transaction.
///
/// # Errors
/// [`SaveError::Conflict`] when another plan is current, or the database fails.
pub async fn replace_plan(
    tx: &mut Tx,
    run: Uuid,
    parent: Uuid,
    id: Uuid,
    content: &Value,
    now: Timestamp,
) -> Result<(), SaveError> {
    let replaced = sqlx::query(
        "UPDATE run SET plan = $3, tx = pg_current_xact_id() WHERE id = $1 AND plan = $2",
    )
    .bind(run)
    .bind(parent)
    .bind(id)
    .execute(&mut *tx.inner)
    .await
    .doing("replace a plan")?;
    if replaced.rows_affected() == 0 {
        return Err(SaveError::Conflict);
    }
    Ok(insert_plan(
        tx,
        &NewPlan {
            id,
            run,
            parent: Some(parent),
            content,
        },
        now,
    )
    .await?)
}

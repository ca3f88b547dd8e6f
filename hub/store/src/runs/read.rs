//! Reading runs.

use bellwether_api::reference::NamespacedName;
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{LoadedRun, NewestRun, Plan, Run, RunCluster};
use crate::{
    Store, StoreError,
    column::{digest, from_name, small_unsigned, timestamp, timestamp_option, unsigned},
    error::Doing,
    releases::{self, Release},
};

#[derive(sqlx::FromRow)]
struct RunRow {
    id: Uuid,
    namespace: String,
    application: String,
    release: Uuid,
    previous_release: Option<Uuid>,
    plan: Option<Uuid>,
    status: String,
    state: Value,
    version: i64,
    created_at_ms: i64,
    updated_at_ms: i64,
    finished_at_ms: Option<i64>,
}

impl RunRow {
    fn into_run(self) -> Result<Run, StoreError> {
        Ok(Run {
            id: self.id,
            application: NamespacedName {
                namespace: self.namespace,
                name: self.application,
            },
            release: self.release,
            previous_release: self.previous_release,
            plan: self.plan.ok_or_else(|| no_plan(self.id))?,
            status: from_name("run.status", self.status)?,
            state: self.state,
            version: unsigned("run.version", self.version)?,
            created_at: timestamp("run.created_at_ms", self.created_at_ms)?,
            updated_at: timestamp("run.updated_at_ms", self.updated_at_ms)?,
            finished_at: timestamp_option("run.finished_at_ms", self.finished_at_ms)?,
        })
    }
}

fn no_plan(run: Uuid) -> StoreError {
    StoreError::Corrupt {
        what: "run.plan",
        detail: format!("run {run} has none"),
    }
}

#[derive(sqlx::FromRow)]
struct ClusterRow {
    cluster: Uuid,
    cluster_name: String,
    wave: i32,
    position: i32,
    status: String,
    attempt: i32,
    state: Value,
    granted_gen: Option<i64>,
    updated_at_ms: i64,
}

impl ClusterRow {
    fn into_cluster(self) -> Result<RunCluster, StoreError> {
        Ok(RunCluster {
            cluster: self.cluster,
            cluster_name: self.cluster_name,
            wave: small_unsigned("run_cluster.wave", self.wave)?,
            position: small_unsigned("run_cluster.position", self.position)?,
            status: from_name("run_cluster.status", self.status)?,
            attempt: small_unsigned("run_cluster.attempt", self.attempt)?,
            state: self.state,
            granted_generation: self
                .granted_gen
                .map(|generation| unsigned("run_cluster.granted_gen", generation))
                .transpose()?,
            updated_at: timestamp("run_cluster.updated_at_ms", self.updated_at_ms)?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct PlanRow {
    id: Uuid,
    run: Uuid,
    parent: Option<Uuid>,
    content: Value,
    created_at_ms: i64,
}

impl PlanRow {
    fn into_plan(self) -> Result<Plan, StoreError> {
        Ok(Plan {
            id: self.id,
            run: self.run,
            parent: self.parent,
            content: self.content,
            created_at: timestamp("plan.created_at_ms", self.created_at_ms)?,
        })
    }
}

/// A run with its plan and clusters, read at one moment; absent when there is none.
///
/// # Errors
/// The database fails.
pub async fn load(store: &Store, id: Uuid) -> Result<Option<LoadedRun>, StoreError> {
    let mut tx = store.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut *tx.inner)
        .await
        .doing("read a run at one moment")?;
    let Some(run) = find(&mut *tx.inner, id).await? else {
        return Ok(None);
    };
    let plan: Option<PlanRow> = sqlx::query_as("SELECT * FROM plan WHERE id = $1")
        .bind(run.plan)
        .fetch_optional(&mut *tx.inner)
        .await
        .doing("read a plan")?;
    let clusters: Vec<ClusterRow> = sqlx::query_as(
        "SELECT cluster, cluster_name, wave, position, status, attempt, state, granted_gen,
            updated_at_ms
         FROM run_cluster WHERE run = $1 ORDER BY wave, position, cluster_name",
    )
    .bind(id)
    .fetch_all(&mut *tx.inner)
    .await
    .doing("read a run's clusters")?;
    Ok(Some(LoadedRun {
        plan: plan.ok_or_else(|| no_plan(id))?.into_plan()?,
        clusters: clusters
            .into_iter()
            .map(ClusterRow::into_cluster)
            .collect::<Result<_, _>>()?,
        run,
    }))
}

async fn find(executor: impl PgExecutor<'_>, id: Uuid) -> Result<Option<Run>, StoreError> {
    let row: Option<RunRow> = sqlx::query_as("SELECT * FROM run WHERE id = $1")
        .bind(id)
        .fetch_optional(executor)
        .await
        .doing("read a run")?;
    row.map(RunRow::into_run).transpose()
}

#[derive(sqlx::FromRow)]
struct NewestRow {
    #[sqlx(flatten)]
    run: RunRow,
    plan_content: Value,
    revision: i64,
    digest: Vec<u8>,
    content: Vec<u8>,
    released_at_ms: i64,
    created_by: String,
    reason: String,
    restores: Option<i64>,
    instead_of: Option<Vec<u8>>,
}

/// The newest run of an application with its plan and release, by one statement; absent when it
/// has none.
///
/// # Errors
/// The database fails.
pub async fn newest(
    store: &Store,
    application: &NamespacedName,
) -> Result<Option<NewestRun>, StoreError> {
    let row: Option<NewestRow> = sqlx::query_as(
        "SELECT run.*, plan.content AS plan_content, release.revision, release.digest,
            release.content, release.created_at_ms AS released_at_ms, release.created_by,
            release.reason, release.restores, release.instead_of
         FROM release JOIN run ON run.release = release.id JOIN plan ON plan.id = run.plan
         WHERE release.namespace = $1 AND release.application = $2
         ORDER BY release.revision DESC LIMIT 1",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .fetch_optional(&store.pool)
    .await
    .doing("read an application's newest run")?;
    let Some(row) = row else { return Ok(None) };
    let run = row.run.into_run()?;
    Ok(Some(NewestRun {
        release: Release {
            id: run.release,
            application: run.application.clone(),
            revision: unsigned("release.revision", row.revision)?,
            digest: digest("release.digest", &row.digest)?,
            content: digest("release.content", &row.content)?,
            created_at: timestamp("release.created_at_ms", row.released_at_ms)?,
            created_by: row.created_by,
            reason: row.reason,
            restores: releases::restores(row.restores, row.instead_of.as_deref())?,
        },
        run,
        plan: row.plan_content,
    }))
}

/// One run without its clusters; absent when there is none.
///
/// # Errors
/// The database fails.
pub async fn get(store: &Store, id: Uuid) -> Result<Option<Run>, StoreError> {
    find(&store.pool, id).await
}

/// The run of a release; absent when it has none.
///
/// # Errors
/// The database fails.
pub async fn of_release(store: &Store, release: Uuid) -> Result<Option<Run>, StoreError> {
    let row: Option<RunRow> = sqlx::query_as("SELECT * FROM run WHERE release = $1")
        .bind(release)
        .fetch_optional(&store.pool)
        .await
        .doing("read a release's run")?;
    row.map(RunRow::into_run).transpose()
}

/// Every unfinished run, oldest first.
///
/// # Errors
/// The database fails.
pub async fn active(store: &Store) -> Result<Vec<Run>, StoreError> {
    let rows: Vec<RunRow> =
        sqlx::query_as("SELECT * FROM run WHERE finished_at_ms IS NULL ORDER BY created_at_ms, id")
            .fetch_all(&store.pool)
            .await
            .doing("list unfinished runs")?;
    rows.into_iter().map(RunRow::into_run).collect()
}

/// The runs of an application, newest first, at most `limit`, finished ones too.
///
/// # Errors
/// The database fails.
pub async fn history(
    store: &Store,
    application: &NamespacedName,
    limit: u32,
) -> Result<Vec<Run>, StoreError> {
    let rows: Vec<RunRow> = sqlx::query_as(
        "SELECT run.* FROM run JOIN release ON release.id = run.release
         WHERE run.namespace = $1 AND run.application = $2 ORDER BY release.revision DESC LIMIT $3",
    )
    .bind(&application.namespace)
    .bind(&application.name)
    .bind(i64::from(limit))
    .fetch_all(&store.pool)
    .await
    .doing("list an application's runs")?;
    rows.into_iter().map(RunRow::into_run).collect()
}

/// The newest run of an application; absent when it has none.
///
/// # Errors
/// The database fails.
pub async fn latest(
    store: &Store,
    application: &NamespacedName,
) -> Result<Option<Run>, StoreError> {
    Ok(history(store, application, 1).await?.pop())
}

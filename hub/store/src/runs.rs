//! Runs: the way of one release through the fleet, with its frozen plan and its clusters.
//!
//! A decision is saved by compare-and-set on the run's version, in the transaction that writes the
//! grants into the clusters' desired state: whoever saves second gets [`SaveError::Conflict`] and
//! grants nothing, however many hubs decide at once.

use bellwether_api::{
    reference::NamespacedName,
    view::{ClusterPhase, RunPhase},
};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{
    Store, StoreError, Tx,
    column::{
        from_name, ms, name_of, refuse_nul, signed, small, small_unsigned, timestamp,
        timestamp_option, unsigned,
    },
    error::Doing,
};

/// One run, without its clusters.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Names it everywhere.
    pub id: Uuid,
    /// The application.
    pub application: NamespacedName,
    /// The release that it brings in; a release has one run.
    pub release: Uuid,
    /// The release that ran before; absent = this is the first, or that one is forgotten.
    pub previous_release: Option<Uuid>,
    /// The current plan.
    pub plan: Uuid,
    /// Where it stands.
    pub status: RunPhase,
    /// The decision's own state.
    pub state: Value,
    /// Rises with every save, from 1.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was saved last.
    pub updated_at: Timestamp,
    /// When it ended; absent = it has not.
    pub finished_at: Option<Timestamp>,
}

/// One cluster of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCluster {
    /// The cluster.
    pub cluster: Uuid,
    /// Its name when the plan was frozen.
    pub cluster_name: String,
    /// Its wave, from 0.
    pub wave: u32,
    /// Its place within the wave, from 0.
    pub position: u32,
    /// Where it stands.
    pub status: ClusterPhase,
    /// The attempt, from 1; 0 = never granted.
    pub attempt: u32,
    /// The decision's own state of it.
    pub state: Value,
    /// The generation at which it was granted last; absent = never.
    pub granted_generation: Option<u64>,
    /// When it was saved last.
    pub updated_at: Timestamp,
}

/// A plan: immutable; a run has one current plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Names it.
    pub id: Uuid,
    /// The run.
    pub run: Uuid,
    /// The plan that it replaced; absent = it is the first.
    pub parent: Option<Uuid>,
    /// What it says.
    pub content: Value,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A run with everything that a decision needs, read at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedRun {
    /// The run.
    pub run: Run,
    /// Its current plan.
    pub plan: Plan,
    /// Its clusters, by wave and position.
    pub clusters: Vec<RunCluster>,
}

/// A run to make.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// Its id.
    pub id: Uuid,
    /// The application.
    pub application: NamespacedName,
    /// The release.
    pub release: Uuid,
    /// The release that ran before; absent = none.
    pub previous_release: Option<Uuid>,
    /// Where it stands.
    pub status: RunPhase,
    /// The decision's own state.
    pub state: Value,
    /// The first plan's id.
    pub plan: Uuid,
    /// What the first plan says.
    pub plan_content: Value,
    /// Its clusters.
    pub clusters: Vec<RunCluster>,
}

/// A decision to save.
#[derive(Clone, Debug, PartialEq)]
pub struct SaveRun<'a> {
    /// The run.
    pub id: Uuid,
    /// The version that the decision was made on.
    pub expected_version: u64,
    /// Where it stands now.
    pub status: RunPhase,
    /// The decision's own state.
    pub state: &'a Value,
}

/// Why a run was not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Somebody else saved it, or made or replaced what was expected: load again and decide again.
    #[error("failed to save the run: it changed in the meantime")]
    Conflict,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

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
    let replaced = sqlx::query("UPDATE run SET plan = $3 WHERE id = $1 AND plan = $2")
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

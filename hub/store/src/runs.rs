//! Runs: the way of one release through the fleet, with its frozen plan and its clusters.
//!
//! A decision is saved by compare-and-set on the run's version, in the transaction that writes the
//! grants into the clusters' desired state: whoever saves second gets [`SaveError::Conflict`] and
//! grants nothing, however many hubs decide at once.

mod read;
mod write;

use bellwether_api::{
    reference::NamespacedName,
    view::{ClusterPhase, RunPhase},
};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::{StoreError, releases::Release};

pub use read::{active, get, history, latest, load, newest, of_release};
pub use write::{create, replace_plan, save, save_clusters};

/// The version of a run that was just made.
pub const FIRST_VERSION: u64 = 1;

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

/// An application's newest run with what it brings in, read at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct NewestRun {
    /// The run.
    pub run: Run,
    /// What its current plan says.
    pub plan: Value,
    /// Its release.
    pub release: Release,
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

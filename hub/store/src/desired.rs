//! What each cluster shall hold: units by key, at the generation of their last change.
//!
//! State is synchronised by generation and never as a log: a delta is a query. A cluster's row in
//! `cluster_sync` is locked before anything of it is read, so that generation order is commit
//! order and the root is always the sum of what is written.

mod read;
mod write;

use bellwether_api::{
    root::Root,
    sync_policy::{DeletionPolicies, DeletionPolicy},
};
use uuid::Uuid;

use crate::{
    Digest, StoreError,
    column::{bytes32, unsigned},
    error::Doing,
};

pub use read::{applications_of, delta, holders, holders_in, snapshot, targets};
pub use write::{fan_out, jump_past, say_deletion, write};

/// Clusters that one transaction of a fan-out locks at most.
pub const BATCH: usize = 500;

/// Units that one generation may take away without an allowance, whatever their share.
pub const FREE_DELETIONS: u64 = 5;

/// A change of one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitChange {
    /// The unit's key.
    pub key: String,
    /// Digest of its blob, which must be stored already; absent = tombstone.
    pub digest: Option<Digest>,
    /// Where the change comes from, for people, such as `run/<id>`.
    pub origin: String,
}

/// The changes of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterChange {
    /// The cluster.
    pub cluster: Uuid,
    /// Its changes; of several for one key the last counts.
    pub changes: Vec<UnitChange>,
}

/// Whether a write may take many units away at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletions {
    /// At most max(5, 20 %) of a cluster's units.
    Braked,
    /// Any number: somebody confirmed it.
    Allowed,
}

/// A cluster's new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The cluster.
    pub cluster: Uuid,
    /// Its generation from now on.
    pub generation: u64,
    /// The root at that generation.
    pub root: Root,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Too many units would go at once.
    #[error(
        "failed to remove {count} of {total} units from cluster {cluster} at once: \
         that takes an explicit allowance"
    )]
    MassDelete {
        /// The cluster.
        cluster: Uuid,
        /// Units that would go.
        count: u64,
        /// Units that it has.
        total: u64,
    },
    /// The cluster is not registered.
    #[error("failed to write the desired state of cluster {cluster}: it is not registered")]
    UnknownCluster {
        /// The cluster.
        cluster: Uuid,
    },
    /// A blob was not stored before it was named.
    #[error("failed to write the desired state: a blob that it names is not stored")]
    UnknownBlob,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One unit as a cluster shall hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitVersion {
    /// The unit's key.
    pub key: String,
    /// The generation of its last change.
    pub generation: u64,
    /// Digest of its blob; absent = tombstone.
    pub digest: Option<Digest>,
    /// What becomes of the objects of a tombstone; absent = as the cluster took it up last.
    pub deletion: Option<DeletionPolicies>,
}

/// Everything that changed after a generation; versions in between are collapsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The generation that it starts from.
    pub from: u64,
    /// The generation that it leads to.
    pub to: u64,
    /// The root at `to`.
    pub root: Root,
    /// The changed units, by key; empty when `from` is `to`.
    pub changes: Vec<UnitVersion>,
}

/// Every unit at a generation, tombstones too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The generation.
    pub generation: u64,
    /// The root at that generation; counts live units only.
    pub root: Root,
    /// The units, by key.
    pub units: Vec<UnitVersion>,
}

/// What a cluster shall hold, in two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The generation.
    pub generation: u64,
    /// The root at that generation.
    pub root: Root,
}

/// Tells whether taking `count` of `total` units away needs an allowance.
#[must_use]
pub const fn needs_allowance(count: u64, total: u64) -> bool {
    count > FREE_DELETIONS && count.saturating_mul(5) > total
}

/// The policy as its column has it.
const fn word(policy: DeletionPolicy) -> &'static str {
    match policy {
        DeletionPolicy::Delete => "Delete",
        DeletionPolicy::Orphan => "Orphan",
        DeletionPolicy::SelectivelyOrphan => "SelectivelyOrphan",
    }
}

fn target(
    generation: Result<i64, sqlx::Error>,
    root: Result<Vec<u8>, sqlx::Error>,
) -> Result<Target, StoreError> {
    let generation = generation.doing("read a target generation")?;
    let root = root.doing("read a target root")?;
    Ok(Target {
        generation: unsigned("cluster_sync.target_gen", generation)?,
        root: Root::from_bytes(bytes32("cluster_sync.target_root", &root)?),
    })
}

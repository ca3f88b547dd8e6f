//! Registered member clusters.

mod clones;
mod compliance;
mod properties;
mod read;
mod write;

use std::collections::BTreeMap;

use bellwether_api::{
    call::Condition,
    cluster::{Cordon, NodeProperties},
};
use bellwether_hub_core::clones::Presence;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::StoreError;

pub use clones::{quarantine, record_presence};
pub use compliance::{compliance, record_compliance};
pub use properties::{ReportedProperties, record_properties, set_cordon};
pub use read::{by_id, get, get_in, list, list_in, named, named_in, refused_among};
pub use write::{
    activate, create, delete, note_revocation, record_clock, record_drift, record_metrics, revoke,
    update,
};

/// Whether a cluster may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterState {
    /// Announced; it has no certificate yet.
    Pending,
    /// Enrolled.
    Active,
    /// Its identity was taken away.
    Revoked,
}

/// A registered cluster with what is known of its connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The identity in its certificate.
    pub id: Uuid,
    /// Unique.
    pub name: String,
    /// For selection.
    pub labels: BTreeMap<String, String>,
    /// For whatever its user likes.
    pub annotations: BTreeMap<String, String>,
    /// `bellwether_api::cluster::ClusterSpec` as JSON.
    pub spec: Value,
    /// Rises with every change of the spec, from 1.
    pub generation: u64,
    /// Changes with every write by a user.
    pub resource_version: u64,
    /// Whether it may speak.
    pub state: ClusterState,
    /// UID of its kube-system namespace; absent = never enrolled.
    pub kube_uid: Option<String>,
    /// The agent's version; absent = never connected.
    pub agent_version: Option<String>,
    /// The cluster's Kubernetes version; absent = never connected.
    pub kubernetes_version: Option<String>,
    /// API groups with versions that capabilities depend on; empty = never connected, or none.
    pub capabilities: Vec<String>,
    /// When its certificate ends; absent = it has none.
    pub certificate_not_after: Option<Timestamp>,
    /// Who took its identity away; absent = nobody did.
    pub revoked_by: Option<String>,
    /// Why that was done; empty when nothing was said.
    pub revocation_reason: String,
    /// Milliseconds that its agent's clock is ahead of the hub's, negative = behind; absent =
    /// never far enough to be recorded.
    pub clock_ahead_ms: Option<i64>,
    /// Since when its agent has not looked at everything that it holds; absent = not for longer than it may, or it
    /// does not say.
    pub drift_unseen_since: Option<Timestamp>,
    /// Whether its metrics answered its agent when it last asked; absent = there is nothing to ask,
    /// or it never did.
    pub metrics: Option<Condition>,
    /// What its agent counted of its nodes; absent = it never did, or may not.
    pub nodes: Option<NodeProperties>,
    /// What registering it today would let its agent do and it may not, one sentence each; empty =
    /// nothing, or it does not say.
    pub missing_rights: Vec<String>,
    /// That no application is placed there anew; absent = it takes them.
    pub cordon: Option<Cordon>,
    /// Who showed its identity last; absent = nobody since it enrolled, or an agent that does not tell
    /// itself from others.
    pub presence: Option<Presence>,
    /// That two agents show its identity, so that none has a stream; absent = none is known.
    pub cloned: Option<Condition>,
    /// When it was announced.
    pub created_at: Timestamp,
    /// When it first enrolled; absent = never.
    pub registered_at: Option<Timestamp>,
    /// Who announced it.
    pub created_by: String,
    /// Its stream, as it was last written.
    pub connection: Connection,
}

/// A cluster's stream as the database knows it. Beats are not written: while the stream is open,
/// `last_seen` is at least as new as the replica's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The hub that holds the stream; absent = none.
    pub replica: Option<Uuid>,
    /// When that hub's lease ends; absent = there is no stream, or that hub has no lease.
    pub lease_expires_at: Option<Timestamp>,
    /// Rises with every stream; 0 = never connected.
    pub epoch: u64,
    /// When the cluster was last known to be there; absent = never.
    pub last_seen: Option<Timestamp>,
    /// The generation that it shall hold.
    pub target_generation: u64,
    /// The generation that it holds.
    pub acked_generation: u64,
    /// The generation up to which everything is finished or failed.
    pub applied_generation: u64,
}

impl Connection {
    /// Tells whether a live hub holds the cluster's stream.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.lease_expires_at
            .is_some_and(|expires_at| expires_at > now)
    }
}

/// A cluster to announce.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCluster {
    /// Its identity from now on.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// For selection.
    pub labels: BTreeMap<String, String>,
    /// For whatever its user likes.
    pub annotations: BTreeMap<String, String>,
    /// `bellwether_api::cluster::ClusterSpec` as JSON.
    pub spec: Value,
    /// Who announces it.
    pub by: String,
}

/// What a user may change of a cluster; absent = stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterPatch {
    /// For selection.
    pub labels: Option<BTreeMap<String, String>>,
    /// For whatever its user likes.
    pub annotations: Option<BTreeMap<String, String>>,
    /// `bellwether_api::cluster::ClusterSpec` as JSON.
    pub spec: Option<Value>,
}

/// Why a cluster was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A cluster has that name.
    #[error("failed to register the cluster: one named {name:?} exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

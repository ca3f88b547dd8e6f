//! Cluster: a registered member cluster.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{call::Condition, fleet::MetricsDefaults, placement::Taint, traffic::Traffic};

/// A registered member cluster. Labels are in its metadata.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "Cluster",
    plural = "clusters",
    shortname = "bwcl",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// Where this cluster's metrics are read; wins over the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsDefaults>,
    /// Traffic provider of rollouts that name none; wins over the fleet's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// Marks that keep applications away which do not tolerate them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
}

/// What the hub knows of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The identity in its certificate.
    pub id: uuid::Uuid,
    /// How it is now; never an old answer.
    pub condition: ClusterCondition,
    /// Why, in one sentence; empty when Ready.
    pub message: String,
    /// The last time the hub heard from the agent (RFC 3339); absent = never.
    pub last_seen: Option<String>,
    /// The agent's version; absent = never connected.
    pub agent_version: Option<String>,
    /// The cluster's Kubernetes version; absent = never connected.
    pub kubernetes_version: Option<String>,
    /// When the certificate ends (RFC 3339).
    pub certificate_expires: Option<String>,
    /// Seconds that its clock is ahead of the hub's, negative = behind; absent = it is right, or
    /// nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_seconds: Option<i64>,
    /// What else a human should know: `MetricsReachable`, `DriftSeen`, `RightsComplete`,
    /// `HooksDelivered`, `Cloned`; empty = nothing, or
    /// nothing was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What its agent counted of its nodes; absent = it never did, or may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeProperties>,
    /// That no application is placed there anew; absent = it takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
}

/// What the ready nodes of a cluster are, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeProperties {
    /// How many there are.
    pub ready: u32,
    /// CPU that pods can get, in thousandths of a core.
    pub allocatable_cpu_milli: u64,
    /// Memory that pods can get, in bytes.
    pub allocatable_memory_bytes: u64,
    /// Their regions, sorted; empty = they name none.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Their zones, sorted; empty = they name none.
    #[serde(default)]
    pub zones: Vec<String>,
    /// What pods have asked for; absent = the agent may not list them, or does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<PodRequests>,
}

/// What the pods of a cluster that have not ended have asked for, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodRequests {
    /// CPU, in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

/// What a cluster can give to further pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreeCapacity {
    /// CPU, in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

impl NodeProperties {
    /// Returns what the ready nodes can give to further pods; absent = what pods asked for is not known.
    #[must_use]
    pub fn free(&self) -> Option<FreeCapacity> {
        let requested = self.requested?;
        Some(FreeCapacity {
            cpu_milli: self
                .allocatable_cpu_milli
                .saturating_sub(requested.cpu_milli),
            memory_bytes: self
                .allocatable_memory_bytes
                .saturating_sub(requested.memory_bytes),
        })
    }
}

/// That no application is placed in a cluster anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cordon {
    /// Whether what is there moves away where placement has another cluster for it.
    #[serde(default)]
    pub drain: bool,
    /// Who said so.
    pub by: String,
    /// Why; empty = nothing was said.
    #[serde(default)]
    pub reason: String,
    /// Since when (RFC 3339).
    pub since: String,
}

/// Type of the [`Condition`] that says whether the cluster's metrics answer.
pub const METRICS_REACHABLE: &str = "MetricsReachable";

/// Type of the [`Condition`] that says that the agent has not looked at what it holds for too long, and since when.
pub const DRIFT_SEEN: &str = "DriftSeen";

/// Type of the [`Condition`] that says that the agent lacks rights that registering the cluster today would
/// give it.
pub const RIGHTS_COMPLETE: &str = "RightsComplete";

/// Type of the [`Condition`] that says that two agents show the cluster's identity, and who they are.
pub const CLONED: &str = "Cloned";

/// How a cluster is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterCondition {
    /// Registered, never connected.
    Pending,
    /// Connected and fresh.
    Ready,
    /// Connected, and the agent reports a fault.
    Degraded,
    /// Connected and working, but its clock and the hub's differ by more than five minutes.
    ClockSkew,
    /// Silent for longer than a beat may take: nothing is known about it now.
    Unknown,
    /// Two agents show its identity: neither is heard until the cluster is registered again.
    Cloned,
    /// Its identity was taken away.
    Revoked,
}

//! Cluster: a registered member cluster.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{call::Condition, fleet::MetricsDefaults};

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
    /// What else a human should know: `MetricsReachable`; empty = nothing, or nothing was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Type of the [`Condition`] that says whether the cluster's metrics answer.
pub const METRICS_REACHABLE: &str = "MetricsReachable";

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
    /// Its identity was taken away.
    Revoked,
}

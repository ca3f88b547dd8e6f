//! What the hub knows of fleets and applications.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the hub knows of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetStatus {
    /// How many members there are.
    pub clusters: u32,
    /// Members that are connected and well.
    pub ready: u32,
    /// Members that report a fault, or whose identity was taken away.
    pub degraded: u32,
    /// Silent members and members that never connected.
    pub unknown: u32,
    /// The members by name.
    #[serde(default)]
    pub members: Vec<FleetMember>,
    /// Its add-ons, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<FleetAddon>,
    /// What a human should know: `AddonsHealthy`, `HooksDelivered`; empty = nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Type of the [`Condition`] that says whether a fleet's add-ons are healthy on all of its members.
pub const ADDONS_HEALTHY: &str = "AddonsHealthy";

/// Type of the [`Condition`] that says whether hooks of fleets were told what happened to clusters.
pub const HOOKS_DELIVERED: &str = "HooksDelivered";

/// One add-on of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetAddon {
    /// The application.
    pub application: crate::reference::NamespacedName,
    /// Members of the fleet.
    pub clusters: u32,
    /// Members on which it is known to be healthy.
    pub healthy: u32,
}

/// How a Git repository of records stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// What the records are in step with; absent = nothing was applied yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Since when (RFC 3339); absent = nothing was applied yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_at: Option<String>,
    /// When the hub looked last (RFC 3339); absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<String>,
    /// Records that came from here and are gone here, as `Kind/namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<String>,
    /// `Synced`, with the reason where it is not.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// One member of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetMember {
    /// The cluster.
    pub name: String,
    /// How it is now.
    pub condition: crate::cluster::ClusterCondition,
    /// When it was last heard from (RFC 3339); absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
}

/// What the hub knows of an application, or of the application of a Rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// Where its newest run stands; absent = it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<crate::view::RunPhase>,
    /// Health over its clusters; the worst decides, a silent cluster is Unknown.
    pub health: crate::status::Health,
    /// The newest release's revision; 0 = none.
    #[serde(default)]
    pub revision: u64,
    /// What people call that release; may be empty.
    #[serde(default)]
    pub version: String,
    /// Clusters that run it as a whole.
    pub done: u32,
    /// Clusters that it goes to.
    pub total: u32,
    /// Clusters that hold it now, and would lose it were it deleted.
    #[serde(default)]
    pub clusters: u32,
    /// What a human should know, such as NoClusters.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// A condition with the meaning of Kubernetes'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it says.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A CamelCase word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

//! The compliance of clusters, as the API shows it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cluster::ClusterCondition,
    compliance::{PolicyCounts, ResultCounts},
};

/// What policy engines found in clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComplianceList {
    /// The clusters, by name, also those that say nothing.
    pub items: Vec<ClusterCompliance>,
    /// All of them together, by policy.
    pub policies: Vec<PolicyCounts>,
}

/// What policy engines found in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCompliance {
    /// The cluster.
    pub cluster: String,
    /// How the cluster is now: of one that is not heard this is what was true when it was.
    pub condition: ClusterCondition,
    /// Since when this is so (RFC 3339); absent = the cluster has no policy engine that is known, or its
    /// agent does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// All of its policies together.
    pub total: ResultCounts,
    /// The policies, by name.
    pub policies: Vec<PolicyCounts>,
    /// Policies that are left out; they are in no total.
    #[serde(default)]
    pub more: u32,
    /// Why not everything could be counted; empty = it was.
    #[serde(default)]
    pub problem: String,
}

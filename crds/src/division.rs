//! How the replicas of an application's workloads are divided over its clusters.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::selector::Selector;

/// How the replicas of an application's workloads are divided over its clusters. Without it every
/// cluster gets as many as are written. A cluster may get none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Division {
    /// By what they are divided.
    pub mode: DivisionMode,
    /// Weights of clusters, for Static; a later entry wins, and a cluster that none names has the
    /// weight 1. Empty = all clusters get the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<DivisionWeight>,
}

/// By what replicas are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DivisionMode {
    /// By weights.
    Static,
    /// By how many of the pods fit into what a cluster has free when it comes in.
    Dynamic,
    /// To as few clusters as hold them, by what these have free when they come in.
    Aggregated,
}

/// The weight of some clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DivisionWeight {
    /// The clusters by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// The clusters by name; with `selector` those that are both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// Their weight; 0 = they get none.
    #[schemars(range(max = 1_000_000))]
    pub weight: u32,
}

/// The weight of a cluster that no entry names.
const UNNAMED: u32 = 1;

impl Division {
    /// Returns the weight of the cluster with this name and these labels.
    #[must_use]
    pub fn weight(&self, name: &str, labels: &BTreeMap<String, String>) -> u32 {
        let mut weights = self.weights.iter().rev();
        let found = weights.find(|one| one.holds_in(name, labels));
        found.map_or(UNNAMED, |one| one.weight)
    }
}

impl DivisionWeight {
    fn holds_in(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let named = self.clusters.is_empty() || self.clusters.iter().any(|one| one == name);
        let selector = self.selector.as_ref();
        named && selector.is_none_or(|selector| selector.matches(labels))
    }
}

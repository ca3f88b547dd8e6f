//! How an application chooses among the clusters of its destination.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{division::Division, duration::Dur};

/// How an application chooses among the clusters of its destination. A cluster that has it stays
/// chosen for as long as it fits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlacementPolicy {
    /// How many clusters are chosen: All that fit, or as many as `count` says.
    #[serde(default)]
    pub pick: Pick,
    /// How many clusters `pick: N` chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<u32>,
    /// What a cluster must be like; all of it holds at once. What is not known of a cluster keeps it
    /// from being chosen anew, and takes nothing away from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affinity: Vec<Affinity>,
    /// Taints of clusters that do not matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Which clusters `pick: N` prefers; an earlier one goes before a later one, and names decide
    /// between equals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<Score>,
    /// How clusters are spread over groups; goes before `scores`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
    /// Chooses another cluster for one that is silent; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// Divides the replicas of the workloads over the chosen clusters; absent = each of them gets as
    /// many as are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<Division>,
}

/// How many clusters are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Pick {
    /// Every cluster that fits.
    #[default]
    All,
    /// As many as `count` says.
    N,
}

/// One requirement on a cluster: on a label, or on a property that its agent reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Affinity {
    /// The label's key; excludes `property`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The property; excludes `label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<Property>,
    /// How it is compared. AtLeast and AtMost are for properties that are numbers or versions.
    pub operator: AffinityOperator,
    /// What it is compared with; empty for Exists and DoesNotExist, one value for AtLeast and AtMost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What agents report of their clusters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Property {
    /// The version of Kubernetes, such as `1.31` or `1.31.4`; of a shorter one only what it says is
    /// compared.
    KubernetesVersion,
    /// Nodes that are ready.
    ReadyNodes,
    /// CPU that ready nodes can give to pods, such as `16` or `500m`.
    AllocatableCpu,
    /// Memory that ready nodes can give to pods, such as `64Gi`.
    AllocatableMemory,
    /// CPU that pods that have not ended have asked for.
    RequestedCpu,
    /// Memory that pods that have not ended have asked for.
    RequestedMemory,
    /// What is left of `AllocatableCpu` beside `RequestedCpu`.
    FreeCpu,
    /// What is left of `AllocatableMemory` beside `RequestedMemory`.
    FreeMemory,
    /// Regions of the nodes, by their label `topology.kubernetes.io/region`.
    Region,
    /// Zones of the nodes, by their label `topology.kubernetes.io/zone`.
    Zone,
    /// Kinds that the cluster serves, as `apps/v1/Deployment`, and group versions, as `apps/v1`.
    ApiKinds,
}

/// What a property is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyForm {
    /// `1.31` or `v1.31.4`.
    Version,
    /// A whole number.
    Count,
    /// An amount as Kubernetes writes it.
    Quantity,
    /// Any number of words.
    Words,
}

impl Property {
    /// Returns what it is compared as.
    #[must_use]
    pub const fn form(self) -> PropertyForm {
        match self {
            Self::KubernetesVersion => PropertyForm::Version,
            Self::ReadyNodes => PropertyForm::Count,
            Self::AllocatableCpu
            | Self::AllocatableMemory
            | Self::RequestedCpu
            | Self::RequestedMemory
            | Self::FreeCpu
            | Self::FreeMemory => PropertyForm::Quantity,
            Self::Region | Self::Zone | Self::ApiKinds => PropertyForm::Words,
        }
    }

    /// Tells whether pods that come and go change it, those of the application itself among them. What
    /// is asked of it holds where a cluster is chosen anew, and takes nothing away.
    #[must_use]
    pub const fn is_load(self) -> bool {
        matches!(
            self,
            Self::RequestedCpu | Self::RequestedMemory | Self::FreeCpu | Self::FreeMemory
        )
    }
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AffinityOperator {
    /// It is one of the values; of a property with several words, one of them is.
    In,
    /// It is none of the values, or there is none.
    NotIn,
    /// There is one.
    Exists,
    /// There is none.
    DoesNotExist,
    /// It is the value or more.
    AtLeast,
    /// It is the value or less.
    AtMost,
}

/// A mark of a cluster that keeps applications away which do not tolerate it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    /// Its key, of the form of a label's.
    pub key: String,
    /// Its value; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What it does to applications that do not tolerate it.
    pub effect: TaintEffect,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// The cluster is not chosen anew.
    NoSchedule,
    /// Nor does it keep what it has.
    NoExecute,
}

/// Taints that do not matter to an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key; absent = every key, with Exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Equal compares the value too, Exists does not.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The taint's value, for Equal; absent = a taint without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The taint's effect; absent = both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// How a toleration compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Key and value are equal.
    #[default]
    Equal,
    /// The key is equal.
    Exists,
}

impl Toleration {
    /// Tells whether the taint does not matter.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let of_key = self.key.as_ref().is_none_or(|key| *key == taint.key);
        let of_value = match self.operator {
            TolerationOperator::Exists => true,
            TolerationOperator::Equal => self.value == taint.value,
        };
        of_key && of_value && self.effect.is_none_or(|effect| effect == taint.effect)
    }
}

/// A property by which clusters are preferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Score {
    /// The property: a number or a version. Clusters of which it is not known come last.
    pub property: Property,
    /// Which end comes first.
    #[serde(default)]
    pub order: ScoreOrder,
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScoreOrder {
    /// The most.
    #[default]
    Descending,
    /// The least.
    Ascending,
}

/// How clusters are spread over the groups that a label makes. New choices go to the group with the
/// fewest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spread {
    /// The label whose value is the group. A cluster without the label `region` or `zone` is in that
    /// of its nodes; any other without the label is in no group, and not chosen anew.
    pub by: String,
    /// Clusters of one group at most; absent = any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max: Option<u32>,
    /// Clusters of every group before any group gets more; a chosen cluster does not move for it.
    /// Absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min: Option<u32>,
}

/// Choosing another cluster for one that is silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failover {
    /// How long the hub must not have heard of a cluster; at least 1m.
    pub after: Dur,
}

/// Reads a version of Kubernetes: one to three numbers, most significant first. What follows them,
/// such as `-gke.100` or `+k3s1`, says nothing of the version. Absent = it is none.
#[must_use]
pub fn version_numbers(text: &str) -> Option<Vec<u64>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Option<Vec<u64>> = numbers.split('.').map(|one| one.parse().ok()).collect();
    numbers.filter(|numbers| numbers.len() <= 3)
}

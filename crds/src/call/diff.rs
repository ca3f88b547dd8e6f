//! How two sides of an application differ, and which override set what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::NamespacedName;

/// How what clusters have on one side differs from what they have on the other, overrides applied.
/// Contents of Secrets are digests that tell two values of one answer apart and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseDiff {
    /// The application.
    pub application: NamespacedName,
    /// What the left side is, such as `revision 3`.
    pub from: String,
    /// What the right side is.
    pub to: String,
    /// The differences, those of most clusters first; empty = no cluster has any.
    pub groups: Vec<DiffGroup>,
    /// Clusters in which both sides are the same, by name.
    pub same: Vec<String>,
    /// Clusters that could not be compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<NotCompared>,
}

impl ReleaseDiff {
    /// Tells whether every cluster was compared and none has a difference.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.unknown.is_empty()
    }
}

/// Clusters with the same difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiffGroup {
    /// Their names, sorted.
    pub clusters: Vec<String>,
    /// What differs, by object; never empty.
    pub objects: Vec<ObjectDiff>,
}

/// One object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDiff {
    /// The object, such as `Deployment/shop/web`; the hub's own `Rollout/NAME` is how a workload
    /// changes, `Release` how the release as a whole is kept.
    pub object: String,
    /// How it differs.
    pub change: DiffChange,
    /// Both sides as YAML in the unified format; empty = there is more of it than is shown.
    pub text: String,
}

/// How an object differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DiffChange {
    /// The left side lacks it.
    Added,
    /// The right side lacks it.
    Removed,
    /// Both have it.
    Changed,
}

/// A cluster that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotCompared {
    /// The cluster.
    pub cluster: String,
    /// Why.
    pub why: String,
}

/// What the overrides of an application set in one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverridesExplained {
    /// The application.
    pub application: NamespacedName,
    /// The cluster.
    pub cluster: String,
    /// What is explained, such as `revision 3`.
    pub of: String,
    /// Every override in the order in which they are applied: later wins.
    pub overrides: Vec<OverrideExplained>,
    /// Every field that one of them set, by object and field.
    pub fields: Vec<FieldExplained>,
    /// Where the values come from that its charts and plugins are rendered with, by component; empty = it
    /// has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValuesExplained>,
    /// What its rollouts leave to the fleet of its destination; empty = nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defaults: Vec<DefaultExplained>,
}

/// What a Rollout leaves to its fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DefaultExplained {
    /// The Rollout.
    pub rollout: String,
    /// Its field, such as `alerts` or `hooks[0].load`; `metrics` = where its checks read.
    pub field: String,
    /// What stands there, as JSON.
    pub value: String,
    /// Whose default it is, such as `fleet prod`.
    pub from: String,
}

/// Where the values of one component come from in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValuesExplained {
    /// The component.
    pub component: String,
    /// Every source, in the order in which they are laid over one another: later wins.
    pub sources: Vec<ValuesSource>,
    /// Every value that one of them writes, by path. What secrets hold is not among them.
    pub values: Vec<ValueExplained>,
}

/// One source of a component's values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValuesSource {
    /// The component's own field, such as `helm.values`, or the name of an override.
    pub name: String,
    /// Whether it means this cluster.
    pub holds: bool,
    /// How many values it sets or takes away; absent = a secret holds them, which is not opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<u32>,
}

/// One value of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueExplained {
    /// The value as a JSON pointer.
    pub path: String,
    /// Who set it, in the order in which they did; the last one wins. `null` takes the chart's own
    /// value away.
    pub set: Vec<FieldSet>,
}

/// What became of one override in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverrideExplained {
    /// Its name.
    pub name: String,
    /// Whether its clusters and labels mean this cluster.
    pub holds: bool,
    /// How many fields it changed and values it set; 0 = none, or what it sets stood there already.
    pub changed: u32,
}

/// One field that overrides set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldExplained {
    /// The object, such as `Deployment/shop/web`.
    pub object: String,
    /// The field as a JSON pointer; empty = the whole object.
    pub path: String,
    /// What was written, as JSON; absent = nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
    /// Who set it, in the order in which they did; the last one wins.
    pub set: Vec<FieldSet>,
}

/// That an override set a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldSet {
    /// The override's name; of values also the component's own field.
    pub by: String,
    /// To what, as JSON; absent = it took the field away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

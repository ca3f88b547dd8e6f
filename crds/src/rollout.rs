//! Rollout: how one workload changes inside a cluster.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::{
    analysis::{Aggregation, Analysis, Metric, MetricSource, OnNoData, Range},
    metric_template::MetricSourceKind,
};
use crate::{
    duration::Dur,
    hooks::Hook,
    number::{IntOrPercent, Weight},
};

/// The plan of how a new release of one workload replaces the old one inside a cluster.
///
/// The same fields stand inline under `components[].rollout` of an Application, without
/// `application` and `component`.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bellwether.dev",
    version = "v1alpha1",
    kind = "Rollout",
    plural = "rollouts",
    shortname = "bwro",
    namespaced,
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutSpec {
    /// The application whose component renders the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The component that renders the workload; absent = the one that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The workload that changes.
    pub workload: WorkloadRef,
    /// The Service that clients use; absent = no traffic is split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
    /// Stops the run where it is: weights stay, timers are ignored.
    #[serde(default)]
    pub suspend: bool,
    /// How long a run may go without progress before `analysis.onFailure` acts; 600s unless set.
    /// Stands still while a human is awaited or the run is suspended.
    #[serde(default = "default_progress_deadline")]
    pub progress_deadline: Dur,
    /// How the new version is brought in.
    pub strategy: Strategy,
    /// How many pods each version gets.
    #[serde(default)]
    pub instances: Instances,
    /// The routes that split traffic, applied all or nothing; empty = the fleet's default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// How long pods are kept after the route no longer uses them; 5s unless set.
    #[serde(default = "default_drain")]
    pub drain: Dur,
    /// How the new version is judged.
    #[serde(default)]
    pub analysis: Analysis,
    /// What is asked of, or told to, others in the course of a run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// What happens to a running run when the Rollout is deleted.
    #[serde(default)]
    pub on_deletion: OnDeletion,
    /// How many finished runs are kept for `rollout history`; 10 unless set.
    #[serde(default = "default_history_limit")]
    pub history_limit: u32,
}

fn default_progress_deadline() -> Dur {
    Dur::from_secs(600)
}

fn default_drain() -> Dur {
    Dur::from_secs(5)
}

fn default_history_limit() -> u32 {
    10
}

/// Names the governed workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadRef {
    /// Group and version; `apps/v1`.
    pub api_version: String,
    /// The kind; `Deployment`.
    pub kind: String,
    /// The namespace in the member cluster; absent = the application's target namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// Names the apex Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRef {
    /// The name.
    pub name: String,
    /// The Service's port, by number or name.
    pub port: PortRef,
}

/// A port by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortRef {
    /// The port's number.
    Number(u16),
    /// The port's name.
    Name(String),
}

impl JsonSchema for PortRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortRef".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"x-kubernetes-int-or-string": true})
    }
}

/// Exactly one strategy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Strategy {
    /// A growing share of traffic moves to a copy that runs the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// The weights of a canary: exactly one of `stepWeight`, `weights`, `steps`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// The increment of the linear form, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_weight: Option<Weight>,
    /// Where the linear form ends, the last step clamped to it; 100 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_weight: Option<Weight>,
    /// The weights one by one, strictly rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Weight>,
    /// Explicit steps; they wait for a human unless `advance` says otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Increment by which traffic returns to the promoted workload; absent = in one go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_weight_promotion: Option<Weight>,
    /// Overrides how steps advance: explicit steps are Manual, the linear forms Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Advance>,
}

/// One explicit step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// A name for people; absent = its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The share of traffic.
    pub weight: Weight,
    /// The canary's pods; absent = the share of traffic, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<IntOrPercent>,
    /// How the step is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<Advance>,
    /// How long `advance: After` stays on the step after its checks pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Dur>,
}

/// How a step is left once its checks pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Advance {
    /// At once.
    Auto,
    /// When a human approves.
    Manual,
    /// After a set time.
    After,
}

/// How many pods each version gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instances {
    /// Where the canary's pods come from.
    #[serde(default)]
    pub mode: InstancesMode,
    /// Canary pods while the weight is above 0; 1 unless set.
    #[serde(default = "default_min_replicas")]
    pub min_replicas: u32,
}

fn default_min_replicas() -> u32 {
    1
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            mode: InstancesMode::default(),
            min_replicas: default_min_replicas(),
        }
    }
}

/// Where the canary's pods come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InstancesMode {
    /// Beside the user's workload, which stays whole.
    #[default]
    Surge,
}

/// One traffic provider: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// Routes of the Kubernetes Gateway API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_api: Option<GatewayApiTraffic>,
}

/// Routes of the Kubernetes Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayApiTraffic {
    /// Names of HTTPRoutes in the workload's namespace. Every rule whose backend is the apex
    /// Service is split.
    pub http_routes: Vec<String>,
}

/// What happens to a running run when its Rollout is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDeletion {
    /// Traffic and pods go back to the old version first.
    #[default]
    Rollback,
    /// The run finishes first.
    Complete,
}

//! Rollout: how one workload changes inside a cluster.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::{
    alert_provider::Alert,
    analysis::{Aggregation, Analysis, AnalysisFailure, Metric, MetricSource, OnNoData, Range},
    apex_service::ServiceMetadata,
    metric_template::MetricSourceKind,
    strategy::{
        AbTest, Advance, AnalysisTraffic, Autoscaler, AutoscalerKind, Batch, BatchStep, BlueGreen,
        Canary, Instances, InstancesMode, Manual, SessionAffinity, Step, Strategy, StrategyKind,
    },
};
use crate::{
    application::Destination,
    duration::Dur,
    hooks::Hook,
    traffic::Traffic,
    workload_adapter::{self, WorkloadAdapter},
};

/// The plan of how a new release of one workload replaces the old one inside a cluster.
///
/// The same fields stand inline under `components[].rollout` of an Application, without
/// `application`, `component` and `destination`.
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
    /// The clusters whose workload it governs, where the hub does not deliver that; only without
    /// `application`. Whoever changes the workload's pod template there starts a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// The workload that changes.
    pub workload: WorkloadRef,
    /// The Service that clients use; absent = no traffic is split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
    /// Stops the run where it is: weights stay, timers and hooks are ignored.
    #[serde(default)]
    pub suspend: bool,
    /// How long a run may go without progress before `analysis.onFailure` acts; 600s unless set.
    /// Stands still while a human is awaited or the run is suspended.
    #[serde(default = "default_progress_deadline")]
    pub progress_deadline: Dur,
    /// What starts a run, beside a change of the workload's pod template.
    #[serde(default)]
    pub trigger: Trigger,
    /// How the new version is brought in.
    pub strategy: Strategy,
    /// How many pods each version gets.
    #[serde(default)]
    pub instances: Instances,
    /// The routes that split traffic, applied all or nothing; empty = the fleet's default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// Keeps users on the version that answered them first; absent = every request is drawn anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// How long pods are kept after the route no longer uses them; 5s unless set.
    #[serde(default = "default_drain")]
    pub drain: Dur,
    /// How the new version is judged.
    #[serde(default)]
    pub analysis: Analysis,
    /// What is asked of, or told to, others in the course of a run; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Who is told of the events of its runs; empty = nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// What happens to a running run when the Rollout is deleted: everything goes back, or the run
    /// goes on to its end without waiting for humans.
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

/// Annotation on a ConfigMap or Secret that takes it out of what starts a run; its only value is
/// [`TRACK_CONFIG_DISABLED`].
pub const TRACK_CONFIG_ANNOTATION: &str = "bellwether.dev/track-config";
/// The value of [`TRACK_CONFIG_ANNOTATION`].
pub const TRACK_CONFIG_DISABLED: &str = "disabled";

/// What starts a run, beside a change of the workload's pod template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trigger {
    /// A change of a ConfigMap or Secret that the pod template uses and the application delivers; true
    /// unless set. One that carries the annotation `bellwether.dev/track-config: disabled` never does.
    #[serde(default = "default_track_config")]
    pub track_config: bool,
}

impl Default for Trigger {
    fn default() -> Self {
        Self {
            track_config: default_track_config(),
        }
    }
}

fn default_track_config() -> bool {
    true
}

/// Names the governed workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadRef {
    /// Group and version, such as `apps/v1`.
    pub api_version: String,
    /// The kind: `Deployment` or `DaemonSet`; with `strategy.batch` `StatefulSet`, `DaemonSet`, `CloneSet`;
    /// with `traffic[].knative` the `Service` of Knative; any kind that has an `adapter`, with
    /// `strategy.batch` if that names a partition, and with any other strategy if not.
    pub kind: String,
    /// The namespace in the member cluster; absent = the application's target namespace. Required
    /// where there is no application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// Where the kind keeps what an update needs; absent = known for the kind.
    #[serde(
        default,
        deserialize_with = "workload_adapter::with_label",
        skip_serializing_if = "Option::is_none"
    )]
    pub adapter: Option<WorkloadAdapter>,
}

impl WorkloadRef {
    /// Tells whether the workload keeps a revision of each of its templates and shares requests between
    /// them, as a Service of Knative does.
    #[must_use]
    pub fn keeps_revisions(&self) -> bool {
        let known = WorkloadAdapter::known(&self.api_version, &self.kind);
        known.is_some_and(|known| known.by_revision)
    }
}

/// Names the apex Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRef {
    /// The name.
    pub name: String,
    /// The Service's port, by number or name.
    pub port: PortRef,
    /// The containers' port that it leads to, by number or name; absent = wherever the Service says. A
    /// Service that leads elsewhere is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<PortRef>,
    /// What the port's `appProtocol` says, such as `kubernetes.io/h2c`; absent = whatever it says. A
    /// Service that says something else is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
    /// What the run's own Service, which leads to the new version, carries beside Bellwether's own labels
    /// and annotations; absent = nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<ServiceMetadata>,
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

impl std::fmt::Display for PortRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
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

/// What happens to a running run when its Rollout is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDeletion {
    /// Traffic and pods go back to the old version first.
    #[default]
    Rollback,
    /// The run finishes first, in every wave, without waiting for humans; its checks still decide.
    Complete,
}

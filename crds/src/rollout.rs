//! Rollout: how one workload changes inside a cluster.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::strategy::{
    AbTest, Advance, AnalysisTraffic, Batch, BatchStep, BlueGreen, Canary, Instances,
    InstancesMode, Manual, SessionAffinity, Step, Strategy, StrategyKind,
};
use crate::{duration::Dur, number::Num, traffic::Traffic};

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
    /// Keeps users on the version that answered them first; absent = every request is drawn anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// How long pods are kept after the route no longer uses them; 5s unless set.
    #[serde(default = "default_drain")]
    pub drain: Dur,
    /// How the new version is judged.
    #[serde(default)]
    pub analysis: Analysis,
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

/// How the new version is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Analysis {
    /// Takes the new version without any test: no canary, no checks, the workload's own rolling
    /// update.
    #[serde(default)]
    pub skip: bool,
    /// Time between checks; 60s unless set, at least 1s.
    #[serde(default = "default_interval")]
    pub interval: Dur,
    /// Acts when failed checks reach it; cumulative over the run; 1 unless set, 0 means 1.
    #[serde(default = "default_failure_threshold")]
    pub failure_threshold: u32,
    /// What happens when failed checks reach the threshold, or when a step makes no progress.
    #[serde(default)]
    pub on_failure: AnalysisFailure,
    /// What a metric without data means; Hold unless set.
    #[serde(default)]
    pub on_no_data: OnNoData,
    /// Requests that a window needs before it counts; 0 unless set.
    #[serde(default)]
    pub min_requests: u32,
    /// The metrics, all of which must pass; empty = readiness alone decides, with a warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
}

fn default_interval() -> Dur {
    Dur::from_secs(60)
}

fn default_failure_threshold() -> u32 {
    1
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            skip: false,
            interval: default_interval(),
            failure_threshold: default_failure_threshold(),
            on_failure: AnalysisFailure::default(),
            on_no_data: OnNoData::default(),
            min_requests: 0,
            metrics: Vec::new(),
        }
    }
}

/// What happens when a run's checks fail once too often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AnalysisFailure {
    /// The run goes back.
    #[default]
    Rollback,
    /// The run stays where it is until a human decides.
    Pause,
}

/// What a metric without data means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    /// The weight stays until data comes or `progressDeadline` ends the run.
    #[default]
    Hold,
    /// The check fails.
    Fail,
    /// The metric is left out of that check; if nothing is left, the check is Unknown.
    Ignore,
}

/// One metric with its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    /// `request-success-rate` (percent) or `request-duration` (milliseconds).
    pub name: String,
    /// The limits, inclusive.
    pub range: Range,
    /// How far back the metric looks; 60s unless set. Cut where the weight last changed.
    #[serde(default = "default_window")]
    pub window: Dur,
    /// Requests that a window needs; absent = the analysis' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u32>,
    /// What no data means; absent = the analysis' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_no_data: Option<OnNoData>,
    /// Which statistic `request-duration` takes; P99 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// Where the metric is read; absent = the cluster's, then the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<MetricSource>,
}

fn default_window() -> Dur {
    Dur::from_secs(60)
}

/// Limits that a value must lie in, both ends included; at least one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// The smallest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Num>,
    /// The largest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Num>,
}

/// A statistic over durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Aggregation {
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// Mean.
    Avg,
}

/// Where a metric is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSource {
    /// What answers.
    #[serde(rename = "type")]
    pub kind: MetricSourceKind,
    /// Base URL of a Prometheus; absent for Probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// What answers a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricSourceKind {
    /// A Prometheus that scrapes the gateway.
    Prometheus,
    /// The agent itself: at most 10 bounded requests a second to ready canary pods.
    Probe,
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

//! Waves, and the gates before and after them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    analysis::{Range, TemplateRef},
    duration::Dur,
    number::{IntOrPercent, Weight},
    secret::HubSecretKeyRef,
    selector::Selector,
};

/// A group of clusters that starts once the gates before it hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wave {
    /// Unique within the application.
    pub name: String,
    /// Clusters by label. The last wave may leave selector, clusters and percent out: it then takes
    /// every cluster of no earlier wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Clusters by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// A share of the destination's clusters, rounded up, of those that no other wave takes by
    /// selector or name and no earlier one by share. Which ones is the same for every release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Weight>,
    /// How many clusters may be under way at once; 1 unless set. A share is rounded down, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<IntOrPercent>,
    /// How many clusters may fail or stay unreachable and the wave still passes; 0 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<IntOrPercent>,
    /// What an unreachable cluster means.
    #[serde(default)]
    pub unreachable: UnreachablePolicy,
    /// The wave fails when no cluster of it finishes for this long while some are under way; absent =
    /// clusters have their own deadlines. It stands still while a human has suspended the run, the wave
    /// or a cluster, or is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Dur>,
    /// Gates that must hold before the first cluster starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Gate>,
    /// Gates that must hold after the last cluster succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Gate>,
}

impl Wave {
    /// Tells whether the wave takes every cluster of no earlier wave.
    #[must_use]
    pub const fn takes_the_rest(&self) -> bool {
        self.selector.is_none() && self.clusters.is_empty() && self.percent.is_none()
    }
}

/// What an unreachable cluster means for its wave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnreachablePolicy {
    /// The wave waits for it, unless maxFailures has room.
    #[default]
    Wait,
    /// The wave goes on and the cluster catches up when it returns.
    SkipAndCatchUp,
    /// It counts as failed.
    Fail,
}

/// A condition between waves: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// A human approves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalGate>,
    /// Every cluster of the wave stays healthy and fresh for this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Dur>,
    /// The time lies in a window that comes again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowGate>,
    /// The checks inside the clusters passed: after a wave in its own, before it in those of earlier
    /// waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<VerdictsGate>,
    /// A query of a Prometheus that the hub reaches lies within limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricGate>,
    /// An address that the hub reaches answers with 200, 201 or 202.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalGate>,
}

/// A query of a Prometheus that the hub reaches. It is asked every 10 seconds while the gate waits; no
/// value, several values and no answer keep it shut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricGate {
    /// Base URL of the Prometheus, as the hub reaches it; absent = the template's, then the fleet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A MetricTemplate of type Prometheus, without secret unless `secretRef` stands beside it; excludes
    /// `query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// The query. `{{ namespace }}` is the target namespace, `{{ target }}` the application,
    /// `{{ interval }}` the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The limits, inclusive.
    pub range: Range,
    /// The window of `{{ interval }}`; 60s unless set.
    #[serde(default = "default_window")]
    pub window: Dur,
    /// The bearer token that is sent to the Prometheus, in a secret that the hub keeps; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<HubSecretKeyRef>,
}

fn default_window() -> Dur {
    Dur::from_secs(60)
}

/// An address that says whether a wave may go on. It is asked every 10 seconds while the gate waits;
/// redirects are not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalGate {
    /// The address, `http` or `https`.
    pub url: String,
    /// How long an answer may take; 10s unless set.
    #[serde(default = "default_external_timeout")]
    pub timeout: Dur,
    /// The bearer token that is sent, in a secret that the hub keeps; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<HubSecretKeyRef>,
}

fn default_external_timeout() -> Dur {
    Dur::from_secs(10)
}

/// A window of time that comes again and again, such as working hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowGate {
    /// When it opens: minute, hour, day of the month, month and day of the week, as cron writes it.
    pub schedule: String,
    /// The time zone of the schedule, such as `Europe/Berlin`; UTC unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// How long it stays open.
    pub duration: Dur,
}

/// Clusters whose canaries proved the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerdictsGate {
    /// The share of clusters in which every metric of every Rollout passed its last check; 100 unless
    /// set. A cluster with no metrics, with unknown values, or that a human promoted past its checks
    /// does not count.
    #[serde(default = "default_quorum")]
    pub percent: Weight,
}

fn default_quorum() -> Weight {
    Weight::FULL
}

/// A human approves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalGate {
    /// Principals who may approve; empty = whoever may act on the application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// How many different principals must approve; 1 unless set.
    #[serde(default = "default_approvals")]
    pub count: u32,
}

fn default_approvals() -> u32 {
    1
}

impl Default for ApprovalGate {
    fn default() -> Self {
        Self {
            by: Vec::new(),
            count: default_approvals(),
        }
    }
}

/// What a failed wave does to the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// No further cluster starts.
    Halt,
    /// Later waves start all the same.
    Continue,
    /// Every cluster that finished goes back to the previous release.
    RollbackAll,
}

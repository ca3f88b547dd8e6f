//! What an agent reports: the latest state of each unit, by value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    command::ExecutedCommand,
    number::Weight,
    reference::{NamespacedName, ObjectRef},
    strategy::StrategyKind,
};

/// The latest state of one application in one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnitStatus {
    /// The application.
    pub application: NamespacedName,
    /// Digest of the bundle that this speaks of.
    pub digest: String,
    /// The generation at which that bundle was granted.
    pub generation: u64,
    /// The run of that bundle.
    pub run: Uuid,
    /// The attempt of that bundle.
    pub attempt: u32,
    /// The release of that bundle.
    pub release: String,
    /// What the agent has made of it.
    pub outcome: UnitOutcome,
    /// Why it failed or is held; empty otherwise.
    #[serde(default)]
    pub reason: String,
    /// The release that runs now as a whole; absent = none was ever finished.
    pub applied_release: Option<String>,
    /// Health of the objects as they are now.
    pub health: Health,
    /// Objects that are not Healthy first, then the others; at most [`MAX_OBJECTS`].
    pub objects: Vec<ObjectStatus>,
    /// How many objects the unit has in all.
    pub object_count: u32,
    /// The governed workloads' runs.
    pub rollouts: Vec<TrackSummary>,
    /// What is waited for; never empty while `outcome` is unfinished.
    pub waiting_on: Vec<WaitReason>,
    /// Events that the hub has not confirmed yet, oldest first.
    #[serde(default)]
    pub events: Vec<RunEvent>,
    /// The one-shot commands that were answered last.
    #[serde(default)]
    pub executed: Vec<ExecutedCommand>,
    /// Objects that the agent holds although no release has them and no tombstone named them.
    #[serde(default)]
    pub orphans: Vec<ObjectRef>,
    /// Things a human should know; they stop nothing.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl UnitStatus {
    /// Tells whether the release runs as a whole and waits only for what it leaves out to be deleted: no workload is
    /// between two versions then.
    #[must_use]
    pub fn is_pruning(&self) -> bool {
        self.waiting_on.iter().any(|wait| wait.reason == PRUNING)
    }
}

/// Why a release that runs as a whole has not succeeded yet: what it leaves out is not deleted.
pub const PRUNING: &str = "Pruning";

/// Objects that a status carries at most.
pub const MAX_OBJECTS: usize = 200;

/// What the agent has made of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnitOutcome {
    /// Under way.
    Progressing,
    /// The release runs as a whole.
    Succeeded,
    /// The attempt failed and the cluster is back on the release before.
    Failed,
    /// The attempt failed and the cluster is still going back.
    RollingBack,
    /// The bundle was refused before anything was changed.
    Refused,
    /// The application is being taken away.
    Removing,
}

/// Health of one object or of a whole unit; the worst object decides.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Health {
    /// As it should be.
    Healthy,
    /// On its way.
    Progressing,
    /// Not as it should be, and not on its way.
    Degraded,
    /// Should exist and does not.
    Missing,
    /// Nothing fresh is known.
    Unknown,
}

/// Health of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// The object.
    pub object: ObjectRef,
    /// How it is.
    pub health: Health,
    /// A CamelCase word for why; empty when Healthy.
    pub reason: String,
    /// A sentence for people; empty when Healthy.
    pub message: String,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Checking that everything the run needs is there.
    Initializing,
    /// Checked.
    Initialized,
    /// A gate before the first step is closed.
    Waiting,
    /// Steps are under way.
    Progressing,
    /// A human or the hub stopped it.
    Suspended,
    /// Its own step, gate or Hold stopped it.
    Paused,
    /// The last gate is closed.
    WaitingPromotion,
    /// The user's workload takes the new template.
    Promoting,
    /// Helpers are taken away.
    Finalising,
    /// Done: the new version is the stable one.
    Succeeded,
    /// Going back.
    RollingBack,
    /// Done: the old version is the stable one.
    Failed,
    /// The Rollout goes away.
    Terminating,
    /// The Rollout is gone.
    Terminated,
}

impl Phase {
    /// Tells whether nothing more will happen in this phase.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Terminated)
    }
}

/// Why a run went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FailureReason {
    /// Failed checks reached the threshold.
    FailedChecks,
    /// No progress within the deadline.
    DeadlineExceeded,
    /// A human aborted it.
    Manual,
    /// A hook asked for it.
    HookRollback,
    /// A newer release took its place.
    Superseded,
    /// The Rollout or application was deleted.
    Deleted,
    /// Another cluster failed and the plan rolls everything back.
    RollbackAll,
    /// The workload disappeared.
    TargetGone,
    /// The run was refused before it started.
    Refused,
}

/// The result of one check of an analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Every metric lies within its limits.
    Pass,
    /// At least one does not.
    Fail,
    /// Too little is known; never promotes.
    Unknown,
    /// There are no metrics and no hooks.
    NothingConfigured,
    /// A human overrode it.
    Overridden,
}

/// One measured value with its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// The metric's name.
    pub metric: String,
    /// The value, printed; absent = no data.
    pub value: Option<String>,
    /// What the old version showed over the same window, printed, where both were measured: in A/B tests,
    /// and where a limit compares them. Absent = it was not, or says nothing. It decides nothing by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// The limits, printed, such as `≥ 99`.
    pub limit: String,
    /// What it means.
    pub verdict: Verdict,
    /// Why there is no data; empty otherwise.
    #[serde(default)]
    pub reason: String,
    /// Whether it is shown only, and decides nothing.
    #[serde(default)]
    pub ignored: bool,
    /// When it was measured (RFC 3339).
    pub at: String,
}

/// [`WaitReason::reason`] of a step at which the run paused after a failure; `resume` goes on with it.
pub const PAUSED_AFTER_FAILURE: &str = "PausedAfterFailure";
/// [`WaitReason::reason`] of a canary that is driven by hand; `set-weight` sets another weight.
pub const WEIGHT_BY_HAND: &str = "WeightByHand";

/// Why something unfinished does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitReason {
    /// A CamelCase word, such as `PodsNotReady`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The object, cluster, wave or gate that is waited for; absent = time alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Since when (RFC 3339); absent = now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// When something happens by itself (RFC 3339) and what; absent = nothing will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_itself: Option<String>,
}

/// Where one governed workload's run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackSummary {
    /// The Rollout's name.
    pub name: String,
    /// The workload.
    pub workload: ObjectRef,
    /// Where it stands.
    pub phase: Phase,
    /// Why it went back; absent = it did not.
    pub failure: Option<FailureReason>,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// The current step, from 0; absent = before the first.
    pub step: Option<u32>,
    /// How many steps there are.
    pub steps: u32,
    /// What the current step does beside its weight.
    #[serde(default)]
    pub current: CurrentStep,
    /// The weight that the plan sets now.
    pub weight: Weight,
    /// The weight that the route was observed to carry.
    pub observed_weight: Weight,
    /// Pods of the old version: ready and wanted.
    pub stable: ReadyCount,
    /// Pods of the new version: ready and wanted.
    pub canary: ReadyCount,
    /// Failed checks so far.
    pub failed_checks: u32,
    /// Failed checks at which the run goes back.
    pub failure_threshold: u32,
    /// The last check of every metric.
    pub checks: Vec<CheckResult>,
    /// What is waited for; never empty outside terminal phases.
    pub waiting_on: Vec<WaitReason>,
}

/// What a step does beside its weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentStep {
    /// The plan's strategy.
    #[serde(default)]
    pub strategy: StrategyKind,
    /// The step's name; absent = it has none, or there is no step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Checks that passed at this step.
    #[serde(default)]
    pub iteration: u32,
    /// Checks that must pass at this step; 0 = there is no step.
    #[serde(default)]
    pub iterations: u32,
    /// Whether matching requests go to the new version whatever the weight.
    #[serde(default)]
    pub matched: bool,
    /// The share of the other requests that is also sent to the new version.
    #[serde(default)]
    pub mirror: Weight,
    /// Until when the old version stands by (RFC 3339); absent = it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby_until: Option<String>,
}

/// Ready pods of wanted pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadyCount {
    /// Ready now.
    pub ready: u32,
    /// Wanted.
    pub desired: u32,
}

/// One thing that happened in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunEvent {
    /// Rises by one with every event of the unit in this cluster.
    pub seq: u64,
    /// When (RFC 3339).
    pub at: String,
    /// The run.
    pub run: Uuid,
    /// The attempt.
    pub attempt: u32,
    /// How bad it is.
    pub severity: Severity,
    /// A CamelCase word.
    pub reason: String,
    /// The object that it is about; absent = the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// A sentence for people.
    pub message: String,
    /// AlertProviders that are told of it, in the namespace of the unit; empty = none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
}

/// How bad an event is, from the mildest on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Severity {
    /// As planned.
    Info,
    /// Somebody should look.
    Warn,
    /// Something failed.
    Error,
}

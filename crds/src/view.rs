//! What the hub shows of a run: waves, clusters, and what everything unfinished waits for.
//!
//! The hub aggregates it from its records and the agents' reports; the command line and the
//! dashboard draw it. It says nothing that is not known now: a silent cluster is `Unreachable`
//! with the age of its last report, whatever that report said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    call::ActionView,
    reference::NamespacedName,
    status::{Health, TrackSummary, WaitReason},
};

/// The aggregated state of one run of one application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    /// The application.
    pub application: NamespacedName,
    /// The run.
    pub run: Uuid,
    /// The revision of the release that is brought in, from 1.
    pub revision: u64,
    /// Digest of that release (hex SHA-256).
    pub release: String,
    /// What people call that release, such as the image tag of the governed workload; empty =
    /// nothing better than the revision.
    #[serde(default)]
    pub version: String,
    /// The revision that this release restores; absent = it is what the records said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// The revision that ran before; absent = this is the first install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_revision: Option<u64>,
    /// What people call the release that ran before; empty = nothing better than the revision.
    #[serde(default)]
    pub from_version: String,
    /// Where the run stands.
    pub state: RunPhase,
    /// One sentence on that; empty when the state says it all.
    #[serde(default)]
    pub message: String,
    /// Clusters that are done.
    pub done: u32,
    /// Clusters of the run.
    pub total: u32,
    /// Progress over all clusters and their steps, 0 to 100.
    pub percent: u8,
    /// The waves in order; never empty unless the run has no clusters.
    pub waves: Vec<WaveView>,
    /// What is waited for; never empty while the run is unfinished.
    pub waiting_on: Vec<WaitReason>,
    /// Who made the release.
    pub by: String,
    /// Why, in the words of whoever ended or started it; empty when nothing was said.
    #[serde(default)]
    pub reason: String,
    /// When the run was made (RFC 3339).
    pub created_at: String,
    /// When it ended (RFC 3339); absent = it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// When this view was made (RFC 3339).
    pub observed_at: String,
    /// Rises with every change of the run.
    #[serde(default)]
    pub sequence: u64,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RunPhase {
    /// Made; no cluster was granted yet.
    Pending,
    /// Clusters are under way.
    Progressing,
    /// A gate between waves is closed and time alone opens it.
    Soaking,
    /// A human must say something: an approval, or a step that waits for one.
    WaitingApproval,
    /// A human stopped it.
    Suspended,
    /// A wave failed and no further cluster starts until a human retries or aborts.
    Halted,
    /// Clusters go back to the release before.
    RollingBack,
    /// Every cluster runs the release, or was counted out by its wave's limits.
    Succeeded,
    /// It failed and every cluster that was touched went back.
    Failed,
    /// A human ended it.
    Aborted,
    /// A newer release took its place.
    Superseded,
}

impl RunPhase {
    /// Tells whether nothing more happens by itself or by a gate.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Aborted | Self::Superseded
        )
    }

    /// Tells whether only a human moves it on.
    #[must_use]
    pub const fn waits_for_human(self) -> bool {
        matches!(self, Self::WaitingApproval | Self::Suspended | Self::Halted)
    }
}

/// Where one wave stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaveView {
    /// The position, from 0.
    pub index: u32,
    /// The name.
    pub name: String,
    /// Where it stands.
    pub state: WavePhase,
    /// Clusters that are done.
    pub done: u32,
    /// Clusters that failed or were counted as lost.
    pub failed: u32,
    /// Clusters of the wave.
    pub total: u32,
    /// How many may be under way at once.
    pub max_concurrent: u32,
    /// How many may fail and the wave still passes.
    pub max_failures: u32,
    /// The gates before and after it, in that order.
    #[serde(default)]
    pub gates: Vec<GateView>,
    /// Its clusters, in the order in which they start.
    pub clusters: Vec<ClusterView>,
    /// When its first cluster started (RFC 3339); absent = none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it passed or failed (RFC 3339); absent = neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// One phrase for people, such as `after canary + approval by sre`; may be empty.
    #[serde(default)]
    pub note: String,
}

/// Where a wave stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WavePhase {
    /// An earlier wave or a gate before it is open.
    Waiting,
    /// Its clusters are under way.
    Running,
    /// Its clusters are done and its gates after are not.
    Soaking,
    /// A human must approve.
    WaitingApproval,
    /// Done, gates included.
    Passed,
    /// More clusters failed than may.
    Failed,
    /// Its clusters go back to the release before.
    RollingBack,
    /// It will not start.
    Skipped,
}

/// A gate of a wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateView {
    /// What kind of gate: `approval`, `soak`, `window` or `verdicts`.
    pub kind: String,
    /// Whether it stands after the wave; false = before it.
    pub after: bool,
    /// Whether it holds.
    pub passed: bool,
    /// One phrase for people, such as `approval by sre, 0 of 1` or `soak 10m, 4m12s left`.
    pub detail: String,
}

/// Where one cluster stands in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// The cluster's name.
    pub name: String,
    /// Where it stands.
    pub state: ClusterPhase,
    /// Which try it is, from 1; 0 = none was granted.
    pub attempt: u32,
    /// Whether the hub hears from it now.
    pub reachable: bool,
    /// When the hub last heard from it (RFC 3339); absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// Health of the application there; Unknown while unreachable.
    pub health: Health,
    /// A CamelCase word for why it failed or does not move; empty otherwise.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people; may be empty.
    #[serde(default)]
    pub message: String,
    /// The governed workloads' runs as last reported; empty = none was reported for this run.
    #[serde(default)]
    pub tracks: Vec<TrackSummary>,
    /// What is waited for there; never empty while it is under way or queued.
    #[serde(default)]
    pub waiting_on: Vec<WaitReason>,
    /// When it entered its state (RFC 3339); absent = it was never granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// Where a cluster stands in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClusterPhase {
    /// Not granted yet.
    Queued,
    /// Granted; the agent has not reported on it yet.
    Granted,
    /// Under way.
    Progressing,
    /// A human or the hub stopped it there.
    Suspended,
    /// A step there waits for a human.
    WaitingApproval,
    /// Going back.
    RollingBack,
    /// The release runs there.
    Succeeded,
    /// It failed there and the cluster is back on the release before.
    Failed,
    /// Nothing fresh is known.
    Unreachable,
    /// Counted out, by a human or by its wave's policy.
    Skipped,
}

/// One line of an application's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// The run.
    pub run: Uuid,
    /// The release's revision.
    pub revision: u64,
    /// Digest of the release (hex SHA-256).
    #[serde(default)]
    pub release: String,
    /// What people call the release; empty = nothing better than the revision.
    #[serde(default)]
    pub version: String,
    /// The revision that the release restores; absent = it is what the records said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// How it ended, or where it stands.
    pub state: RunPhase,
    /// Clusters that are done.
    pub done: u32,
    /// Clusters of the run.
    pub total: u32,
    /// Who made the release.
    pub by: String,
    /// Why it ended or started; empty when nothing was said.
    #[serde(default)]
    pub reason: String,
    /// When the run was made (RFC 3339).
    pub created_at: String,
    /// When it ended (RFC 3339); absent = it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// What humans said to it, in that order; the newest 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionView>,
}

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cluster::{ClusterPhase, ClusterRun};
use crate::plan::Plan;

/// Everything that is remembered of a run; saved by compare-and-set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    /// Where the run stands.
    pub status: RunStatus,
    /// One per wave of the plan, in its order.
    pub waves: Vec<WaveState>,
    /// Every planned cluster, and those that joined later.
    pub clusters: BTreeMap<Uuid, ClusterRun>,
    /// Set while a human has stopped the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Stop>,
    /// Set once a human has put the ended run away: it is not tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<Stop>,
    /// Set while the run is finished although Rollouts of its release were deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completing: Option<Completing>,
    /// The number of the next one-shot command; rises over the whole run, from 1.
    pub next_command: u64,
    /// The number of the run's next event, from 0.
    #[serde(default)]
    pub next_event: u64,
    /// Actions that were answered; the newest 64. An action is never executed twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<Uuid>,
}

impl RunState {
    /// Makes the state of a run that has just been planned.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let waves = plan.waves.iter().map(|wave| WaveState {
            phase: WavePhase::Waiting,
            before: vec![GateState::default(); wave.before.len()],
            after: vec![GateState::default(); wave.after.len()],
            suspended: None,
            progress: None,
        });
        let clusters = plan.clusters().map(|(wave, cluster)| {
            (
                cluster.id,
                ClusterRun::new(cluster.name.clone(), Some(wave)),
            )
        });
        Self {
            status: RunStatus::Progressing,
            waves: waves.collect(),
            clusters: clusters.collect(),
            suspended: None,
            archived: None,
            completing: None,
            next_command: 1,
            next_event: 0,
            answered: Vec::new(),
        }
    }

    /// Returns the clusters of one wave.
    pub fn of_wave(&self, wave: usize) -> impl Iterator<Item = (&Uuid, &ClusterRun)> {
        self.clusters
            .iter()
            .filter(move |(_, cluster)| cluster.wave == Some(wave))
    }

    /// Tells whether a cluster was never granted the release, and its wave failed without it.
    #[must_use]
    pub fn was_never_reached(&self, cluster: &ClusterRun) -> bool {
        let wave = cluster.wave.and_then(|wave| self.waves.get(wave));
        matches!(cluster.phase, ClusterPhase::Waiting)
            && wave.is_some_and(|wave| wave.phase.is_failed())
    }
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum RunStatus {
    /// Waves are under way.
    Progressing,
    /// A wave failed; no further cluster starts until a human retries or aborts.
    Halted {
        /// The wave that failed.
        wave: usize,
        /// Since when.
        since: Timestamp,
    },
    /// A human ended it; clusters under way are going back.
    Aborting {
        /// Since when.
        since: Timestamp,
        /// Who.
        by: String,
        /// Why; empty when nothing was said.
        reason: String,
    },
    /// Every cluster that was touched goes back to the release it had before.
    RollingBack {
        /// Since when.
        since: Timestamp,
        /// How the run ends once they are back.
        ending: Ending,
    },
    /// Every wave passed.
    Succeeded {
        /// When.
        at: Timestamp,
    },
    /// It failed.
    Failed {
        /// When.
        at: Timestamp,
        /// Why, for people.
        message: String,
    },
    /// A human ended it, or its application was deleted.
    Aborted {
        /// When.
        at: Timestamp,
        /// Who.
        by: String,
        /// Why; empty when nothing was said.
        reason: String,
    },
    /// A newer release took its place.
    Superseded {
        /// When.
        at: Timestamp,
        /// The revision that took it.
        revision: u64,
    },
}

impl RunStatus {
    /// Returns the state in one word, as it is stored beside the state.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Progressing => "Progressing",
            Self::Halted { .. } => "Halted",
            Self::Aborting { .. } => "Aborting",
            Self::RollingBack { .. } => "RollingBack",
            Self::Succeeded { .. } => "Succeeded",
            Self::Failed { .. } => "Failed",
            Self::Aborted { .. } => "Aborted",
            Self::Superseded { .. } => "Superseded",
        }
    }

    /// Tells whether the run has ended. A retry may open a Failed or Aborted one again, and
    /// clusters that were away or joined late may still catch up with a Succeeded one.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished_at().is_some()
    }

    /// Returns when the run ended.
    #[must_use]
    pub const fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Succeeded { at }
            | Self::Failed { at, .. }
            | Self::Aborted { at, .. }
            | Self::Superseded { at, .. } => Some(*at),
            _ => None,
        }
    }
}

/// How a run ends that rolls everything back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Ending {
    /// A wave failed.
    Failed {
        /// Why, for people.
        message: String,
    },
    /// A human ended it.
    Aborted {
        /// Who.
        by: String,
        /// Why; empty when nothing was said.
        reason: String,
    },
}

/// That a human stopped something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// Who.
    pub by: String,
    /// Why; empty when nothing was said.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// That deleted Rollouts want their run finished (`onDeletion: Complete`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completing {
    /// Their names.
    pub rollouts: Vec<String>,
    /// Since when.
    pub since: Timestamp,
}

/// Where one wave stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveState {
    /// Its phase.
    pub phase: WavePhase,
    /// One per gate before it, in the plan's order.
    pub before: Vec<GateState>,
    /// One per gate after it.
    pub after: Vec<GateState>,
    /// Set while a human has stopped this wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Stop>,
    /// The clock of its deadline; absent = it has none, or it stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// When a wave last moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Since when no cluster finished.
    pub since: Timestamp,
    /// Clusters that had finished then.
    pub finished: u32,
}

/// The phase of a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum WavePhase {
    /// An earlier wave is not done.
    Waiting,
    /// Its turn has come, the gates before it do not hold yet.
    Opening {
        /// Since when.
        since: Timestamp,
    },
    /// Its clusters are granted as the limits allow.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Its clusters are done, the gates after it do not hold yet.
    Settling {
        /// When it started to run.
        started: Timestamp,
        /// Since when.
        since: Timestamp,
    },
    /// Done.
    Passed {
        /// When it started to run.
        started: Timestamp,
        /// When it was done.
        at: Timestamp,
    },
    /// More clusters failed than may.
    Failed {
        /// When it started to run.
        started: Timestamp,
        /// When that was known.
        at: Timestamp,
    },
}

impl WavePhase {
    /// Tells whether its clusters may be granted.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Running { .. } | Self::Settling { .. } | Self::Passed { .. }
        )
    }

    /// Returns when it started to run; absent = it has not.
    #[must_use]
    pub const fn started(self) -> Option<Timestamp> {
        match self {
            Self::Waiting | Self::Opening { .. } => None,
            Self::Running { since } => Some(since),
            Self::Settling { started, .. }
            | Self::Passed { started, .. }
            | Self::Failed { started, .. } => Some(started),
        }
    }
}

/// What is remembered of one gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateState {
    /// Who approved; one entry a principal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// Set when a human opened the gate against its rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Approval>,
    /// Since when every cluster has been healthy and fresh; absent = one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak_since: Option<Timestamp>,
    /// What was answered last; absent = nobody was asked, or nobody answered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<KeptReading>,
    /// Whether it was told that the gate waits for a human.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

/// What was answered to a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptReading {
    /// When.
    pub at: Timestamp,
    /// What.
    pub outcome: ReadingOutcome,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum ReadingOutcome {
    /// The gate may open.
    Passed {
        /// What was answered, for people.
        value: String,
    },
    /// It may not.
    Failed {
        /// Why, for people.
        why: String,
    },
    /// Nothing is known, which opens nothing.
    Unknown {
        /// Why, for people.
        why: String,
    },
}

/// One human's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Who.
    pub by: String,
    /// Why; empty when nothing was said.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

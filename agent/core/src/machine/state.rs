//! What is kept of a run between two decisions.

use std::collections::BTreeSet;

use bellwether_api::{
    command::ExecutedCommand,
    number::Weight,
    status::{CheckResult, FailureReason, Phase, Verdict},
    track::RolloutTrackSpec,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::settled::Settled;

/// The layout that this program writes.
pub const STATE_VERSION: u32 = 1;
/// Answers to one-shot commands that are kept.
pub const MAX_EXECUTED: usize = 32;

/// One run, as it is persisted in the status of its RolloutTrack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    /// The layout; [`STATE_VERSION`].
    pub version: u32,
    /// The run.
    pub run: Uuid,
    /// The attempt.
    pub attempt: u32,
    /// When the run began here.
    pub started_at: Timestamp,
    /// Where it stands.
    pub stage: Stage,
    /// Since when it stands there.
    pub entered_at: Timestamp,
    /// How long it has gone without progress.
    pub clock: Clock,
    /// The furthest point reached; only a new one is progress.
    #[serde(default)]
    pub furthest: u64,
    /// The old version: its ReplicaSet's hash, to which Services are pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Settled>,
    /// Services that would select canary pods, sorted.
    #[serde(default)]
    pub pinned: Vec<String>,
    /// The weight that the route is to carry.
    #[serde(default)]
    pub weight: Weight,
    /// Canary pods that are wanted.
    #[serde(default)]
    pub canary_pods: u32,
    /// Whether a weight above 0 was ever written.
    #[serde(default)]
    pub routed: bool,
    /// Failed checks so far; never falls.
    #[serde(default)]
    pub failed_checks: u32,
    /// The number of the check that is due or was done last.
    #[serde(default)]
    pub check: u64,
    /// The last check of every metric.
    #[serde(default)]
    pub checks: Vec<CheckResult>,
    /// Why each step was left, in the order of steps.
    #[serde(default)]
    pub verdicts: Vec<StepVerdict>,
    /// The hub's one-shot commands that were answered.
    #[serde(default)]
    pub hub: Answered,
    /// The local one-shot commands that were answered.
    #[serde(default)]
    pub local: Answered,
    /// The newest [`MAX_EXECUTED`] answers, oldest first.
    #[serde(default)]
    pub executed: Vec<ExecutedCommand>,
}

impl RunState {
    /// Starts the run that `grant` names.
    #[must_use]
    pub fn new(grant: &RolloutTrackSpec, now: Timestamp) -> Self {
        Self {
            version: STATE_VERSION,
            run: grant.run,
            attempt: grant.attempt,
            started_at: now,
            stage: Stage::Initializing,
            entered_at: now,
            clock: Clock { spent: SignedDuration::ZERO, running_since: Some(now) },
            furthest: 0,
            stable: None,
            pinned: Vec::new(),
            weight: Weight::ZERO,
            canary_pods: 0,
            routed: false,
            failed_checks: 0,
            check: 0,
            checks: Vec::new(),
            verdicts: Vec::new(),
            hub: Answered::default(),
            local: Answered::default(),
            executed: Vec::new(),
        }
    }

    /// Reads a state from the status of a RolloutTrack.
    ///
    /// # Errors
    /// Fails when the value has another layout than [`STATE_VERSION`].
    pub fn from_value(value: &serde_json::Value) -> Result<Self, ReadStateError> {
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(STATE_VERSION)) {
            return Err(ReadStateError::Version { found: version });
        }
        serde_json::from_value(value.clone()).map_err(ReadStateError::Layout)
    }

    /// Writes the state for the status of a RolloutTrack.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a state has string keys and no NaN")
    }

    /// Tells whether the run is over.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(self.stage, Stage::Succeeded | Stage::Failed { .. })
    }

    /// Tells which step is under way, from 0; `None` before the first.
    #[must_use]
    pub fn step(&self) -> Option<u32> {
        match &self.stage {
            Stage::Step { index, .. } => Some(*index),
            _ => self.verdicts.last().map(|verdict| verdict.step),
        }
    }
}

/// A state that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadStateError {
    /// Written by another version of the agent.
    #[error("failed to read the run's state: layout {found:?} is not {STATE_VERSION}")]
    Version {
        /// The layout that was found; `None` when there is none.
        found: Option<u64>,
    },
    /// Fields are missing or of another type.
    #[error("failed to read the run's state")]
    Layout(#[source] serde_json::Error),
}

/// Where a run stands. Every stage wants one thing and waits until it is observed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all_fields = "camelCase")]
pub enum Stage {
    /// Nothing was changed yet: the workload must be settled and nothing may stand in the way.
    Initializing,
    /// The workload is paused, so that nothing changes its hash.
    Pausing,
    /// Services are pinned to the old version's pods.
    Pinning,
    /// A step of the plan.
    Step {
        /// From 0.
        index: u32,
        /// How far the step is.
        part: StepPart,
    },
    /// The user's workload takes the new template, and traffic returns to it.
    Promoting {
        /// How far the promotion is.
        part: PromotionPart,
    },
    /// Everything goes back.
    RollingBack {
        /// Why.
        failure: Failure,
        /// How far it is.
        part: RollbackPart,
    },
    /// The new version is the stable one.
    Succeeded,
    /// The old version is the stable one.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// Why a run went back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The kind of failure.
    pub reason: FailureReason,
    /// A sentence for people.
    pub message: String,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all_fields = "camelCase")]
pub enum StepPart {
    /// The canary's pods come up; the route keeps the weight it has.
    Scaling,
    /// The route carries the step's weight, as soon as the gateway says so.
    Routing,
    /// The gateway said so; its data plane gets the provider's settle time.
    Settling {
        /// When the weight counts as in force.
        until: Timestamp,
    },
    /// The weight is in force and is judged.
    Analysing {
        /// Since when the weight is in force.
        since: Timestamp,
        /// When the next check is due.
        next_check_at: Timestamp,
        /// Whether a check was made at this weight.
        checked: bool,
    },
    /// Checks passed; the step waits for a human or for its time.
    Gate {
        /// Since when the weight is in force.
        since: Timestamp,
        /// When the checks passed.
        passed_at: Timestamp,
        /// When the next check is due.
        next_check_at: Timestamp,
        /// The verdict that let the step come here.
        verdict: Verdict,
    },
}

/// How far a promotion is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all_fields = "camelCase")]
pub enum PromotionPart {
    /// Services select every pod again, so that the rolling update never empties them.
    Unpinning,
    /// The user's workload rolls to the new template by its own strategy.
    Updating,
    /// The workload is paused again, so that nothing changes its new hash.
    Freezing {
        /// The new version.
        new: Settled,
    },
    /// Services are pinned to the new version's pods.
    Repinning {
        /// The new version.
        new: Settled,
    },
    /// The weight returns from the canary to the workload.
    Shifting {
        /// The new version.
        new: Settled,
        /// How far this weight is.
        shift: Shift,
    },
    /// The route no longer uses the canary; requests in flight end.
    Draining {
        /// The new version.
        new: Settled,
        /// When the canary may go.
        until: Timestamp,
    },
    /// The canary goes.
    Removing {
        /// The new version.
        new: Settled,
    },
    /// Services are as the user wrote them.
    Releasing,
    /// The workload is as the user wrote it.
    Unpausing,
}

/// How far one weight of a promotion is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shift", rename_all_fields = "camelCase")]
pub enum Shift {
    /// Until the gateway says that it carries the weight.
    Routing,
    /// The provider's settle time.
    Settling {
        /// When the weight counts as in force.
        until: Timestamp,
    },
    /// The time of one check between two weights.
    Dwelling {
        /// When the next weight comes.
        until: Timestamp,
    },
}

/// How far a rollback is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all_fields = "camelCase")]
pub enum RollbackPart {
    /// Services select every pod, so that the rolling update back never empties them.
    Unpinning,
    /// The user's workload rolls back to the old template.
    Retemplating,
    /// The workload is paused again.
    Freezing {
        /// The old version.
        old: Settled,
    },
    /// Services are pinned to the old version's pods.
    Repinning {
        /// The old version.
        old: Settled,
    },
    /// The weight falls as fast as the old version has ready pods, until the gateway carries 0.
    Unloading,
    /// The provider's settle time.
    Settling {
        /// When the weight 0 counts as in force.
        until: Timestamp,
    },
    /// Requests in flight end.
    Draining {
        /// When the canary may go.
        until: Timestamp,
    },
    /// The canary goes.
    Removing,
    /// Services are as the user wrote them.
    Releasing,
    /// The workload is as the user wrote it.
    Unpausing,
}

/// Why a step was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepVerdict {
    /// The step, from 0.
    pub step: u32,
    /// The verdict: Pass, NothingConfigured or Overridden.
    pub verdict: Verdict,
    /// Who overrode it or opened its gate, and why; empty otherwise.
    #[serde(default)]
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Time without progress. It stands still while a human or a planned time is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// What was spent before `running_since`.
    pub spent: SignedDuration,
    /// Since when it runs; absent = it stands still.
    pub running_since: Option<Timestamp>,
}

impl Clock {
    /// Returns the time without progress at `now`; never negative.
    #[must_use]
    pub fn elapsed(&self, now: Timestamp) -> SignedDuration {
        let running = self.running_since.map_or(SignedDuration::ZERO, |since| {
            now.duration_since(since).max(SignedDuration::ZERO)
        });
        self.spent.saturating_add(running)
    }

    /// Starts anew at `now`, because there was progress.
    pub fn reset(&mut self, now: Timestamp) {
        *self = Self {
            spent: SignedDuration::ZERO,
            running_since: self.running_since.map(|_| now),
        };
    }

    /// Lets it run or stand still from `now` on.
    pub fn run(&mut self, runs: bool, now: Timestamp) {
        if runs != self.running_since.is_some() {
            *self = Self { spent: self.elapsed(now), running_since: runs.then_some(now) };
        }
    }
}

/// One-shot commands of one source that were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// Every id up to this one.
    pub floor: u64,
    /// Ids above `floor`.
    pub ids: BTreeSet<u64>,
}

impl Answered {
    /// Tells whether the command was answered.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        id <= self.floor || self.ids.contains(&id)
    }

    /// Remembers an answer.
    pub fn insert(&mut self, id: u64) {
        self.ids.insert(id);
        while self.ids.len() > MAX_EXECUTED {
            if let Some(lowest) = self.ids.pop_first() {
                self.floor = self.floor.max(lowest);
            }
        }
    }
}

/// Tells the phase that people see, for a stage of a run that is not suspended.
pub(super) fn phase_of(stage: &Stage, last_step: bool) -> Phase {
    match stage {
        Stage::Initializing | Stage::Pausing => Phase::Initializing,
        Stage::Pinning => Phase::Initialized,
        Stage::Step { part: StepPart::Gate { .. }, .. } if last_step => Phase::WaitingPromotion,
        Stage::Step { part: StepPart::Gate { .. }, .. } => Phase::Paused,
        Stage::Step { .. } => Phase::Progressing,
        Stage::Promoting { part } => match part {
            PromotionPart::Draining { .. }
            | PromotionPart::Removing { .. }
            | PromotionPart::Releasing
            | PromotionPart::Unpausing => Phase::Finalising,
            _ => Phase::Promoting,
        },
        Stage::RollingBack { failure, .. } if failure.reason == FailureReason::Deleted => {
            Phase::Terminating
        }
        Stage::RollingBack { .. } => Phase::RollingBack,
        Stage::Succeeded => Phase::Succeeded,
        Stage::Failed { failure } if failure.reason == FailureReason::Deleted => Phase::Terminated,
        Stage::Failed { .. } => Phase::Failed,
    }
}

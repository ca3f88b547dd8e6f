//! The stages of a run.

use bellwether_api::status::{FailureReason, Phase, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::settled::Settled;

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
    /// The routes name the canary's Service and give it nothing, as soon as the gateway says so. Only
    /// providers whose gateways have to know it first come here.
    Announcing,
    /// The canary's pods are ready and get nothing yet: the gateway's data plane gets the provider's
    /// settle time to learn of them.
    Warming {
        /// When the route may name them.
        until: Timestamp,
    },
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
        /// Whether a check that did not pass was made since the last that did.
        checked: bool,
        /// Checks that passed here.
        #[serde(default)]
        passed: u32,
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
    /// Something failed, and the plan wants a human to decide.
    Held {
        /// What failed.
        why: Failure,
    },
}

/// How a version is judged that waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// Since when the last weight is in force.
    pub since: Timestamp,
    /// When the next check is due.
    pub next_check_at: Timestamp,
    /// What the last check came to.
    pub verdict: Verdict,
}

/// How far a promotion is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all_fields = "camelCase")]
pub enum PromotionPart {
    /// The old version was not available when the run was to begin, and a human, or a plan that skips its
    /// steps, takes the new one all the same: by the workload's own rolling update, with nothing beside it.
    Replacing {
        /// Whether nobody tests configuration any more that both use, and every object of the release is
        /// there, so that the template is the new one.
        begun: bool,
    },
    /// Other rollouts of the release that change the same configuration come this far too: whoever
    /// takes the new content first would give it to the others' old pods. And the API server takes every
    /// object of the release.
    Gathering {
        /// How the version is judged meanwhile; absent = it is not: a human took it without checks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        judged: Option<Judged>,
    },
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
    /// The canary's pods go, while Services still select the workload's alone.
    Shrinking {
        /// The new version.
        new: Settled,
    },
    /// The canary's objects go.
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
    /// The workload has its old template again, whose pods were not available when the run began.
    Replacing,
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
    /// The canary's pods go, while Services still select the old version's alone.
    Shrinking,
    /// The canary's objects go.
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

/// Tells the phase that people see, for a stage of a run that is not suspended.
pub(super) fn phase_of(stage: &Stage, last_step: bool) -> Phase {
    match stage {
        Stage::Initializing | Stage::Pausing => Phase::Initializing,
        Stage::Pinning => Phase::Initialized,
        Stage::Step {
            part: StepPart::Gate { .. },
            ..
        } if last_step => Phase::WaitingPromotion,
        Stage::Step {
            part: StepPart::Gate { .. } | StepPart::Held { .. },
            ..
        } => Phase::Paused,
        Stage::Step { .. } => Phase::Progressing,
        Stage::Promoting { part } => match part {
            PromotionPart::Draining { .. }
            | PromotionPart::Shrinking { .. }
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

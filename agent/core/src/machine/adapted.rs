//! Runs of kinds that an adapter tells of, with a copy beside the workload.

use bellwether_api::{status::FailureReason, strategy::InstancesMode};

use super::{
    stage::{Failure, Stage},
    turn::Turn,
};

/// Why the copy could not be driven as the plan asks for it; `None` = it can be.
pub(super) fn refusal(turn: &Turn<'_>) -> Option<String> {
    let shares = turn.by_pods() || turn.grant.plan.instances.mode == InstancesMode::FixedTotal;
    (turn.is_adapted() && shares).then(|| {
        format!(
            "which pods the controller of {} takes when it is given fewer, nobody knows; use a provider \
             that routes and instances.mode Surge",
            turn.grant.workload
        )
    })
}

/// The copy's pods carry the label of the old version's: Services that are kept to that would give them
/// requests before any step does. `None` = they do not.
pub(super) fn confused(turn: &Turn<'_>) -> Option<Failure> {
    let steps = matches!(turn.state.stage, Stage::Step { .. });
    let copy = turn.seen.canary.as_ref().filter(|_| steps)?;
    let stable = turn.state.stable.as_ref()?;
    copy.labels.contains(&stable.hash).then(|| Failure {
        reason: FailureReason::Refused,
        message: format!(
            "the copy's pods carry the revision label {:?} as those of {} do, so that nothing tells them \
             apart: name a label that differs from version to version in workload.adapter.revisionLabel",
            stable.hash, turn.grant.workload
        ),
    })
}

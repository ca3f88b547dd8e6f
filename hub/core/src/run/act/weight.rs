use bellwether_api::command::Verb;

use super::{Answer, Scope, in_flight, queue, stale};
use crate::run::{decide::Turn, decision::ActionOutcome, input::PendingAction};

/// Sets weight and pods wherever the release is under way: a cluster that is not at its step yet
/// takes them once it is.
pub(super) fn set(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    let refused = |message: String| (ActionOutcome::Refused, message);
    let Some(set) = action.set else {
        return refused("weight: set-weight needs the share of traffic, 0 to 100".to_owned());
    };
    let by_hand = &turn.input.plan.by_hand;
    if by_hand.is_empty() {
        return refused(no_canary_by_hand(turn));
    }
    if set.replicas.is_some() && by_hand.iter().all(|rollout| rollout.pods_follow) {
        let names: Vec<&str> = by_hand.iter().map(|one| one.rollout.as_str()).collect();
        return refused(format!(
            "replicas: rollout {} has instances.mode FixedTotal, so pods follow the weight; leave \
             replicas out",
            names.join(", ")
        ));
    }
    let clusters = in_flight(turn, scope);
    if clusters.is_empty() {
        return stale("nothing is under way");
    }
    let (outcome, message) = queue(turn, action, Verb::SetWeight, &clusters);
    match outcome {
        ActionOutcome::Executed => (outcome, format!("{set}, {message}")),
        _ => (outcome, message),
    }
}

fn no_canary_by_hand(turn: &Turn<'_>) -> String {
    if turn.input.plan.install {
        return "the first release installs without a canary, so there is no weight to set"
            .to_owned();
    }
    if turn.input.plan.rollback {
        return "a rollback goes without a canary, so there is no weight to set".to_owned();
    }
    format!(
        "no Rollout of revision {} has strategy.canary.manual, so its plan sets the weights; skip \
         and promote pass steps",
        turn.input.run.revision
    )
}

//! How many pods both versions have while steps are under way.

use bellwether_api::{number::Weight, strategy::InstancesMode};

use super::{
    first_share::FirstShare, per_node, released, scaling::scaled, stage::StepPart, turn::Turn,
};
use crate::{
    sizes::{canary_pods, fixed_stable, share_ceil},
    weights::PlannedStep,
};

/// Sizes both versions anew. While the canary has traffic it never loses its last pod, and what
/// serves a split that was written stays until another one is in force.
pub(super) fn resize(turn: &mut Turn<'_>, step: &PlannedStep, part: &StepPart) {
    let Some(workload) = &turn.seen.workload else {
        return;
    };
    follow_a_human(turn, workload.replicas);
    turn.state.scaled = scaled(turn, workload);
    let min_replicas = turn.grant.plan.instances.min_replicas;
    let pods = canary_pods(step, turn.base(workload), min_replicas);
    let least = turn.state.scaled.map_or(0, |scaled| scaled.least);
    let pods = pods.max(if step.splits() { least } else { 0 });
    let serves = !turn.state.split().is_none();
    let pods = pods.max(u32::from(serves));
    let in_force = matches!(part, StepPart::Analysing { .. } | StepPart::Gate { .. });
    // Without a router there is no route to wait for: the pods are the share.
    let in_force =
        in_force || turn.by_pods() && matches!(part, StepPart::Routing | StepPart::Settling { .. });
    // What was taken away is not in force any more, whatever is written next.
    turn.state.weight_in_force = turn.state.weight_in_force.min(turn.state.weight);
    if in_force {
        turn.state.serving_pods = pods;
        turn.state.weight_in_force = turn.state.weight;
    }
    turn.state.canary_pods = pods.max(turn.state.serving_pods);
    per_node::follow_nodes(turn);
    let shared = shared_stable(turn, step, in_force);
    note_share(turn, workload.replicas, shared);
}

/// Takes the count to which somebody scaled the workload for what both versions share, as long as
/// nothing is shared. Sharing only ever takes pods from the workload: more than there were at first are
/// not what is left of it.
fn follow_a_human(turn: &mut Turn<'_>, live: u32) {
    if turn.grant.plan.instances.mode != InstancesMode::FixedTotal {
        return;
    }
    let never_shared = !turn.state.routed && turn.state.serving_pods == 0;
    let Some(stable) = &mut turn.state.stable else {
        return;
    };
    if turn.state.stable_pods.is_none() {
        if live > stable.replicas || never_shared {
            stable.replicas = live;
        }
        return;
    }
    let Some(first) = &mut turn.state.first_share else {
        return;
    };
    if first.asked.contains(&live) {
        turn.state.first_share = None;
    } else if live != first.over {
        // Nothing was taken yet, since that is not written over another count.
        stable.replicas = live;
        *first = FirstShare::over(live);
    }
}

/// Remembers over which count the old version's pods are taken, until they are known to be.
fn note_share(turn: &mut Turn<'_>, live: u32, pods: Option<u32>) {
    let before = std::mem::replace(&mut turn.state.stable_pods, pods);
    let Some(pods) = pods else {
        turn.state.first_share = None;
        return;
    };
    if before.is_none() {
        turn.state.first_share = Some(FirstShare::over(live));
    }
    if let Some(first) = &mut turn.state.first_share {
        first.ask(pods);
    }
}

/// The old version's pods while both versions share a fixed total: what the canary's available pods
/// leave. They go only once the weight that needs them less is in force, and come before it falls.
fn shared_stable(turn: &mut Turn<'_>, step: &PlannedStep, in_force: bool) -> Option<u32> {
    let (wrote, total) = turn.fixed_total()?;
    let available = turn
        .seen
        .canary
        .as_ref()
        .map_or(0, |canary| canary.available.min(canary.ready));
    let least = turn.state.weight_in_force.min(step.weight);
    let serving = available.min(share_ceil(least, total));
    let all = in_force && turn.state.weight == Weight::FULL;
    let all = if all {
        released::release(turn)
    } else {
        released::take_back(turn, step.weight);
        false
    };
    Some(fixed_stable(wrote, total, serving, all)).filter(|pods| *pods != wrote)
}

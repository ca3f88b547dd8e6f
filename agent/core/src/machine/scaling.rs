//! Runs of workloads that an autoscaler sizes.

use bellwether_api::{adapted_copy::AUTOSCALED_SIZE, number::Weight, strategy::InstancesMode};

use super::turn::Turn;
use crate::{
    autoscaling::{AutoscalerView, Load, Scaled},
    settled::DeploymentView,
};

/// The sizes of both versions, anew; `None` = no autoscaler sizes the workload.
pub(super) fn scaled(turn: &Turn<'_>, workload: &DeploymentView) -> Option<Scaled> {
    let autoscaler = turn.seen.autoscalers.first()?;
    let start = turn.state.stable.as_ref().map(|stable| stable.replicas);
    let load = Load {
        start: start.unwrap_or(workload.replicas),
        now: workload.replicas,
        // Written is as good as carried: nobody knows when the gateway takes it over. What matches
        // take is not known at all.
        gone: if turn.state.matches.is_empty() {
            turn.state.weight.max(turn.state.weight_in_force)
        } else {
            Weight::FULL
        },
    };
    Some(Scaled::of(load, autoscaler))
}

/// Why nobody knows which autoscaler sizes the workload.
pub(super) fn unclear(turn: &Turn<'_>) -> Option<String> {
    let (seen, workload) = (&turn.seen.autoscalers, &turn.grant.workload);
    if let Some(wanted) = &turn.grant.plan.instances.autoscaler
        && !seen
            .iter()
            .any(|one| (one.kind.as_str(), &one.name) == (wanted.kind.name(), &wanted.name))
    {
        return Some(format!(
            "{}/{} of instances.autoscaler does not scale {workload}",
            wanted.kind.name(),
            wanted.name
        ));
    }
    if seen.len() > 1 {
        let names: Vec<String> = seen.iter().map(name).collect();
        let names = names.join(" and ");
        return Some(format!("{names} both scale {workload}; leave one"));
    }
    None
}

/// Why a run with a copy cannot go beside the autoscalers that there are.
pub(super) fn conflict(turn: &Turn<'_>) -> Option<String> {
    if let Some(message) = unclear(turn) {
        return Some(message);
    }
    let (workload, plan) = (&turn.grant.workload, &turn.grant.plan);
    let scaler = turn.seen.autoscalers.first().map(name)?;
    let adapter = plan.copy_adapter();
    if let Some(adapter) = adapter.filter(|adapter| adapter.replicas != AUTOSCALED_SIZE) {
        return Some(format!(
            "{scaler} scales {workload}, whose size stands in {}: only {AUTOSCALED_SIZE} is left to an \
             autoscaler",
            adapter.replicas
        ));
    }
    let canary = plan.strategy.canary.as_ref();
    if canary.is_some_and(|canary| canary.manual.is_some()) {
        return Some(format!(
            "{scaler} scales {workload}, and may have taken the pods that a weight set lower by hand \
             needs; use steps instead of canary.manual"
        ));
    }
    if turn.by_pods() {
        return Some(format!(
            "{scaler} scales {workload}, whose pods are the share of its traffic; use a provider that \
             routes"
        ));
    }
    (plan.instances.mode == InstancesMode::FixedTotal).then(|| {
        format!(
            "{scaler} scales {workload}, whose pods instances.mode FixedTotal would take; use Surge"
        )
    })
}

fn name(autoscaler: &AutoscalerView) -> String {
    format!("{}/{}", autoscaler.kind, autoscaler.name)
}

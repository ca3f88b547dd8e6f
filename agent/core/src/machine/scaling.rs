//! Runs of workloads that an autoscaler sizes.

use bellwether_api::{number::Weight, strategy::InstancesMode};

use super::turn::Turn;
use crate::{
    autoscaling::{Load, Scaled},
    settled::DeploymentView,
};

/// The sizes of both versions, anew; `None` = no autoscaler sizes the workload.
pub(super) fn scaled(turn: &Turn<'_>, workload: &DeploymentView) -> Option<Scaled> {
    let autoscaler = turn.seen.autoscalers.first()?;
    if turn.seen.delivered_by_others {
        return None;
    }
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

/// Why a run cannot go beside the autoscalers that there are.
pub(super) fn conflict(turn: &Turn<'_>) -> Option<String> {
    let (seen, workload) = (&turn.seen.autoscalers, &turn.grant.workload);
    let names: Vec<String> = seen
        .iter()
        .map(|one| format!("{}/{}", one.kind, one.name))
        .collect();
    let instances = &turn.grant.plan.instances;
    if let Some(wanted) = &instances.autoscaler
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
    if names.len() > 1 {
        let names = names.join(" and ");
        return Some(format!("{names} both scale {workload}; leave one"));
    }
    if turn.seen.delivered_by_others && !names.is_empty() {
        return Some(format!(
            "{} scales {workload}, which the hub does not deliver: that is not supported",
            names[0]
        ));
    }
    let canary = turn.grant.plan.strategy.canary.as_ref();
    if canary.is_some_and(|canary| canary.manual.is_some()) && !names.is_empty() {
        return Some(format!(
            "{} scales {workload}, and may have taken the pods that a weight set lower by hand needs; \
             use steps instead of canary.manual",
            names[0]
        ));
    }
    if turn.by_pods() && !names.is_empty() {
        return Some(format!(
            "{} scales {workload}, whose pods are the share of its traffic; use a provider that routes",
            names[0]
        ));
    }
    let fixed = instances.mode == InstancesMode::FixedTotal;
    (fixed && !names.is_empty()).then(|| {
        format!(
            "{} scales {workload}, whose pods instances.mode FixedTotal would take; use Surge",
            names[0]
        )
    })
}

//! Both versions behind one Service, without a router: the share of traffic is the share of pods.

use bellwether_api::number::Weight;

use super::{observations::Observations, turn::Turn};

/// The Service has every ready pod of the canary, and the old version's pods are as many as are to
/// be beside them.
pub(super) fn shared(turn: &mut Turn<'_>) -> bool {
    let (seen, on) = (turn.seen, turn.grant.workload.to_string());
    let canary = &seen.canary_endpoints.ready;
    let missing = canary.difference(&seen.apex_endpoints.ready).count();
    if missing > 0 {
        let service = turn.grant.plan.service.as_ref();
        let on = format!("Service/{}", service.map_or("", |service| &service.name));
        let message = format!(
            "{on} has {} of {} ready canary pods; does it select the pods of {}?",
            canary.len() - missing,
            canary.len(),
            turn.grant.workload
        );
        turn.wait_on("EndpointsNotReady", message, &on);
    }
    let Some(workload) = &seen.workload else {
        turn.wait("TargetGone", "the workload does not exist");
        return false;
    };
    let wanted = turn
        .state
        .stable_pods
        .unwrap_or_else(|| turn.whole_stable(workload));
    let scaled = workload.replicas == wanted
        && workload.total == wanted
        && workload.observed_generation >= workload.generation;
    if !scaled {
        let message = format!("{} of {wanted} pods of {on} are to be left", workload.total);
        turn.wait_on("SharesNotReached", message, &on);
    }
    missing == 0 && scaled
}

/// The canary's share of the Service's ready pods.
pub(super) fn share(seen: &Observations) -> Weight {
    let (apex, canary) = (&seen.apex_endpoints.ready, &seen.canary_endpoints.ready);
    let (all, shared) = (apex.len(), apex.intersection(canary).count());
    let percent = (shared * 200 + all).checked_div(2 * all).unwrap_or(0);
    Weight::clamped(u32::try_from(percent).unwrap_or(100))
}

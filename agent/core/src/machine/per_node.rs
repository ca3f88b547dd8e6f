//! Runs of DaemonSets with a copy beside them: it has a pod on each node that its template matches,
//! however small its share of the traffic is.

use super::{observations::CanaryView, turn::Turn};

/// Why the copy could not be driven as the plan asks for it; `None` = it can be.
pub(super) fn refusal(turn: &Turn<'_>) -> Option<String> {
    (turn.is_per_node() && turn.by_pods()).then(|| {
        format!(
            "{} has a pod on each node, so that no share of traffic is a share of its pods; use a \
             provider that routes",
            turn.grant.workload
        )
    })
}

/// Has the copy, if there is to be one, on all nodes. As many as its controller counts, and until it
/// has counted as many as the workload is on.
pub(super) fn follow_nodes(turn: &mut Turn<'_>) {
    if !turn.is_per_node() || turn.state.canary_pods == 0 {
        return;
    }
    let counted = turn.seen.canary.as_ref().map_or(0, |copy| copy.replicas);
    let workload = turn.seen.workload.as_ref();
    let nodes = if counted > 0 {
        counted
    } else {
        workload.map_or(0, |workload| workload.replicas)
    };
    turn.state.canary_pods = nodes.max(1);
    if turn.state.serving_pods > 0 {
        turn.state.serving_pods = turn.state.canary_pods;
    }
}

/// The pods that the copy must have: nodes come and go, and its controller alone knows how many it
/// matches.
pub(super) fn wanted(turn: &Turn<'_>, copy: &CanaryView, pods: u32) -> u32 {
    if turn.is_per_node() {
        copy.replicas.max(1)
    } else {
        pods
    }
}

/// The apex Service has the copy's ready pods too, and data planes have had the time to hear of it. A
/// DaemonSet takes a node's pod away before it makes the new one: it may be the only one that there is. What
/// the controller of a kind does that an adapter tells of, nobody knows: it may take all of them.
pub(super) fn joined(turn: &mut Turn<'_>) -> bool {
    let may_empty = turn.is_per_node() || turn.is_adapted();
    if !may_empty || !turn.splits_traffic() || turn.state.split().is_none() {
        return true;
    }
    let (apex, copy) = (&turn.seen.apex_endpoints, &turn.seen.canary_endpoints);
    let missing = copy.ready.difference(&apex.ready).count();
    if copy.ready.is_empty() || missing > 0 {
        turn.state.joined_at = None;
        let message = format!(
            "{} of {} ready pods of the copy are behind the apex Service",
            copy.ready.len() - missing,
            copy.ready.len()
        );
        turn.wait("EndpointsNotReady", message);
        return false;
    }
    let since = *turn.state.joined_at.get_or_insert(turn.now);
    let until = super::turn::later(since, turn.seen.route_settle);
    if turn.now < until {
        let message = "the gateway's data plane learns of the copy's pods behind the apex Service";
        turn.wait_until("Warming", message, until, "the workload is updated");
        return false;
    }
    true
}

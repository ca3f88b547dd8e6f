//! Services beside the apex while the old version has no pods of its fixed total: pinned to it they
//! would answer nobody, so that they select both versions.

use bellwether_api::number::Weight;

use super::turn::Turn;

/// Lets every Service beside the apex select both versions, and tells whether each of them does: the
/// old version's last pod may go only then. The apex stays pinned, since the route leads past it.
pub(super) fn release(turn: &mut Turn<'_>) -> bool {
    let apex = turn.grant.plan.service.as_ref();
    let apex = apex.map_or("", |service| service.name.as_str());
    let pinned = turn.state.pinned.iter();
    turn.state.released = pinned.filter(|name| *name != apex).cloned().collect();
    let released = &turn.state.released;
    turn.seen
        .services
        .iter()
        .filter(|service| released.contains(&service.name))
        .all(|service| service.pin.is_none())
}

/// Pins them again once the old version has the pods that it needs beside a canary with `weight`.
pub(super) fn take_back(turn: &mut Turn<'_>, weight: Weight) {
    let Some(workload) = &turn.seen.workload else {
        return;
    };
    if workload.ready >= turn.stable_needed(weight, workload).max(1) {
        turn.state.released.clear();
    }
}

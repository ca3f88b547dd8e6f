//! What several stages wait for. Each tells whether it is observed, and says so when it is not.

use bellwether_api::number::Weight;

use super::{by_pods, by_revision, in_place, observations::RouteView, per_node, turn::Turn};
use crate::{
    provider::{RouteObservation, Split},
    settled::{DeploymentView, Settled, TemplateVersion, settled},
};

/// Services carry this pin; `None` = none of ours. Services that are gone need none.
pub(super) fn pins(turn: &mut Turn<'_>, hash: Option<&str>) -> bool {
    let apex = turn
        .grant
        .plan
        .service
        .as_ref()
        .map(|service| service.name.clone());
    let mut done = true;
    for name in turn.state.pinned.clone() {
        let service = turn
            .seen
            .services
            .iter()
            .find(|service| service.name == name);
        let object = format!("Service/{name}");
        let hash = turn.state.pin_of(&name, hash);
        match service {
            Some(service) if service.pin.as_deref() == hash => continue,
            None if hash.is_none() || apex.as_ref() != Some(&name) => continue,
            None => turn.wait_on(
                "ServiceMissing",
                format!("{object} does not exist"),
                &object,
            ),
            Some(_) => match hash {
                Some(hash) => turn.wait_on(
                    "ServiceNotPinned",
                    format!("{object} does not select the pods of {hash} alone yet"),
                    &object,
                ),
                None => turn.wait_on(
                    "ServiceStillPinned",
                    format!("{object} does not select every pod yet"),
                    &object,
                ),
            },
        }
        done = false;
    }
    done
}

/// The API server has taken everything that is to be there: what comes in comes in as a whole.
pub(super) fn taken(turn: &mut Turn<'_>) -> bool {
    let untaken = &turn.seen.untaken;
    if untaken.is_empty() {
        return true;
    }
    turn.wait("ObjectNotTaken", untaken.clone());
    false
}

/// No other rollout tests configuration any more that both use.
pub(super) fn config_is_free(turn: &mut Turn<'_>) -> bool {
    let others = turn.seen.config_held_by.join(", ");
    if others.is_empty() {
        return true;
    }
    let message = format!("configuration that both use is still tested by {others}");
    turn.wait_on("ConfigShared", message, &others);
    // The others have deadlines of their own.
    turn.stands_still = true;
    false
}

/// Every route of the plan carries what the run wants now, and its gateway says so.
pub(super) fn routes(turn: &mut Turn<'_>) -> bool {
    let split = turn.state.split();
    if turn.by_pods() {
        return split.is_none() || by_pods::shared(turn);
    }
    let named: usize = turn
        .grant
        .plan
        .traffic
        .iter()
        .map(|traffic| traffic.routes().len())
        .sum();
    let seen = turn.seen;
    if turn.splits_traffic() && seen.routes.len() < named {
        turn.wait("RouteUnknown", "not every route of the plan was looked at");
        return false;
    }
    let mut done = true;
    for route in &seen.routes {
        if route.is_missing && split.is_none() {
            continue;
        }
        let unwritten = not_carried(route, &split, turn.told_by_shares());
        let (reason, message) = match (&route.observation, unwritten) {
            (RouteObservation::Rejected { why }, _) => (
                "RouteRejected",
                format!("{} was refused: {why}", route.name),
            ),
            (_, Some(unwritten)) => unwritten,
            (RouteObservation::NotYet { why }, None) => (
                "RouteNotProgrammed",
                format!("{} is not in force: {why}", route.name),
            ),
            (RouteObservation::Programmed, None) => continue,
        };
        turn.wait_on(reason, message, &route.name);
        done = false;
    }
    done
}

/// No route names a canary any more that had been announced to gateways.
pub(super) fn unnamed(turn: &mut Turn<'_>) -> bool {
    !turn.announces() || routes(turn)
}

/// Says what a route lacks of `split`; `None` when it carries it. A run that only ever weighs is
/// told by the shares that stand in the rules, any other by what was written as a whole.
fn not_carried(
    route: &RouteView,
    split: &Split,
    told_by_shares: bool,
) -> Option<(&'static str, String)> {
    let (name, weight) = (&route.name, split.weight);
    if !told_by_shares {
        let carried = route.split.as_ref() == Some(split);
        return (!carried).then(|| {
            let what = if split.is_none() {
                "as the user wrote it".to_owned()
            } else {
                format!("split as the run wants it ({weight} %)")
            };
            ("RouteNotWritten", format!("{name} is not yet {what}"))
        });
    }
    match route.weight {
        Some(carried) if carried == weight => None,
        Some(carried) => Some((
            "RouteNotWritten",
            format!("{name} gives {carried} % to the canary, not {weight} %"),
        )),
        None => Some((
            "RouteUnclear",
            format!("{name} is missing or its rules disagree on the canary's share"),
        )),
    }
}

/// No canary address stands in the apex Service's EndpointSlices.
pub(super) fn apart(turn: &mut Turn<'_>) -> bool {
    let overlap = turn
        .seen
        .apex_endpoints
        .overlaps(&turn.seen.canary_endpoints);
    let apart = !overlap || turn.by_pods();
    if !apart {
        turn.wait(
            "EndpointsOverlap",
            "the apex Service still has addresses of canary pods",
        );
    }
    apart
}

/// The new version's pods are all there and ready, and its Service, if it has one, knows them.
pub(super) fn canary_ready(turn: &mut Turn<'_>) -> bool {
    if turn.is_in_place() {
        return in_place::serves(turn);
    }
    if turn.is_by_revision() {
        return by_revision::serves(turn);
    }
    let (wanted, seen) = (turn.state.canary_pods, turn.seen);
    if wanted == 0 {
        return true;
    }
    let on = format!(
        "{}/{}",
        turn.grant.workload.kind,
        crate::names::canary_name(&turn.grant.workload.name)
    );
    let Some(canary) = &seen.canary else {
        turn.wait_on("CanaryMissing", format!("{on} does not exist yet"), &on);
        return false;
    };
    if canary.deleting {
        turn.wait_on("CanaryDeleting", format!("{on} is being deleted"), &on);
        return false;
    }
    if canary.unwritten {
        turn.wait_on(
            "CanaryNotWritten",
            format!("{on} is not written as the run wants it yet"),
            &on,
        );
        return false;
    }
    let wanted = per_node::wanted(turn, canary, wanted);
    if canary.replicas != wanted || canary.observed_generation < canary.generation {
        turn.wait_on(
            "CanaryNotScaled",
            format!("{on} does not want {wanted} pods yet"),
            &on,
        );
        return false;
    }
    let ready = canary.ready.min(canary.available).min(canary.updated);
    if ready < wanted {
        let trouble = if canary.trouble.is_empty() { "" } else { ": " };
        let message = format!(
            "{ready} of {wanted} canary pods are ready{trouble}{}",
            canary.trouble
        );
        turn.wait_on("PodsNotReady", message, &on);
        return false;
    }
    if !turn.splits_traffic() {
        return true;
    }
    let endpoints = seen.canary_endpoints.ready_count();
    if !seen.canary_service || endpoints < wanted {
        let message = format!("{endpoints} of {wanted} canary pods are in the canary's Service");
        turn.wait("EndpointsNotReady", message);
        return false;
    }
    true
}

/// The old version has the ready pods that its share of the traffic needs while the canary carries
/// `weight`.
pub(super) fn stable_carries_rest(turn: &mut Turn<'_>, weight: Weight) -> bool {
    let Some(workload) = &turn.seen.workload else {
        turn.wait("TargetGone", "the workload does not exist");
        return false;
    };
    let needed = turn.stable_needed(weight, workload);
    if workload.ready < needed {
        let message = format!(
            "{} of {} pods of {} are ready; {needed} are needed beside a canary with {weight} %",
            workload.ready, workload.replicas, turn.grant.workload
        );
        turn.wait_on("StableNotReady", message, &turn.grant.workload.to_string());
        return false;
    }
    true
}

/// The workload carries this template and stands still.
pub(super) fn stands(turn: &mut Turn<'_>, template: TemplateVersion) -> Option<Settled> {
    let on = turn.grant.workload.to_string();
    let workload = workload(turn)?;
    if workload.template != template {
        let which = if template == TemplateVersion::New {
            "new"
        } else {
            "old"
        };
        let message = format!("{on} does not carry the {which} template yet");
        turn.wait_on("TemplateNotWritten", message, &on);
        return None;
    }
    match settled(workload, &turn.seen.replica_sets) {
        Ok(settled) => Some(settled),
        Err(unsettled) => {
            turn.wait_on(
                unsettled.reason,
                format!("{on}: {}", unsettled.message),
                &on,
            );
            None
        }
    }
}

/// No pod is ready of a version that Services are pinned to.
pub(super) fn is_lost(turn: &Turn<'_>, version: &Settled) -> bool {
    let sets = &turn.seen.replica_sets;
    version.replicas > 0
        && turn.seen.workload.is_some()
        && !sets
            .iter()
            .any(|set| set.hash == version.hash && set.ready > 0)
}

/// The workload was changed in the middle: paused as it is, it would never stand still.
pub(super) fn rolls(turn: &Turn<'_>) -> bool {
    let Some(workload) = &turn.seen.workload else {
        return false;
    };
    settled(workload, &turn.seen.replica_sets).is_err_and(|unsettled| {
        matches!(
            unsettled.reason,
            "RollingUpdate" | "OldPods" | "PodsNotUpdated" | "NoReplicaSet"
        )
    })
}

/// The workload is paused, or not, and its controller knows.
pub(super) fn paused(turn: &mut Turn<'_>, wanted: bool) -> bool {
    let on = turn.grant.workload.to_string();
    let Some(workload) = workload(turn) else {
        return false;
    };
    if workload.paused == wanted && workload.observed_generation >= workload.generation {
        return true;
    }
    let (reason, what) = if wanted {
        ("NotPaused", "paused")
    } else {
        ("StillPaused", "released")
    };
    turn.wait_on(reason, format!("{on} is not {what} yet"), &on);
    false
}

fn workload<'a>(turn: &mut Turn<'a>) -> Option<&'a DeploymentView> {
    let workload = turn.seen.workload.as_ref();
    if workload.is_none() {
        turn.wait(
            "TargetGone",
            format!("{} does not exist", turn.grant.workload),
        );
    }
    workload
}

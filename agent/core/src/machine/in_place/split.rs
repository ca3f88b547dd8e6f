//! Requests of both versions apart: the user's Service keeps to the old version's pods while a Service
//! of the run's own selects the new one's, and the route chooses between both.

use bellwether_api::workload_adapter::WorkloadAdapter;
use jiff::Timestamp;

use super::{
    super::{
        awaits,
        overlay::ServicePin,
        stage::{PromotionPart, RollbackPart, Shift, Stage},
        start,
        state::{Apart, Apex, InPlace, RunState},
        turn::Turn,
    },
    written,
};
use crate::{
    settled::{Settled, TemplateVersion},
    sizes::{batch_pods, ready_enough},
    weights::PlannedStep,
};

/// Tells whether any step says where requests go.
fn wanted(turn: &Turn<'_>) -> bool {
    turn.steps.iter().any(|step| !step.by_pods)
}

/// Names what keeps requests from being split; `None` = they can be, or need not.
pub(super) fn refusal(turn: &Turn<'_>) -> Option<String> {
    if !wanted(turn) {
        return None;
    }
    let (plan, seen) = (&turn.grant.plan, turn.seen);
    if plan.service.is_none() || plan.traffic.is_empty() || turn.by_pods() {
        return Some(
            "a step says where requests go, which needs a Service and a route, and neither the plan \
             nor its fleet names both"
                .to_owned(),
        );
    }
    if !seen.foreign_objects.is_empty() {
        let names = seen.foreign_objects.join(", ");
        return Some(format!("{names} exists and is not of this run"));
    }
    let apex = seen.services.iter().find(|one| !one.unpinnable.is_empty());
    apex.map(|apex| {
        format!(
            "Service/{} cannot keep to the old version: {}",
            apex.name, apex.unpinnable
        )
    })
}

/// Waits for what requests are split by.
pub(super) fn may_begin(turn: &mut Turn<'_>) -> bool {
    !wanted(turn) || start::apex_exists(turn) & start::routes_untouched(turn)
}

/// What a run begins with, whose pods are all old; `Ok(None)` = it splits no traffic.
///
/// # Errors
/// Not yet: says what it waits for.
pub(super) fn begins(turn: &mut Turn<'_>) -> Result<Option<Apart>, ()> {
    if !wanted(turn) {
        return Ok(None);
    }
    let seen = turn.seen;
    let label = seen
        .in_place
        .as_ref()
        .map_or("", |view| view.label.as_str());
    if label.is_empty() {
        let on = turn.grant.workload.to_string();
        let message = format!("no pod of {on} says by a label which revision it is of");
        turn.wait_on("RevisionUnknown", message, &on);
        return Err(());
    }
    let apex = turn.grant.plan.service.as_ref();
    turn.state.pinned = apex.map(|apex| apex.name.clone()).into_iter().collect();
    Ok(Some(Apart {
        old: label.to_owned(),
        new: None,
        apex: Apex::All,
        keeps_one: 0,
    }))
}

/// Tells whether both versions have pods during a step that says where requests go. With every pod
/// new there is nothing to choose: the route stays as the step before left it.
pub(super) fn keeps_apart(run: &InPlace, step: &PlannedStep) -> bool {
    run.apart.is_some() && !step.by_pods && batch_pods(step.replicas, run.total) < run.total
}

/// Tells whether pods may change as a step wants it. Where it splits requests, none may find a new
/// pod by the user's Service; where it takes every pod, that Service must not be left without any.
pub(super) fn makes_way(turn: &mut Turn<'_>, step: &PlannedStep) -> bool {
    let run = turn.state.in_place.as_ref();
    if run.is_some_and(|run| keeps_apart(run, step)) {
        set_apex(turn, Apex::Old);
        return pinned(turn);
    }
    opened(turn)
}

fn apart(turn: &Turn<'_>) -> Option<Apart> {
    turn.state.in_place.as_ref()?.apart.clone()
}

fn set_apex(turn: &mut Turn<'_>, apex: Apex) {
    let run = turn.state.in_place.as_mut();
    if let Some(apart) = run.and_then(|run| run.apart.as_mut()) {
        apart.apex = apex;
    }
}

fn pinned(turn: &mut Turn<'_>) -> bool {
    let old = apart(turn).map(|apart| apart.old);
    awaits::pins(turn, old.as_deref())
}

/// Lets the user's Service select every pod again, and tells whether data planes know all of them:
/// only then may the last old pod go.
pub(super) fn opened(turn: &mut Turn<'_>) -> bool {
    let Some(apart) = apart(turn) else {
        return true;
    };
    let known_at = match apart.apex {
        Apex::All => return true,
        Apex::Opening { until } => until,
        Apex::Old => {
            set_apex(turn, Apex::Opening { until: None });
            None
        }
    };
    let (apex, new) = (&turn.seen.apex_endpoints, &turn.seen.canary_endpoints);
    let missing = new.ready.difference(&apex.ready).count();
    if missing > 0 {
        let message = format!("{missing} ready pods of the new version are not in the Service yet");
        turn.wait("EndpointsNotReady", message);
    }
    if !awaits::pins(turn, None) || missing > 0 {
        return false;
    }
    let until = known_at.unwrap_or_else(|| turn.after(turn.seen.route_settle));
    if turn.now < until {
        set_apex(turn, Apex::Opening { until: Some(until) });
        let message = "the gateway's data plane learns that the Service selects every pod";
        turn.wait_until("Warming", message, until, "more pods change");
        return false;
    }
    set_apex(turn, Apex::All);
    true
}

/// Remembers by which label pods of the new version are found, once there is one.
pub(super) fn name_new(turn: &mut Turn<'_>, step: &PlannedStep) {
    let Some(run) = &turn.state.in_place else {
        return;
    };
    let unnamed = run.apart.as_ref().filter(|apart| apart.new.is_none());
    let Some(old) = unnamed.map(|apart| &apart.old) else {
        return;
    };
    let Ok((_, view)) = written(turn, TemplateVersion::New) else {
        return;
    };
    if view.label.is_empty() || view.label == *old || !keeps_apart(run, step) {
        return;
    }
    let label = view.label.clone();
    let run = turn.state.in_place.as_mut();
    if let Some(apart) = run.and_then(|run| run.apart.as_mut()) {
        apart.new = Some(label);
    }
}

/// While requests are split, both versions are where requests find them, and neither where those of
/// the other go.
pub(super) fn serves(turn: &mut Turn<'_>) -> bool {
    let granted = turn.state.in_place.as_ref().map_or(0, |run| run.granted);
    if apart(turn).is_none_or(|apart| apart.apex != Apex::Old) {
        return true;
    }
    let seen = turn.seen;
    let needed = ready_enough(turn.grant.plan.instances.ready_threshold, granted);
    let found = seen.canary_endpoints.ready_count();
    let new = seen.canary_service && found >= needed;
    if !new {
        let message = format!("{found} of {needed} new pods are in the new version's Service");
        turn.wait("EndpointsNotReady", message);
    }
    let old = seen.apex_endpoints.ready_count() > 0;
    if !old {
        turn.wait("EndpointsNotReady", "no pod of the old version is ready");
    }
    // No short circuit: people see everything that is missing.
    pinned(turn) & awaits::apart(turn) & new & old
}

/// What follows once every pod is new: requests that the route still gives to the run's own Service
/// go by the user's.
pub(super) fn way_out(turn: &mut Turn<'_>) -> PromotionPart {
    let Some(label) = apart(turn).and_then(|apart| apart.new) else {
        return PromotionPart::Unpausing;
    };
    turn.state.unroute();
    let replicas = turn.state.in_place.as_ref().map_or(0, |run| run.total);
    let new = Settled {
        hash: label,
        replica_set: String::new(),
        replicas,
    };
    let shift = Shift::Routing;
    PromotionPart::Shifting { new, shift }
}

/// Waits until no request comes by the run's own Service.
pub(super) fn shifting(turn: &mut Turn<'_>, new: Settled, shift: Shift) -> Option<PromotionPart> {
    if !awaits::routes(turn) {
        return None;
    }
    let Shift::Settling { until } = shift else {
        let until = turn.after(turn.seen.route_settle);
        let shift = Shift::Settling { until };
        return Some(PromotionPart::Shifting { new, shift });
    };
    if turn.now < until {
        let message = "the gateway's data plane takes the weight over";
        turn.wait_until("Settling", message, until, "the weight counts as in force");
        return None;
    }
    let until = turn.after(turn.grant.plan.drain);
    Some(PromotionPart::Draining { new, until })
}

/// Waits until requests in flight have ended.
pub(super) fn draining(
    turn: &mut Turn<'_>,
    new: Settled,
    until: Timestamp,
) -> Option<PromotionPart> {
    if turn.now < until {
        let message = "requests by the run's own Service that are in flight end";
        turn.wait_until("Draining", message, until, "the Service is removed");
        return None;
    }
    awaits::unnamed(turn).then_some(PromotionPart::Removing { new })
}

/// The run's own Service no longer exists.
pub(super) fn service_is_gone(turn: &mut Turn<'_>) -> bool {
    let gone = !turn.seen.canary_service;
    if !gone {
        turn.wait("CanaryThere", "the new version's Service is being removed");
    }
    gone
}

/// The user's Service is as the user wrote it.
pub(super) fn released(turn: &mut Turn<'_>) -> bool {
    set_apex(turn, Apex::All);
    awaits::pins(turn, None)
}

/// Tells whether the partition of a plan's workload is an ordinal.
pub(super) fn by_ordinal(turn: &Turn<'_>) -> bool {
    WorkloadAdapter::of(&turn.grant.plan.workload).is_some_and(|adapter| adapter.by_ordinal)
}

/// The pins that a state wants.
pub(super) fn pins(state: &RunState, run: &InPlace) -> Vec<ServicePin> {
    let pinned = run.apart.as_ref().filter(|apart| apart.apex == Apex::Old);
    let Some(apart) = pinned.filter(|_| !state.is_terminal()) else {
        return Vec::new();
    };
    let pin = |service: &String| ServicePin {
        service: service.clone(),
        hash: apart.old.clone(),
    };
    state.pinned.iter().map(pin).collect()
}

/// The pods that the run's own Service selects, by their label; `None` = there is no such Service.
pub(super) fn new_pods(state: &RunState, run: &InPlace) -> Option<String> {
    use {PromotionPart as Forth, RollbackPart as Back};
    let needed = match &state.stage {
        Stage::Step { .. } => true,
        Stage::Promoting { part } => !matches!(part, Forth::Removing { .. } | Forth::Unpausing),
        Stage::RollingBack { part, .. } => {
            !matches!(part, Back::Removing | Back::Releasing | Back::Unpausing)
        }
        _ => false,
    };
    let apart = run.apart.as_ref().filter(|_| needed)?;
    apart.new.clone()
}

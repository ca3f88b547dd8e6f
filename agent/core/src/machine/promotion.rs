//! Promotion: the user's workload takes the new template while the canary serves.

use bellwether_api::{duration::Dur, number::Weight, status::Severity};

use super::{
    awaits, by_revision, gathering, in_place, per_node, replacing,
    stage::{PromotionPart as Part, Shift, Stage},
    turn::Turn,
};
use crate::{
    settled::{Settled, TemplateVersion},
    weights::next_promotion_weight,
};

/// How soon pods are looked for again whose copy is gone.
const LOOK_AGAIN: Dur = Dur::from_millis(2_000);

pub(super) fn promoting(turn: &mut Turn<'_>, part: Part) {
    if let Part::Replacing { begun } = part {
        replacing::promoting(turn, begun);
        return;
    }
    if let Part::Gathering { judged } = part {
        gathering::gathering(turn, judged);
        return;
    }
    // Whoever gathers has waited for it with its checks going on.
    let without_copy = turn.is_in_place() || turn.is_by_revision();
    if without_copy && matches!(part, Part::Updating) && !awaits::taken(turn) {
        return;
    }
    if turn.is_in_place() {
        in_place::promoting(turn, part);
        return;
    }
    if turn.is_by_revision() {
        by_revision::promoting(turn);
        return;
    }
    if let Part::Repinning { new } | Part::Shifting { new, .. } | Part::Draining { new, .. } = &part
        && awaits::is_lost(turn, new)
    {
        // Services that select nothing but a version without pods answer nobody. Un-pinned, they
        // select the canary's pods too.
        let message = format!("no pod of {} is ready; every pod serves again", new.hash);
        turn.say(Severity::Warn, "NewVersionLost", message);
        enter(turn, Part::Updating);
        return;
    }
    match part {
        Part::Replacing { .. } | Part::Gathering { .. } => {}
        Part::Unpinning => {
            if awaits::pins(turn, None) && per_node::joined(turn) {
                enter(turn, Part::Updating);
            }
        }
        Part::Updating => updating(turn),
        Part::Freezing { new } => freezing(turn, new),
        Part::Repinning { new } => repinning(turn, new),
        Part::Shifting { new, shift } => shifting(turn, new, shift),
        Part::Draining { new, until } => draining(turn, new, until),
        Part::Shrinking { new } => {
            if canary_pods_are_gone(turn) {
                turn.state.canary_pods = 0;
                enter(turn, Part::Removing { new });
            }
        }
        Part::Removing { .. } => {
            if canary_is_gone(turn) {
                enter(turn, Part::Releasing);
            }
        }
        Part::Releasing => {
            if awaits::pins(turn, None) {
                enter(turn, Part::Unpausing);
            }
        }
        Part::Unpausing => {
            if awaits::paused(turn, false) {
                let message = format!("{} runs the new version", turn.grant.workload);
                turn.say(Severity::Info, "Succeeded", message);
                turn.enter(Stage::Succeeded);
            }
        }
    }
}

fn enter(turn: &mut Turn<'_>, part: Part) {
    turn.enter(Stage::Promoting { part });
}

fn updating(turn: &mut Turn<'_>) {
    if let Some(new) = updated(turn) {
        enter(turn, Part::Freezing { new });
    }
}

/// The workload stands on the new template, and on another version than before.
pub(super) fn updated(turn: &mut Turn<'_>) -> Option<Settled> {
    let new = awaits::stands(turn, TemplateVersion::New)?;
    // The old ReplicaSet standing still means that the controller has not begun.
    if turn
        .state
        .stable
        .as_ref()
        .is_some_and(|stable| stable.hash == new.hash)
    {
        let on = turn.grant.workload.to_string();
        turn.wait_on(
            "NotUpdated",
            format!("{on} has no pods of the new template yet"),
            &on,
        );
        return None;
    }
    Some(new)
}

fn freezing(turn: &mut Turn<'_>, new: Settled) {
    if !awaits::paused(turn, true) {
        return;
    }
    if awaits::rolls(turn) {
        enter(turn, Part::Updating);
        return;
    }
    // Whoever restarted the workload before it was paused made another hash.
    let Some(now) = awaits::stands(turn, TemplateVersion::New) else {
        return;
    };
    let new = if now.hash == new.hash { new } else { now };
    enter(turn, Part::Repinning { new });
}

fn repinning(turn: &mut Turn<'_>, new: Settled) {
    if awaits::pins(turn, Some(&new.hash)) {
        shift_on(turn, new);
    }
}

/// Moves the next part of the weight back, if the workload can carry it.
fn shift_on(turn: &mut Turn<'_>, new: Settled) {
    let step = turn
        .grant
        .plan
        .strategy
        .canary
        .as_ref()
        .and_then(|canary| canary.step_weight_promotion);
    let next = next_promotion_weight(turn.state.weight, step);
    if !turn.state.split().is_none() {
        let carries =
            awaits::stable_carries_rest(turn, next) & awaits::apart(turn) & apex_is_ready(turn);
        if !carries {
            return;
        }
        turn.state.weight = next;
        if next == Weight::ZERO {
            turn.state.unroute();
        }
    }
    enter(
        turn,
        Part::Shifting {
            new,
            shift: Shift::Routing,
        },
    );
}

fn apex_is_ready(turn: &mut Turn<'_>) -> bool {
    let ready = !turn.splits_traffic() || turn.seen.apex_endpoints.ready_count() > 0;
    if !ready {
        turn.wait("EndpointsNotReady", "the apex Service has no ready address");
    }
    ready
}

fn shifting(turn: &mut Turn<'_>, new: Settled, shift: Shift) {
    let weight = turn.state.weight;
    match shift {
        Shift::Routing => {
            if awaits::routes(turn) {
                let until = turn.after(turn.seen.route_settle);
                enter(
                    turn,
                    Part::Shifting {
                        new,
                        shift: Shift::Settling { until },
                    },
                );
            }
        }
        Shift::Settling { until } => {
            if !awaits::routes(turn) {
                return;
            }
            if turn.now < until {
                let message = "the gateway's data plane takes the weight over";
                turn.wait_until("Settling", message, until, "the weight counts as in force");
            } else if weight == Weight::ZERO {
                let until = turn.after(turn.grant.plan.drain);
                enter(turn, Part::Draining { new, until });
            } else {
                let message = format!("the canary still has {weight} % of the traffic");
                turn.say(Severity::Info, "WeightReturns", message);
                let until = turn.after(turn.grant.plan.analysis.interval);
                enter(
                    turn,
                    Part::Shifting {
                        new,
                        shift: Shift::Dwelling { until },
                    },
                );
            }
        }
        Shift::Dwelling { until } => {
            if turn.now < until {
                let message = format!("the canary keeps {weight} % for one interval");
                turn.wait_until("Dwelling", message, until, "more traffic returns");
                turn.stands_still = true;
            } else {
                shift_on(turn, new);
            }
        }
    }
}

fn draining(turn: &mut Turn<'_>, new: Settled, until: jiff::Timestamp) {
    if turn.now < until {
        let message = "requests to the canary that are in flight end";
        turn.wait_until("Draining", message, until, "the canary is removed");
        return;
    }
    if awaits::unnamed(turn) {
        enter(turn, Part::Shrinking { new });
    }
}

/// No pod of the canary runs any more. Its objects go only then: they go at once, its pods do not,
/// and Services that are released meanwhile would send requests to them.
pub(super) fn canary_pods_are_gone(turn: &mut Turn<'_>) -> bool {
    let left = turn.seen.canary_pods_left;
    let pods = turn.seen.canary.as_ref().map_or(left, |canary| {
        let scaled = canary.replicas == 0 && canary.observed_generation >= canary.generation;
        canary.updated.max(canary.ready).max(u32::from(!scaled))
    });
    let pods = pods.max(turn.seen.canary_endpoints.ready_count());
    if pods > 0 {
        turn.wait(
            "CanaryPodsThere",
            format!("{pods} canary pods are being stopped"),
        );
    }
    if left > 0 {
        // Nobody tells when the last of them has gone.
        turn.wake(turn.after(LOOK_AGAIN));
    }
    pods == 0
}

/// The canary Deployment and its Service no longer exist.
pub(super) fn canary_is_gone(turn: &mut Turn<'_>) -> bool {
    let seen = turn.seen;
    let gone = seen.canary.is_none() && !seen.canary_service && !seen.canary_config;
    if !gone {
        turn.wait("CanaryThere", "the canary's objects are being removed");
    }
    gone
}

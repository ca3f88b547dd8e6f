//! The steps of a plan: pods ready, endpoints ready, route observed, checks, gate, next.

use bellwether_api::{
    analysis::AnalysisFailure,
    number::Weight,
    status::{Severity, Verdict},
    strategy::Manual,
};
use jiff::Timestamp;

use super::{
    awaits, by_revision,
    checks::interval,
    gate::{gate, held},
    gathering, hooking, in_place,
    judging::{Analysis, analysing},
    rollback, scaling,
    sizing::resize,
    stage::{Failure, PromotionPart, Stage, StepPart, StepVerdict},
    start::{self, pins_hold},
    turn::{Turn, later},
};
use crate::weights::PlannedStep;

/// Tells whether a verdict opens the way.
pub(super) const fn lets_pass(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::NothingConfigured)
}

pub(super) fn step(turn: &mut Turn<'_>, index: u32, part: &StepPart) {
    let found = usize::try_from(index)
        .ok()
        .and_then(|index| turn.steps.get(index))
        .cloned();
    // Plans are pinned at the grant; one that shrank all the same is not promoted blindly.
    let Some(step) = found else {
        turn.wait("StepMissing", format!("the plan has no step {index}"));
        return;
    };
    // Another controller took a route over: it would do with the split whatever it likes.
    if let Some(message) = start::lacking(turn) {
        start::refuse(turn, message);
        return;
    }
    if turn.is_in_place() {
        in_place::resize(turn, &step);
    } else if turn.is_by_revision() {
        by_revision::name_new(turn);
    } else {
        resize(turn, &step, part);
    }
    match part {
        StepPart::Scaling if !awaits::taken(turn) => {}
        StepPart::Scaling if turn.is_in_place() => in_place::upgrading(turn, index, &step),
        StepPart::Scaling if turn.is_by_revision() => by_revision::upgrading(turn, index, &step),
        StepPart::Scaling => scaling(turn, index, &step),
        StepPart::Announcing => announcing(turn, index, &step),
        StepPart::Warming { until } => warming(turn, index, &step, *until),
        StepPart::Routing => {
            if awaits::routes(turn) {
                let until = turn.after(turn.seen.route_settle);
                enter(turn, index, StepPart::Settling { until });
            }
        }
        StepPart::Settling { until } => settling(turn, index, *until),
        StepPart::Analysing {
            since,
            next_check_at,
            checked,
            passed,
        } => {
            let at = Analysis {
                since: *since,
                next_check_at: *next_check_at,
                checked: *checked,
                passed: *passed,
            };
            analysing(turn, index, &step, at);
        }
        StepPart::Gate { .. } => gate(turn, index, &step, part.clone()),
        StepPart::Held { why } => held(turn, why),
    }
}

pub(super) fn enter(turn: &mut Turn<'_>, index: u32, part: StepPart) {
    turn.enter(Stage::Step { index, part });
}

fn scaling(turn: &mut Turn<'_>, index: u32, step: &PlannedStep) {
    if let Some(conflict) = scaling::conflict(turn) {
        let on = turn.grant.workload.to_string();
        turn.wait_on("Autoscaler", conflict, &on);
        return;
    }
    if step.splits() && turn.state.canary_pods == 0 {
        turn.wait(
            "ScaledToZero",
            format!("{} has no pods to compare with", turn.grant.workload),
        );
        return;
    }
    if may_route(turn, step) && hooking::may_begin(turn, index, step) {
        begin_routing(turn, index, step);
    }
}

/// Writes the route, once a data plane that never heard of the canary's pods knows them.
pub(super) fn begin_routing(turn: &mut Turn<'_>, index: u32, step: &PlannedStep) {
    if step.splits() && turn.state.split().is_none() {
        if turn.must_announce() {
            turn.state.announced = true;
            enter(turn, index, StepPart::Announcing);
        } else {
            warm_up(turn, index);
        }
        return;
    }
    route(turn, index, step);
}

fn warm_up(turn: &mut Turn<'_>, index: u32) {
    let until = turn.after(turn.seen.route_settle);
    enter(turn, index, StepPart::Warming { until });
}

/// Tells whether both versions can carry what the step gives them.
fn may_route(turn: &mut Turn<'_>, step: &PlannedStep) -> bool {
    if turn.is_in_place() {
        return in_place::serves(turn);
    }
    if turn.is_by_revision() {
        return by_revision::serves(turn);
    }
    // No short circuit: people see everything that is missing.
    pins_hold(turn)
        & awaits::canary_ready(turn)
        & awaits::apart(turn)
        & awaits::stable_carries_rest(turn, step.weight)
}

/// The routes name the canary, so that its Service is known before anything is sent there.
fn announcing(turn: &mut Turn<'_>, index: u32, step: &PlannedStep) {
    if !may_route(turn, step) {
        enter(turn, index, StepPart::Scaling);
        return;
    }
    if awaits::routes(turn) {
        warm_up(turn, index);
    }
}

/// A data plane learns of pods and of routes by separate watches. One that hears of the first route
/// to the canary before it hears of the canary's addresses answers with errors until it does.
fn warming(turn: &mut Turn<'_>, index: u32, step: &PlannedStep, until: Timestamp) {
    if !may_route(turn, step) {
        enter(turn, index, StepPart::Scaling);
        return;
    }
    if turn.announces() && !awaits::routes(turn) {
        enter(turn, index, StepPart::Announcing);
        return;
    }
    if turn.now < until {
        let message = "the gateway's data plane learns of the canary's pods";
        turn.wait_until("Warming", message, until, "the route is written");
        return;
    }
    route(turn, index, step);
}

/// Gives the canary what the step says.
fn route(turn: &mut Turn<'_>, index: u32, step: &PlannedStep) {
    turn.state.weight = step.weight;
    turn.state.matches.clone_from(&step.matches);
    turn.state.mirror = step.mirror;
    turn.state
        .affinity
        .clone_from(&turn.grant.plan.session_affinity);
    turn.state.routed |= step.splits();
    // Written is as good as carried: nobody knows when the gateway takes it over.
    turn.state.serving_pods = turn.state.canary_pods;
    enter(turn, index, StepPart::Routing);
}

fn settling(turn: &mut Turn<'_>, index: u32, until: Timestamp) {
    if !awaits::routes(turn) {
        return;
    }
    if turn.now < until {
        let message = "the gateway's data plane takes the weight over";
        turn.wait_until("Settling", message, until, "the weight counts as in force");
        return;
    }
    let next_check_at = later(until, interval(turn));
    // A new number, so that no answer from before this weight counts.
    turn.state.check += 1;
    let message = in_force(turn);
    turn.say(Severity::Info, "WeightInForce", message);
    enter(
        turn,
        index,
        StepPart::Analysing {
            since: until,
            next_check_at,
            checked: false,
            passed: 0,
        },
    );
}

/// Says what the canary has from now on.
fn in_force(turn: &Turn<'_>) -> String {
    let state = &turn.state;
    let mut parts = Vec::new();
    if state.weight > Weight::ZERO || state.split().is_none() {
        parts.push(format!("{} % of the traffic", state.weight));
    }
    if !state.matches.is_empty() {
        parts.push("every request that matches".to_owned());
    }
    if state.mirror > Weight::ZERO {
        parts.push(format!("a mirror of {} % of the requests", state.mirror));
    }
    format!("the canary has {}", parts.join(" and "))
}

/// Ends the run, or asks a human where the plan says so.
pub(super) fn fail(turn: &mut Turn<'_>, why: Failure, on_failure: AnalysisFailure) {
    let asks = on_failure == AnalysisFailure::Pause;
    let Stage::Step { index, .. } = &turn.state.stage else {
        rollback::begin(turn, why);
        return;
    };
    if !asks {
        rollback::begin(turn, why);
        return;
    }
    let index = *index;
    turn.say(
        Severity::Error,
        "Paused",
        format!("the run pauses: {}", why.message),
    );
    enter(turn, index, StepPart::Held { why });
}

/// Goes on with a step that a human was asked about.
pub(super) fn let_go(turn: &mut Turn<'_>) {
    let Stage::Step { index, .. } = turn.state.stage else {
        return;
    };
    turn.state.clock.reset(turn.now);
    enter(turn, index, StepPart::Scaling);
}

/// Sets the weight and pods of a canary that is driven by hand.
///
/// # Errors
/// Says why it does nothing.
pub(super) fn set_weight(turn: &mut Turn<'_>, set: Option<Manual>) -> Result<(), &'static str> {
    let Some(set) = set else {
        return Err("it names no weight");
    };
    if !turn.steps.iter().any(|step| step.by_hand) {
        return Err("the plan sets the weights; only canary.manual takes them by hand");
    }
    if set.replicas.is_some() && turn.is_by_revision() {
        return Err("each revision is sized by its own requests; leave the pods out");
    }
    if set.replicas.is_some() && turn.is_per_node() {
        return Err("a DaemonSet has a pod on each node, and its copy too; leave the pods out");
    }
    if set.replicas.is_some() && turn.fixed_total().is_some() {
        return Err("pods follow the weight where both versions share a fixed total");
    }
    turn.set_by_hand(set);
    let_go(turn);
    Ok(())
}

pub(super) fn is_last(turn: &Turn<'_>, index: u32) -> bool {
    usize::try_from(index).is_ok_and(|index| index + 1 >= turn.steps.len())
}

/// Leaves the current step, and says why.
pub(super) fn leave(turn: &mut Turn<'_>, verdict: Verdict, by: &str) {
    let Stage::Step { index, ref part } = turn.state.stage else {
        return;
    };
    let judged = gathering::judged(part, verdict);
    let verdict = StepVerdict {
        step: index,
        verdict,
        by: by.to_owned(),
        at: turn.now,
    };
    turn.state.verdicts.push(verdict);
    if is_last(turn, index) {
        // Nothing is learned from it any more, and the canary serves.
        turn.state.mirror = Weight::ZERO;
        let message = "every step passed; the workload takes the new template";
        turn.say(Severity::Info, "Promoting", message.to_owned());
        let part = if turn.is_in_place() {
            PromotionPart::Updating
        } else {
            PromotionPart::Gathering { judged }
        };
        turn.enter(Stage::Promoting { part });
    } else {
        enter(turn, index + 1, StepPart::Scaling);
    }
}

/// Leaves the current step unchecked.
pub(super) fn skip(turn: &mut Turn<'_>, by: &str) {
    leave(turn, Verdict::Overridden, by);
}

/// Leaves every remaining step unchecked.
pub(super) fn promote(turn: &mut Turn<'_>, by: &str) {
    while matches!(turn.state.stage, Stage::Step { .. }) {
        leave(turn, Verdict::Overridden, by);
    }
}

//! Before the first step: nothing is changed until everything that the run needs is there.

use bellwether_api::{
    hooks::HookKind,
    status::{FailureReason, Severity},
    strategy::{InstancesMode, StrategyKind},
};

use super::{
    adapted, awaits, by_revision, hooking, in_place, per_node, replacing, rollback, scaling,
    stage::{Failure, Stage, StepPart},
    steps,
    turn::Turn,
};
use crate::settled::TemplateVersion;

/// Refuses what cannot be driven, waits for what is not there yet.
pub(super) fn initializing(turn: &mut Turn<'_>) {
    if turn.grant.plan.analysis.skip && replacing::may_begin(turn) {
        replacing::begin(turn, "analysis.skip");
        return;
    }
    if turn.is_in_place() {
        in_place::initializing(turn);
        return;
    }
    if turn.is_by_revision() {
        by_revision::initializing(turn);
        return;
    }
    if let Some(message) = refusal(turn) {
        refuse(turn, message);
        return;
    }
    let ready = apex_exists(turn) & routes_untouched(turn) & not_paused(turn);
    let Some(settled) = awaits::stands(turn, TemplateVersion::Old) else {
        replacing::offer(turn);
        return;
    };
    if settled.replicas == 0 {
        let on = turn.grant.workload.to_string();
        turn.wait_on(
            "ScaledToZero",
            format!("{on} has no pods to compare with"),
            &on,
        );
        return;
    }
    if !ready || !hooking::opens(turn, HookKind::ConfirmRollout, 0) {
        return;
    }
    let selected = turn.seen.services.iter().filter(|_| !turn.by_pods());
    let mut pinned: Vec<_> = selected.map(|service| service.name.clone()).collect();
    pinned.sort();
    pinned.dedup();
    // A workload that had to finish rolling out comes here again.
    if turn.state.stable.is_none() {
        let message = format!(
            "{} has {} pods of {}",
            turn.grant.workload, settled.replicas, settled.hash
        );
        say_started(turn, &message);
    }
    turn.state.stable = Some(settled);
    turn.state.pinned = pinned;
    turn.enter(Stage::Pausing);
}

/// Says what the run begins with.
pub(super) fn say_started(turn: &mut Turn<'_>, message: &str) {
    turn.say(Severity::Info, "Started", message.to_owned());
    if hooking::nothing_judges(turn) && !turn.grant.plan.analysis.skip {
        let message = "the plan has no metrics and no hooks: readiness alone decides";
        turn.say(Severity::Warn, "NothingConfigured", message.to_owned());
    }
}

/// Waits until nothing can change the hash any more, and takes the hash that there is then.
pub(super) fn pausing(turn: &mut Turn<'_>) {
    if !awaits::paused(turn, true) {
        return;
    }
    if awaits::rolls(turn) || replacing::is_broken(turn) {
        // Somebody restarted it before it was paused, or its pods broke: it has to finish first.
        turn.enter(Stage::Initializing);
        return;
    }
    if let Some(settled) = awaits::stands(turn, TemplateVersion::Old) {
        turn.state.stable = Some(settled);
        turn.enter(Stage::Pinning);
    }
}

/// Waits until no Service could take canary pods for its own.
pub(super) fn pinning(turn: &mut Turn<'_>) {
    if let Some(message) = refusal(turn) {
        refuse(turn, message);
        return;
    }
    if pins_hold(turn) {
        first_step(turn);
    }
}

/// Begins the steps.
pub(super) fn first_step(turn: &mut Turn<'_>) {
    turn.enter(Stage::Step {
        index: 0,
        part: StepPart::Scaling,
    });
    if turn.grant.plan.analysis.skip {
        let message = "the plan skips its steps: the new version is taken untested";
        turn.say(Severity::Warn, "AnalysisSkipped", message.to_owned());
        steps::promote(turn, "analysis.skip");
    }
}

/// Every Service that would select canary pods is pinned to the old version, also those that came
/// since.
pub(super) fn pins_hold(turn: &mut Turn<'_>) -> bool {
    if turn.by_pods() {
        return true;
    }
    for service in &turn.seen.services {
        if turn.state.pinned.contains(&service.name) {
            continue;
        }
        if service.unpinnable.is_empty() {
            turn.state.pinned.push(service.name.clone());
            turn.state.pinned.sort();
        } else {
            let on = format!("Service/{}", service.name);
            let message = format!("{on} would select canary pods: {}", service.unpinnable);
            turn.wait_on("ServiceUnpinnable", message, &on);
            return false;
        }
    }
    let hash = turn.state.stable.as_ref().map(|stable| stable.hash.clone());
    awaits::pins(turn, hash.as_deref())
}

/// Lists what would make a run unsafe, by name.
pub(super) fn refusal(turn: &Turn<'_>) -> Option<String> {
    let seen = turn.seen;
    let plan = &turn.grant.plan;
    if turn.steps.is_empty() {
        return Some("the plan has no steps that this agent can drive".to_owned());
    }
    if plan.instances.mode == InstancesMode::InPlace {
        return Some("instances.mode InPlace goes with strategy.batch alone".to_owned());
    }
    let blue_green = plan.strategy.set() == Some(StrategyKind::BlueGreen);
    if (blue_green || !turn.only_weighs) && (plan.service.is_none() || plan.traffic.is_empty()) {
        return Some(
            "the strategy needs a route, and neither the plan nor its fleet names one".to_owned(),
        );
    }
    if let Some(conflict) = scaling::conflict(turn)
        .or_else(|| per_node::refusal(turn))
        .or_else(|| adapted::refusal(turn))
    {
        return Some(conflict);
    }
    if !seen.foreign_objects.is_empty() {
        return Some(format!(
            "{} exists and is not of this run",
            seen.foreign_objects.join(", ")
        ));
    }
    if let Some(message) = lacking(turn) {
        return Some(message);
    }
    let unpinnable: Vec<_> = seen
        .services
        .iter()
        .filter(|service| !service.unpinnable.is_empty() && !turn.by_pods())
        .map(|service| {
            let name = &service.name;
            format!(
                "Service/{name} would select canary pods: {}",
                service.unpinnable
            )
        })
        .collect();
    (!unpinnable.is_empty()).then(|| unpinnable.join("; "))
}

/// Names what the plan asks of routes that whatever serves them is known to lack; `None` = nothing.
pub(super) fn lacking(turn: &Turn<'_>) -> Option<String> {
    let lacks = turn.seen.routes.iter().filter_map(|route| {
        let lacking = route.lacking.as_ref()?;
        Some(format!(
            "{} cannot carry what the plan asks: {lacking}",
            route.name
        ))
    });
    let lacks: Vec<String> = lacks.collect();
    (!lacks.is_empty()).then(|| lacks.join("; "))
}

pub(super) fn refuse(turn: &mut Turn<'_>, message: String) {
    rollback::begin(
        turn,
        Failure {
            reason: FailureReason::Refused,
            message,
        },
    );
}

pub(super) fn apex_exists(turn: &mut Turn<'_>) -> bool {
    let Some(apex) = &turn.grant.plan.service else {
        return true;
    };
    let exists = turn
        .seen
        .services
        .iter()
        .any(|service| service.name == apex.name);
    if !exists {
        let on = format!("Service/{}", apex.name);
        turn.wait_on("ServiceMissing", format!("{on} does not exist"), &on);
    }
    exists
}

pub(super) fn routes_untouched(turn: &mut Turn<'_>) -> bool {
    awaits::routes(turn)
}

/// A workload that its user paused does not roll out: it would never take the new template.
pub(super) fn not_paused(turn: &mut Turn<'_>) -> bool {
    let paused = turn
        .seen
        .workload
        .as_ref()
        .is_some_and(|workload| workload.paused);
    if paused {
        let on = turn.grant.workload.to_string();
        turn.wait_on("WorkloadPaused", format!("{on} is paused"), &on);
    }
    !paused
}

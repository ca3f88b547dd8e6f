//! Runs in place: no copy is made. The user's workload takes the new template at once, and a
//! partition holds back every pod that no step has granted yet.

mod back;
mod growth;
mod split;

use bellwether_api::{
    hooks::HookKind,
    status::{ReadyCount, Severity},
    workload_adapter::WorkloadAdapter,
};

use super::{
    checks::interval,
    hooking,
    observations::InPlaceView,
    overlay::{InPlaceWant, Overlay},
    replacing,
    stage::{PromotionPart, RollbackPart, Stage, StepPart},
    start,
    state::{InPlace, RunState},
    steps,
    turn::Turn,
};
use crate::{
    settled::{DeploymentView, TemplateVersion},
    sizes::ready_enough,
    weights::PlannedStep,
};

pub(super) use back::{keep_one, rolling_back, way_back};
pub(super) use growth::{follow_size, resize};

/// What keeps the pods that may be new from counting: a reason and a sentence.
type Missing = (&'static str, String);

/// Refuses what cannot be driven, waits for what is not there yet.
pub(super) fn initializing(turn: &mut Turn<'_>) {
    if let Some(message) = refusal(turn) {
        start::refuse(turn, message);
        return;
    }
    let running = start::not_paused(turn) & split::may_begin(turn);
    let Some((old, total)) = stands(turn, TemplateVersion::Old) else {
        replacing::offer(turn);
        return;
    };
    let on = turn.grant.workload.to_string();
    if total == 0 {
        turn.wait_on("ScaledToZero", format!("{on} has no pods to update"), &on);
        return;
    }
    if !running {
        return;
    }
    let Ok(apart) = split::begins(turn) else {
        return;
    };
    if !hooking::opens(turn, HookKind::ConfirmRollout, 0) {
        return;
    }
    start::say_started(turn, &format!("{on} has {total} pods of {old}"));
    turn.state.in_place = Some(InPlace {
        old,
        total,
        granted: 0,
        apart,
    });
    start::first_step(turn);
}

fn refusal(turn: &Turn<'_>) -> Option<String> {
    let workload = &turn.grant.workload;
    if turn.steps.is_empty() {
        return Some("the plan has no steps that this agent can drive".to_owned());
    }
    if WorkloadAdapter::of(&turn.grant.plan.workload).is_none() {
        return Some(format!(
            "nothing is known of how {workload} holds pods back"
        ));
    }
    if let Some(message) = split::refusal(turn) {
        return Some(message);
    }
    let others = &turn.seen.config_held_by;
    if !others.is_empty() {
        return Some(format!(
            "{} changes configuration of {workload} too, which has one copy for both; release them \
             one after the other, or set trigger.trackConfig to false",
            others.join(", ")
        ));
    }
    growth::conflict(turn)
}

/// Waits until the step's pods are new and ready; then requests are sent to them where the step says
/// which, and the checks begin.
pub(super) fn upgrading(turn: &mut Turn<'_>, index: u32, step: &PlannedStep) {
    if !growth::agrees(turn) || !ready(turn) || !growth::grants(turn, step) {
        return;
    }
    let run = turn.state.in_place.as_ref();
    if run.is_some_and(|run| split::keeps_apart(run, step)) {
        if serves(turn) && hooking::may_begin(turn, index, step) {
            steps::begin_routing(turn, index, step);
        }
        return;
    }
    if let Some(run) = run {
        let (new, total) = (run.granted + growth::kept(turn), run.total);
        let message = format!("{new} of {total} pods run the new version and are ready");
        turn.say(Severity::Info, "BatchReady", message);
    }
    // A new number, so that no answer from before these pods counts.
    turn.state.check += 1;
    let part = StepPart::Analysing {
        since: turn.now,
        next_check_at: turn.after(interval(turn)),
        checked: false,
        passed: 0,
    };
    steps::enter(turn, index, part);
}

/// The pods that may be new are new, ready, and where requests find them.
pub(super) fn serves(turn: &mut Turn<'_>) -> bool {
    // No short circuit: people see everything that is missing.
    ready(turn) & split::serves(turn)
}

/// The pods that may be new are new and ready; says what is missing.
fn ready(turn: &mut Turn<'_>) -> bool {
    let Some((reason, message)) = missing(turn) else {
        return true;
    };
    let on = turn.grant.workload.to_string();
    turn.wait_on(reason, format!("{on}: {message}"), &on);
    false
}

fn missing(turn: &Turn<'_>) -> Option<Missing> {
    let run = turn.state.in_place.as_ref()?;
    let (workload, view) = match written(turn, TemplateVersion::New) {
        Ok(found) => found,
        Err(missing) => return Some(missing),
    };
    if workload.replicas == 0 {
        let message = "it is scaled to nothing, and has no pods to update".to_owned();
        return Some(("ScaledToZero", message));
    }
    let held = run.total.saturating_sub(run.granted);
    if view.partition != Some(held) || workload.replicas != run.total {
        let message = format!("{held} of {} pods are not held back yet", run.total);
        return Some(("NotWritten", message));
    }
    let trouble = trouble_of(Some(view));
    let granted = run.granted + view.kept_new;
    if view.updated < granted {
        let message = format!("{} of {granted} pods are new{trouble}", view.updated);
        return Some(("PodsNotUpdated", message));
    }
    let needed = ready_enough(turn.grant.plan.instances.ready_threshold, granted);
    if view.updated_available < needed {
        let of = if needed < granted {
            format!("{granted} new pods are ready, {needed} are needed")
        } else {
            format!("{granted} new pods are ready")
        };
        let message = format!("{} of {of}{trouble}", view.updated_available);
        return Some(("PodsNotReady", message));
    }
    None
}

/// What is known of why pods are not as they should be, to be appended.
fn trouble_of(view: Option<&InPlaceView>) -> String {
    match view.map_or("", |view| view.trouble.as_str()) {
        "" => String::new(),
        trouble => format!(": {trouble}"),
    }
}

/// The workload as the run wants it, in the words of a controller that has seen it.
fn written<'a>(
    turn: &Turn<'a>,
    template: TemplateVersion,
) -> Result<(&'a DeploymentView, &'a InPlaceView), Missing> {
    let seen = turn.seen;
    let (Some(workload), Some(view)) = (&seen.workload, &seen.in_place) else {
        return Err(("TargetGone", "it does not exist".to_owned()));
    };
    let want = Overlay::of(&turn.state).in_place;
    if view.written.as_ref() != Some(&want) || workload.template != template {
        let message = "it is not written as the run wants it yet".to_owned();
        return Err(("NotWritten", message));
    }
    if workload.observed_generation < workload.generation {
        let message = format!(
            "its controller has seen generation {} of {}",
            workload.observed_generation, workload.generation
        );
        return Err(("NotObserved", message));
    }
    Ok((workload, view))
}

/// All pods are of the workload's template and ready: their revision and how many they are.
fn stands(turn: &mut Turn<'_>, template: TemplateVersion) -> Option<(String, u32)> {
    let on = turn.grant.workload.to_string();
    let trouble = trouble_of(turn.seen.in_place.as_ref());
    let missing = match written(turn, template) {
        Ok((workload, view)) => {
            let counts = [
                ("PodsNotUpdated", "of its template", view.updated),
                ("PodsNotReady", "ready", view.updated_available),
                ("OldPods", "there", workload.total),
            ];
            let wanted = workload.replicas;
            let short = counts.iter().find(|(_, _, count)| *count != wanted);
            match short {
                None => return Some((workload.revision.clone(), wanted)),
                Some((reason, what, count)) => (
                    *reason,
                    format!("{count} of {wanted} pods are {what}{trouble}"),
                ),
            }
        }
        Err(missing) => missing,
    };
    turn.wait_on(missing.0, format!("{on}: {}", missing.1), &on);
    None
}

/// Every pod takes the new version, requests go by the user's own Service and route again, then the
/// workload becomes what the user wrote.
pub(super) fn promoting(turn: &mut Turn<'_>, part: PromotionPart) {
    let next = match part {
        PromotionPart::Shifting { new, shift } => split::shifting(turn, new, shift),
        PromotionPart::Draining { new, until } => split::draining(turn, new, until),
        PromotionPart::Removing { .. } => {
            split::service_is_gone(turn).then_some(PromotionPart::Unpausing)
        }
        PromotionPart::Unpausing => {
            if restored(turn, TemplateVersion::New) {
                let message = format!("{} runs the new version", turn.grant.workload);
                turn.say(Severity::Info, "Succeeded", message);
                turn.enter(Stage::Succeeded);
            }
            return;
        }
        _ => updating(turn),
    };
    if let Some(part) = next {
        turn.enter(Stage::Promoting { part });
    }
}

fn updating(turn: &mut Turn<'_>) -> Option<PromotionPart> {
    if !split::opened(turn) {
        return None;
    }
    let total = turn.state.in_place.as_ref()?.total;
    growth::grow(turn, total);
    let all = turn.state.in_place.as_ref()?.granted == total;
    // Who keeps the last pods from being let go is named.
    let agrees = all || growth::agrees(turn);
    (ready(turn) && all && agrees).then(|| split::way_out(turn))
}

fn restored(turn: &mut Turn<'_>, template: TemplateVersion) -> bool {
    let Err((reason, message)) = written(turn, template) else {
        return true;
    };
    let on = turn.grant.workload.to_string();
    turn.wait_on(reason, format!("{on}: {message}"), &on);
    false
}

/// Tells what a state wants of the cluster.
pub(super) fn overlay(state: &RunState, run: &InPlace) -> Overlay {
    use {PromotionPart as Forth, RollbackPart as Back};
    let (template, partition) = match &state.stage {
        Stage::Step { .. } => (TemplateVersion::New, Some(run.total - run.granted)),
        Stage::Promoting {
            part: Forth::Unpausing,
        }
        | Stage::Succeeded => (TemplateVersion::New, None),
        Stage::Promoting { .. } => (TemplateVersion::New, Some(run.total - run.granted)),
        Stage::RollingBack { part, .. } => match part {
            Back::Unloading | Back::Settling { .. } | Back::Draining { .. } => {
                let keeps = run.apart.as_ref().map_or(0, |apart| apart.keeps_one);
                (TemplateVersion::Old, Some(keeps))
            }
            Back::Retemplating | Back::Shrinking => (TemplateVersion::Old, Some(0)),
            _ => (TemplateVersion::Old, None),
        },
        _ => (TemplateVersion::Old, None),
    };
    let goes_back = template == TemplateVersion::Old && partition.is_some();
    Overlay {
        in_place: InPlaceWant {
            partition,
            replaces: goes_back.then(|| run.old.clone()),
        },
        pins: split::pins(state, run),
        split: state.split(),
        new_pods: split::new_pods(state, run),
        ..Overlay::none(template)
    }
}

/// Ready and wanted pods of the old and of the new version.
pub(super) fn counts(state: &RunState, turn: &Turn<'_>) -> Option<(ReadyCount, ReadyCount)> {
    let (run, view) = (state.in_place.as_ref()?, turn.seen.in_place.as_ref()?);
    let ready = turn.seen.workload.as_ref()?.ready;
    let (new, desired) = match &state.stage {
        Stage::Step { .. } | Stage::Promoting { .. } => {
            let granted = run.granted + growth::kept(turn);
            (view.updated_available, granted.min(run.total))
        }
        Stage::RollingBack { .. } => (ready.saturating_sub(view.updated_available), 0),
        _ => return None,
    };
    let new = new.min(ready);
    let old = ReadyCount {
        ready: ready - new,
        desired: run.total - desired,
    };
    let new = ReadyCount {
        ready: new,
        desired,
    };
    Some((old, new))
}

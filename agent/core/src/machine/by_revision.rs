//! Runs of workloads that keep a revision of each template: no copy is made. The workload takes the new
//! template at once, in the write that keeps every request on the old revision, and shares them itself.

use bellwether_api::{
    hooks::HookKind,
    status::{ReadyCount, Severity},
};

use serde::{Deserialize, Serialize};

use super::{
    awaits, commands, hooking,
    observations::RevisionsView,
    overlay::{Overlay, RevisionsWant},
    replacing, rollback,
    stage::{Failure, PromotionPart, RollbackPart as Back, Stage},
    start,
    state::RunState,
    steps,
    turn::Turn,
};
use crate::{settled::TemplateVersion, weights::PlannedStep};

/// The two revisions between which a workload shares its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revisions {
    /// The one that served when the run began.
    pub old: String,
    /// The one of the new template; absent = it was not seen yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// What keeps a revision from counting: a reason and a sentence.
type Missing = (&'static str, String);

/// Refuses what cannot be driven, waits for what is not there yet.
pub(super) fn initializing(turn: &mut Turn<'_>) {
    if let Some(message) = refusal(turn) {
        start::refuse(turn, message.to_owned());
        return;
    }
    let Some(old) = stands(turn, TemplateVersion::Old) else {
        replacing::offer(turn);
        return;
    };
    if !hooking::opens(turn, HookKind::ConfirmRollout, 0) {
        return;
    }
    let message = format!("{} serves by revision {old}", turn.grant.workload);
    start::say_started(turn, &message);
    turn.state.revisions = Some(Revisions { old, new: None });
    start::first_step(turn);
}

/// Says what would make a run unsafe; `None` = nothing.
pub(super) fn refusal(turn: &Turn<'_>) -> Option<&'static str> {
    let weighs = turn.only_weighs && turn.grant.plan.strategy.batch.is_none();
    (turn.steps.is_empty() || !weighs)
        .then_some("revisions share requests by weight alone, and the plan asks for more")
}

/// Its controller has seen the old template, and says that the revision of it is not ready.
pub(super) fn is_broken(turn: &Turn<'_>) -> bool {
    written(turn, TemplateVersion::Old).is_ok_and(|view| !view.created.is_empty() && !view.is_ready)
}

/// Remembers which revision is the new template's.
pub(super) fn name_new(turn: &mut Turn<'_>) {
    let Some(run) = &turn.state.revisions else {
        return;
    };
    let Ok(view) = written(turn, TemplateVersion::New) else {
        return;
    };
    let named = !view.created.is_empty() && view.created != run.old;
    if named && run.new.as_ref() != Some(&view.created) && turn.state.split().is_none() {
        let new = Some(view.created.clone());
        if let Some(run) = &mut turn.state.revisions {
            run.new = new;
        }
    }
}

/// Waits until the new revision can serve; then requests are sent to it.
pub(super) fn upgrading(turn: &mut Turn<'_>, index: u32, step: &PlannedStep) {
    if serves(turn) && hooking::may_begin(turn, index, step) {
        steps::begin_routing(turn, index, step);
    }
}

/// The new revision can serve; says what is missing.
pub(super) fn serves(turn: &mut Turn<'_>) -> bool {
    let missing = match written(turn, TemplateVersion::New) {
        Ok(view) => unready(turn, view),
        Err(missing) => Some(missing),
    };
    says(turn, missing)
}

fn unready(turn: &Turn<'_>, view: &RevisionsView) -> Option<Missing> {
    let run = turn.state.revisions.as_ref()?;
    if run.new.as_ref() != Some(&view.created) {
        let message = if run.new.is_some() {
            format!("revision {} is not of this run", view.created)
        } else {
            "it has no revision of the new template yet".to_owned()
        };
        return Some(("NotUpdated", message));
    }
    let broken = !view.is_ready || !view.trouble.is_empty();
    broken.then(|| ("RevisionNotReady", not_ready(view)))
}

fn not_ready(view: &RevisionsView) -> String {
    let trouble = if view.trouble.is_empty() { "" } else { ": " };
    let (name, why) = (&view.created, &view.trouble);
    format!("revision {name} is not ready{trouble}{why}")
}

fn says(turn: &mut Turn<'_>, missing: Option<Missing>) -> bool {
    let Some((reason, message)) = missing else {
        return true;
    };
    let on = turn.grant.workload.to_string();
    turn.wait_on(reason, format!("{on}: {message}"), &on);
    false
}

/// The new revision is known to be broken.
pub(super) fn is_lost(turn: &Turn<'_>) -> bool {
    let view = turn.seen.revisions.as_ref();
    view.is_some_and(|view| !view.trouble.is_empty())
}

/// The workload as the run wants it, in the words of a controller that has seen it.
fn written<'a>(turn: &Turn<'a>, template: TemplateVersion) -> Result<&'a RevisionsView, Missing> {
    let (Some(workload), Some(view)) = (&turn.seen.workload, &turn.seen.revisions) else {
        return Err(("TargetGone", "it does not exist".to_owned()));
    };
    let want = Overlay::of(&turn.state).revisions;
    // A name that was learned just now changes nothing of what is written as long as it has no share.
    let same = view.written.as_ref().is_some_and(|written| {
        written.old == want.old && (written.new == want.new || turn.state.split().is_none())
    });
    if !same || workload.template != template {
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
    Ok(view)
}

/// The revision of the workload's template is ready and has every request: its name.
pub(super) fn stands(turn: &mut Turn<'_>, template: TemplateVersion) -> Option<String> {
    let missing = match written(turn, template) {
        Ok(view) if view.created.is_empty() => ("NoRevision", "it has no revision yet".to_owned()),
        Ok(view) if !view.is_ready => ("RevisionNotReady", not_ready(view)),
        Ok(view) if !view.has_all => {
            let message = format!("revision {} does not have every request yet", view.created);
            ("RouteNotProgrammed", message)
        }
        Ok(view) => return Some(view.created.clone()),
        Err(missing) => missing,
    };
    says(turn, Some(missing));
    None
}

/// The workload becomes what the user wrote, which gives the newest revision every request.
pub(super) fn promoting(turn: &mut Turn<'_>) {
    let Some(newest) = stands(turn, TemplateVersion::New) else {
        return;
    };
    turn.state.unroute();
    let message = format!("{} serves by revision {newest}", turn.grant.workload);
    turn.say(Severity::Info, "Succeeded", message);
    turn.enter(Stage::Succeeded);
}

/// Where a run begins to go back: no request has to, if none ever came to the new revision.
pub(super) fn way_back(turn: &Turn<'_>) -> Back {
    let state = &turn.state;
    let promoted = matches!(state.stage, Stage::Promoting { .. });
    if promoted || state.routed || !state.split().is_none() {
        Back::Unloading
    } else {
        Back::Removing
    }
}

/// Requests go back to the old revision, the old template comes back, and once a revision of it can
/// serve, the workload becomes what the user wrote: the newest revision has every request then.
pub(super) fn rolling_back(turn: &mut Turn<'_>, failure: Failure, part: Back) {
    let absent = turn.seen.workload.is_none();
    let next = match part {
        Back::Unloading => unloading(turn, &failure),
        Back::Settling { until } => rollback::settling(turn, until),
        Back::Draining { until } => rollback::draining(turn, &failure, until),
        Back::Unpausing => {
            if absent || stands(turn, TemplateVersion::Old).is_some() {
                rollback::fail(turn, failure);
            }
            return;
        }
        _ => (absent || is_back(turn)).then_some(Back::Unpausing),
    };
    if let Some(part) = next {
        turn.enter(Stage::RollingBack { failure, part });
    }
}

fn unloading(turn: &mut Turn<'_>, failure: &Failure) -> Option<Back> {
    let before = turn.state.split();
    turn.state.unroute();
    let gone = turn.seen.workload.is_none() || rollback::is_given_up(turn, failure, &before);
    (awaits::routes(turn) || gone).then(|| Back::Settling {
        until: turn.after(turn.seen.route_settle),
    })
}

/// A revision of the old template can serve, so that the newest one is none of the new template.
fn is_back(turn: &mut Turn<'_>) -> bool {
    let tried = turn
        .state
        .revisions
        .as_ref()
        .and_then(|run| run.new.as_ref());
    let missing = match written(turn, TemplateVersion::Old) {
        Ok(view) if tried == Some(&view.created) => {
            let message = "it has no revision of the old template yet".to_owned();
            Some(("NotUpdated", message))
        }
        Ok(view) if !view.is_ready => Some(("RevisionNotReady", not_ready(view))),
        Ok(_) => None,
        Err(missing) => Some(missing),
    };
    let nobody_waits = turn.seen.workload.is_none() && commands::is_deleted(turn);
    says(turn, missing) || nobody_waits
}

/// Tells what a state wants of the cluster.
pub(super) fn overlay(state: &RunState, run: &Revisions) -> Overlay {
    let (template, is_held) = match &state.stage {
        // What comes in comes in as a whole: until all of it is there the shares stay.
        Stage::Step { .. }
        | Stage::Promoting {
            part: PromotionPart::Gathering { .. },
        } => (TemplateVersion::New, true),
        Stage::Promoting { .. } | Stage::Succeeded => (TemplateVersion::New, false),
        Stage::RollingBack { part, .. } => match part {
            Back::Unloading | Back::Settling { .. } | Back::Draining { .. } => {
                (TemplateVersion::New, true)
            }
            Back::Unpausing => (TemplateVersion::Old, false),
            _ => (TemplateVersion::Old, true),
        },
        _ => (TemplateVersion::Old, false),
    };
    let mut overlay = Overlay::none(template);
    if is_held {
        overlay.split = state.split();
        overlay.revisions = RevisionsWant {
            old: Some(run.old.clone()),
            new: run.new.clone(),
        };
    }
    overlay
}

/// Ready and wanted revisions of the old and of the new version: each counts as one.
pub(super) fn counts(state: &RunState, turn: &Turn<'_>) -> Option<(ReadyCount, ReadyCount)> {
    let view = turn.seen.revisions.as_ref()?;
    let run = state.revisions.as_ref()?;
    let one = |is_ready: bool, desired: u32| ReadyCount {
        ready: u32::from(is_ready),
        desired,
    };
    let is_new = run.new.as_ref() == Some(&view.created);
    let wanted = u32::from(matches!(
        state.stage,
        Stage::Step { .. } | Stage::Promoting { .. } | Stage::Succeeded
    ));
    Some((one(true, 1), one(is_new && view.is_ready, wanted)))
}

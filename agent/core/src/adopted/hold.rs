//! What a run wants of a Deployment whose template somebody else writes.
//!
//! The live template is the new one from the first moment; `paused` keeps the pods of the old one. So
//! "the old template" of an overlay means: paused, with no pod of the new one.

use serde_json::{Value, json};

use super::{
    marks::{HELD_ANNOTATION, WRITTEN_ANNOTATION},
    sight::{PodSet, Sight},
};
use crate::{
    machine::Overlay,
    merge_patch::replacing,
    settled::{DeploymentView, TemplateVersion},
};

/// The two templates of a run.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The Rollout's name.
    pub rollout: &'a str,
    /// The template that comes in.
    pub new: &'a Value,
    /// The template that ran before.
    pub old: &'a Value,
}

/// What is to be written so that the workload is as the run wants it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkloadHold {
    /// A merge patch of the Deployment; absent = it is as it should be.
    pub patch: Option<Value>,
    /// A ReplicaSet of the new template that must have no pods; absent = there is none.
    pub undo: Option<String>,
}

/// Tells what the workload lacks of what a run wants. A template that is neither of the two is held
/// off too: the run ends, and the next one begins with it.
#[must_use]
pub fn workload_hold(sight: &Sight, held: Held<'_>, overlay: &Overlay) -> WorkloadHold {
    let patched = |patch| WorkloadHold { patch, undo: None };
    let name = held.rollout;
    let is_old = sight.template == *held.old;
    match overlay.template {
        TemplateVersion::New if sight.template == *held.new => {
            patched(without_note(sight, paused(sight, name, overlay.paused)))
        }
        TemplateVersion::Old if is_old && comes_back(sight, held.old, overlay) => {
            patched(without_outdated(sight.marks.is_outdated(), None))
        }
        TemplateVersion::Old if is_old => {
            let owed = owed(sight, name).filter(|_| overlay.paused);
            let patch = owed.or_else(|| paused(sight, name, overlay.paused));
            patched(without_outdated(sight.marks.is_outdated(), patch))
        }
        TemplateVersion::Old
            if may_roll(sight, held.old, overlay) && serves_others(sight, held.old) =>
        {
            patched(Some(put_back(sight, held.old)))
        }
        // Whatever it carries, no pod of it may be made before the run is back.
        _ => WorkloadHold {
            patch: pause(sight, name),
            undo: made_for_nothing(sight, held.old).map(|set| set.name.clone()),
        },
    }
}

/// Whether a run that wants the old version may let it roll: it wants no pause, or pods that were taken back at
/// once would be missed, since no canary serves, or too few pods do with it. What share of the requests the canary
/// has is not asked: as a run goes back it only falls, and the old version's pods come back meanwhile.
fn may_roll(sight: &Sight, old: &Value, overlay: &Overlay) -> bool {
    let canary = overlay.canary.map_or(0, |canary| canary.replicas);
    !overlay.paused || canary == 0 || old_ready(sight, old) + canary < sight.replicas
}

/// Ready pods of the old version.
fn old_ready(sight: &Sight, old: &Value) -> u32 {
    let others = sight.others.iter();
    let ready: u32 = others
        .filter(|set| set.template == *old)
        .map(|set| set.ready)
        .sum();
    if sight.template == *old {
        ready + sight.current_ready()
    } else {
        ready
    }
}

/// Whether the old version replaces pods of another one that serve. A pause would keep it from that.
fn comes_back(sight: &Sight, old: &Value, overlay: &Overlay) -> bool {
    let mut others = sight.others.iter();
    overlay.paused
        && !sight.paused
        && may_roll(sight, old, overlay)
        && others.any(|set| set.ready > 0)
}

/// Pods that are of the old version.
fn old_pods(sight: &Sight, old: &Value) -> bool {
    sight.others.iter().any(|set| set.template == *old)
}

/// Pods of another version than the old one serve, or none of the old one is left: only a rolling update
/// takes them back without a gap.
fn serves_others(sight: &Sight, old: &Value) -> bool {
    let mut others = sight.others.iter().filter(|set| set.template != *old);
    sight.current_ready() > 0
        || others.any(|set| set.ready > 0)
        || !old_pods(sight, old) && !sight.others.is_empty()
}

/// Pods of the live template, or of one between it and the old one, that are taken back while the old
/// version serves.
fn made_for_nothing<'a>(sight: &'a Sight, old: &Value) -> Option<&'a PodSet> {
    let others = sight.others.iter();
    let between = others.filter(|set| set.template != *old && set.ready == 0);
    let mut made = sight.current.iter().chain(between);
    made.find(|set| set.wanted > 0)
        .filter(|_| old_pods(sight, old))
}

fn put_back(sight: &Sight, old: &Value) -> Value {
    let written = sight.template.to_string();
    json!({
        "metadata": {"annotations": {HELD_ANNOTATION: null, WRITTEN_ANNOTATION: written}},
        "spec": {"paused": null, "template": replacing(&sight.template, old)},
    })
}

fn given_back(sight: &Sight, rollout: &str, written: &Value) -> Value {
    json!({
        "metadata": {"annotations": {HELD_ANNOTATION: rollout, WRITTEN_ANNOTATION: null}},
        "spec": {"paused": true, "template": replacing(&sight.template, written)},
    })
}

/// The merge patch that gives a workload back what its owner wrote, paused, where a run had put the
/// template before back; absent = none had.
#[must_use]
pub fn owed(sight: &Sight, rollout: &str) -> Option<Value> {
    let written = sight.marks.written.as_ref()?;
    Some(given_back(sight, rollout, written))
}

/// The merge patch that pauses a workload for a Rollout; absent = it is.
#[must_use]
pub fn pause(sight: &Sight, rollout: &str) -> Option<Value> {
    without_note(sight, paused(sight, rollout, true))
}

fn paused(sight: &Sight, rollout: &str, wanted: bool) -> Option<Value> {
    let marked = sight.marks.is_held_by(rollout);
    // A pause without our mark is somebody else's.
    let due = if wanted {
        !(sight.paused && marked)
    } else {
        sight.marks.is_held()
    };
    due.then(|| {
        let (mark, pause) = if wanted {
            (json!(rollout), json!(true))
        } else {
            (Value::Null, Value::Null)
        };
        json!({
            "metadata": {"annotations": {HELD_ANNOTATION: mark}},
            "spec": {"paused": pause},
        })
    })
}

/// A patch of a workload that carries another template than the one before: what its owner wrote is there
/// itself, whatever was noted while a run had put that one back.
fn without_note(sight: &Sight, patch: Option<Value>) -> Option<Value> {
    without_outdated(sight.marks.is_noted, patch)
}

fn without_outdated(is_outdated: bool, patch: Option<Value>) -> Option<Value> {
    if !is_outdated {
        return patch;
    }
    let mut patch = patch.unwrap_or_else(|| json!({}));
    patch["metadata"]["annotations"][WRITTEN_ANNOTATION] = Value::Null;
    Some(patch)
}

/// The merge patch that takes every trace of a Rollout off a workload, with the template that its pods
/// have: whatever was held off stays off, and the workload is its owner's again. Absent = there is no
/// trace.
#[must_use]
pub fn release(sight: &Sight) -> Option<Value> {
    if !sight.marks.is_held() && !sight.marks.is_noted {
        return None;
    }
    let mut patch = json!({"metadata": {"annotations": {
        HELD_ANNOTATION: null, WRITTEN_ANNOTATION: null,
    }}});
    if sight.marks.is_held() {
        patch["spec"]["paused"] = Value::Null;
    }
    let stable = sight.others.first().filter(|_| sight.current_pods() == 0);
    if let Some(stable) = stable {
        patch["spec"]["template"] = replacing(&sight.template, &stable.template);
    }
    Some(patch)
}

/// What a decision is to see of the workload, `view` being what it is. A workload that is held stands
/// on the version before, however its spec reads.
#[must_use]
pub fn decision_view(
    sight: &Sight,
    held: Held<'_>,
    overlay: &Overlay,
    view: DeploymentView,
) -> DeploymentView {
    let template = match overlay.template {
        TemplateVersion::New if sight.template == *held.new => TemplateVersion::New,
        TemplateVersion::Old if sight.template == *held.old => TemplateVersion::Old,
        _ if is_standing(sight, held.old) => return standing(sight, overlay, view),
        _ => TemplateVersion::Other,
    };
    DeploymentView { template, ..view }
}

/// It is held, and its pods are of the old version alone, not of one that came between it and the live one.
fn is_standing(sight: &Sight, old: &Value) -> bool {
    let mut others = sight.others.iter();
    sight.is_held() && sight.current_pods() == 0 && others.all(|set| set.template == *old)
}

fn standing(sight: &Sight, overlay: &Overlay, view: DeploymentView) -> DeploymentView {
    let stable = sight.others.first();
    DeploymentView {
        template: match overlay.template {
            TemplateVersion::Old => TemplateVersion::Old,
            _ => TemplateVersion::Other,
        },
        // It is paused for as long as it is held; what is asked is whether the run wants that too.
        paused: overlay.paused,
        updated: stable.map_or(0, |set| set.there),
        revision: stable.map(|set| set.revision.clone()).unwrap_or_default(),
        ..view
    }
}

//! What a run wants of a workload in place whose template somebody else writes.
//!
//! The live template is the new one from the first moment, and the field that holds pods back keeps all of
//! them. So "the old template" of an overlay means: held, with no pod of the new one.

use bellwether_api::workload_adapter::WorkloadAdapter;
use serde_json::{Map, Value, json};

use super::{By, InPlaceSight, Note, adapter_of, field};
use crate::{
    adopted::{HELD_ANNOTATION, Held, PARTITION_ANNOTATION, WRITTEN_ANNOTATION},
    machine::Overlay,
    merge_patch::{merged, replacing},
    settled::TemplateVersion,
};

/// What a run wants of the workload: a template, and how many pods are kept from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which template.
    pub template: TemplateVersion,
    /// Pods that are kept from it; absent = as its owner wrote it.
    pub held: Option<u32>,
}

impl From<&Overlay> for Wanted {
    fn from(overlay: &Overlay) -> Self {
        Self {
            template: overlay.template,
            held: overlay.in_place.partition,
        }
    }
}

/// The merge patch that makes the workload what a run wants; absent = it is. A template that is neither
/// of the run's two is held off too: the run ends, and the next one begins with it.
#[must_use]
pub fn workload_hold(sight: &InPlaceSight, held: Held<'_>, wanted: Wanted) -> Option<Value> {
    let (is_new, is_old) = (sight.template == *held.new, sight.template == *held.old);
    let name = held.rollout;
    match (wanted.template, wanted.held) {
        (TemplateVersion::New, Some(pods)) if is_new => {
            keeping(sight, name, Some(pods), &without_note(sight.marks.is_noted))
        }
        (TemplateVersion::New, None) if is_new => freed(sight),
        (TemplateVersion::Old, None) if is_old => given_back(sight, name),
        (TemplateVersion::Old, Some(pods)) if is_old => {
            let more = without_note(sight.marks.is_outdated());
            keeping(sight, name, Some(pods), &more)
        }
        // Only the template before takes pods of another back.
        (TemplateVersion::Old, Some(pods)) if !sight.stands_on(held.old) => {
            put_back(sight, name, held.old, pods)
        }
        (TemplateVersion::Old, None) if sight.strays() => put_back(sight, name, held.old, 0),
        // Whatever it carries, no pod of it may be made before the run is back.
        _ => hold(sight, name),
    }
}

/// The merge patch that keeps every pod of a workload from its template; absent = they are.
#[must_use]
pub fn hold(sight: &InPlaceSight, rollout: &str) -> Option<Value> {
    keeping(sight, rollout, None, &without_note(sight.marks.is_noted))
}

/// The merge patch by which its controller makes those pods too of the version before that come while
/// another template is held: it has to count that version as complete, for which the template of it stands
/// there for a moment. Absent = it does, or waits for pods.
#[must_use]
pub fn completed(sight: &InPlaceSight, rollout: &str) -> Option<Value> {
    match sight.stable() {
        Some((_, template)) if sight.strays() => put_back(sight, rollout, template, 0),
        Some(_) => None,
        None => given_back(sight, rollout),
    }
}

/// Writes the template of before, so that every pod but so many gets it, and notes what its owner wrote.
fn put_back(sight: &InPlaceSight, rollout: &str, old: &Value, pods: u32) -> Option<Value> {
    let put_back = json!({
        "metadata": {"annotations": {WRITTEN_ANNOTATION: sight.template.to_string()}},
        "spec": {"template": replacing(&sight.template, old)},
    });
    keeping(sight, rollout, Some(pods), &put_back)
}

/// Gives a workload with the template of before back what its owner wrote, held; if that is what stands
/// there, it is its owner's alone.
fn given_back(sight: &InPlaceSight, rollout: &str) -> Option<Value> {
    let Some(written) = &sight.marks.written else {
        return freed(sight);
    };
    if !sight.is_complete() {
        // Whatever comes until then gets the template.
        return keeping(sight, rollout, Some(0), &json!({}));
    }
    let back = json!({
        "metadata": {"annotations": {WRITTEN_ANNOTATION: null}},
        "spec": {"template": replacing(&sight.template, written)},
    });
    keeping(sight, rollout, None, &back)
}

/// What takes away what was noted of an owner's template, where they have written another since.
fn without_note(is_outdated: bool) -> Value {
    if is_outdated {
        json!({"metadata": {"annotations": {WRITTEN_ANNOTATION: null}}})
    } else {
        json!({})
    }
}

/// The merge patch that keeps pods from the template (absent = all of them), and writes `more`; absent =
/// nothing is to be written.
fn keeping(sight: &InPlaceSight, rollout: &str, pods: Option<u32>, more: &Value) -> Option<Value> {
    let ours = field::value(&sight.adapter, sight.replicas, pods);
    let is_kept = sight.field() == Some(&ours)
        && sight.marks.is_held_by(rollout)
        && sight.note().is_some_and(|note| note.ours == ours);
    if is_kept && *more == json!({}) {
        return None;
    }
    let note = Note::next(&sight.object, &sight.adapter, ours.clone(), By::Patch)?;
    let mut patch = field::patch_of(sight.adapter.partition.as_deref()?, ours);
    patch["metadata"]["annotations"] = json!({
        HELD_ANNOTATION: rollout, PARTITION_ANNOTATION: note.text(),
    });
    Some(laid_over(&patch, more))
}

/// The merge patch that gives the workload back to its owner, whatever template it has; absent = it is
/// its owner's alone.
#[must_use]
pub fn freed(sight: &InPlaceSight) -> Option<Value> {
    freeing(&sight.object, &sight.adapter)
}

fn freeing(object: &Value, adapter: &WorkloadAdapter) -> Option<Value> {
    let names = [HELD_ANNOTATION, PARTITION_ANNOTATION, WRITTEN_ANNOTATION];
    let annotations = object.pointer("/metadata/annotations")?;
    if !names.iter().any(|name| annotations.get(name).is_some()) {
        return None;
    }
    let gone: Map<String, Value> = names
        .iter()
        .filter(|name| annotations.get(**name).is_some())
        .map(|name| ((*name).to_owned(), Value::Null))
        .collect();
    let gone = json!({"metadata": {"annotations": gone}});
    Some(match Note::of(object) {
        Some(note) => laid_over(&note.restoring(object, adapter), &gone),
        None => gone,
    })
}

/// A live object without a hold of ours, as its owner wants it.
#[must_use]
pub fn as_owners(object: &Value) -> Value {
    let adapter = adapter_of(object);
    let patch = adapter.and_then(|adapter| freeing(object, &adapter));
    patch.map_or_else(|| object.clone(), |patch| merged(object, &patch))
}

/// The merge patch that takes every trace of a Rollout off a workload, with the template that its pods
/// have: whatever was held off stays off. Absent = there is no trace.
#[must_use]
pub fn released(sight: &InPlaceSight) -> Option<Value> {
    let patch = freed(sight)?;
    let Some((_, template)) = sight.stable() else {
        return Some(patch);
    };
    let back = json!({"spec": {"template": replacing(&sight.template, template)}});
    Some(laid_over(&patch, &back))
}

/// One merge patch with another on it. What either takes away is taken away.
fn laid_over(patch: &Value, more: &Value) -> Value {
    match (patch, more) {
        (Value::Object(patch), Value::Object(more)) => {
            let mut all = patch.clone();
            for (key, value) in more {
                let laid = all.get(key).map(|below| laid_over(below, value));
                all.insert(key.clone(), laid.unwrap_or_else(|| value.clone()));
            }
            Value::Object(all)
        }
        (_, more) => more.clone(),
    }
}

/// Which version a decision is to see.
#[must_use]
pub fn version(sight: &InPlaceSight, held: Held<'_>, wanted: Wanted) -> TemplateVersion {
    match wanted.template {
        TemplateVersion::New if sight.template == *held.new => TemplateVersion::New,
        TemplateVersion::Old if sight.template == *held.old || is_standing(sight, held) => {
            TemplateVersion::Old
        }
        _ => TemplateVersion::Other,
    }
}

/// Whether it is as the run wants it.
#[must_use]
pub fn is_as_wanted(sight: &InPlaceSight, held: Held<'_>, wanted: Wanted) -> bool {
    // Its owner gets back what they wrote before anything counts as over.
    let owes = wanted.held.is_none() && sight.marks.written.is_some();
    let standing = wanted.template == TemplateVersion::Old && is_standing(sight, held);
    !owes
        && (standing
            || version(sight, held, wanted) == wanted.template
                && workload_hold(sight, held, wanted).is_none())
}

/// Every pod is of the version before, and none will be of another.
fn is_standing(sight: &InPlaceSight, held: Held<'_>) -> bool {
    sight.is_held() && sight.marks.is_observed && sight.stands_on(held.old)
}

/// The workload as one that stands on the version before, however its spec reads; absent = it does not.
#[must_use]
pub fn as_standing(sight: &InPlaceSight, held: Held<'_>) -> Option<Value> {
    let (stable, template) = sight.stable().filter(|_| is_standing(sight, held))?;
    let adapter = &sight.adapter;
    let mut object = sight.object.clone();
    object["spec"]["template"] = template.clone();
    field::set(&mut object, &adapter.revision, json!(stable.revision));
    let counts = [
        (&adapter.updated, stable.count()),
        (&adapter.updated_available, stable.ready()),
    ];
    for (pointer, count) in counts {
        if let Some(pointer) = pointer {
            field::set(&mut object, pointer, json!(count));
        }
    }
    Some(object)
}

//! What the agent answers about a write to a workload that is updated in place.

use bellwether_api::workload_adapter::WorkloadAdapter;
use serde_json::{Value, json};

use super::decision::{Governed, Hold, Update, count};
use crate::{
    adopted::{
        HELD_ANNOTATION, PARTITION_ANNOTATION, WRITTEN_ANNOTATION,
        in_place::{self, By, Note, holding, keeps_its_own_pace, set, value},
    },
    merge_patch::merged,
};

/// Tells what is to be added to a write; absent = nothing, it goes through as it is.
///
/// Held is what the agent itself would hold as soon as it sees it: a new template of a workload that
/// stands, and any while a run is under way. Of one that its Rollout holds, the field that holds it stays
/// as it is, and what the write says there is kept as its owner's word.
#[must_use]
pub fn admit_in_place(
    update: Update<'_>,
    governed: Governed<'_>,
    adapter: &WorkloadAdapter,
) -> Option<Hold> {
    let Update { old, new } = update;
    let changes = old.pointer("/spec/template") != new.pointer("/spec/template");
    if is_held(old, governed.rollout) {
        let before = in_place::of(old, adapter)?;
        let kept = holding(adapter, replicas(old, adapter), Some(before));
        let ours = if changes || kept {
            // One that was scaled is held whole again.
            all(adapter, new)
        } else {
            before.clone()
        };
        return laid(update, governed.rollout, adapter, ours);
    }
    let is_due = changes
        && !keeps_its_own_pace(new, adapter)
        && (governed.is_running || governed.is_known && stands(old, adapter));
    if !is_due {
        return None;
    }
    laid(update, governed.rollout, adapter, all(adapter, new))
}

/// What keeps every pod from the template.
fn all(adapter: &WorkloadAdapter, new: &Value) -> Value {
    value(adapter, replicas(new, adapter), None)
}

fn replicas(object: &Value, adapter: &WorkloadAdapter) -> u32 {
    object.pointer(&adapter.replicas).map_or(1, |count| {
        count
            .as_u64()
            .and_then(|count| count.try_into().ok())
            .unwrap_or(0)
    })
}

/// The write with the field that holds the workload, and what its owner wants there beside it; absent =
/// the write has both already.
fn laid(update: Update<'_>, rollout: &str, adapter: &WorkloadAdapter, ours: Value) -> Option<Hold> {
    let Update { old, new } = update;
    let mut seen = new.clone();
    // Whoever replaces the whole object knows nothing of the note.
    for name in [PARTITION_ANNOTATION, HELD_ANNOTATION] {
        let noted = old
            .pointer("/metadata/annotations")
            .and_then(|all| all.get(name));
        if let Some(noted) = noted.filter(|_| is_held(old, rollout)) {
            seen = merged(&seen, &json!({"metadata": {"annotations": {name: noted}}}));
        }
    }
    // What the owner wrote last is what the spec says again, whatever a run had put back.
    if old.pointer("/spec/template") != new.pointer("/spec/template") {
        seen = merged(
            &seen,
            &json!({"metadata": {"annotations": {WRITTEN_ANNOTATION: null}}}),
        );
    }
    let at = adapter.partition.as_deref()?;
    let note = Note::next(&seen, adapter, ours.clone(), By::Admission)?;
    let mut held = merged(
        &seen,
        &json!({"metadata": {"annotations": {
            HELD_ANNOTATION: rollout, PARTITION_ANNOTATION: note.text(),
        }}}),
    );
    set(&mut held, at, ours);
    if held == *new {
        return None;
    }
    // The part of the spec that has the field in it, and the annotations, as a whole.
    let top = at.split('/').nth(2)?;
    let patch = json!([
        {"op": "add", "path": format!("/spec/{top}"), "value": held["spec"][top]},
        {"op": "add", "path": "/metadata/annotations", "value": held["metadata"]["annotations"]},
    ]);
    Some(Hold {
        patch,
        warning: format!("held back: rollout {rollout} brings this change in, step by step"),
    })
}

fn is_held(object: &Value, rollout: &str) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    annotations
        .and_then(|all| all.get(HELD_ANNOTATION))
        .and_then(Value::as_str)
        == Some(rollout)
}

/// Whether it has pods, all of its own template as far as its status says, and its controller has seen
/// its last change.
fn stands(object: &Value, adapter: &WorkloadAdapter) -> bool {
    let total = count(object, &adapter.total);
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let is_one = match (text("/status/currentRevision"), text(&adapter.revision)) {
        (Some(current), Some(updated)) => current == updated,
        _ => true,
    };
    let updated = if adapter.by_node {
        Some("/status/updatedNumberScheduled")
    } else {
        adapter.updated.as_deref()
    };
    let is_observed =
        count(object, &adapter.observed_generation) >= count(object, "/metadata/generation");
    total > 0 && is_one && is_observed && updated.is_none_or(|at| count(object, at) == total)
}

#[cfg(test)]
mod tests;

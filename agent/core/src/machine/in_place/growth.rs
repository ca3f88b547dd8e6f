//! How many pods of a run in place may be new, while an autoscaler or its owner changes how many there are.

use bellwether_api::workload_adapter::WorkloadAdapter;

use super::{
    super::{scaling, stage::Stage, turn::Turn},
    missing, split, written,
};
use crate::{settled::TemplateVersion, sizes::batch_pods, weights::PlannedStep};

/// Why a run cannot go beside the autoscalers that there are.
pub(super) fn conflict(turn: &Turn<'_>) -> Option<String> {
    if let Some(message) = scaling::unclear(turn) {
        return Some(message);
    }
    let (workload, one) = (&turn.grant.workload, turn.seen.autoscalers.first()?);
    let scaler = format!("{}/{}", one.kind, one.name);
    let adapter = WorkloadAdapter::of(&turn.grant.plan.workload)?;
    if adapter.by_node {
        return Some(format!(
            "{scaler} scales {workload}, which has a pod on each node and no count; take it away"
        ));
    }
    if !turn.seen.delivered_by_others && adapter.replicas != SIZE {
        return Some(format!(
            "{scaler} scales {workload}, whose size stands in {}: only {SIZE} of what the hub delivers \
             is left to an autoscaler",
            adapter.replicas
        ));
    }
    split::wanted(turn).then(|| {
        format!(
            "{scaler} scales {workload}, and may take away the new pods to which a step's weight or \
             match sends requests; let steps say replicas alone"
        )
    })
}

/// Tells whether the run can go on beside the autoscalers that there are; says why not.
pub(super) fn agrees(turn: &mut Turn<'_>) -> bool {
    let Some(conflict) = conflict(turn) else {
        return true;
    };
    let on = turn.grant.workload.to_string();
    turn.wait_on("Autoscaler", conflict, &on);
    false
}

/// Where what is delivered leaves its size to an autoscaler.
const SIZE: &str = "/spec/replicas";

/// Follows the number of pods where it is not the release's: that of nodes, where each has a pod, the
/// autoscaler's, and the owner's, of whom the workload is. A node that joins gets a pod of the template,
/// whatever was granted, and so may a pod that comes before the partition has risen.
pub(in super::super) fn follow_size(turn: &mut Turn<'_>) {
    let Some(adapter) = WorkloadAdapter::of(&turn.grant.plan.workload) else {
        return;
    };
    // What somebody edited in a release's object is not followed: it is held, and taken back.
    let theirs = adapter.by_node || turn.seen.delivered_by_others;
    let follows = theirs || turn.seen.foreign_edits.is_empty();
    let Some(workload) = turn.seen.workload.as_ref().filter(|_| follows) else {
        return;
    };
    // How many nodes there are its controller says; any other size is what is written.
    let observed = workload.observed_generation >= workload.generation;
    let counted = (observed || !adapter.by_node) && workload.replicas > 0;
    let all_may_go = all_may_go(turn, workload.replicas);
    let Some(run) = turn.state.in_place.as_mut().filter(|_| counted) else {
        return;
    };
    let (before, now) = (run.total, workload.replicas);
    run.total = now;
    if adapter.by_node {
        run.granted = run.granted.min(now);
    } else if now > before && run.granted == before && (all_may_go || adapter.by_ordinal) {
        // By ordinal, a template that every pod has is complete: whatever comes is of it, wherever the
        // partition stands.
        run.granted = now;
    } else if now > before && adapter.by_ordinal {
        // Counted from the last pod, as many would be let go once more. Those that were stay new below
        // the partition, and count there.
        run.granted = 0;
    } else {
        // Pods that are taken away may be those that were granted: by ordinal they are.
        run.granted = run.granted.saturating_sub(before.saturating_sub(now));
    }
}

/// Tells whether nothing says that any of `total` pods stays on the old version.
fn all_may_go(turn: &Turn<'_>, total: u32) -> bool {
    match &turn.state.stage {
        Stage::Promoting { .. } => true,
        Stage::Step { index, .. } => usize::try_from(*index)
            .ok()
            .and_then(|index| turn.steps.get(index))
            .is_some_and(|step| batch_pods(step.replicas, total) == total),
        _ => false,
    }
}

/// Pods that were let go before the workload grew, and that its partition would keep back now.
pub(super) fn kept(turn: &Turn<'_>) -> u32 {
    let seen = turn.seen;
    let is_new = |template| template == TemplateVersion::New;
    let workload = seen.workload.as_ref();
    let view = workload.filter(|workload| is_new(workload.template));
    view.and(seen.in_place.as_ref())
        .map_or(0, |view| view.kept_new)
}

/// Grants what the step says, once the pods that may be new already are ready.
pub(in super::super) fn resize(turn: &mut Turn<'_>, step: &PlannedStep) {
    let Some(total) = turn.seen.workload.as_ref().map(|seen| seen.replicas) else {
        return;
    };
    if split::makes_way(turn, step) {
        grow(turn, batch_pods(step.replicas, total));
    }
    split::name_new(turn, step);
}

/// Lets up to `wanted` pods be new. A batch that is not ready grants nothing more, whoever asks.
pub(super) fn grow(turn: &mut Turn<'_>, wanted: u32) {
    let run = turn.state.in_place.as_ref();
    let Some((granted, total)) = run.map(|run| (run.granted, run.total)) else {
        return;
    };
    let kept = written(turn, TemplateVersion::New).map_or(0, |(_, view)| view.kept_new);
    // Where every pod may be new, none is left below the partition.
    let kept = if wanted >= total { 0 } else { kept };
    let wanted = wanted.saturating_sub(kept);
    if wanted > granted
        && conflict(turn).is_none()
        && (is_untouched(turn, granted) || missing(turn).is_none())
        && let Some(run) = &mut turn.state.in_place
    {
        run.granted = wanted.min(run.total);
    }
}

/// Tells whether no pod was ever let go.
fn is_untouched(turn: &Turn<'_>, granted: u32) -> bool {
    let template = turn.seen.workload.as_ref().map(|seen| seen.template);
    granted == 0 && template != Some(TemplateVersion::New)
}

/// Tells whether everything that the step grants was granted.
pub(super) fn grants(turn: &mut Turn<'_>, step: &PlannedStep) -> bool {
    let kept = kept(turn);
    let granted = turn
        .state
        .in_place
        .as_ref()
        .is_some_and(|run| batch_pods(step.replicas, run.total) <= run.granted + kept);
    if !granted {
        turn.wait("BatchNotGranted", "the step's pods are not let go yet");
    }
    granted
}

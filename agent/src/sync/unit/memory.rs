//! What a unit remembers of the bundle that was worked on; pure.
//!
//! A pass takes seconds, and a commit may grant another bundle meanwhile. What became of the one
//! that was worked on says nothing of the one that is granted now: that one is looked at first.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_agent_core::{
    ownership::{self, ReleaseRef, Written},
    pruning::hear_deletion,
};
use bellwether_api::{
    bundle::{Bundle, BundleMode},
    chart_hook::ChartHookRecord,
    reference::ObjectRef,
    status::{TrackSummary, UnitOutcome},
    sync_policy::{DeletionPolicies, DeletionPolicy},
    sync_record::{HeldObject, KeptLiveState, MAX_LIVE_STATES, SyncUnit},
};
use serde_json::Value;

use crate::sync::cluster::{SYNC_MANAGER, reference};

fn is_granted(unit: &SyncUnit, digest: &str) -> bool {
    unit.digest.as_deref() == Some(digest)
}

/// Where the records of a unit's objects are, until they are sorted anew.
struct Index(BTreeMap<ObjectRef, usize>);

impl Index {
    fn of(unit: &SyncUnit) -> Self {
        let records = unit.objects.iter().enumerate();
        Self(records.map(|(at, held)| (held.object(), at)).collect())
    }

    /// The record of an object; it is made where there is none.
    fn held<'a>(&mut self, unit: &'a mut SyncUnit, object: &ObjectRef) -> &'a mut HeldObject {
        let next = unit.objects.len();
        let at = *self.0.entry(object.clone()).or_insert(next);
        if at == next {
            unit.objects.push(HeldObject::from(object.clone()));
        }
        &mut unit.objects[at]
    }
}

/// Objects that are there already are taken over by a release. Remembered, with the digest of what
/// is stored of them, before anything is written to them: after a crash they are known not to be ours.
pub(super) fn adopt(unit: &mut SyncUnit, live: &[Value], release: ReleaseRef<'_>, originals: &str) {
    let mut index = Index::of(unit);
    for (live, object) in live
        .iter()
        .filter_map(|live| Some((live, reference(live)?)))
    {
        let held = index.held(unit, &object);
        *held = ownership::adopted(held.clone(), live, release, originals);
    }
    unit.objects.sort_unstable();
}

/// Workloads that were just taken over keep the pods that they have: their templates bear no stamp while their
/// digest is this.
pub(super) fn keep_pods(unit: &mut SyncUnit, workloads: &[(ObjectRef, String)]) {
    for (workload, digest) in workloads {
        let mut objects = unit.objects.iter_mut();
        if let Some(held) = objects.find(|held| held.is(workload))
            && let Some(adoption) = &mut held.adopted
        {
            adoption.as_found = Some(digest.clone());
        }
    }
}

/// Takes note of what writes gave back; gives the objects that somebody had made anew.
pub(super) fn note_written(
    unit: &mut SyncUnit,
    written: &BTreeMap<ObjectRef, Value>,
    release: ReleaseRef<'_>,
) -> Vec<ObjectRef> {
    let mut remade = Vec::new();
    let mut index = Index::of(unit);
    for (object, live) in written {
        let held = index.held(unit, object);
        if ownership::note_written(held, live, SYNC_MANAGER, release) == Written::Remade {
            remade.push(object.clone());
        }
    }
    unit.objects.sort_unstable();
    remade
}

/// A release that has `objects` runs as a whole: from now on only the user's word deletes them, and
/// does.
fn settle(unit: &mut SyncUnit, objects: &BTreeSet<ObjectRef>) {
    for held in &mut unit.objects {
        let wanted = objects.contains(&held.object());
        if let Some(adoption) = held.adopted.as_mut().filter(|_| wanted) {
            adoption.settled = true;
        }
    }
}

/// A granted bundle that was looked at comes in; `by_rollout` = by its runs. Gives whether it does:
/// another one may be granted by now.
pub(super) fn begin(
    unit: &mut SyncUnit,
    digest: &str,
    objects: &BTreeSet<ObjectRef>,
    by_rollout: bool,
) -> bool {
    if !is_granted(unit, digest) {
        return false;
    }
    // Remembered before anything is applied: after a crash they are known to be ours.
    let mut index = Index::of(unit);
    for object in objects {
        index.held(unit, object);
    }
    unit.objects.sort_unstable();
    unit.outcome = Some(UnitOutcome::Progressing);
    unit.reason.clear();
    // Those of the runs before say nothing of this one.
    unit.finished_rollouts.clear();
    if by_rollout {
        unit.running_digest = Some(digest.to_owned());
    }
    true
}

/// A granted bundle does not come in, or ends like this. Gives whether it is still the granted one.
pub(super) fn end(unit: &mut SyncUnit, digest: &str, outcome: UnitOutcome, reason: &str) -> bool {
    if !is_granted(unit, digest) {
        return false;
    }
    unit.outcome = Some(outcome);
    reason.clone_into(&mut unit.reason);
    true
}

/// A bundle with `objects` that was applied at once is healthy.
pub(super) fn applied(unit: &mut SyncUnit, digest: &str, objects: &BTreeSet<ObjectRef>) {
    settle(unit, objects);
    unit.applied_digest = Some(digest.to_owned());
    if end(unit, digest, UnitOutcome::Succeeded, "") {
        unit.finished_rollouts.clear();
    }
}

/// The runs of a bundle with `objects` are over; `failure` = they went back, and why.
pub(super) fn runs_over(
    unit: &mut SyncUnit,
    digest: &str,
    objects: &BTreeSet<ObjectRef>,
    summaries: &[TrackSummary],
    failed_templates: &BTreeSet<String>,
    failure: Option<&str>,
) {
    unit.running_digest = None;
    unit.failed_templates
        .extend(failed_templates.iter().cloned());
    unit.failed_templates.sort_unstable();
    unit.failed_templates.dedup();
    if failure.is_none() {
        settle(unit, objects);
        unit.applied_digest = Some(digest.to_owned());
    }
    let outcome = match failure {
        None => UnitOutcome::Succeeded,
        Some(_) => UnitOutcome::Failed,
    };
    if end(unit, digest, outcome, failure.unwrap_or_default()) {
        unit.finished_rollouts = summaries.to_vec();
    } else {
        unit.finished_rollouts.clear();
    }
}

/// The runs of a bundle are over and brought it in, and hooks of its charts follow: it runs as a whole
/// when they have ended well. Gives whether it is still the granted one; otherwise nothing was changed.
pub(super) fn runs_over_but_hooks(
    unit: &mut SyncUnit,
    digest: &str,
    summaries: &[TrackSummary],
) -> bool {
    if !is_granted(unit, digest) {
        return false;
    }
    unit.running_digest = None;
    unit.outcome = Some(UnitOutcome::Progressing);
    unit.finished_rollouts = summaries.to_vec();
    true
}

/// What others changed of a release that ran is kept, in the place of what was kept of it before;
/// `None` = nothing of it is to be kept.
pub(super) fn keep_live_state(unit: &mut SyncUnit, release: &str, state: Option<&KeptLiveState>) {
    unit.live_states.retain(|kept| kept.release != release);
    unit.live_states.extend(state.cloned());
    let surplus = unit.live_states.len().saturating_sub(MAX_LIVE_STATES);
    unit.live_states.drain(..surplus);
}

/// What was kept of the release that a bundle brings: of that very bundle, or because the bundle
/// goes back to it.
pub(super) fn live_state_of<'a>(
    unit: &'a SyncUnit,
    digest: &str,
    bundle: &Bundle,
) -> Option<&'a KeptLiveState> {
    let goes_back = bundle.mode == BundleMode::Plain;
    unit.live_states
        .iter()
        .find(|kept| kept.bundle == digest || goes_back && kept.release == bundle.release)
}

/// What becomes of the objects when the application or their component goes, as the granted bundle says,
/// also where it does not come in. What it does not have keeps the word of the last one that had it.
pub(super) fn note_deletion(unit: &mut SyncUnit, digest: &str, bundle: &Bundle) {
    if !is_granted(unit, digest) {
        return;
    }
    hear_deletion(unit, &DeletionPolicies::of_bundle(bundle));
}

/// The objects of a unit whose tombstone has come are being deleted.
pub(super) fn removing(unit: &mut SyncUnit) {
    if unit.digest.is_none() {
        unit.removing = true;
        unit.outcome = Some(UnitOutcome::Removing);
    }
}

/// Every object of a unit is gone. A bundle that was granted meanwhile is a first install then.
pub(super) fn removed(unit: &mut SyncUnit) {
    unit.removing = false;
    unit.objects.clear();
    unit.applied_digest = None;
    unit.running_digest = None;
    unit.failed_templates.clear();
    unit.finished_rollouts.clear();
    unit.live_states.clear();
    unit.deletion = DeletionPolicy::default();
    unit.chart_hooks = ChartHookRecord::default();
    unit.opened = None;
    if unit.digest.is_none() {
        unit.outcome = Some(UnitOutcome::Succeeded);
        unit.reason.clear();
    }
}

#[cfg(test)]
mod tests;

//! What a unit remembers of a workload that somebody else delivers; pure.

use std::collections::BTreeSet;

use bellwether_api::{
    status::{TrackSummary, UnitOutcome},
    sync_record::SyncUnit,
};

/// Templates that failed and are remembered at most; the newest.
const MAX_FAILED: usize = 20;

/// Tells whether the workload was seen standing: from then on its updates are taken over.
pub(crate) fn is_known(unit: &SyncUnit) -> bool {
    matches!(
        unit.outcome,
        Some(UnitOutcome::Succeeded | UnitOutcome::Failed)
    )
}

/// The workload is not there: what comes by its name begins anew.
pub(super) fn unknown(unit: &mut SyncUnit) {
    unit.outcome = Some(UnitOutcome::Progressing);
    unit.reason.clear();
}

/// The workload stands on its own template.
pub(super) fn at_rest(unit: &mut SyncUnit) {
    settle_on(unit, UnitOutcome::Succeeded, "");
}

pub(super) fn settle_on(unit: &mut SyncUnit, outcome: UnitOutcome, why: &str) {
    unit.outcome = Some(outcome);
    why.clone_into(&mut unit.reason);
}

/// A run begins with what `previous` names and brings in what `digest` names.
pub(super) fn begin(unit: &mut SyncUnit, digest: &str, previous: &str) {
    unit.running_digest = Some(digest.to_owned());
    unit.applied_digest = Some(previous.to_owned());
    unit.outcome = Some(UnitOutcome::Progressing);
    unit.reason.clear();
    unit.finished_rollouts.clear();
}

/// How a run ended.
pub(super) struct Ended<'a> {
    /// What people are shown of it.
    pub summaries: &'a [TrackSummary],
    /// Why it went back; absent = it did not.
    pub failure: Option<&'a str>,
    /// The templates that are not tried again by themselves.
    pub marked: &'a BTreeSet<String>,
}

/// The run of `digest` is over.
pub(super) fn over(unit: &mut SyncUnit, digest: &str, ended: &Ended<'_>) {
    unit.running_digest = None;
    unit.applied_digest = Some(digest.to_owned());
    for template in ended.marked {
        mark(unit, template);
    }
    // One that only gave way to a newer template says nothing of what comes.
    let outcome = if ended.marked.is_empty() {
        UnitOutcome::Succeeded
    } else {
        UnitOutcome::Failed
    };
    settle_on(unit, outcome, ended.failure.unwrap_or_default());
    unit.finished_rollouts = ended.summaries.to_vec();
}

/// A template is not tried again by itself.
pub(super) fn mark(unit: &mut SyncUnit, template: &str) {
    unit.failed_templates.retain(|known| known != template);
    unit.failed_templates.push(template.to_owned());
    let surplus = unit.failed_templates.len().saturating_sub(MAX_FAILED);
    unit.failed_templates.drain(..surplus);
}

/// Names a template among those that failed. A retry makes it another.
pub(super) fn failed_name(template: &str, retries: u64) -> String {
    format!("{template}#{retries}")
}

/// The workload is its owner's alone.
pub(super) fn let_go(unit: &mut SyncUnit) {
    unit.objects.clear();
    unit.applied_digest = None;
    unit.running_digest = None;
    unit.failed_templates.clear();
    unit.finished_rollouts.clear();
    unit.reason.clear();
    // Of another workload that the plan names by now nothing is known.
    unit.outcome = unit.digest.is_none().then_some(UnitOutcome::Succeeded);
}

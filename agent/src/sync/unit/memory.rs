//! What a unit remembers of the bundle that was worked on; pure.
//!
//! A pass takes seconds, and a commit may grant another bundle meanwhile. What became of the one
//! that was worked on says nothing of the one that is granted now: that one is looked at first.

use std::collections::BTreeSet;

use bellwether_api::{
    reference::ObjectRef,
    status::{TrackSummary, UnitOutcome},
    sync_record::SyncUnit,
};

fn is_granted(unit: &SyncUnit, digest: &str) -> bool {
    unit.digest.as_deref() == Some(digest)
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
    let mut held: BTreeSet<ObjectRef> = unit.objects.drain(..).collect();
    held.extend(objects.iter().cloned());
    unit.objects = held.into_iter().collect();
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

/// A bundle that was applied at once is healthy.
pub(super) fn applied(unit: &mut SyncUnit, digest: &str) {
    unit.applied_digest = Some(digest.to_owned());
    if end(unit, digest, UnitOutcome::Succeeded, "") {
        unit.finished_rollouts.clear();
    }
}

/// The runs of a bundle are over; `failure` = they went back, and why.
pub(super) fn runs_over(
    unit: &mut SyncUnit,
    digest: &str,
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

/// The objects of a unit whose tombstone has come are being deleted.
pub(super) fn removing(unit: &mut SyncUnit) {
    if unit.digest.is_none() {
        unit.outcome = Some(UnitOutcome::Removing);
    }
}

/// Every object of a unit is gone.
pub(super) fn removed(unit: &mut SyncUnit) {
    unit.objects.clear();
    unit.applied_digest = None;
    unit.running_digest = None;
    unit.failed_templates.clear();
    unit.finished_rollouts.clear();
    if unit.digest.is_none() {
        unit.outcome = Some(UnitOutcome::Succeeded);
        unit.reason.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sync::goal::{Goal, goal};

    fn granted(digest: &str) -> SyncUnit {
        serde_json::from_value(json!({
            "key": "application/default/shop", "generation": 1, "digest": digest,
            "appliedDigest": "old",
        }))
        .expect("a unit needs no more")
    }

    #[test]
    fn what_became_of_one_bundle_is_not_said_of_the_next() {
        let untouched = |work: &dyn Fn(&mut SyncUnit)| {
            let mut unit = granted("new");
            work(&mut unit);
            assert_eq!((unit.outcome, unit.reason.as_str()), (None, ""));
            assert_eq!(goal(&unit), Goal::Begin("new".into()));
            unit
        };
        let nothing = BTreeSet::new();
        untouched(&|unit| assert!(!begin(unit, "mid", &nothing, false)));
        untouched(&|unit| assert!(!begin(unit, "mid", &nothing, true)));
        untouched(&|unit| assert!(!end(unit, "mid", UnitOutcome::Failed, "why")));
        let unit = untouched(&|unit| applied(unit, "mid"));
        assert_eq!(unit.applied_digest.as_deref(), Some("mid"));
        let failed = BTreeSet::from(["template".to_owned()]);
        let unit = untouched(&|unit| runs_over(unit, "mid", &[], &failed, Some("why")));
        assert_eq!(unit.applied_digest.as_deref(), Some("old"));
        assert_eq!(unit.failed_templates, ["template"]);
        untouched(&|unit| runs_over(unit, "mid", &[], &BTreeSet::new(), None));
        untouched(&removing);
        let unit = untouched(&removed);
        assert_eq!(unit.applied_digest, None, "nothing runs any more");
    }

    #[test]
    fn content_that_was_refused_meanwhile_stays_refused() {
        let mut unit = granted("broken");
        unit.outcome = Some(UnitOutcome::Refused);
        runs_over(&mut unit, "mid", &[], &BTreeSet::new(), None);
        assert_eq!(unit.outcome, Some(UnitOutcome::Refused));
        assert_eq!(goal(&unit), Goal::Keep("mid".into()));
    }

    #[test]
    fn the_granted_bundle_is_remembered() {
        let mut unit = granted("new");
        assert!(begin(&mut unit, "new", &BTreeSet::new(), true));
        assert_eq!(unit.running_digest.as_deref(), Some("new"));
        runs_over(&mut unit, "new", &[], &BTreeSet::new(), Some("why"));
        assert_eq!(
            (unit.outcome, unit.reason.as_str()),
            (Some(UnitOutcome::Failed), "why")
        );
        applied(&mut unit, "new");
        assert_eq!(goal(&unit), Goal::Keep("new".into()));
        unit.digest = None;
        removing(&mut unit);
        assert_eq!(goal(&unit), Goal::Remove);
        removed(&mut unit);
        assert_eq!(goal(&unit), Goal::Nothing);
    }
}

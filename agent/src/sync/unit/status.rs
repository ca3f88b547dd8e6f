//! What a unit reports.

use bellwether_api::{
    bundle::Bundle,
    command::ExecutedCommand,
    reference::ObjectRef,
    status::{
        Health, MAX_OBJECTS, ObjectStatus, PRUNING, TrackSummary, UnitOutcome, UnitStatus,
        WaitReason,
    },
    sync_record::{HeldObject, SyncUnit},
};

use super::{Unit, adoption::some_of, wait};
use crate::rollout::Run;

impl Unit {
    /// Says how far the unit is.
    pub(super) fn publish(&self) {
        let Some(unit) = self.shell.desired.unit(&self.key) else {
            return;
        };
        let status = match &self.adopted {
            Some(adopted) => self.adopted_status(&unit, adopted),
            None => self.status(&unit),
        };
        self.shell.reports.publish(&self.key, &status);
    }

    pub(super) fn status(&self, unit: &SyncUnit) -> UnitStatus {
        let granted = self.read(unit.digest.as_ref());
        let applied = self.read(unit.applied_digest.as_ref());
        let rollouts = self.rollouts(unit);
        let outcome = match outcome(unit, &rollouts) {
            UnitOutcome::Succeeded if self.is_pruning(unit) => UnitOutcome::Progressing,
            outcome => outcome,
        };
        let mut objects = self.keeper.statuses();
        let object_count = u32::try_from(objects.len()).unwrap_or(u32::MAX);
        objects.sort_by_key(|object| (object.health == Health::Healthy, object.object.clone()));
        objects.truncate(MAX_OBJECTS);
        let health = self.health(&objects, granted.is_some() || applied.is_some());
        UnitStatus {
            release: granted
                .map(|bundle| bundle.release.clone())
                .unwrap_or_default(),
            applied_release: applied.map(|bundle| bundle.release.clone()),
            health,
            objects,
            object_count,
            orphans: self.orphans(unit),
            warnings: self.all_warnings(unit),
            ..self.common_status(unit, granted, outcome, rollouts)
        }
    }

    /// What every unit reports: whose it is, how far its run is, what it waits on, what happened, and
    /// which commands were executed.
    pub(super) fn common_status(
        &self,
        unit: &SyncUnit,
        run: Option<&Bundle>,
        outcome: UnitOutcome,
        rollouts: Vec<TrackSummary>,
    ) -> UnitStatus {
        let acked = self.shell.reports.acked_event(&self.key);
        UnitStatus {
            application: self.application.clone(),
            digest: unit.digest.clone().unwrap_or_default(),
            generation: unit.generation,
            run: run.map_or_else(uuid::Uuid::nil, |bundle| bundle.run),
            attempt: run.map_or(0, |bundle| bundle.attempt),
            release: String::new(),
            outcome,
            reason: unit.reason.clone(),
            applied_release: None,
            health: Health::Unknown,
            objects: Vec::new(),
            object_count: 0,
            waiting_on: self.waits(unit, outcome, &rollouts),
            rollouts,
            events: unit
                .events
                .iter()
                .filter(|event| event.seq > acked)
                .cloned()
                .collect(),
            executed: self.executed(),
            orphans: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn read(&self, digest: Option<&String>) -> Option<&Bundle> {
        digest
            .and_then(|digest| self.bundles.get(digest))
            .map(AsRef::as_ref)
    }

    fn rollouts(&self, unit: &SyncUnit) -> Vec<TrackSummary> {
        if self.runs.is_empty() {
            return finished(unit).to_vec();
        }
        self.runs
            .values()
            .filter_map(|run| run.summary().cloned())
            .collect()
    }

    fn health(&self, objects: &[ObjectStatus], anything: bool) -> Health {
        if objects.is_empty() && anything {
            Health::Unknown
        } else {
            self.keeper.health()
        }
    }

    fn executed(&self) -> Vec<ExecutedCommand> {
        let of_run = |(name, run): (&String, &Run)| {
            let mut executed = run.executed().to_vec();
            for one in &mut executed {
                one.rollout.clone_from(name);
            }
            executed
        };
        self.runs.iter().flat_map(of_run).collect()
    }

    fn orphans(&self, unit: &SyncUnit) -> Vec<ObjectRef> {
        if unit.orphan {
            return unit.objects.iter().map(HeldObject::object).collect();
        }
        self.surplus.iter().cloned().collect()
    }

    pub(super) fn all_warnings(&self, unit: &SyncUnit) -> Vec<String> {
        let drift = self
            .drifted
            .iter()
            .take(10)
            .map(|object| format!("{object} was changed by somebody else"));
        let leaving = (!self.leaving.is_empty()).then(|| {
            let some = some_of(&self.leaving);
            format!("deleted, and still there because something holds it: {some}")
        });
        let told = self.warnings.iter().cloned();
        let brought_back = self.brought_back(unit);
        let protected = (!self.protected.is_empty()).then(|| {
            format!(
                "no release has them any more, and they stay because they bear the annotation \
                 bellwether.dev/protect: {}",
                some_of(&self.protected)
            )
        });
        told.chain(drift)
            .chain(self.forbidden.clone())
            .chain(self.source_warnings())
            .chain(self.fights.iter().cloned())
            .chain(protected)
            .chain(brought_back)
            .chain(leaving)
            .collect()
    }

    /// Tells whether the release runs, and what it leaves out was not parted with yet: it is remembered as the one
    /// that runs before anything of the one before goes.
    fn is_pruning(&self, unit: &SyncUnit) -> bool {
        let runs = unit.digest.is_some() && unit.digest == unit.applied_digest;
        self.adopted.is_none() && runs && self.parted_with != unit.digest
    }

    fn waits(
        &self,
        unit: &SyncUnit,
        outcome: UnitOutcome,
        rollouts: &[TrackSummary],
    ) -> Vec<WaitReason> {
        let mut waits = self.waiting_on.clone();
        waits.extend(
            rollouts
                .iter()
                .flat_map(|rollout| rollout.waiting_on.clone()),
        );
        let unfinished = matches!(
            outcome,
            UnitOutcome::Progressing | UnitOutcome::RollingBack | UnitOutcome::Removing
        );
        if !unfinished {
            waits.clear();
        } else if self.is_pruning(unit) {
            // Also where something else keeps it from being deleted.
            waits.push(wait(
                PRUNING,
                "what the release leaves out is being deleted",
            ));
        } else if waits.is_empty() {
            waits.push(wait("Working", "the agent is at work"));
        }
        waits
    }
}

/// The finished runs of the granted bundle. While its own runs are not open yet, what is remembered
/// is of a bundle before it.
fn finished(unit: &SyncUnit) -> &[TrackSummary] {
    if unit.running_digest.is_some() || unit.outcome.is_none() {
        &[]
    } else {
        &unit.finished_rollouts
    }
}

fn outcome(unit: &SyncUnit, rollouts: &[TrackSummary]) -> UnitOutcome {
    use bellwether_api::status::Phase;
    if let Some(running) = &unit.running_digest {
        let returning = |rollout: &TrackSummary| {
            matches!(
                rollout.phase,
                Phase::RollingBack | Phase::Failed | Phase::Terminating
            )
        };
        return match &unit.digest {
            None => UnitOutcome::Removing,
            // The granted bundle only waits until the one before it is back.
            Some(granted) if granted != running => UnitOutcome::Progressing,
            Some(_) if rollouts.iter().any(returning) => UnitOutcome::RollingBack,
            Some(_) => UnitOutcome::Progressing,
        };
    }
    if unit.digest.is_none() {
        return unit
            .outcome
            .filter(|outcome| *outcome == UnitOutcome::Succeeded)
            .unwrap_or(UnitOutcome::Removing);
    }
    unit.outcome.unwrap_or(UnitOutcome::Progressing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bellwether_api::status::Phase;
    use serde_json::json;

    use super::*;
    use crate::sync::unit::memory;

    fn track(phase: Phase) -> TrackSummary {
        serde_json::from_value(json!({
            "name": "web", "phase": phase, "steps": 1, "weight": 0, "observedWeight": 0,
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "stable": {"ready": 1, "desired": 1}, "canary": {"ready": 0, "desired": 0},
            "failedChecks": 0, "failureThreshold": 1, "checks": [], "waitingOn": [],
        }))
        .expect("a summary")
    }

    fn granted(digest: &str) -> SyncUnit {
        serde_json::from_value(json!({
            "key": "application/default/shop", "generation": 1, "digest": digest,
            "appliedDigest": "old",
        }))
        .expect("a unit needs no more")
    }

    #[test]
    fn a_run_that_failed_says_nothing_of_the_next_one() {
        let mut unit = granted("three");
        memory::begin(&mut unit, "three", &BTreeSet::new(), true);
        let failed = [track(Phase::Failed)];
        memory::runs_over(
            &mut unit,
            "three",
            &BTreeSet::new(),
            &failed,
            &BTreeSet::new(),
            Some("why"),
        );
        assert_eq!(outcome(&unit, finished(&unit)), UnitOutcome::Failed);
        assert_eq!(finished(&unit).len(), 1);

        // As a commit leaves it: granted, not looked at yet.
        unit.digest = Some("four".to_owned());
        unit.outcome = None;
        assert_eq!(finished(&unit), []);
        assert_eq!(outcome(&unit, finished(&unit)), UnitOutcome::Progressing);

        memory::begin(&mut unit, "four", &BTreeSet::new(), true);
        assert_eq!(outcome(&unit, finished(&unit)), UnitOutcome::Progressing);

        // As an agent of a version before remembered it.
        unit.finished_rollouts = failed.to_vec();
        assert_eq!(outcome(&unit, finished(&unit)), UnitOutcome::Progressing);
    }

    #[test]
    fn only_the_granted_bundle_is_said_to_go_back() {
        let returning = [track(Phase::RollingBack)];
        let mut unit = granted("three");
        memory::begin(&mut unit, "three", &BTreeSet::new(), true);
        assert_eq!(outcome(&unit, &returning), UnitOutcome::RollingBack);
        unit.digest = Some("four".to_owned());
        assert_eq!(outcome(&unit, &returning), UnitOutcome::Progressing);
        unit.digest = None;
        assert_eq!(outcome(&unit, &returning), UnitOutcome::Removing);
    }
}

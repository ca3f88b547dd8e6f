//! What a unit reports.

use bellwether_api::{
    bundle::Bundle,
    command::ExecutedCommand,
    reference::ObjectRef,
    status::{
        Health, MAX_OBJECTS, ObjectStatus, TrackSummary, UnitOutcome, UnitStatus, WaitReason,
    },
    sync_record::SyncUnit,
};

use super::{Unit, wait};

impl Unit {
    /// Says how far the unit is.
    pub(super) fn publish(&self) {
        let Some(unit) = self.shell.desired.unit(&self.key) else {
            return;
        };
        self.shell.reports.publish(&self.key, &self.status(&unit));
    }

    fn status(&self, unit: &SyncUnit) -> UnitStatus {
        let granted = self.read(unit.digest.as_ref());
        let applied = self.read(unit.applied_digest.as_ref());
        let rollouts = self.rollouts(unit);
        let outcome = outcome(unit, &rollouts);
        let mut objects = self.keeper.statuses();
        let object_count = u32::try_from(objects.len()).unwrap_or(u32::MAX);
        objects.sort_by_key(|object| (object.health == Health::Healthy, object.object.clone()));
        objects.truncate(MAX_OBJECTS);
        let health = self.health(&objects, granted.is_some() || applied.is_some());
        let acked = self.shell.reports.acked_event(&self.key);
        UnitStatus {
            application: self.application.clone(),
            digest: unit.digest.clone().unwrap_or_default(),
            generation: unit.generation,
            run: granted.map_or_else(uuid::Uuid::nil, |bundle| bundle.run),
            attempt: granted.map_or(0, |bundle| bundle.attempt),
            release: granted
                .map(|bundle| bundle.release.clone())
                .unwrap_or_default(),
            outcome,
            reason: unit.reason.clone(),
            applied_release: applied.map(|bundle| bundle.release.clone()),
            health,
            objects,
            object_count,
            waiting_on: self.waits(outcome, &rollouts),
            rollouts,
            events: unit
                .events
                .iter()
                .filter(|event| event.seq > acked)
                .cloned()
                .collect(),
            executed: self.executed(),
            orphans: self.orphans(unit),
            warnings: self.all_warnings(),
        }
    }

    fn read(&self, digest: Option<&String>) -> Option<&Bundle> {
        digest
            .and_then(|digest| self.bundles.get(digest))
            .map(AsRef::as_ref)
    }

    fn rollouts(&self, unit: &SyncUnit) -> Vec<TrackSummary> {
        if self.runs.is_empty() {
            return unit.finished_rollouts.clone();
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
        self.runs
            .values()
            .flat_map(|run| run.executed().to_vec())
            .collect()
    }

    fn orphans(&self, unit: &SyncUnit) -> Vec<ObjectRef> {
        if unit.orphan {
            return unit.objects.clone();
        }
        self.surplus.iter().cloned().collect()
    }

    fn all_warnings(&self) -> Vec<String> {
        let drift = self
            .drifted
            .iter()
            .take(10)
            .map(|object| format!("{object} was changed by somebody else"));
        self.warnings.iter().cloned().chain(drift).collect()
    }

    fn waits(&self, outcome: UnitOutcome, rollouts: &[TrackSummary]) -> Vec<WaitReason> {
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
        } else if waits.is_empty() {
            waits.push(wait("Working", "the agent is at work"));
        }
        waits
    }
}

fn outcome(unit: &SyncUnit, rollouts: &[TrackSummary]) -> UnitOutcome {
    use bellwether_api::status::Phase;
    if unit.running_digest.is_some() {
        let returning = |rollout: &TrackSummary| {
            matches!(
                rollout.phase,
                Phase::RollingBack | Phase::Failed | Phase::Terminating
            )
        };
        return if unit.digest.is_none() {
            UnitOutcome::Removing
        } else if rollouts.iter().any(returning) {
            UnitOutcome::RollingBack
        } else {
            UnitOutcome::Progressing
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

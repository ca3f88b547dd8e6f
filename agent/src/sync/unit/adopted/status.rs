//! What is reported of a workload that somebody else delivers.

use bellwether_api::{
    status::{Health, Phase, TrackSummary, UnitOutcome, UnitStatus},
    sync_record::SyncUnit,
};

use super::{Adopted, Unit};

impl Unit {
    pub(in super::super) fn adopted_status(
        &self,
        unit: &SyncUnit,
        adopted: &Adopted,
    ) -> UnitStatus {
        let rollouts: Vec<TrackSummary> = if unit.running_digest.is_some() {
            self.runs
                .values()
                .filter_map(|run| run.summary().cloned())
                .collect()
        } else {
            unit.finished_rollouts.clone()
        };
        let outcome = outcome(unit, &rollouts, !self.waiting_on.is_empty());
        // After a run its change is still the one that was brought in last.
        let last = unit
            .running_digest
            .as_ref()
            .or(unit.applied_digest.as_ref());
        let last = last.and_then(|digest| self.bundles.get(digest));
        let running = last
            .filter(|_| unit.running_digest.is_some())
            .map(AsRef::as_ref);
        let health = adopted
            .workload
            .as_ref()
            .map_or(Health::Unknown, |workload| workload.health);
        let webhook = self.shell.webhook.now().warning();
        UnitStatus {
            release: last
                .map(|change| change.release.clone())
                .unwrap_or_default(),
            health,
            objects: adopted.workload.iter().cloned().collect(),
            object_count: u32::from(adopted.workload.is_some()),
            warnings: self
                .warnings
                .iter()
                .cloned()
                .chain(webhook)
                .chain(self.source_warnings())
                .collect(),
            ..self.common_status(unit, running, outcome, rollouts)
        }
    }
}

/// `waits` = the last look at the workload found something unfinished.
fn outcome(unit: &SyncUnit, rollouts: &[TrackSummary], waits: bool) -> UnitOutcome {
    if unit.running_digest.is_none() {
        return match unit.digest {
            Some(_) if waits && unit.outcome == Some(UnitOutcome::Succeeded) => {
                UnitOutcome::Progressing
            }
            Some(_) => unit.outcome.unwrap_or(UnitOutcome::Progressing),
            None if unit.objects.is_empty() => UnitOutcome::Succeeded,
            None => UnitOutcome::Removing,
        };
    }
    let returns = |track: &TrackSummary| matches!(track.phase, Phase::RollingBack | Phase::Failed);
    match unit.digest {
        None => UnitOutcome::Removing,
        Some(_) if rollouts.iter().any(returns) => UnitOutcome::RollingBack,
        Some(_) => UnitOutcome::Progressing,
    }
}

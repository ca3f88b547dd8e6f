//! Bundles that come in by their rollouts.

mod deciding;
mod ending;
mod objects;
mod samples;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bellwether_agent_core::config_stamp::AsFound;
use bellwether_api::{command::AbortCause, sync_record::SyncUnit};

use super::{Pass, PassError, Unit, run_of, targets};
use crate::{
    rollout::{Run, Versions},
    sync::events,
};

pub(super) use ending::marks_template;
pub(super) use objects::Laid;
pub(super) use samples::hand_on_checks;

/// Shortest pause between two passes that nothing woke.
const SHORTEST: Duration = Duration::from_millis(50);
/// Decisions in one pass; more wait for the next, so that other applications get their turn.
const MAX_DECISIONS: usize = 16;

impl Unit {
    /// Drives the runs of a bundle, or lets go of them where their namespaces go away and took the
    /// agent's rights along: nothing can be read or written there any more.
    pub(super) async fn drive(
        &mut self,
        unit: &SyncUnit,
        digest: &str,
        previous: &str,
        abort: Option<AbortCause>,
    ) -> Result<Pass, PassError> {
        match Box::pin(self.drive_runs(unit, digest, previous, abort)).await {
            Err(error)
                if error.is_forbidden()
                    && !self.runs.is_empty()
                    && self.namespaces_end().await? =>
            {
                self.let_go_of_runs(digest, previous).await
            }
            pass => pass,
        }
    }

    /// Only runs that have something to decide are looked at, and only what changed is held anew: a pass
    /// over many runs costs what one of them has to do.
    async fn drive_runs(
        &mut self,
        unit: &SyncUnit,
        digest: &str,
        previous: &str,
        abort: Option<AbortCause>,
    ) -> Result<Pass, PassError> {
        let versions = Versions {
            new: self.bundle(digest).await?,
            old: self.bundle(previous).await?,
            found: AsFound::of(unit),
        };
        if let Some(granted) = unit.digest.as_ref().filter(|granted| *granted != digest) {
            let _ = self.bundle(granted).await;
        }
        let of = [digest.to_owned(), previous.to_owned()];
        if self.laid.as_ref().is_none_or(|laid| laid.of != of) {
            self.laid = None;
            self.opened.of(digest, &versions.new, unit);
            self.open_runs(unit, &versions, abort).await?;
        }
        if self.is_closed_to_abort(&versions, abort) {
            self.open_runs(unit, &versions, abort).await?;
        }
        for _ in 0..MAX_DECISIONS {
            self.note_changes().await?;
            self.command_runs(&versions, abort).await?;
            let held = Box::pin(self.hold_runs(&versions, of.clone())).await?;
            if self.open_more_runs(&versions).await? {
                self.laid = None;
                self.open_runs(unit, &versions, abort).await?;
                continue;
            }
            // One object that is refused must not keep the run from its deadline, an abort, or from
            // taking the weight away: the decision is made on what is live, then the refusal told.
            let moved = Box::pin(self.decide_runs(&versions)).await?;
            self.take_over_events().await?;
            if self.runs.values().all(Run::is_over) && self.runs_may_end(&versions, abort) {
                return Box::pin(self.end_runs(digest, &versions)).await;
            }
            held?;
            if !moved {
                self.listen_to_neighbours();
                return Ok(Pass {
                    wake_in: self.next_wake(),
                    waiting_on: self.runs_wait_in_order(&versions),
                    ..Pass::default()
                });
            }
            self.publish();
        }
        Ok(Pass::again())
    }

    /// Lets go of what the runs held once more before they count as over.
    async fn end_runs(&mut self, digest: &str, versions: &Versions) -> Result<Pass, PassError> {
        let wanted = self.run_objects(versions).await?;
        if let Err(error) = self.hold_run_objects(versions, &wanted).await
            && !self.namespaces_end().await?
        {
            return Err(error);
        }
        self.finish_runs(digest, versions, &targets(&wanted))
            .await?;
        Ok(Pass::again())
    }

    pub(super) async fn open_runs(
        &mut self,
        unit: &SyncUnit,
        versions: &Versions,
        abort: Option<AbortCause>,
    ) -> Result<(), PassError> {
        let of = run_of(&versions.new);
        self.runs
            .retain(|_, run| (run.of.run, run.of.attempt) == (of.run, of.attempt));
        for rollout in &versions.new.rollouts {
            let is_due = versions.changes(rollout) && self.may_run(rollout, abort);
            if self.runs.contains_key(&rollout.name) || !is_due {
                continue;
            }
            let client = self.shell.cluster.client();
            let mut run = Run::open(
                client,
                &versions.new,
                rollout,
                unit.generation,
                self.shell.clock.now(),
            )
            .await?;
            run.scene.config = versions.config_changes(rollout);
            self.runs.insert(rollout.name.clone(), run);
            // Another process may have applied anything since: nothing that was seen counts.
            self.keeper.forget();
            self.runs.values_mut().for_each(Run::mark_due);
        }
        self.counted_runs.set(self.runs.len());
        Ok(())
    }

    async fn command_runs(
        &mut self,
        versions: &Versions,
        abort: Option<AbortCause>,
    ) -> Result<(), PassError> {
        let hub = self.shell.desired.command(&self.application);
        // One that failed takes the others back with it: the release runs as a whole or not at all.
        let failed = self.runs.values().any(|run| run.failure().is_some());
        for run in self.runs.values_mut() {
            let end =
                abort.or((failed && run.failure().is_none()).then_some(AbortCause::RollbackAll));
            run.refresh(&versions.new, hub.as_ref(), end).await?;
        }
        let mut taken_up = false;
        for run in self.runs.values_mut() {
            taken_up |= run.was_taken_up();
        }
        if taken_up {
            // What is held is what an older state wanted.
            self.laid = None;
            self.runs.values_mut().for_each(Run::mark_due);
        }
        Ok(())
    }

    pub(super) async fn take_over_events(&mut self) -> Result<(), PassError> {
        if !self.runs.values().any(Run::has_news) {
            return Ok(());
        }
        self.remember(|unit| {
            for run in self.runs.values() {
                events::carry_over(unit, &run.rollout.name, run.of, run.events());
            }
        })
        .await?;
        self.runs.values_mut().for_each(Run::told);
        Ok(())
    }

    pub(super) fn next_wake(&self) -> Option<Duration> {
        let now = self.shell.clock.now();
        self.runs
            .values()
            .filter_map(Run::wake_at)
            .map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default())
            .chain(self.laid.as_ref().and_then(Laid::look_in))
            .min()
            // Never at once: a decision that is due has been made.
            .map(|wait| wait.max(SHORTEST))
    }
}

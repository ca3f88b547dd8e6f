//! R7: what lasts is told by the time that really passes, whatever clocks say.

use std::collections::BTreeMap;

use bellwether_agent_core::machine::{Decision, RunState as TrackState, Stage};
use bellwether_api::{status::FailureReason, track::RolloutTrackSpec};
use bellwether_hub_core::{
    plan::Plan,
    run::{ClusterPhase, RunState, WavePhase},
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::broken::Broken;

/// What may lie between two hubs that agreed on the time, and between two looks of one agent.
pub(super) const SLACK: SignedDuration = SignedDuration::from_secs(4);

/// Watches how long clusters really ran a release before their wave passed.
#[derive(Clone, Debug, Default)]
pub struct Soaks {
    /// Whether each hub has a time of its own, by which alone it tells how long anything lasts: nothing is
    /// judged then.
    pub are_told_apart: bool,
    succeeded: BTreeMap<(Uuid, Uuid, u32), Timestamp>,
}

impl Soaks {
    /// Judges a decision that was saved, made at `truth` in the time that really passes. Hubs were
    /// all away until `resumed`: what began before may look longer than it was.
    ///
    /// # Errors
    /// A wave passed before its soak was over.
    pub fn observe(
        &mut self,
        run: Uuid,
        plan: &Plan,
        (before, after): (&RunState, &RunState),
        (truth, resumed): (Timestamp, Option<Timestamp>),
    ) -> Result<(), Broken> {
        if self.are_told_apart {
            return Ok(());
        }
        for (id, cluster) in &after.clusters {
            if matches!(cluster.phase, ClusterPhase::Succeeded { .. }) {
                let of = (run, *id, cluster.attempt);
                self.succeeded.entry(of).or_insert(truth);
            }
        }
        for (index, wave) in after.waves.iter().enumerate() {
            let passed = |phase| matches!(phase, WavePhase::Passed { .. });
            if !passed(wave.phase) || passed(before.waves[index].phase) {
                continue;
            }
            for (gate, state) in plan.waves[index].after.iter().zip(&wave.after) {
                let Some(soak) = gate.soak.filter(|_| state.overridden.is_none()) else {
                    continue;
                };
                // Who left since proves nothing, and is not waited for.
                let proving = after
                    .of_wave(index)
                    .filter(|(_, cluster)| matches!(cluster.phase, ClusterPhase::Succeeded { .. }));
                for (id, cluster) in proving {
                    let since = self.succeeded.get(&(run, *id, cluster.attempt));
                    let since = since.filter(|since| resumed.is_none_or(|at| **since > at));
                    let lasted = since.map(|since| truth.duration_since(*since));
                    if lasted.is_some_and(|lasted| lasted + SLACK < soak.as_signed()) {
                        let detail = format!("wave {index} passed after {lasted:?} of {soak}");
                        return Err(Broken::new("R7-soak", detail));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Judges a decision of an agent that has seen no progress for `quiet`, in the time that really
/// passes and that it was there.
///
/// # Errors
/// The progress deadline ended the run too early.
pub fn deadline_was_kept(
    spec: &RolloutTrackSpec,
    before: &TrackState,
    decision: &Decision,
    quiet: SignedDuration,
) -> Result<(), Broken> {
    let Stage::RollingBack { failure, .. } = &decision.next.stage else {
        return Ok(());
    };
    let fired = failure.reason == FailureReason::DeadlineExceeded
        && !matches!(before.stage, Stage::RollingBack { .. });
    // An agent that takes a run up leaves it a quarter of its time at least.
    let least = spec.plan.progress_deadline.as_signed() / 4;
    if fired && quiet + SLACK < least {
        let detail = format!(
            "no progress for {quiet:?} only: {}; {:?} began {}, {:?}",
            failure.message, before.stage, before.started_at, before.clock
        );
        return Err(Broken::new("R7-deadline", detail));
    }
    Ok(())
}

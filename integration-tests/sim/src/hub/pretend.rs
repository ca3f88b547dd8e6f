//! What a hub sees whose guard was removed.

use bellwether_api::status::UnitOutcome;
use bellwether_hub_core::{
    plan::Plan,
    run::{ClusterSeen, Decision, Input, RunStatus, decide},
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{Mutant, database::RunRow};

/// The clusters as it sees them.
pub(super) fn clusters(
    seen: &[ClusterSeen],
    run: &RunRow,
    now: Timestamp,
    mutant: Mutant,
) -> Vec<ClusterSeen> {
    let mut seen = seen.to_vec();
    for cluster in &mut seen {
        match mutant {
            Mutant::IgnoreSilence => {
                cluster.connected = true;
                cluster.last_heard = Some(now);
            }
            Mutant::IgnoreBusy => idle(cluster, run.id),
            Mutant::ForgetSilent => cluster.member &= cluster.connected,
            Mutant::SendUnrendered => cluster.unrendered = None,
            Mutant::BelieveOldReports => believe(cluster, run),
            Mutant::RememberRemoved if cluster.desired.is_none() => {
                let status = cluster.status.as_ref();
                cluster.desired = status.map(|status| status.digest.clone());
                cluster.is_forgotten = false;
            }
            _ => {}
        }
    }
    seen
}

/// What it decides.
pub(super) fn decision(input: &Input<'_>, mutant: Mutant) -> Decision {
    let real = decide(input);
    let on = (mutant == Mutant::GrantAfterEnd).then(|| granting_on(input, &real));
    on.flatten().unwrap_or(real)
}

/// The decision of one who grants on, whatever became of the run; absent = nothing waits to be granted.
fn granting_on(input: &Input<'_>, real: &Decision) -> Option<Decision> {
    if !matches!(
        real.next.status,
        RunStatus::Halted { .. } | RunStatus::Superseded { .. }
    ) {
        return None;
    }
    let mut state = input.state.clone();
    state.status = RunStatus::Progressing;
    let mut on = decide(&Input {
        state: &state,
        supersession: None,
        ..*input
    });
    on.next.status = real.next.status.clone();
    (!on.grants.is_empty()).then_some(on)
}

/// Whatever is under way there is of no concern.
fn idle(cluster: &mut ClusterSeen, run: Uuid) {
    if let (Some(status), Some(desired)) = (&mut cluster.status, &cluster.desired)
        && status.run != run
    {
        status.outcome = UnitOutcome::Failed;
        status.rollouts.clear();
        status.digest.clone_from(desired);
    }
}

/// Whatever was reported is of this attempt.
fn believe(cluster: &mut ClusterSeen, run: &RunRow) {
    let known = run.state.clusters.get(&cluster.id);
    if let (Some(known), Some(status), Some(desired)) =
        (known, &mut cluster.status, &cluster.desired)
    {
        (status.run, status.attempt) = (run.id, known.attempt);
        status.digest.clone_from(desired);
    }
}

/// The plan as it reads it.
pub(super) fn plan(plan: &Plan, mutant: Mutant) -> Plan {
    let mut plan = plan.clone();
    if mutant == Mutant::IgnoreWaves {
        let all = plan.waves.iter_mut();
        let all: Vec<_> = all.flat_map(|wave| wave.clusters.drain(..)).collect();
        if let Some(first) = plan.waves.first_mut() {
            first.clusters = all;
        }
    }
    for wave in &mut plan.waves {
        match mutant {
            Mutant::SkipGate => wave.after.clear(),
            Mutant::IgnoreFailures => wave.max_failures = 99,
            Mutant::IgnoreSlots => wave.max_concurrent = 99,
            _ => {}
        }
    }
    plan
}

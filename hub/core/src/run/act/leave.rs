use bellwether_api::{application::OnFailure, command::AbortCause, status::Severity};
use uuid::Uuid;

use super::{Answer, Scope, executed, in_flight, stale};
use crate::run::{
    cluster::ClusterPhase,
    decide::{Turn, send_cluster_back},
    input::PendingAction,
    state::{Ending, RunStatus, WavePhase},
};

/// What is said of a cluster whose attempt is ended.
pub(super) const GOES_BACK: &str = "goes back to what it had";

pub(super) fn skip_cluster(turn: &mut Turn<'_>, action: &PendingAction, id: Uuid) -> Answer {
    let now = turn.now();
    let (by, reason) = (action.by.clone(), action.reason.clone());
    let Some(cluster) = turn.next.clusters.get_mut(&id) else {
        return stale("the cluster is gone");
    };
    match cluster.phase {
        ClusterPhase::Succeeded { .. }
        | ClusterPhase::Skipped { .. }
        | ClusterPhase::Gone { .. }
        | ClusterPhase::Reverted { .. } => return stale("the cluster is done already"),
        _ => {}
    }
    cluster.queue.clear();
    cluster.phase = ClusterPhase::Skipped {
        at: now,
        by,
        reason,
    };
    let message = format!("the run goes on without {}", cluster.name);
    turn.tell(id, "counted out");
    turn.event(Some(id), Severity::Warn, "ClusterSkipped", message.clone());
    executed(message)
}

pub(super) fn abort(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if matches!(
        turn.next.status,
        RunStatus::Aborting { .. } | RunStatus::RollingBack { .. }
    ) {
        return stale("it is going back already");
    }
    let (by, reason) = (action.by.clone(), action.reason.clone());
    // How a run ended is not changed by who catches up with it.
    if scope != Scope::Run || turn.next.status.is_finished() {
        let now = turn.now();
        let clusters = in_flight(turn, scope);
        for id in &clusters {
            if let Some(cluster) = turn.next.clusters.get_mut(id) {
                send_cluster_back(cluster, AbortCause::Manual, &by, &reason, now);
            }
            turn.tell(*id, GOES_BACK);
        }
        return if clusters.is_empty() {
            stale("nothing is under way there")
        } else {
            executed(format!("{} clusters go back", clusters.len()))
        };
    }
    let under_way = in_flight(turn, Scope::Run);
    let count = under_way.len();
    for id in under_way {
        turn.tell(id, GOES_BACK);
    }
    turn.send_back(AbortCause::Manual, &by, &reason);
    turn.next.suspended = None;
    if turn.input.plan.on_failure == OnFailure::RollbackAll {
        turn.roll_everything_back(Ending::Aborted { by, reason });
        return executed("every cluster goes back to the release it had before");
    }
    turn.next.status = RunStatus::Aborting {
        since: turn.now(),
        by,
        reason,
    };
    executed(format!(
        "{count} clusters go back; those that are done stay"
    ))
}

pub(super) fn retry(turn: &mut Turn<'_>, scope: Scope) -> Answer {
    if turn.input.supersession.is_some() {
        return stale("something newer takes its place");
    }
    if turn.next.archived.is_some() {
        return stale("the run was put away (finish); apply the release again to start another");
    }
    match turn.next.status {
        RunStatus::Progressing
        | RunStatus::Halted { .. }
        | RunStatus::Failed { .. }
        | RunStatus::Aborted { .. } => {}
        // A human may have taken a cluster back since.
        RunStatus::Succeeded { .. } if has_reverted(turn) => {}
        _ => return stale(&format!("the run is {}", turn.next.status.word())),
    }
    // Of a run that succeeded only what was named is brought back.
    let ended = matches!(
        turn.next.status,
        RunStatus::Failed { .. } | RunStatus::Aborted { .. }
    );
    let again: Vec<Uuid> = turn
        .next
        .clusters
        .iter()
        .filter(|(id, cluster)| {
            let meant = match scope {
                Scope::Run => true,
                Scope::Wave(wave) => cluster.wave == Some(wave),
                Scope::Cluster(only) => **id == only,
            };
            match cluster.phase {
                ClusterPhase::Failed { .. } => meant,
                // What was taken back everywhere is brought back everywhere, or no wave can pass.
                ClusterPhase::Reverted { .. } => meant || ended,
                // It has the release before only because this one had failed.
                ClusterPhase::Parked { .. } => cluster.wave.is_some(),
                _ => false,
            }
        })
        .map(|(id, _)| *id)
        .collect();
    // Clusters that never started (the run was aborted, or they were unreachable) need no new
    // attempt: opening the run again is enough for them.
    let mut clusters = turn.next.clusters.values();
    let reopens = match turn.next.status {
        RunStatus::Aborted { .. } | RunStatus::Halted { .. } => true,
        RunStatus::Failed { .. } => clusters.any(|one| turn.next.was_never_reached(one)),
        _ => false,
    };
    if again.is_empty() && !reopens {
        return stale("nothing failed");
    }
    for id in &again {
        if let Some(cluster) = turn.next.clusters.get_mut(id) {
            cluster.phase = ClusterPhase::Waiting;
            cluster.suspended = None;
        }
        turn.tell(*id, "is tried again");
    }
    reopen_waves(turn);
    turn.next.status = RunStatus::Progressing;
    executed(format!("{} clusters are tried again", again.len()))
}

fn has_reverted(turn: &Turn<'_>) -> bool {
    turn.next
        .clusters
        .values()
        .any(|cluster| matches!(cluster.phase, ClusterPhase::Reverted { .. }))
}

/// A wave that failed, or whose clusters are tried again, runs again; its gates keep what humans
/// said and start their clocks anew.
fn reopen_waves(turn: &mut Turn<'_>) {
    for index in 0..turn.next.waves.len() {
        let waits = turn
            .next
            .of_wave(index)
            .any(|(_, cluster)| cluster.phase == ClusterPhase::Waiting);
        let wave = &mut turn.next.waves[index];
        if let Some(started) = wave.phase.started()
            && (waits || wave.phase.is_failed())
        {
            wave.phase = WavePhase::Running { since: started };
            wave.after
                .iter_mut()
                .for_each(|gate| gate.soak_since = None);
        }
    }
}

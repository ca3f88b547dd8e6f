use bellwether_api::{application::OnFailure, command::AbortCause, status::Severity};
use uuid::Uuid;

use super::{Answer, Scope, executed, in_flight, retry, stale};
use crate::run::{
    cluster::ClusterPhase,
    decide::{Turn, send_cluster_back},
    input::PendingAction,
    state::{Ending, RunStatus},
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
    cluster.retry = None;
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
        let count = clusters.len() + retry::forget(turn, scope);
        return if count == 0 {
            stale("nothing is under way there")
        } else {
            executed(format!("{count} clusters go back"))
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

use bellwether_api::command::AbortCause;

use super::{Answer, Scope, covered, executed, in_flight, leave::GOES_BACK, stale};
use crate::run::{
    cluster::ClusterPhase,
    decide::{Turn, send_cluster_back},
    input::PendingAction,
    state::{RunStatus, Stop},
};

/// Takes one wave or cluster back to what it had before the run: what is under way there is ended,
/// and what has the release gets the one before as a plain update. The run goes on without it.
pub(super) fn take_back(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if scope == Scope::Run {
        // The release that is restored ends the run; what is left to say comes too late.
        return stale("something newer takes its place");
    }
    match turn.next.status {
        RunStatus::Progressing | RunStatus::Halted { .. } | RunStatus::Succeeded { .. } => {}
        RunStatus::Aborting { .. } | RunStatus::RollingBack { .. } => {
            return stale("it is going back already");
        }
        _ => return stale(&format!("the run has ended: {}", turn.next.status.word())),
    }
    let now = turn.now();
    let under_way = in_flight(turn, scope);
    for id in &under_way {
        if let Some(cluster) = turn.next.clusters.get_mut(id) {
            send_cluster_back(cluster, AbortCause::Manual, &action.by, &action.reason, now);
        }
        turn.tell(*id, GOES_BACK);
    }
    let done = covered(turn, scope, |phase| {
        matches!(phase, ClusterPhase::Succeeded { .. })
    });
    let mut count = under_way.len();
    for id in done {
        let Some(cluster) = turn.next.clusters.get_mut(&id) else {
            continue;
        };
        if cluster.previous.is_none() || cluster.take_back.is_some() {
            continue;
        }
        cluster.take_back = Some(Stop {
            by: action.by.clone(),
            reason: action.reason.clone(),
            since: now,
        });
        turn.tell(id, "gets the release before as a plain update");
        count += 1;
    }
    if count > 0 {
        return executed(format!("{count} clusters go back"));
    }
    stale("nothing is under way there, and nothing ran there before this release")
}

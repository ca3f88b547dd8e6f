use bellwether_api::status::UnitOutcome;
use uuid::Uuid;

use super::{Answer, Scope, covered, executed, stale};
use crate::run::{
    cluster::ClusterPhase,
    decide::Turn,
    decision::ActionOutcome,
    input::{ClusterSeen, PendingAction, Reach},
    state::{RunStatus, Stop},
};

/// Puts an ended run away, or a wave or cluster of it: it is not tried again. What clusters keep of a
/// run goes by itself with its end, so that one that is not through with that is not put away.
pub(super) fn put_away(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    let refused = |message: String| (ActionOutcome::Refused, message);
    if !turn.next.status.is_finished() {
        let instead = match scope {
            Scope::Run => "wait for its end, or end it with abort or rollback",
            _ => "skip --cluster lets it go on without a cluster; abort and rollback end it there",
        };
        return refused(format!("the run is {}; {instead}", turn.next.status.word()));
    }
    if turn.next.archived.is_some() {
        return stale("it was put away already");
    }
    let ids = covered(turn, scope, |_| true);
    let run = turn.input.run.id;
    let busy: Vec<&str> = ids
        .iter()
        .filter(|id| {
            turn.next.clusters[*id].phase.takes_slot()
                || turn.next.clusters[*id].take_back.is_some()
                || turn.seen.get(*id).is_some_and(|seen| left(seen, run))
        })
        .map(|id| turn.next.clusters[id].name.as_str())
        .collect();
    if !busy.is_empty() {
        return refused(format!(
            "the run has ended, but something of it is still under way at {}; wait for that (see \
             why)",
            busy.join(", ")
        ));
    }
    if scope != Scope::Run {
        return put_part_away(turn, action, &ids);
    }
    turn.next.archived = Some(Stop {
        by: action.by.clone(),
        reason: action.reason.clone(),
        since: turn.now(),
    });
    for id in ids {
        match turn.reach(id) {
            Reach::Unreachable => turn.tell(id, "whatever is left goes"),
            _ => turn.tell(id, "nothing of the run is left"),
        }
    }
    executed("put away: it is not tried again, its history stays")
}

/// Counts out those of some clusters of an ended run that a retry, or their coming back, would bring
/// the release to.
fn put_part_away(turn: &mut Turn<'_>, action: &PendingAction, ids: &[Uuid]) -> Answer {
    if let RunStatus::Superseded { revision, .. } = turn.next.status {
        return stale(&format!(
            "revision {revision} took its place: nothing of it is tried again"
        ));
    }
    let now = turn.now();
    let mut count = 0;
    for id in ids {
        let Some(cluster) = turn.next.clusters.get_mut(id) else {
            continue;
        };
        let may_be_tried = matches!(
            cluster.phase,
            ClusterPhase::Waiting | ClusterPhase::Failed { .. } | ClusterPhase::Reverted { .. }
        );
        if !may_be_tried {
            turn.tell(*id, "nothing of the run is left");
            continue;
        }
        cluster.phase = ClusterPhase::Skipped {
            at: now,
            by: action.by.clone(),
            reason: action.reason.clone(),
        };
        count += 1;
        turn.tell(*id, "put away: the release is not tried again there");
    }
    if count == 0 {
        turn.told.clear();
        return stale("nothing is left to put away there: nothing of it would be tried again");
    }
    executed(format!(
        "{count} clusters put away: a retry goes on without them, their history stays"
    ))
}

/// Tells whether a cluster reported that something of the run is not cleared yet.
fn left(seen: &ClusterSeen, run: Uuid) -> bool {
    seen.status.as_ref().is_some_and(|status| {
        status.run == run
            && (matches!(
                status.outcome,
                UnitOutcome::Progressing | UnitOutcome::RollingBack
            ) || status
                .rollouts
                .iter()
                .any(|track| !track.phase.is_terminal()))
    })
}

use bellwether_api::status::UnitOutcome;
use uuid::Uuid;

use super::{Answer, Scope, executed, stale};
use crate::run::{
    decide::Turn,
    decision::ActionOutcome,
    input::{ClusterSeen, PendingAction, Reach},
    state::Stop,
};

/// Puts an ended run away: it is not tried again. What clusters keep of a run goes by itself with
/// its end, so that one that is not through with that keeps the run from being put away.
pub(super) fn put_away(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    let refused = |message: String| (ActionOutcome::Refused, message);
    if scope != Scope::Run {
        return refused("finish puts the whole run away; leave wave and cluster out".to_owned());
    }
    if !turn.next.status.is_finished() {
        return refused(format!(
            "the run is {}; wait for its end, or end it with abort or rollback",
            turn.next.status.word()
        ));
    }
    if turn.next.archived.is_some() {
        return stale("it was put away already");
    }
    let run = turn.input.run.id;
    let ids: Vec<Uuid> = turn.next.clusters.keys().copied().collect();
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

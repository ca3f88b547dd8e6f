use bellwether_api::command::AbortCause;
use uuid::Uuid;

use super::{Answer, Scope, covered, executed, in_flight, leave::GOES_BACK, retry, stale};
use crate::run::{
    cluster::ClusterPhase,
    decide::{Turn, send_cluster_back},
    decision::ActionOutcome,
    input::{NamedRelease, PendingAction},
    state::{RunStatus, Stop},
};

/// Takes one wave or cluster back to what it had before the run, or to an earlier release that is
/// named: what is under way there is ended, and what has the release gets the other one as a plain
/// update. The run goes on without it.
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
    let named = match &action.to {
        None => None,
        Some(NamedRelease::Found { revision, digest }) => Some((*revision, digest.as_str())),
        Some(NamedRelease::Missing { why }) => return (ActionOutcome::Refused, why.clone()),
    };
    let under_way = in_flight(turn, scope);
    for id in &under_way {
        if let Some(cluster) = turn.next.clusters.get_mut(id) {
            let (by, reason, now) = (&action.by, &action.reason, turn.input.now);
            send_cluster_back(cluster, AbortCause::Manual, by, reason, now);
        }
        turn.tell(*id, GOES_BACK);
    }
    let mut count = under_way.len() + retry::forget(turn, scope);
    if let Some((revision, digest)) = named {
        count = bring_to(turn, action, scope, (revision, digest));
    } else {
        let done = covered(turn, scope, |phase| {
            matches!(phase, ClusterPhase::Succeeded { .. })
        });
        for id in done {
            if turn.next.clusters[&id].previous.is_some() && mark(turn, action, id, None) {
                turn.tell(id, "gets the release before as a plain update");
                count += 1;
            }
        }
    }
    if count > 0 {
        return executed(match named {
            Some((revision, _)) => format!("{count} clusters go back to revision {revision}"),
            None => format!("{count} clusters go back"),
        });
    }
    stale(match named {
        Some(_) => "no cluster there has got this release, or each runs that revision already",
        None => "nothing is under way there, and nothing ran there before this release",
    })
}

/// Brings clusters that have the release, or had it and lost it again, to an earlier one; gives how many.
fn bring_to(
    turn: &mut Turn<'_>,
    action: &PendingAction,
    scope: Scope,
    (revision, digest): (u64, &str),
) -> usize {
    let meant = covered(turn, scope, |phase| {
        matches!(
            phase,
            ClusterPhase::Returning { .. }
                | ClusterPhase::Succeeded { .. }
                | ClusterPhase::Failed { .. }
                | ClusterPhase::Reverting { .. }
                | ClusterPhase::Reverted { .. }
        )
    });
    let told = std::mem::take(&mut turn.told);
    let mut count = 0;
    for id in meant {
        let is_there = matches!(
            turn.next.clusters[&id].phase,
            ClusterPhase::Failed { .. } | ClusterPhase::Reverted { .. }
        );
        if is_there && runs(turn, id).is_some_and(|runs| runs == digest) {
            continue;
        }
        if !mark(turn, action, id, Some(digest)) {
            continue;
        }
        let goes_back_first = told
            .iter()
            .any(|one| one.cluster == turn.next.clusters[&id].name);
        let message = if goes_back_first {
            format!("{GOES_BACK}, then gets revision {revision} as a plain update")
        } else {
            format!("gets revision {revision} as a plain update")
        };
        turn.tell(id, &message);
        count += 1;
    }
    count
}

/// The release that a cluster runs by its last report; absent = nothing is known.
fn runs<'t>(turn: &Turn<'t>, id: Uuid) -> Option<&'t str> {
    turn.seen
        .get(&id)?
        .status
        .as_ref()?
        .applied_release
        .as_deref()
}

/// Has a cluster taken back in its turn; tells whether that is news.
fn mark(turn: &mut Turn<'_>, action: &PendingAction, id: Uuid, to: Option<&str>) -> bool {
    let since = turn.now();
    let Some(cluster) = turn.next.clusters.get_mut(&id) else {
        return false;
    };
    if cluster.take_back.is_some() && cluster.take_back_to.as_deref() == to {
        return false;
    }
    cluster.take_back_to = to.map(str::to_owned);
    cluster.take_back = Some(Stop {
        by: action.by.clone(),
        reason: action.reason.clone(),
        since,
    });
    true
}

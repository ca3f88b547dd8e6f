use bellwether_api::{
    application::{OnFailure, UnreachablePolicy},
    status::Severity,
};
use uuid::Uuid;

use super::{Answer, Scope, covered, executed, stale};
use crate::run::{
    cluster::{ClusterPhase, ClusterRun},
    decide::Turn,
    decision::ActionOutcome,
    input::{PendingAction, Reach, Unrendered},
    state::{RunStatus, Stop, WavePhase},
    waiting, wave,
};

/// Tries again what failed or was taken back; what is still on its way back is tried again once it is
/// back. Refused where the run would only fail again at once.
pub(super) fn retry(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if let Some(answer) = no_retry(turn) {
        return answer;
    }
    let again = to_try_again(turn, scope);
    let later = on_their_way_back(turn, scope);
    if again.is_empty() && later.is_empty() && !reopens(turn, scope) {
        return stale(match scope {
            Scope::Run => "nothing failed and nothing was taken back",
            _ => "nothing failed there and nothing was taken back",
        });
    }
    let before = turn.next.clone();
    let reopened = open_again(turn, action, &again, &later);
    if let Some(why) = fails_at_once(turn, &reopened, again.is_empty() && later.is_empty()) {
        let leave_out = if before.status.is_finished() {
            "finish"
        } else {
            "skip"
        };
        turn.next = before;
        let message = format!(
            "{why}; retry all that failed together, or leave a cluster out first ({leave_out} \
             --cluster)"
        );
        return (ActionOutcome::Refused, message);
    }
    for id in &again {
        turn.tell(*id, "is tried again");
    }
    for id in &later {
        turn.tell(*id, "goes back first and is tried again then");
    }
    executed(match (again.len(), later.len()) {
        (0, 0) => "goes on: no cluster failed".to_owned(),
        (again, 0) => format!("{again} clusters are tried again"),
        (0, later) => format!("{later} clusters go back first and are tried again then"),
        (again, later) => format!(
            "{again} clusters are tried again, {later} go back first and are tried again then"
        ),
    })
}

/// Has clusters tried again, some of them later, in a run that goes on; gives the waves that had failed.
fn open_again(
    turn: &mut Turn<'_>,
    action: &PendingAction,
    again: &[Uuid],
    later: &[Uuid],
) -> Vec<usize> {
    for id in again {
        if let Some(cluster) = turn.next.clusters.get_mut(id) {
            cluster.phase = ClusterPhase::Waiting;
            cluster.suspended = None;
            cluster.take_back = None;
            cluster.take_back_to = None;
        }
    }
    let stop = Stop {
        by: action.by.clone(),
        reason: action.reason.clone(),
        since: turn.now(),
    };
    for id in later {
        if let Some(cluster) = turn.next.clusters.get_mut(id) {
            cluster.suspended = None;
            cluster.retry = Some(stop.clone());
        }
    }
    if turn.next.status != RunStatus::Progressing {
        stop_clocks(turn);
    }
    turn.next.status = RunStatus::Progressing;
    reopen_waves(turn)
}

/// Has the soaks of all waves that have not passed begin anew: while the run stood, nobody looked whether
/// clusters stayed well.
fn stop_clocks(turn: &mut Turn<'_>) {
    let waves = turn.next.waves.iter_mut();
    for wave in waves.filter(|wave| !matches!(wave.phase, WavePhase::Passed { .. })) {
        let gates = wave.before.iter_mut().chain(&mut wave.after);
        gates.for_each(|gate| gate.soak_since = None);
    }
}

/// Tries again whatever was to be, now that it is back.
pub(in crate::run) fn once_back(turn: &mut Turn<'_>) {
    let marked: Vec<Uuid> = turn
        .next
        .clusters
        .iter()
        .filter(|(_, cluster)| cluster.retry.is_some() && !goes_back(cluster))
        .map(|(id, _)| *id)
        .collect();
    for id in marked {
        let Some(cluster) = turn.next.clusters.get_mut(&id) else {
            continue;
        };
        let by = cluster.retry.take().map(|stop| stop.by).unwrap_or_default();
        if matches!(
            cluster.phase,
            ClusterPhase::Failed { .. } | ClusterPhase::Reverted { .. }
        ) {
            cluster.phase = ClusterPhase::Waiting;
            let message = format!("it is back and tried again (retry by {by})");
            turn.event(Some(id), Severity::Info, "ClusterRetried", message);
        }
    }
}

/// Leaves what still goes back as it is, where it was to be tried again; gives how many such there were.
pub(super) fn forget(turn: &mut Turn<'_>, scope: Scope) -> usize {
    let mut going = on_their_way_back(turn, scope);
    going.retain(|id| turn.next.clusters[id].retry.is_some());
    for id in &going {
        if let Some(cluster) = turn.next.clusters.get_mut(id) {
            cluster.retry = None;
        }
        turn.tell(*id, "goes back and is not tried again");
    }
    going.len()
}

/// Why a run as it stands is not tried again at all; absent = it may be.
fn no_retry(turn: &Turn<'_>) -> Option<Answer> {
    if turn.input.supersession.is_some() {
        return Some(stale("something newer takes its place"));
    }
    if turn.next.archived.is_some() {
        return Some(stale(
            "the run was put away (finish); apply the release again to start another",
        ));
    }
    match turn.next.status {
        RunStatus::Progressing
        | RunStatus::Halted { .. }
        | RunStatus::Failed { .. }
        | RunStatus::Aborted { .. } => None,
        // A human may have taken a cluster back since.
        RunStatus::Succeeded { .. } if was_taken_back(turn) => None,
        RunStatus::Aborting { .. } | RunStatus::RollingBack { .. } => {
            let going = covered(turn, Scope::Run, ClusterPhase::takes_slot);
            let names: Vec<&str> = going
                .iter()
                .map(|id| turn.next.clusters[id].name.as_str())
                .collect();
            let message = format!(
                "the run goes back, {} still under way; retry once it has ended",
                waiting::list(&names)
            );
            Some((ActionOutcome::Refused, message))
        }
        _ => Some(stale(&format!("the run is {}", turn.next.status.word()))),
    }
}

fn was_taken_back(turn: &Turn<'_>) -> bool {
    turn.next
        .clusters
        .values()
        .any(|cluster| matches!(cluster.phase, ClusterPhase::Reverted { .. }) || goes_back(cluster))
}

/// Tells whether a cluster is on its way to what it had, or is to be.
const fn goes_back(cluster: &ClusterRun) -> bool {
    match cluster.phase {
        ClusterPhase::Returning { .. } | ClusterPhase::Reverting { .. } => true,
        ClusterPhase::Succeeded { .. } => cluster.take_back.is_some(),
        _ => false,
    }
}

fn on_their_way_back(turn: &Turn<'_>, scope: Scope) -> Vec<Uuid> {
    let mut going = covered(turn, scope, |_| true);
    going.retain(|id| goes_back(&turn.next.clusters[id]));
    going
}

/// Clusters that are back on what they had, or wait on it, and get another attempt.
fn to_try_again(turn: &Turn<'_>, scope: Scope) -> Vec<Uuid> {
    // Of a run that succeeded only what was named is brought back.
    let ended = matches!(
        turn.next.status,
        RunStatus::Failed { .. } | RunStatus::Aborted { .. }
    );
    let meant = covered(turn, scope, |_| true);
    turn.next
        .clusters
        .iter()
        .filter(|(id, cluster)| match cluster.phase {
            ClusterPhase::Failed { .. } => meant.contains(id),
            // What was taken back everywhere is brought back everywhere, or no wave can pass.
            ClusterPhase::Reverted { .. } => meant.contains(id) || ended,
            // It has the release before only because this one had failed.
            ClusterPhase::Parked { .. } => cluster.wave.is_some(),
            _ => false,
        })
        .map(|(id, _)| *id)
        .collect()
}

/// Tells whether opening the run again is enough for what was named: it never started, since the run
/// was ended before, its wave failed without it, or the wave's time ran out.
fn reopens(turn: &Turn<'_>, scope: Scope) -> bool {
    let never_started = covered(turn, scope, |phase| *phase == ClusterPhase::Waiting);
    let mut never_started = never_started.iter().map(|id| &turn.next.clusters[id]);
    match turn.next.status {
        RunStatus::Aborted { .. } => scope == Scope::Run || never_started.next().is_some(),
        RunStatus::Halted { wave, .. } => match scope {
            Scope::Run => true,
            Scope::Wave(one) => one == wave,
            Scope::Cluster(_) => never_started.any(|one| one.wave == Some(wave)),
        },
        RunStatus::Failed { .. } => never_started.any(|one| turn.next.was_never_reached(one)),
        _ => false,
    }
}

/// A wave that failed, or whose clusters are tried again, runs again; its gates keep what humans
/// said and start their clocks anew. Gives the waves that had failed.
fn reopen_waves(turn: &mut Turn<'_>) -> Vec<usize> {
    let mut failed = Vec::new();
    for index in 0..turn.next.waves.len() {
        let waits = turn
            .next
            .of_wave(index)
            .any(|(_, cluster)| cluster.phase == ClusterPhase::Waiting || cluster.retry.is_some());
        let wave = &mut turn.next.waves[index];
        if let Some(started) = wave.phase.started()
            && (waits || wave.phase.is_failed())
        {
            if wave.phase.is_failed() {
                failed.push(index);
            }
            wave.phase = WavePhase::Running { since: started };
            wave.after
                .iter_mut()
                .for_each(|gate| gate.soak_since = None);
        }
    }
    failed
}

/// Says why waves that were opened again would only fail again, with what in them is not tried again;
/// absent = they go on. Where failures stop nothing, what is tried again is tried whatever else failed.
fn fails_at_once(turn: &Turn<'_>, reopened: &[usize], nothing_tried: bool) -> Option<String> {
    if turn.input.plan.on_failure == OnFailure::Continue && !nothing_tried {
        return None;
    }
    let stuck: Vec<usize> = reopened
        .iter()
        .copied()
        .filter(|wave| {
            let planned = &turn.input.plan.waves[*wave];
            wave::lost(wave::tally(turn, *wave), planned.unreachable) > planned.max_failures
        })
        .collect();
    if turn.input.plan.on_failure == OnFailure::Continue && stuck.len() < reopened.len() {
        return None;
    }
    let wave = *stuck.first()?;
    let planned = &turn.input.plan.waves[wave];
    let counts_unreached = planned.unreachable == UnreachablePolicy::Fail;
    let lost: Vec<String> = turn
        .next
        .of_wave(wave)
        .filter_map(|(id, cluster)| {
            if cluster.counts_as_failed() {
                Some(format!("{} failed", cluster.name))
            } else if counts_unreached && is_unreached(turn, *id, cluster) {
                Some(format!("{} is not reached", cluster.name))
            } else {
                None
            }
        })
        .collect();
    let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
    Some(format!(
        "wave {} would fail again at once: {}, {} may",
        planned.name,
        waiting::list(&lost),
        planned.max_failures
    ))
}

fn is_unreached(turn: &Turn<'_>, id: Uuid, cluster: &ClusterRun) -> bool {
    cluster.phase == ClusterPhase::Waiting
        && (turn.reach(id) == Reach::Unreachable
            || turn
                .seen
                .get(&id)
                .is_some_and(|seen| matches!(seen.unrendered, Some(Unrendered::Failed(_)))))
}

use bellwether_api::{application::OnFailure, bundle::BundleMode, status::Severity};
use uuid::Uuid;

use super::{
    cluster::ClusterPhase,
    decide::Turn,
    decision::{Grant, GrantRelease},
    input::Reach,
    state::{RunStatus, WavePhase},
    wave,
};

/// Grants what limits and reach allow.
pub(super) fn grant(turn: &mut Turn<'_>) {
    let replaced = turn.input.supersession.is_some();
    if !replaced {
        take_back(turn);
    }
    match turn.next.status {
        // What takes the run's place grants in its own name.
        _ if replaced && !matches!(turn.next.status, RunStatus::RollingBack { .. }) => {}
        RunStatus::Progressing | RunStatus::Succeeded { .. } if !turn.is_suspended() => {
            for wave in 0..turn.next.waves.len() {
                grant_wave(turn, wave);
            }
            grant_joiners(turn);
        }
        RunStatus::RollingBack { .. } => revert(turn),
        RunStatus::Superseded { .. } => {}
        _ => grant_joiners(turn),
    }
}

fn grant_wave(turn: &mut Turn<'_>, wave: usize) {
    let state = &turn.next.waves[wave];
    // Where failures stop nothing, whoever was away catches up with a failed wave too.
    let open = state.phase.is_open()
        || state.phase.is_failed() && turn.input.plan.on_failure == OnFailure::Continue;
    if !open || state.suspended.is_some() {
        return;
    }
    let planned = &turn.input.plan.waves[wave];
    let tally = wave::tally(turn, wave);
    let over_budget = wave::lost(tally, planned.unreachable) > planned.max_failures;
    if over_budget && turn.input.plan.on_failure != OnFailure::Continue {
        return;
    }
    let mut slots = planned.max_concurrent.saturating_sub(tally.in_flight);
    let mode = if turn.input.plan.is_plain() {
        BundleMode::Plain
    } else {
        BundleMode::Rollout
    };
    for cluster in &planned.clusters {
        if slots == 0 {
            return;
        }
        let waits = turn
            .next
            .clusters
            .get(&cluster.id)
            .is_some_and(|one| one.phase == ClusterPhase::Waiting && one.suspended.is_none());
        if waits
            && is_ready(turn, cluster.id)
            && is_rendered(turn, cluster.id)
            && waits_for_nobody(turn, cluster.id)
        {
            start(turn, cluster.id, mode, GrantRelease::This);
            slots -= 1;
        }
    }
}

/// Tells whether a cluster can be granted now: it is heard, and no other run is under way there.
pub(super) fn is_ready(turn: &Turn<'_>, id: Uuid) -> bool {
    turn.reach(id) == Reach::Fresh
        && turn.seen.get(&id).is_some_and(|seen| {
            seen.member && !seen.is_busy_elsewhere(turn.input.run.id, turn.input.plan.governed)
        })
}

/// Tells whether there is something to send to the cluster.
fn is_rendered(turn: &Turn<'_>, id: Uuid) -> bool {
    turn.seen
        .get(&id)
        .is_some_and(|seen| seen.unrendered.is_none())
}

/// Tells whether everything that the release comes after is healthy. Going back comes after nothing.
fn waits_for_nobody(turn: &Turn<'_>, id: Uuid) -> bool {
    turn.input.plan.rollback
        || turn
            .seen
            .get(&id)
            .is_some_and(|seen| seen.awaits.is_empty())
}

fn start(turn: &mut Turn<'_>, id: Uuid, mode: BundleMode, release: GrantRelease) {
    let now = turn.now();
    // What is being taken away is no release to go back to: it is gone before this one comes, or was when that was
    // said and could not be heard.
    let applied = turn
        .seen
        .get(&id)
        .filter(|seen| seen.desired.is_some() && !seen.is_forgotten)
        .and_then(|seen| seen.status.as_ref())
        .and_then(|status| status.applied_release.clone());
    let Some(cluster) = turn.next.clusters.get_mut(&id) else {
        return;
    };
    cluster.attempt += 1;
    cluster.abort = None;
    cluster.take_back = None;
    cluster.take_back_to = None;
    cluster.held = None;
    cluster.queue.clear();
    let attempt = cluster.attempt;
    let (phase, word) = match &release {
        GrantRelease::This => {
            // A retry must not forget what the cluster had before the first attempt.
            if cluster.previous.is_none() {
                cluster.previous = applied;
            }
            (ClusterPhase::Running { since: now }, "ClusterGranted")
        }
        GrantRelease::Digest(_) => (ClusterPhase::Reverting { since: now }, "ClusterReverts"),
        GrantRelease::LastSucceeded => (ClusterPhase::Parked { since: now }, "ClusterJoined"),
    };
    cluster.phase = phase;
    turn.grants.push(Grant {
        cluster: id,
        attempt,
        mode,
        release,
    });
    turn.event(Some(id), Severity::Info, word, format!("attempt {attempt}"));
}

/// Clusters that a human wants back on what they had, as the limits of their wave allow. Going back
/// is never stopped.
fn take_back(turn: &mut Turn<'_>) {
    if !matches!(
        turn.next.status,
        RunStatus::Progressing | RunStatus::Halted { .. } | RunStatus::Succeeded { .. }
    ) {
        return;
    }
    let wanted: Vec<(Uuid, Option<usize>, String)> = turn
        .next
        .clusters
        .iter()
        .filter_map(|(id, cluster)| {
            let to = cluster.awaits_going_back()?;
            Some((*id, cluster.wave, to.to_owned()))
        })
        .collect();
    for (id, wave, to) in wanted {
        let (limit, busy) = match wave {
            Some(wave) => (
                turn.input.plan.waves[wave].max_concurrent,
                wave::tally(turn, wave).in_flight,
            ),
            None => joiners_limit(turn),
        };
        if busy < limit && is_ready(turn, id) {
            start(turn, id, BundleMode::Plain, GrantRelease::Digest(to));
        }
    }
}

/// How many late joiners may be under way, and how many are.
fn joiners_limit(turn: &Turn<'_>) -> (u32, u32) {
    let last = turn.input.plan.waves.last();
    let busy = turn
        .next
        .clusters
        .values()
        .filter(|cluster| cluster.wave.is_none() && cluster.phase.takes_slot())
        .count();
    (
        last.map_or(1, |wave| wave.max_concurrent),
        u32::try_from(busy).unwrap_or(u32::MAX),
    )
}

/// Late joiners: the release of the last wave that passed, else the last one that succeeded.
fn grant_joiners(turn: &mut Turn<'_>) {
    let proven = match turn.next.status {
        RunStatus::Succeeded { .. } => true,
        RunStatus::Progressing => turn
            .next
            .waves
            .iter()
            .any(|wave| matches!(wave.phase, WavePhase::Passed { .. })),
        _ => false,
    };
    let limit = turn
        .input
        .plan
        .waves
        .last()
        .map_or(1, |wave| wave.max_concurrent);
    // Planned clusters that never got anything need something to run when the run has failed.
    let failed = matches!(
        turn.next.status,
        RunStatus::Failed { .. } | RunStatus::Aborted { .. }
    );
    let has_nothing = |id: &Uuid| turn.seen.get(id).is_some_and(|seen| seen.desired.is_none());
    let joiners = || {
        turn.next
            .clusters
            .iter()
            .filter(|(id, cluster)| cluster.wave.is_none() || failed && has_nothing(id))
    };
    let busy = joiners()
        .filter(|(_, cluster)| cluster.phase.takes_slot())
        .count();
    let mut slots = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(busy);
    let waiting: Vec<(Uuid, bool)> = joiners()
        .filter_map(|(id, cluster)| match cluster.phase {
            ClusterPhase::Waiting => Some((*id, false)),
            ClusterPhase::Parked { .. } => Some((*id, true)),
            _ => None,
        })
        .collect();
    for (id, parked) in waiting {
        if !is_ready(turn, id)
            || !is_rendered(turn, id)
            || !waits_for_nobody(turn, id)
            || turn.next.clusters[&id].suspended.is_some()
        {
            continue;
        }
        if proven && slots > 0 {
            start(turn, id, BundleMode::Plain, GrantRelease::This);
            slots -= 1;
        } else if !proven && !parked && turn.input.run.has_previous {
            start(turn, id, BundleMode::Plain, GrantRelease::LastSucceeded);
        }
    }
}

/// Clusters that still have the release, newest wave first; late joiners are the newest of all.
fn to_revert(turn: &Turn<'_>) -> Vec<(usize, Uuid, GrantRelease)> {
    let newest = turn.next.waves.len();
    let mut list: Vec<(usize, Uuid, GrantRelease)> = turn
        .next
        .clusters
        .iter()
        .filter(|(_, cluster)| matches!(cluster.phase, ClusterPhase::Succeeded { .. }))
        .filter_map(|(id, cluster)| {
            let release = match &cluster.previous {
                Some(digest) => GrantRelease::Digest(digest.clone()),
                None if cluster.wave.is_none() && turn.input.run.has_previous => {
                    GrantRelease::LastSucceeded
                }
                // It had nothing before: there is nothing to go back to.
                None => return None,
            };
            Some((cluster.wave.unwrap_or(newest), *id, release))
        })
        .collect();
    list.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    list
}

pub(super) fn has_something_to_revert(turn: &Turn<'_>) -> bool {
    !to_revert(turn).is_empty()
}

fn revert(turn: &mut Turn<'_>) {
    let list = to_revert(turn);
    let newest_busy = turn
        .next
        .clusters
        .iter()
        .filter(|(id, cluster)| {
            cluster.phase.takes_slot() && turn.reach(**id) != Reach::Unreachable
        })
        .map(|(_, cluster)| cluster.wave.unwrap_or(turn.next.waves.len()))
        .max();
    let Some(current) = list.first().map(|entry| entry.0).max(newest_busy) else {
        return;
    };
    let limit = turn
        .input
        .plan
        .waves
        .get(current)
        .map_or(1, |wave| wave.max_concurrent);
    let mut in_flight = count_reverting(turn, current);
    for (wave, id, release) in list {
        if wave != current {
            return;
        }
        // What is written for a silent cluster waits there for it and takes nobody's slot.
        let silent = turn.reach(id) == Reach::Unreachable;
        if !silent {
            if in_flight >= limit {
                continue;
            }
            in_flight += 1;
        }
        start(turn, id, BundleMode::Plain, release);
    }
}

fn count_reverting(turn: &Turn<'_>, wave: usize) -> u32 {
    let own = turn.next.clusters.iter().filter(|(id, cluster)| {
        cluster.wave.unwrap_or(turn.next.waves.len()) == wave
            && cluster.phase.takes_slot()
            && turn.reach(**id) != Reach::Unreachable
    });
    u32::try_from(own.count()).unwrap_or(u32::MAX)
}

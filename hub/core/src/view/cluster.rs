use bellwether_api::{
    status::{Health, PAUSED_AFTER_FAILURE, Phase, UnitOutcome, UnitStatus, WaitReason},
    view::{ClusterPhase as Shown, ClusterView},
};
use uuid::Uuid;

use crate::dependencies::Awaited;
use crate::run::{ClusterPhase, ClusterRun, ClusterSeen, Input, Reach, Unrendered};

pub(super) fn build(run: &Input<'_>, id: Uuid, cluster: &ClusterRun, open: bool) -> ClusterView {
    let seen = run.clusters.iter().find(|seen| seen.id == id);
    let reach = seen.map_or(Reach::Unreachable, |seen| seen.reach(run.now));
    let status = seen.and_then(|seen| seen.status_of(run.run.id, cluster.attempt));
    let state = state(run, cluster, reach, status);
    let (reason, message) = words(cluster, status);
    let fresh = reach != Reach::Unreachable;
    let busy = seen.is_some_and(|seen| seen.is_busy_elsewhere(run.run.id, run.plan.governed));
    ClusterView {
        name: cluster.name.clone(),
        state,
        attempt: cluster.attempt,
        reachable: reach == Reach::Fresh,
        last_seen: seen
            .and_then(|seen| seen.last_heard)
            .map(|at| at.to_string()),
        health: seen
            .filter(|_| fresh)
            .and_then(|seen| seen.status.as_ref())
            .map_or(Health::Unknown, |status| status.health),
        reason,
        message,
        tracks: status
            .map(|status| status.rollouts.clone())
            .unwrap_or_default(),
        waiting_on: waiting_on(state, cluster, seen, status, (open, busy)),
        since: cluster.phase.since().map(|at| at.to_string()),
    }
}

fn state(
    run: &Input<'_>,
    cluster: &ClusterRun,
    reach: Reach,
    status: Option<&UnitStatus>,
) -> Shown {
    let silent = reach == Reach::Unreachable;
    match &cluster.phase {
        ClusterPhase::Waiting | ClusterPhase::Parked { .. } if silent => Shown::Unreachable,
        ClusterPhase::Waiting | ClusterPhase::Parked { .. } => Shown::Queued,
        ClusterPhase::Running { .. }
        | ClusterPhase::Returning { .. }
        | ClusterPhase::Reverting { .. }
            if silent =>
        {
            Shown::Unreachable
        }
        ClusterPhase::Running { .. } => running(run, cluster, status),
        ClusterPhase::Returning { .. } | ClusterPhase::Reverting { .. } => Shown::RollingBack,
        ClusterPhase::Succeeded { .. } if silent => Shown::Unreachable,
        _ if cluster.awaits_going_back().is_some() => Shown::RollingBack,
        ClusterPhase::Succeeded { .. } => Shown::Succeeded,
        ClusterPhase::Failed { .. } | ClusterPhase::Reverted { .. } => Shown::Failed,
        ClusterPhase::Superseded { .. } => match status.map(|status| status.outcome) {
            Some(UnitOutcome::Succeeded) => Shown::Succeeded,
            Some(UnitOutcome::Progressing | UnitOutcome::RollingBack) if !silent => {
                Shown::RollingBack
            }
            _ => Shown::Failed,
        },
        ClusterPhase::Skipped { .. } | ClusterPhase::Gone { .. } => Shown::Skipped,
    }
}

fn running(run: &Input<'_>, cluster: &ClusterRun, status: Option<&UnitStatus>) -> Shown {
    let wave_stopped = cluster
        .wave
        .and_then(|wave| run.state.waves.get(wave))
        .is_some_and(|wave| wave.suspended.is_some());
    let stopped = run.suspended_by_spec
        || run.state.suspended.is_some()
        || wave_stopped
        || cluster.suspended.is_some();
    let Some(status) = status else {
        return Shown::Granted;
    };
    let in_phase = |phase| status.rollouts.iter().any(|track| track.phase == phase);
    if stopped || in_phase(Phase::Suspended) {
        Shown::Suspended
    } else if in_phase(Phase::Waiting) || in_phase(Phase::WaitingPromotion) || asks(status) {
        Shown::WaitingApproval
    } else {
        Shown::Progressing
    }
}

/// A paused step that waits for a human says so.
fn asks(status: &UnitStatus) -> bool {
    status.rollouts.iter().any(|track| {
        track.phase == Phase::Paused
            && track
                .waiting_on
                .iter()
                .any(|wait| matches!(wait.reason.as_str(), "Approval" | PAUSED_AFTER_FAILURE))
    })
}

fn words(cluster: &ClusterRun, status: Option<&UnitStatus>) -> (String, String) {
    match &cluster.phase {
        ClusterPhase::Failed {
            reason, message, ..
        } => (reason.clone(), message.clone()),
        ClusterPhase::Returning { reason, .. } => (reason.clone(), String::new()),
        ClusterPhase::Skipped { by, reason, .. } => (
            "Skipped".to_owned(),
            if reason.is_empty() {
                format!("by {by}")
            } else {
                reason.clone()
            },
        ),
        ClusterPhase::Gone { .. } => ("Gone".to_owned(), "no longer in the destination".to_owned()),
        ClusterPhase::Reverted { .. } => (
            "RolledBack".to_owned(),
            "on the release before again".to_owned(),
        ),
        ClusterPhase::Superseded { .. } => ("Superseded".to_owned(), String::new()),
        ClusterPhase::Parked { .. } => (
            "Joined".to_owned(),
            "on the last release that succeeded, meanwhile".to_owned(),
        ),
        _ => {
            let reason = status
                .map(|status| status.reason.clone())
                .unwrap_or_default();
            let message = status
                .and_then(|status| {
                    status
                        .rollouts
                        .iter()
                        .map(|track| &track.message)
                        .find(|one| !one.is_empty())
                })
                .cloned()
                .unwrap_or_default();
            (reason, message)
        }
    }
}

fn waiting_on(
    state: Shown,
    cluster: &ClusterRun,
    seen: Option<&ClusterSeen>,
    status: Option<&UnitStatus>,
    (open, busy): (bool, bool),
) -> Vec<WaitReason> {
    let wait = |reason: &str, message: String| {
        vec![WaitReason {
            reason: reason.to_owned(),
            message,
            on: Some(format!("cluster/{}", cluster.name)),
            since: seen
                .and_then(|seen| seen.last_heard)
                .map(|at| at.to_string()),
            by_itself: None,
        }]
    };
    match state {
        Shown::Succeeded | Shown::Failed | Shown::Skipped => Vec::new(),
        Shown::Unreachable => wait(
            "ClusterUnreachable",
            seen.and_then(|seen| seen.last_heard).map_or_else(
                || "the agent has never connected".to_owned(),
                |at| format!("not heard since {at}"),
            ),
        ),
        Shown::Queued if seen.is_some_and(|seen| seen.unrendered.is_some()) => {
            match seen.and_then(|seen| seen.unrendered.as_ref()) {
                Some(Unrendered::Failed(why)) => wait("RenderFailed", why.clone()),
                Some(Unrendered::Held(why)) => wait("PruneHeld", why.clone()),
                _ => wait("Rendering", "its objects are being rendered".to_owned()),
            }
        }
        Shown::Queued if open && seen.is_some_and(|seen| !seen.awaits.is_empty()) => {
            let awaits = seen.map_or(&[][..], |seen| &seen.awaits);
            let message =
                |one: &Awaited| format!("waits for application {}: {}", one.application, one.why);
            awaits
                .iter()
                .flat_map(|one| wait("DependsOn", message(one)))
                .collect()
        }
        Shown::Queued if open => match cluster.held.as_ref().filter(|_| !busy) {
            Some(why) => wait("PruneHeld", why.clone()),
            None => wait("Queued", "waits for its turn".to_owned()),
        },
        Shown::Queued => wait("WaveNotOpen", "its wave has not started".to_owned()),
        Shown::Granted => wait(
            "AgentSilent",
            "granted; the agent has not reported on it yet".to_owned(),
        ),
        Shown::RollingBack if cluster.awaits_going_back().is_some() => {
            wait("Queued", "waits for its turn to go back".to_owned())
        }
        Shown::RollingBack if cluster.retry.is_some() => {
            let by = cluster.retry.as_ref().map_or("", |stop| &stop.by);
            wait(
                "RollingBack",
                format!("goes back first, and is tried again then (retry by {by})"),
            )
        }
        _ => match status.map(|status| status.waiting_on.clone()) {
            Some(waits) if !waits.is_empty() => waits,
            _ => wait("AgentReport", "the agent's next report".to_owned()),
        },
    }
}

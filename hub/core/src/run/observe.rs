use bellwether_api::{
    command::{CommandOutcome, CommandSource, QueuedCommand},
    status::{Severity, UnitOutcome, UnitStatus},
};
use uuid::Uuid;

use super::{
    cluster::{ClusterPhase, ClusterRun},
    decide::Turn,
    input::{Reach, Unrendered},
    state::RunStatus,
};

/// Takes in who joined and who left since the plan was frozen.
pub(super) fn membership(turn: &mut Turn<'_>) {
    let now = turn.now();
    for joiner in turn.input.joiners {
        turn.next
            .clusters
            .entry(joiner.id)
            .or_insert_with(|| ClusterRun::new(joiner.name.clone(), None));
    }
    let ids: Vec<Uuid> = turn.next.clusters.keys().copied().collect();
    for id in ids {
        let seen = turn.seen.get(&id);
        let member = seen.is_some_and(|seen| seen.member);
        let has_nothing = seen.is_some_and(|seen| seen.desired.is_none());
        let Some(cluster) = turn.next.clusters.get_mut(&id) else {
            continue;
        };
        match (&cluster.phase, member) {
            (ClusterPhase::Gone { .. }, true) => {
                cluster.phase = ClusterPhase::Waiting;
                turn.event(
                    Some(id),
                    Severity::Info,
                    "ClusterCameBack",
                    "in the destination again",
                );
            }
            // It left and came back between two decisions: what it was granted was taken away.
            (phase, true)
                if has_nothing && cluster.attempt > 0 && *phase != ClusterPhase::Waiting =>
            {
                cluster.phase = ClusterPhase::Waiting;
                cluster.retry = None;
                let message = "it left the destination and is in it again";
                turn.event(Some(id), Severity::Warn, "ClusterCameBack", message);
            }
            (ClusterPhase::Gone { .. }, false) | (_, true) => {}
            (_, false) => {
                cluster.phase = ClusterPhase::Gone { at: now };
                cluster.retry = None;
                turn.event(
                    Some(id),
                    Severity::Warn,
                    "ClusterLeft",
                    "no longer in the destination; it counts for nothing",
                );
            }
        }
    }
}

/// Remembers who is not granted because of what it would lose, and tells it once.
pub(super) fn held(turn: &mut Turn<'_>) {
    for seen in turn.input.clusters {
        let (Some(Unrendered::Held(why)), Some(cluster)) =
            (&seen.unrendered, turn.next.clusters.get_mut(&seen.id))
        else {
            continue;
        };
        if cluster.held.as_ref() == Some(why) {
            continue;
        }
        cluster.held = Some(why.clone());
        turn.event(Some(seen.id), Severity::Warn, "PruneHeld", why.clone());
    }
}

/// Folds in what the agents reported of this run.
pub(super) fn statuses(turn: &mut Turn<'_>) {
    let run = turn.input.run.id;
    let ids: Vec<Uuid> = turn.next.clusters.keys().copied().collect();
    for id in ids {
        let Some(seen) = turn.seen.get(&id).copied() else {
            continue;
        };
        let attempt = turn.next.clusters[&id].attempt;
        let Some(status) = seen.status_of(run, attempt) else {
            continue;
        };
        let fresh = turn.reach(id) == Reach::Fresh;
        take_answers(turn, id, status);
        fold(turn, id, status, fresh);
    }
}

/// Drops one-shot commands that every Rollout under way has answered: whoever is slower than the
/// first would never see them.
fn take_answers(turn: &mut Turn<'_>, id: Uuid, status: &UnitStatus) {
    let Some(cluster) = turn.next.clusters.get_mut(&id) else {
        return;
    };
    let mut answered = Vec::new();
    cluster.queue.retain(|queued| {
        // Every Rollout of the application answers: it took effect if it did for one of them.
        let heard = || {
            status
                .executed
                .iter()
                .filter(|one| one.source == CommandSource::Hub && one.id == queued.id)
        };
        // Agents of before do not say who answered: theirs stands for all.
        let is_awaited = status.rollouts.iter().any(|track| {
            !track.phase.is_terminal()
                && !heard().any(|one| one.rollout.is_empty() || one.rollout == track.name)
        });
        let answer = heard()
            .min_by_key(|one| one.outcome == CommandOutcome::Stale)
            .filter(|_| !is_awaited);
        if let Some(answer) = answer {
            answered.push((named(queued), answer.clone()));
        }
        answer.is_none()
    });
    for (command, answer) in answered {
        let (severity, reason, message) = match answer.outcome {
            CommandOutcome::Executed => (
                Severity::Info,
                "CommandExecuted",
                format!("{command} took effect"),
            ),
            CommandOutcome::Stale => (
                Severity::Warn,
                "CommandStale",
                format!("{command} did nothing: {}", answer.message),
            ),
        };
        turn.event(Some(id), severity, reason, message);
    }
}

fn named(queued: &QueuedCommand) -> String {
    match queued.set {
        Some(set) => format!("{:?} to {set} by {}", queued.verb, queued.by),
        None => format!("{:?} by {}", queued.verb, queued.by),
    }
}

fn fold(turn: &mut Turn<'_>, id: Uuid, status: &UnitStatus, fresh: bool) {
    let now = turn.now();
    let Some(cluster) = turn.next.clusters.get_mut(&id) else {
        return;
    };
    let reason = || {
        if status.reason.is_empty() {
            format!("{:?}", status.outcome)
        } else {
            status.reason.clone()
        }
    };
    let message = || {
        status
            .rollouts
            .iter()
            .map(|track| track.message.as_str())
            .find(|message| !message.is_empty())
            .unwrap_or_default()
            .to_owned()
    };
    let (phase, severity, word) = match (&cluster.phase, status.outcome) {
        // Only what is heard now proves a success; a failure is believed whenever it was said.
        (ClusterPhase::Running { .. } | ClusterPhase::Returning { .. }, UnitOutcome::Succeeded)
            if fresh =>
        {
            (
                ClusterPhase::Succeeded { at: now },
                Severity::Info,
                "ClusterSucceeded",
            )
        }
        (ClusterPhase::Reverting { .. }, UnitOutcome::Succeeded) if fresh => (
            ClusterPhase::Reverted { at: now },
            Severity::Info,
            "ClusterReverted",
        ),
        (
            ClusterPhase::Running { .. }
            | ClusterPhase::Returning { .. }
            | ClusterPhase::Succeeded { .. }
            | ClusterPhase::Reverting { .. },
            UnitOutcome::Failed | UnitOutcome::Refused,
        ) => (
            ClusterPhase::Failed {
                at: now,
                reason: reason(),
                message: message(),
            },
            Severity::Error,
            "ClusterFailed",
        ),
        (
            ClusterPhase::Running { .. } | ClusterPhase::Succeeded { .. },
            UnitOutcome::RollingBack,
        ) => (
            ClusterPhase::Returning {
                since: now,
                reason: reason(),
            },
            Severity::Error,
            "ClusterGoesBack",
        ),
        _ => return,
    };
    let text = match &phase {
        ClusterPhase::Failed {
            reason, message, ..
        } if message.is_empty() || reason.contains(message.as_str()) => reason.clone(),
        ClusterPhase::Failed {
            reason, message, ..
        } => format!("{reason}: {message}"),
        ClusterPhase::Returning { reason, .. } => reason.clone(),
        _ => format!("attempt {}", cluster.attempt),
    };
    cluster.phase = phase;
    cluster.queue.clear();
    let superseded = matches!(turn.next.status, RunStatus::Superseded { .. });
    if !superseded {
        turn.event(Some(id), severity, word, text);
    }
}

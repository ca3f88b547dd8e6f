mod back;
mod finish;
mod gates;
mod leave;
pub(super) mod retry;
mod weight;

use bellwether_api::{
    command::{MAX_QUEUED, QueuedCommand, Verb},
    status::{PAUSED_AFTER_FAILURE, Phase, Severity, TrackSummary, UnitStatus},
};
use uuid::Uuid;

use super::{
    cluster::ClusterPhase,
    decide::Turn,
    decision::{ActionOutcome, AnsweredAction},
    input::{ActionKind, PendingAction},
    state::{RunStatus, Stop},
};

/// Answers that are remembered, so that no action is executed twice.
const REMEMBERED: usize = 64;

/// What an action comes to.
type Answer = (ActionOutcome, String);

/// What an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Run,
    Wave(usize),
    Cluster(Uuid),
}

pub(super) fn answer_all(turn: &mut Turn<'_>) {
    for action in turn.input.actions {
        if turn.next.answered.contains(&action.id) {
            continue;
        }
        let (outcome, message) = answer(turn, action);
        let severity = match outcome {
            ActionOutcome::Executed => Severity::Info,
            _ => Severity::Warn,
        };
        let said = if action.reason.is_empty() {
            format!("{} by {}: {message}", action.kind.as_str(), action.by)
        } else {
            format!(
                "{} by {} ({}): {message}",
                action.kind.as_str(),
                action.by,
                action.reason
            )
        };
        turn.event(None, severity, &format!("Action{outcome:?}"), said);
        let mut clusters = std::mem::take(&mut turn.told);
        clusters.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        turn.answered.push(AnsweredAction {
            id: action.id,
            outcome,
            message,
            clusters,
        });
        turn.next.answered.push(action.id);
        let excess = turn.next.answered.len().saturating_sub(REMEMBERED);
        turn.next.answered.drain(..excess);
    }
}

fn answer(turn: &mut Turn<'_>, action: &PendingAction) -> Answer {
    if let Some(expected) = action.expected_revision
        && expected != turn.input.run.revision
    {
        let message = format!(
            "you saw revision {expected}, it is now {}",
            turn.input.run.revision
        );
        return (ActionOutcome::Conflict, message);
    }
    let scope = match scope(turn, action) {
        Ok(scope) => scope,
        Err(message) => return (ActionOutcome::Refused, message),
    };
    let acts_on_ended = matches!(
        action.kind,
        ActionKind::Retry | ActionKind::Rollback | ActionKind::Finish
    );
    if turn.next.status.is_finished() && !acts_on_ended && !is_for_stragglers(turn, action, scope) {
        return stale(&format!("the run has ended: {}", turn.next.status.word()));
    }
    match action.kind {
        ActionKind::Approve => gates::approve(turn, action, scope),
        ActionKind::Suspend => suspend(turn, action, scope),
        ActionKind::Resume => resume(turn, action, scope),
        ActionKind::Promote => gates::promote(turn, action, scope),
        ActionKind::Skip => skip(turn, action, scope),
        ActionKind::Abort => leave::abort(turn, action, scope),
        ActionKind::Retry => retry::retry(turn, action, scope),
        ActionKind::SetWeight => weight::set(turn, action, scope),
        ActionKind::Rollback => back::take_back(turn, action, scope),
        ActionKind::Finish => finish::put_away(turn, action, scope),
    }
}

/// Tells whether an action is for clusters that catch up with a run which has ended without them: they
/// take its steps, and wait at its gates as any other did.
fn is_for_stragglers(turn: &Turn<'_>, action: &PendingAction, scope: Scope) -> bool {
    let ended_by_itself = matches!(
        turn.next.status,
        RunStatus::Succeeded { .. } | RunStatus::Failed { .. }
    );
    // Stopping is of one cluster: what ended is not to be stopped.
    let of_steps = action.kind != ActionKind::Suspend || matches!(scope, Scope::Cluster(_));
    ended_by_itself && of_steps && !in_flight(turn, scope).is_empty()
}

fn stale(message: &str) -> Answer {
    (ActionOutcome::Stale, message.to_owned())
}

fn executed(message: impl Into<String>) -> Answer {
    (ActionOutcome::Executed, message.into())
}

fn scope(turn: &Turn<'_>, action: &PendingAction) -> Result<Scope, String> {
    let wave = match &action.wave {
        None => None,
        Some(name) => Some(
            turn.input
                .plan
                .wave_named(name)
                .ok_or_else(|| format!("there is no wave {name}"))?,
        ),
    };
    let Some(id) = action.cluster else {
        return Ok(wave.map_or(Scope::Run, Scope::Wave));
    };
    match turn.next.clusters.get(&id) {
        Some(cluster) if wave.is_none() || cluster.wave == wave => Ok(Scope::Cluster(id)),
        Some(cluster) => Err(format!(
            "cluster {} is not in wave {}",
            cluster.name,
            action.wave.as_deref().unwrap_or_default()
        )),
        None => Err("that cluster is not in this run".to_owned()),
    }
}

/// Clusters that a scope covers and whose phase is such.
fn covered(turn: &Turn<'_>, scope: Scope, is_such: impl Fn(&ClusterPhase) -> bool) -> Vec<Uuid> {
    turn.next
        .clusters
        .iter()
        .filter(|(_, cluster)| is_such(&cluster.phase))
        .filter(|(id, cluster)| match scope {
            Scope::Run => true,
            Scope::Wave(wave) => cluster.wave == Some(wave),
            Scope::Cluster(only) => **id == only,
        })
        .map(|(id, _)| *id)
        .collect()
}

/// Clusters under way that a scope covers.
fn in_flight(turn: &Turn<'_>, scope: Scope) -> Vec<Uuid> {
    covered(turn, scope, |phase| {
        matches!(phase, ClusterPhase::Running { .. })
    })
}

/// Clusters under way that a scope covers and of whose rollouts one was reported to be such.
fn in_flight_where(
    turn: &Turn<'_>,
    scope: Scope,
    is_such: impl Fn(&TrackSummary) -> bool,
) -> Vec<Uuid> {
    let mut clusters = in_flight(turn, scope);
    clusters.retain(|id| {
        reported(turn, *id).is_some_and(|status| status.rollouts.iter().any(&is_such))
    });
    clusters
}

/// What a cluster reported of its attempt in this run.
fn reported<'t>(turn: &Turn<'t>, id: Uuid) -> Option<&'t UnitStatus> {
    let attempt = turn.next.clusters.get(&id)?.attempt;
    turn.seen
        .get(&id)
        .and_then(|seen| seen.status_of(turn.input.run.id, attempt))
}

fn queue(turn: &mut Turn<'_>, action: &PendingAction, verb: Verb, clusters: &[Uuid]) -> Answer {
    let full: Vec<&str> = clusters
        .iter()
        .filter_map(|id| turn.next.clusters.get(id))
        .filter(|cluster| cluster.queue.len() >= MAX_QUEUED)
        .map(|cluster| cluster.name.as_str())
        .collect();
    if !full.is_empty() {
        let message = format!(
            "{} commands wait already on {}",
            MAX_QUEUED,
            full.join(", ")
        );
        return (ActionOutcome::Refused, message);
    }
    let mut names = Vec::new();
    for id in clusters {
        let command = QueuedCommand {
            id: turn.next.next_command,
            verb,
            step: action.step,
            revision: turn.input.run.revision,
            by: action.by.clone(),
            reason: action.reason.clone(),
            set: action.set.filter(|_| verb == Verb::SetWeight),
        };
        turn.next.next_command += 1;
        if let Some(cluster) = turn.next.clusters.get_mut(id) {
            cluster.queue.push(command);
            names.push(cluster.name.clone());
        }
        turn.tell(*id, &format!("{} sent", action.kind.as_str()));
    }
    executed(format!("sent to {}", names.join(", ")))
}

fn stop_of<'t>(turn: &'t mut Turn<'_>, scope: Scope) -> Option<&'t mut Option<Stop>> {
    match scope {
        Scope::Run => Some(&mut turn.next.suspended),
        Scope::Wave(wave) => turn
            .next
            .waves
            .get_mut(wave)
            .map(|wave| &mut wave.suspended),
        Scope::Cluster(id) => turn
            .next
            .clusters
            .get_mut(&id)
            .map(|cluster| &mut cluster.suspended),
    }
}

fn suspend(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if matches!(
        turn.next.status,
        RunStatus::Aborting { .. } | RunStatus::RollingBack { .. }
    ) {
        return (
            ActionOutcome::Refused,
            "going back is never stopped".to_owned(),
        );
    }
    let stop = Stop {
        by: action.by.clone(),
        reason: action.reason.clone(),
        since: turn.now(),
    };
    match stop_of(turn, scope) {
        Some(slot) if slot.is_none() => {
            *slot = Some(stop);
            tell_stopped(
                turn,
                scope,
                ["suspended: its weight stays", "does not start"],
            );
            executed("suspended: weights stay, nothing new starts")
        }
        _ => stale("it is suspended already"),
    }
}

/// Says of each cluster that a scope covers what stopping or going on means there: where it is
/// under way, and where it waits for its turn.
fn tell_stopped(turn: &mut Turn<'_>, scope: Scope, [under_way, waits]: [&str; 2]) {
    let touched = covered(turn, scope, |phase| {
        matches!(phase, ClusterPhase::Running { .. } | ClusterPhase::Waiting)
    });
    for id in touched {
        let is_waiting = turn.next.clusters[&id].phase == ClusterPhase::Waiting;
        turn.tell(id, if is_waiting { waits } else { under_way });
    }
}

fn resume(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    match stop_of(turn, scope).map(Option::take) {
        Some(Some(_)) => {
            tell_stopped(turn, scope, ["goes on", "may start"]);
            return executed("resumed");
        }
        _ if turn.input.suspended_by_spec => {
            return (
                ActionOutcome::Refused,
                "the Rollout itself says suspend: true; change it there".to_owned(),
            );
        }
        _ => {}
    }
    let paused = in_flight_where(turn, scope, is_paused_after_failure);
    if paused.is_empty() {
        if scope != Scope::Run && turn.next.suspended.is_some() {
            return stale("the whole run is suspended; resume it without wave and cluster");
        }
        return stale("it is not suspended, and nothing paused after a failure");
    }
    queue(turn, action, Verb::Resume, &paused)
}

fn is_paused_after_failure(track: &TrackSummary) -> bool {
    track.phase == Phase::Paused
        && track
            .waiting_on
            .iter()
            .any(|wait| wait.reason == PAUSED_AFTER_FAILURE)
}

fn skip(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if let (Scope::Cluster(id), None) = (scope, action.step) {
        return leave::skip_cluster(turn, action, id);
    }
    let clusters = in_flight(turn, scope);
    if clusters.is_empty() {
        return stale("no step is under way");
    }
    queue(turn, action, Verb::Skip, &clusters)
}

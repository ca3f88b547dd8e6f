use bellwether_api::{
    command::{AbortCause, MAX_QUEUED, QueuedCommand, Verb},
    status::{Phase, Severity, WaitReason},
};
use uuid::Uuid;

use super::{
    decide::{Turn, send_cluster_back},
    decision::{ActionOutcome, AnsweredAction},
    gate::{self, GateVerdict, Side},
    input::{ActionKind, PendingAction},
    state::{Approval, ClusterPhase, Ending, RunStatus, Stop, WavePhase},
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
            format!("{} by {} ({}): {message}", action.kind.as_str(), action.by, action.reason)
        };
        turn.event(None, severity, &format!("Action{outcome:?}"), said);
        turn.answered.push(AnsweredAction { id: action.id, outcome, message });
        turn.next.answered.push(action.id);
        let excess = turn.next.answered.len().saturating_sub(REMEMBERED);
        turn.next.answered.drain(..excess);
    }
}

fn answer(turn: &mut Turn<'_>, action: &PendingAction) -> Answer {
    if let Some(expected) = action.expected_revision
        && expected != turn.input.run.revision
    {
        let message =
            format!("you saw revision {expected}, it is now {}", turn.input.run.revision);
        return (ActionOutcome::Conflict, message);
    }
    let scope = match scope(turn, action) {
        Ok(scope) => scope,
        Err(message) => return (ActionOutcome::Refused, message),
    };
    if turn.next.status.is_finished() && action.kind != ActionKind::Retry {
        return stale(&format!("the run has ended: {}", turn.next.status.word()));
    }
    match action.kind {
        ActionKind::Approve => approve(turn, action, scope),
        ActionKind::Suspend => suspend(turn, action, scope),
        ActionKind::Resume => resume(turn, scope),
        ActionKind::Promote => promote(turn, action, scope),
        ActionKind::Skip => skip(turn, action, scope),
        ActionKind::Abort => abort(turn, action, scope),
        ActionKind::Retry => retry(turn, scope),
    }
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
        Some(name) => {
            Some(turn.input.plan.wave_named(name).ok_or_else(|| format!("there is no wave {name}"))?)
        }
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

/// Clusters under way that a scope covers.
fn in_flight(turn: &Turn<'_>, scope: Scope) -> Vec<Uuid> {
    turn.next
        .clusters
        .iter()
        .filter(|(_, cluster)| matches!(cluster.phase, ClusterPhase::Running { .. }))
        .filter(|(id, cluster)| match scope {
            Scope::Run => true,
            Scope::Wave(wave) => cluster.wave == Some(wave),
            Scope::Cluster(only) => **id == only,
        })
        .map(|(id, _)| *id)
        .collect()
}

/// The wave whose gate a scope means, with the side that is waited for.
fn waiting_gate(turn: &Turn<'_>, scope: Scope) -> Option<(usize, Side)> {
    let sides = turn.next.waves.iter().enumerate().filter_map(|(index, wave)| {
        gate::waiting_side(wave.phase).map(|side| (index, side))
    });
    match scope {
        Scope::Run => sides.into_iter().next(),
        Scope::Wave(wave) => sides.into_iter().find(|(index, _)| *index == wave),
        Scope::Cluster(_) => None,
    }
}

fn approval_of(turn: &Turn<'_>, action: &PendingAction) -> Approval {
    Approval { by: action.by.clone(), reason: action.reason.clone(), at: turn.now() }
}

fn approve(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if let Some((wave, side)) = waiting_gate(turn, scope)
        && let Some(answer) = approve_gate(turn, action, wave, side)
    {
        return answer;
    }
    // No gate of the hub waits: the approval is for the step at which clusters wait.
    let waiting: Vec<Uuid> =
        in_flight(turn, scope).into_iter().filter(|id| waits_at_step(turn, *id)).collect();
    if waiting.is_empty() {
        return stale("nothing waits for an approval");
    }
    queue(turn, action, Verb::Approve, &waiting)
}

fn approve_gate(
    turn: &mut Turn<'_>,
    action: &PendingAction,
    wave: usize,
    side: Side,
) -> Option<Answer> {
    let verdicts = gate::verdicts(turn, wave, side);
    let (index, by, needed) =
        verdicts.into_iter().enumerate().find_map(|(index, verdict)| match verdict {
            GateVerdict::Approval { by, needed, .. } => Some((index, by, needed)),
            _ => None,
        })?;
    if !by.is_empty() && !by.contains(&action.by) {
        let message = format!("only {} may approve this gate", by.join(", "));
        return Some((ActionOutcome::Refused, message));
    }
    let approval = approval_of(turn, action);
    let gate = &mut gate::gates_mut(turn, wave, side)[index];
    if gate.approvals.iter().any(|one| one.by == approval.by) {
        return Some(stale("you approved this gate already"));
    }
    gate.approvals.push(approval);
    let given = gate.approvals.len();
    let name = &turn.input.plan.waves[wave].name;
    Some(executed(format!("approval {given} of {needed} for the gate at wave {name}")))
}

fn waits_at_step(turn: &Turn<'_>, id: Uuid) -> bool {
    let attempt = turn.next.clusters[&id].attempt;
    turn.seen
        .get(&id)
        .and_then(|seen| seen.status_of(turn.input.run.id, attempt))
        .is_some_and(|status| {
            status.rollouts.iter().any(|track| {
                matches!(track.phase, Phase::Waiting | Phase::Paused | Phase::WaitingPromotion)
            })
        })
}

fn queue(turn: &mut Turn<'_>, action: &PendingAction, verb: Verb, clusters: &[Uuid]) -> Answer {
    let full: Vec<&str> = clusters
        .iter()
        .filter_map(|id| turn.next.clusters.get(id))
        .filter(|cluster| cluster.queue.len() >= MAX_QUEUED)
        .map(|cluster| cluster.name.as_str())
        .collect();
    if !full.is_empty() {
        let message = format!("{} commands wait already on {}", MAX_QUEUED, full.join(", "));
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
        };
        turn.next.next_command += 1;
        if let Some(cluster) = turn.next.clusters.get_mut(id) {
            cluster.queue.push(command);
            names.push(cluster.name.clone());
        }
    }
    executed(format!("sent to {}", names.join(", ")))
}

fn stop_of<'t>(turn: &'t mut Turn<'_>, scope: Scope) -> Option<&'t mut Option<Stop>> {
    match scope {
        Scope::Run => Some(&mut turn.next.suspended),
        Scope::Wave(wave) => turn.next.waves.get_mut(wave).map(|wave| &mut wave.suspended),
        Scope::Cluster(id) => {
            turn.next.clusters.get_mut(&id).map(|cluster| &mut cluster.suspended)
        }
    }
}

fn suspend(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if matches!(turn.next.status, RunStatus::Aborting { .. } | RunStatus::RollingBack { .. }) {
        return (ActionOutcome::Refused, "going back is never stopped".to_owned());
    }
    let stop =
        Stop { by: action.by.clone(), reason: action.reason.clone(), since: turn.now() };
    match stop_of(turn, scope) {
        Some(slot) if slot.is_none() => {
            *slot = Some(stop);
            executed("suspended: weights stay, nothing new starts")
        }
        _ => stale("it is suspended already"),
    }
}

fn resume(turn: &mut Turn<'_>, scope: Scope) -> Answer {
    match stop_of(turn, scope).map(Option::take) {
        Some(Some(_)) => executed("resumed"),
        _ if turn.input.suspended_by_spec => (
            ActionOutcome::Refused,
            "the Rollout itself says suspend: true; change it there".to_owned(),
        ),
        _ => stale("it is not suspended"),
    }
}

fn promote(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    let mut done = Vec::new();
    if let Some((wave, side)) = waiting_gate(turn, scope) {
        let open: Vec<usize> = gate::verdicts(turn, wave, side)
            .into_iter()
            .enumerate()
            .filter(|(_, verdict)| *verdict != GateVerdict::Holds)
            .map(|(index, _)| index)
            .collect();
        let approval = approval_of(turn, action);
        for index in &open {
            gate::gates_mut(turn, wave, side)[*index].overridden = Some(approval.clone());
        }
        if !open.is_empty() {
            let name = &turn.input.plan.waves[wave].name;
            done.push(format!("opened the gate at wave {name}"));
        }
    }
    let clusters = in_flight(turn, scope);
    if !clusters.is_empty() {
        let answer = queue(turn, action, Verb::Promote, &clusters);
        if answer.0 == ActionOutcome::Refused {
            return answer;
        }
        done.push(answer.1);
    }
    if done.is_empty() { stale("nothing is under way") } else { executed(done.join("; ")) }
}

fn skip(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if let (Scope::Cluster(id), None) = (scope, action.step) {
        return skip_cluster(turn, action, id);
    }
    let clusters = in_flight(turn, scope);
    if clusters.is_empty() {
        return stale("no step is under way");
    }
    queue(turn, action, Verb::Skip, &clusters)
}

fn skip_cluster(turn: &mut Turn<'_>, action: &PendingAction, id: Uuid) -> Answer {
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
    cluster.phase = ClusterPhase::Skipped { at: now, by, reason };
    let message = format!("the run goes on without {}", cluster.name);
    turn.event(Some(id), Severity::Warn, "ClusterSkipped", message.clone());
    executed(message)
}

fn abort(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if matches!(turn.next.status, RunStatus::Aborting { .. } | RunStatus::RollingBack { .. }) {
        return stale("it is going back already");
    }
    let (by, reason) = (action.by.clone(), action.reason.clone());
    if scope != Scope::Run {
        let now = turn.now();
        let clusters = in_flight(turn, scope);
        for id in &clusters {
            if let Some(cluster) = turn.next.clusters.get_mut(id) {
                send_cluster_back(cluster, AbortCause::Manual, &by, &reason, now);
            }
        }
        return if clusters.is_empty() {
            stale("nothing is under way there")
        } else {
            executed(format!("{} clusters go back", clusters.len()))
        };
    }
    let count = in_flight(turn, Scope::Run).len();
    turn.send_back(AbortCause::Manual, &by, &reason);
    turn.next.suspended = None;
    if turn.input.plan.on_failure == bellwether_api::application::OnFailure::RollbackAll {
        turn.roll_everything_back(Ending::Aborted { by, reason });
        return executed("every cluster goes back to the release it had before");
    }
    turn.next.status = RunStatus::Aborting { since: turn.now(), by, reason };
    executed(format!("{count} clusters go back; those that are done stay"))
}

fn retry(turn: &mut Turn<'_>, scope: Scope) -> Answer {
    if turn.input.supersession.is_some() {
        return stale("something newer takes its place");
    }
    match turn.next.status {
        RunStatus::Progressing
        | RunStatus::Halted { .. }
        | RunStatus::Failed { .. }
        | RunStatus::Aborted { .. } => {}
        _ => return stale(&format!("the run is {}", turn.next.status.word())),
    }
    let again: Vec<Uuid> = turn
        .next
        .clusters
        .iter()
        .filter(|(id, cluster)| {
            let meant = match scope {
                Scope::Run => true,
                Scope::Wave(wave) => cluster.wave == Some(wave),
                Scope::Cluster(only) => **id == only,
            };
            match cluster.phase {
                ClusterPhase::Failed { .. } => meant,
                // What was taken back everywhere is brought back everywhere, or no wave can pass.
                ClusterPhase::Reverted { .. } => true,
                _ => false,
            }
        })
        .map(|(id, _)| *id)
        .collect();
    // Clusters that never started (the run was aborted, or they were unreachable) need no new
    // attempt: opening the run again is enough for them.
    let reopens =
        matches!(turn.next.status, RunStatus::Aborted { .. } | RunStatus::Halted { .. });
    if again.is_empty() && !reopens {
        return stale("nothing failed");
    }
    for id in &again {
        if let Some(cluster) = turn.next.clusters.get_mut(id) {
            cluster.phase = ClusterPhase::Waiting;
            cluster.suspended = None;
        }
    }
    reopen_waves(turn);
    turn.next.status = RunStatus::Progressing;
    executed(format!("{} clusters are tried again", again.len()))
}

/// A wave that failed, or whose clusters are tried again, runs again; its gates keep what humans
/// said and start their clocks anew.
fn reopen_waves(turn: &mut Turn<'_>) {
    for index in 0..turn.next.waves.len() {
        let waits =
            turn.next.of_wave(index).any(|(_, cluster)| cluster.phase == ClusterPhase::Waiting);
        let wave = &mut turn.next.waves[index];
        if let Some(started) = wave.phase.started()
            && (waits || wave.phase.is_failed())
        {
            wave.phase = WavePhase::Running { since: started };
            wave.after.iter_mut().for_each(|gate| gate.soak_since = None);
        }
    }
}

/// Words for what a gate waits for.
pub(super) fn gate_wait(name: &str, side: Side, verdict: &GateVerdict) -> Option<WaitReason> {
    let place = match side {
        Side::Before => "before",
        Side::After => "after",
    };
    let wait = |reason: &str, message: String, by_itself: Option<String>| WaitReason {
        reason: reason.to_owned(),
        message,
        on: Some(format!("wave/{name}")),
        since: None,
        by_itself,
    };
    Some(match verdict {
        GateVerdict::Holds => return None,
        GateVerdict::Approval { given, needed, by } => {
            let who = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
            wait(
                "Approval",
                format!("approval{who} {place} wave {name}: {given} of {needed} given"),
                None,
            )
        }
        GateVerdict::Soak { until } => wait(
            "Soak",
            format!("wave {name} must stay healthy until {until}"),
            Some(format!("{until}: the soak {place} wave {name} ends")),
        ),
        GateVerdict::SoakStopped { clusters } => wait(
            "SoakStopped",
            format!("the soak {place} wave {name} waits for {}", clusters.join(", ")),
            None,
        ),
    })
}

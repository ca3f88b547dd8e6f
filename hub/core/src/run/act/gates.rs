use bellwether_api::{
    command::Verb,
    status::{Phase, TrackSummary},
};

use super::{Answer, Scope, executed, in_flight, in_flight_where, queue, stale};
use crate::run::{
    decide::Turn,
    decision::ActionOutcome,
    gate::{self, GateVerdict, Side},
    input::PendingAction,
    state::Approval,
};

/// The wave whose gate a scope means, with the side that is waited for.
fn waiting_gate(turn: &Turn<'_>, scope: Scope) -> Option<(usize, Side)> {
    let sides = turn
        .next
        .waves
        .iter()
        .enumerate()
        .filter_map(|(index, wave)| gate::waiting_side(wave.phase).map(|side| (index, side)));
    match scope {
        Scope::Run => sides.into_iter().next(),
        Scope::Wave(wave) => sides.into_iter().find(|(index, _)| *index == wave),
        Scope::Cluster(_) => None,
    }
}

fn approval_of(turn: &Turn<'_>, action: &PendingAction) -> Approval {
    Approval {
        by: action.by.clone(),
        reason: action.reason.clone(),
        at: turn.now(),
    }
}

pub(super) fn approve(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
    if let Some((wave, side)) = waiting_gate(turn, scope)
        && let Some(answer) = approve_gate(turn, action, wave, side)
    {
        return answer;
    }
    // No gate of the hub waits: the approval is for the step at which clusters wait.
    let waiting = in_flight_where(turn, scope, waits_at_step);
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
    let (index, by, needed) = verdicts
        .into_iter()
        .enumerate()
        .find_map(|(index, verdict)| match verdict {
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
    Some(executed(format!(
        "approval {given} of {needed} for the gate at wave {name}"
    )))
}

const fn waits_at_step(track: &TrackSummary) -> bool {
    matches!(
        track.phase,
        Phase::Waiting | Phase::Paused | Phase::WaitingPromotion
    )
}

pub(super) fn promote(turn: &mut Turn<'_>, action: &PendingAction, scope: Scope) -> Answer {
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
    if done.is_empty() {
        stale("nothing is under way")
    } else {
        executed(done.join("; "))
    }
}

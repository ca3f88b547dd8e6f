//! Gates that humans open: hooks whose answer is an approval.

use bellwether_api::{
    application::ApprovalGate,
    hooks::{Hook, HookKind},
};

use super::{
    hooking,
    stage::{Stage, StepPart},
    turn::Turn,
};
use crate::hooks::HookOutcome;

/// What an approval comes to.
pub(super) enum Given {
    /// It counts.
    Counts,
    /// No gate here wants approvals.
    NotWanted,
    /// It does not count, and why.
    Refused(String),
}

/// The gate that the run is at or before, and what it is for; `None` = hooks hold none here.
fn gate(turn: &Turn<'_>) -> Option<(HookKind, u32)> {
    match &turn.state.stage {
        Stage::Initializing => Some((HookKind::ConfirmRollout, 0)),
        Stage::Step { index, part } => match part {
            StepPart::Gate { .. } => Some((hooking::gate_of(turn, *index)?, index + 1)),
            StepPart::Scaling if turn.state.split().is_none() => {
                Some((HookKind::ConfirmTrafficIncrease, *index))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Takes an approval for the gate that the run is at.
pub(super) fn give(turn: &mut Turn<'_>, by: &str) -> Given {
    let Some((kind, occasion)) = gate(turn) else {
        return Given::NotWanted;
    };
    let wanting: Vec<(&Hook, &ApprovalGate)> = turn
        .grant
        .plan
        .hooks
        .iter()
        .filter(|hook| hook.kind == kind)
        .filter_map(|hook| Some((hook, hook.approval.as_ref()?)))
        .collect();
    if wanting.is_empty() || turn.state.hooks.round(kind).passed_for == Some(occasion) {
        return Given::NotWanted;
    }
    let (mut counts, mut refused) = (false, Vec::new());
    for (hook, gate) in wanting {
        if !gate.by.is_empty() && !gate.by.iter().any(|one| one == by) {
            refused.push(format!(
                "only {} may approve {}",
                gate.by.join(", "),
                hook.name
            ));
            continue;
        }
        let given = turn
            .state
            .hooks
            .approvals
            .entry(hook.name.clone())
            .or_default();
        if given.occasion != occasion {
            given.occasion = occasion;
            given.by.clear();
        }
        if given.by.insert(by.to_owned()) {
            counts = true;
        } else {
            refused.push(format!("{by} approved {} already", hook.name));
        }
    }
    if !counts {
        return Given::Refused(refused.join("; "));
    }
    // Looked at again now, not only after an interval.
    if let Some(round) = turn.state.hooks.rounds.get_mut(&kind) {
        round.due = None;
    }
    Given::Counts
}

/// Tells what the approvals of a hook come to; `None` = it is called instead.
pub(super) fn outcome(turn: &Turn<'_>, hook: &Hook) -> Option<HookOutcome> {
    let gate = hook.approval.as_ref()?;
    let occasion = self::gate(turn).map_or(0, |(_, occasion)| occasion);
    let given = turn.state.hooks.approvals.get(&hook.name);
    let given = given
        .filter(|given| given.occasion == occasion)
        .map_or(0, |given| given.by.len());
    if u32::try_from(given).is_ok_and(|given| given >= gate.count) {
        return Some(HookOutcome::Passed);
    }
    let of = if gate.by.is_empty() {
        String::new()
    } else {
        format!(" of {}", gate.by.join(", "))
    };
    Some(HookOutcome::Failed {
        why: format!("it has {given} of {} approvals{of}", gate.count),
    })
}

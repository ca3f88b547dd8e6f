//! Hooks of a run: which are asked now, and what their answers do to it.
//!
//! All hooks of a kind are asked together, by the number of their round. An answer with another
//! number says nothing, and a restarted shell simply asks again.

use bellwether_api::{
    hooks::{Hook, HookKind},
    number::Weight,
    status::{CheckResult, FailureReason, Severity, Verdict},
    strategy::Advance,
};
use jiff::Timestamp;

use super::{
    approvals,
    checks::{self, interval},
    commands,
    decision::HookRequest,
    hook_memory::{Approved, Round},
    rollback,
    stage::{Failure, PromotionPart, Stage},
    steps,
    turn::Turn,
};
use crate::{
    hooks::{HookOutcome, due},
    weights::PlannedStep,
};

/// What stands before a hook's name among the results of a check.
pub(super) const CHECK_PREFIX: &str = "hook/";

fn of_kind<'a>(turn: &Turn<'a>, kind: HookKind) -> Vec<&'a Hook> {
    let hooks = due(&turn.grant.plan.hooks, kind, true);
    hooks.filter(|hook| hook.load().is_none()).collect()
}

pub(super) fn configured(turn: &Turn<'_>, kind: HookKind) -> bool {
    !of_kind(turn, kind).is_empty()
}

/// Tells whether neither a metric nor a hook has a say.
pub(super) fn nothing_judges(turn: &Turn<'_>) -> bool {
    let plan = &turn.grant.plan;
    plan.analysis.metrics.is_empty() && !plan.hooks.iter().any(Hook::decides)
}

/// Tells whether a check finds anything out.
pub(super) fn has_checks(turn: &Turn<'_>) -> bool {
    !turn.grant.plan.analysis.metrics.is_empty() || configured(turn, HookKind::Rollout)
}

/// Asks for these calls, or for their answers to be kept.
pub(super) fn keep(turn: &mut Turn<'_>, kind: HookKind, call: u64) {
    let requests = of_kind(turn, kind)
        .into_iter()
        .filter(|hook| hook.approval.is_none())
        .map(|hook| HookRequest {
            hook: hook.name.clone(),
            call,
        });
    turn.hooks.extend(requests);
}

/// The answers that there are to the calls of one number.
fn answers<'a>(turn: &Turn<'a>, kind: HookKind, call: u64) -> Vec<(&'a Hook, HookOutcome)> {
    let seen = turn.seen;
    let answer_to = |hook: &Hook| {
        seen.hooks
            .iter()
            .find(|answer| answer.hook == hook.name && answer.call == call)
            .map(|answer| answer.outcome.clone())
    };
    of_kind(turn, kind)
        .into_iter()
        .filter_map(|hook| {
            let outcome = approvals::outcome(turn, hook).or_else(|| answer_to(hook))?;
            Some((hook, outcome))
        })
        .collect()
}

/// Asks every hook of a kind. `None` while an answer is missing.
fn ask<'a>(turn: &mut Turn<'a>, kind: HookKind, call: u64) -> Option<Vec<(&'a Hook, HookOutcome)>> {
    let answers = answers(turn, kind, call);
    if answers.len() < of_kind(turn, kind).len() {
        keep(turn, kind, call);
        return None;
    }
    for (hook, outcome) in &answers {
        note(turn, hook, outcome);
    }
    Some(answers)
}

/// Remembers an answer; says so where the one before was another.
fn note(turn: &mut Turn<'_>, hook: &Hook, outcome: &HookOutcome) {
    let name = hook.name.clone();
    let before = turn.state.hooks.answers.insert(name, outcome.clone());
    let passes = |outcome: &HookOutcome| *outcome == HookOutcome::Passed;
    if before.as_ref().map(passes) == Some(passes(outcome)) {
        return;
    }
    let name = &hook.name;
    let (severity, reason, message) = match (outcome, hook.kind) {
        (HookOutcome::Passed, HookKind::Rollback) => {
            let message = format!("hook {name} asks to go back");
            (Severity::Warn, "HookPassed", message)
        }
        (HookOutcome::Failed { why }, _) if hook.approval.is_some() => {
            let message = format!("hook {name} waits for humans: {why}");
            (Severity::Info, "ApprovalAwaited", message)
        }
        (HookOutcome::Passed, _) => (Severity::Info, "HookPassed", format!("hook {name} passed")),
        (HookOutcome::Failed { why }, HookKind::Rollback) => {
            let message = format!("hook {name} does not ask to go back: {why}");
            (Severity::Info, "HookFailed", message)
        }
        (HookOutcome::Failed { why }, _) => {
            let severity = if hook.mute_alert {
                Severity::Info
            } else {
                Severity::Warn
            };
            (severity, "HookFailed", format!("hook {name}: {why}"))
        }
    };
    turn.say(severity, reason, message);
}

/// Says what is waited for, hook by hook; `again` = when they are asked anew.
fn wait_for(turn: &mut Turn<'_>, kind: HookKind, again: Option<Timestamp>) {
    for hook in of_kind(turn, kind) {
        let (last, humans) = match approvals::outcome(turn, hook) {
            Some(outcome) => (Some(outcome), true),
            None => (turn.state.hooks.answers.get(&hook.name).cloned(), false),
        };
        let (reason, message) = match last {
            Some(HookOutcome::Failed { why }) => {
                let reason = if humans { "Approval" } else { "HookNotPassed" };
                (reason, format!("hook {}: {why}", hook.name))
            }
            // It passed, and another one of the kind did not.
            Some(HookOutcome::Passed) if again.is_some() || humans => continue,
            _ => ("HookCalled", format!("hook {} is asked", hook.name)),
        };
        let on = Some(format!("hook/{}", hook.name));
        let asked = again.filter(|_| !humans);
        let by_itself = asked.map(|at| format!("{at}: it is asked again"));
        turn.push_wait(reason, message, on, by_itself);
    }
    if let Some(at) = again {
        turn.wake(at);
    }
}

/// Ends a round of calls: the next one begins after an interval, unless all of this one passed for
/// `occasion`.
fn end_round(
    turn: &mut Turn<'_>,
    kind: HookKind,
    answers: &[(&Hook, HookOutcome)],
    occasion: u32,
) -> bool {
    let passed = all_passed(answers);
    let next = Round {
        call: turn.state.hooks.round(kind).call + 1,
        due: (!passed).then(|| turn.after(interval(turn))),
        passed_for: passed.then_some(occasion),
    };
    let due = next.due;
    turn.state.hooks.rounds.insert(kind, next);
    if due.is_some() {
        wait_for(turn, kind, due);
    }
    passed
}

fn all_passed(answers: &[(&Hook, HookOutcome)]) -> bool {
    answers
        .iter()
        .all(|(_, outcome)| *outcome == HookOutcome::Passed)
}

/// Tells whether the hooks that hold a gate let the run pass for `occasion`: they are asked again
/// and again until they do, and nothing counts as failed. Time stands still meanwhile.
pub(super) fn opens(turn: &mut Turn<'_>, kind: HookKind, occasion: u32) -> bool {
    // Who deletes a Rollout and wants its run completed waits for nobody.
    if !configured(turn, kind) || commands::completes(turn) {
        return true;
    }
    let round = turn.state.hooks.round(kind);
    if round.passed_for == Some(occasion) {
        return true;
    }
    turn.closed = Some(kind);
    turn.stands_still = true;
    if let Some(due) = round.due.filter(|due| turn.now < *due) {
        wait_for(turn, kind, Some(due));
        return false;
    }
    let Some(answers) = ask(turn, kind, round.call) else {
        wait_for(turn, kind, None);
        return false;
    };
    let opens = end_round(turn, kind, &answers, occasion);
    if opens {
        turn.closed = None;
        turn.stands_still = false;
    }
    opens
}

/// Tells whether the tests before the first weight passed; one that fails is a failed check.
fn tests_pass(turn: &mut Turn<'_>) -> bool {
    let kind = HookKind::PreRollout;
    let round = turn.state.hooks.round(kind);
    if !configured(turn, kind) || turn.state.routed || round.passed_for.is_some() {
        return true;
    }
    if let Some(due) = round.due.filter(|due| turn.now < *due) {
        wait_for(turn, kind, Some(due));
        return false;
    }
    let Some(answers) = ask(turn, kind, round.call) else {
        wait_for(turn, kind, None);
        return false;
    };
    turn.state.checks = results(&answers, turn.now);
    let passed = end_round(turn, kind, &answers, 0);
    if !passed {
        checks::failed(turn, turn.grant.plan.analysis.on_failure);
    }
    passed
}

/// Tells whether a canary that gets nothing yet may get what the step gives it.
pub(super) fn may_begin(turn: &mut Turn<'_>, index: u32, step: &PlannedStep) -> bool {
    if !turn.state.split().is_none() {
        return true;
    }
    let rises = step.weight > Weight::ZERO || !step.matches.is_empty();
    tests_pass(turn) && (!rises || opens(turn, HookKind::ConfirmTrafficIncrease, index))
}

/// Makes the hooks' part of a check: whether all passed, and what is shown of them. `None` while an
/// answer is missing.
pub(super) fn judged(turn: &mut Turn<'_>) -> Option<(bool, Vec<CheckResult>)> {
    let (kind, call) = (HookKind::Rollout, turn.state.check);
    let answers = ask(turn, kind, call);
    if answers.is_none() {
        wait_for(turn, kind, None);
    }
    answers.map(|answers| (all_passed(&answers), results(&answers, turn.now)))
}

fn results(answers: &[(&Hook, HookOutcome)], at: Timestamp) -> Vec<CheckResult> {
    let result = |(hook, outcome): &(&Hook, HookOutcome)| {
        let (value, verdict, reason) = match outcome {
            HookOutcome::Passed => ("passed", Verdict::Pass, String::new()),
            HookOutcome::Failed { why } => ("failed", Verdict::Fail, why.clone()),
        };
        CheckResult {
            metric: format!("{CHECK_PREFIX}{}", hook.name),
            value: Some(value.to_owned()),
            stable: None,
            limit: "passes".to_owned(),
            verdict,
            reason,
            ignored: false,
            at: at.to_string(),
        }
    };
    answers.iter().map(result).collect()
}

/// Returns the kind of hooks that must pass before a step is left; `None` = the plan has none.
pub(super) fn gate_of(turn: &Turn<'_>, index: u32) -> Option<HookKind> {
    let at = |index: u32| {
        usize::try_from(index)
            .ok()
            .and_then(|at| turn.steps.get(at))
    };
    let kind = if steps::is_last(turn, index) {
        HookKind::ConfirmPromotion
    } else {
        let (step, next) = (at(index)?, at(index + 1)?);
        let rises =
            next.weight > step.weight || (step.matches.is_empty() && !next.matches.is_empty());
        if !rises {
            return None;
        }
        HookKind::ConfirmTrafficIncrease
    };
    configured(turn, kind).then_some(kind)
}

/// Tells whether hooks let the run leave a step whose own gate is open.
pub(super) fn departs(turn: &mut Turn<'_>, index: u32) -> bool {
    gate_of(turn, index).is_none_or(|kind| opens(turn, kind, index + 1))
}

/// Tells whether a human's approval changes anything at a gate: once it was given, or where the plan
/// wants none, hooks alone are waited for.
pub(super) fn takes_approval(turn: &Turn<'_>, index: u32) -> bool {
    let by_itself = usize::try_from(index)
        .ok()
        .and_then(|at| turn.steps.get(at))
        .is_some_and(|step| step.advance == Advance::Auto);
    gate_of(turn, index).is_none() || !by_itself && approved(turn, index).is_none()
}

/// Lets a step go on, as soon as its hooks do.
pub(super) fn approve(turn: &mut Turn<'_>, index: u32, verdict: Verdict, by: &str) {
    if gate_of(turn, index).is_none() {
        steps::leave(turn, verdict, by);
        return;
    }
    turn.state.hooks.approved = Some(Approved {
        step: index,
        by: by.to_owned(),
    });
}

/// Tells who let a step go on; `None` = nobody did.
pub(super) fn approved(turn: &Turn<'_>, index: u32) -> Option<String> {
    let approved = turn.state.hooks.approved.as_ref();
    approved
        .filter(|approved| approved.step == index)
        .map(|approved| approved.by.clone())
}

/// Asks who may want the run to go back, for as long as it tests; one pass is enough.
pub(super) fn watch(turn: &mut Turn<'_>) {
    let kind = HookKind::Rollback;
    let tests = matches!(
        turn.state.stage,
        Stage::Initializing
            | Stage::Pausing
            | Stage::Pinning
            | Stage::Step { .. }
            | Stage::Promoting {
                part: PromotionPart::Gathering { .. }
            }
    );
    let suspended = commands::suspended_by(turn.grant).is_some();
    if !tests || suspended || !configured(turn, kind) {
        return;
    }
    let mut round = turn.state.hooks.round(kind);
    if let Some(due) = round.due.filter(|due| turn.now < *due) {
        turn.wake(due);
        return;
    }
    let answers = answers(turn, kind, round.call);
    for (hook, outcome) in &answers {
        note(turn, hook, outcome);
        if *outcome == HookOutcome::Passed {
            let failure = Failure {
                reason: FailureReason::HookRollback,
                message: format!("hook {} asks to go back", hook.name),
            };
            rollback::begin(turn, failure);
            return;
        }
    }
    if answers.len() < of_kind(turn, kind).len() {
        keep(turn, kind, round.call);
        return;
    }
    let next = turn.after(interval(turn));
    round.call += 1;
    round.due = Some(next);
    turn.state.hooks.rounds.insert(kind, round);
    turn.wake(next);
}

/// Names the hooks that are called after the end, once.
pub(super) fn farewell(turn: &mut Turn<'_>) -> Vec<String> {
    let succeeded = turn.state.stage == Stage::Succeeded;
    let names: Vec<String> = due(&turn.grant.plan.hooks, HookKind::PostRollout, succeeded)
        .map(|hook| hook.name.clone())
        .collect();
    if turn.state.hooks.told || names.is_empty() {
        return Vec::new();
    }
    turn.state.hooks.told = true;
    names
}

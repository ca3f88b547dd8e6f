//! Where a step waits after its checks: for a time, or for a human.

use bellwether_api::{
    status::{PAUSED_AFTER_FAILURE, Verdict, WEIGHT_BY_HAND},
    strategy::Advance,
};
use jiff::Timestamp;

use super::{
    awaits,
    checks::{check, failed},
    commands, hooking,
    judging::Analysis,
    rollback,
    stage::{Failure, Stage, StepPart},
    steps::{enter, is_last, leave, lets_pass},
    turn::{Turn, later},
};
use crate::weights::PlannedStep;

/// Waits for a human or a time; checks go on meanwhile.
pub(super) fn gate(turn: &mut Turn<'_>, index: u32, step: &PlannedStep, part: StepPart) {
    let StepPart::Gate {
        since,
        passed_at,
        next_check_at,
        verdict,
    } = part
    else {
        return;
    };
    let serves = awaits::canary_ready(turn) & awaits::routes(turn);
    if !serves {
        return;
    }
    let idle = step.by_hand && turn.state.split().is_none();
    if hooking::has_checks(turn)
        && !idle
        && let Some(made) = check(turn, since, next_check_at, true)
    {
        let next_check_at = made.next_check_at;
        match made.verdict {
            Verdict::Fail if failed(turn, made.on_failure) => {}
            Verdict::Fail => {
                // One more check that passes leads back here.
                let at = Analysis {
                    since,
                    next_check_at,
                    checked: true,
                    passed: step.iterations.saturating_sub(1),
                };
                enter(turn, index, at.part());
            }
            verdict => {
                let part = StepPart::Gate {
                    since,
                    passed_at,
                    next_check_at,
                    verdict,
                };
                turn.state.stage = Stage::Step { index, part };
            }
        }
        return;
    }
    open_or_wait(turn, index, step, (passed_at, verdict));
}

fn open_or_wait(
    turn: &mut Turn<'_>,
    index: u32,
    step: &PlannedStep,
    (passed_at, verdict): (Timestamp, Verdict),
) {
    let opens_at = match step.advance {
        Advance::Auto => Some(passed_at),
        Advance::After => Some(later(passed_at, step.after)),
        Advance::Manual => None,
    };
    let completes = commands::completes(turn);
    let approved = hooking::approved(turn, index);
    let over = completes || approved.is_some() || opens_at.is_some_and(|at| at <= turn.now);
    turn.waits.clear();
    if (over || turn.approve_pending) && !lets_pass(verdict) {
        let message = format!("step {index} would go on, but its last check is unknown");
        turn.wait("ChecksUnknown", message);
        return;
    }
    if over {
        if hooking::departs(turn, index) {
            let completed = completes.then(|| "onDeletion: Complete".to_owned());
            leave(turn, verdict, &completed.or(approved).unwrap_or_default());
        }
        return;
    }
    turn.stands_still = true;
    match opens_at {
        Some(at) if step.standby => {
            let message = "traffic is on the new version; the old one stands by untouched";
            turn.wait_until(
                "Standby",
                message,
                at,
                "the workload takes the new template",
            );
        }
        Some(at) => {
            let message = format!(
                "step {index} stays for {} after its checks passed",
                step.after
            );
            turn.wait_until("StepTime", message, at, "the step is left");
        }
        None if step.by_hand => {
            let message = format!(
                "{} % and {} pods are set by hand: set-weight sets others, promote takes the new \
                 version, abort goes back",
                turn.state.weight, turn.state.canary_pods
            );
            turn.wait_on(WEIGHT_BY_HAND, message, "a human");
        }
        None => {
            let what = if is_last(turn, index) {
                "promotion"
            } else {
                "the next step"
            };
            let message = format!("step {index} waits for an approval before {what}");
            turn.wait_on("Approval", message, &format!("gate of step {index}"));
        }
    }
}

/// Waits for a human after something failed.
pub(super) fn held(turn: &mut Turn<'_>, why: &Failure) {
    if commands::completes(turn) {
        // Whoever could decide is gone.
        rollback::begin(turn, why.clone());
        return;
    }
    turn.stands_still = true;
    let message = format!(
        "{}; the weight stays until a human decides: resume goes on with the step, skip leaves it, \
         promote takes the new version, abort goes back",
        why.message
    );
    turn.wait_on(PAUSED_AFTER_FAILURE, message, "a human");
}

//! Checks of a step: as many as it wants must pass.

use bellwether_api::{
    status::{Severity, Verdict},
    strategy::Advance,
};
use jiff::Timestamp;

use super::{
    awaits,
    checks::{check, failed, said_of},
    hooking,
    stage::StepPart,
    steps::{enter, is_last, leave, lets_pass},
    turn::Turn,
};
use crate::weights::PlannedStep;

/// How far the analysis of a step is.
#[derive(Clone, Copy)]
pub(super) struct Analysis {
    pub(super) since: Timestamp,
    pub(super) next_check_at: Timestamp,
    pub(super) checked: bool,
    pub(super) passed: u32,
}

impl Analysis {
    pub(super) const fn part(self) -> StepPart {
        StepPart::Analysing {
            since: self.since,
            next_check_at: self.next_check_at,
            checked: self.checked,
            passed: self.passed,
        }
    }
}

pub(super) fn analysing(turn: &mut Turn<'_>, index: u32, step: &PlannedStep, at: Analysis) {
    // No short circuit: people see everything that is missing.
    let serves = awaits::canary_ready(turn) & awaits::routes(turn);
    if !serves {
        return;
    }
    if step.by_hand && turn.state.split().is_none() {
        // Nothing reaches the canary: there is nothing to judge until a human gives it a weight.
        let part = StepPart::Gate {
            since: at.since,
            passed_at: turn.now,
            next_check_at: at.next_check_at,
            verdict: Verdict::Unknown,
        };
        enter(turn, index, part);
        return;
    }
    if at.checked
        && let Some(check) = turn
            .state
            .checks
            .iter()
            .find(|one| !one.ignored && !lets_pass(one.verdict))
    {
        let message = said_of(check);
        turn.wait("ChecksNotPassed", message);
    }
    let Some(made) = check(turn, at.since, at.next_check_at, at.checked) else {
        return;
    };
    let at = Analysis {
        next_check_at: made.next_check_at,
        ..at
    };
    match made.verdict {
        Verdict::Pass | Verdict::NothingConfigured => passed(turn, index, step, at, made.verdict),
        Verdict::Fail if failed(turn, made.on_failure) => {}
        _ => {
            let at = Analysis {
                checked: true,
                ..at
            };
            enter(turn, index, at.part());
        }
    }
}

/// Counts a passed check, and goes on after the last one.
fn passed(turn: &mut Turn<'_>, index: u32, step: &PlannedStep, at: Analysis, verdict: Verdict) {
    let count = at.passed.saturating_add(1);
    if count < step.iterations {
        let at = Analysis {
            checked: false,
            passed: count,
            ..at
        };
        let message = format!("check {count} of {} passed", step.iterations);
        turn.say(Severity::Info, "IterationPassed", message);
        enter(turn, index, at.part());
        return;
    }
    if step.advance == Advance::Auto && hooking::gate_of(turn, index).is_none() {
        leave(turn, verdict, "");
        return;
    }
    let what = if is_last(turn, index) {
        "promotion"
    } else {
        "the next step"
    };
    let message = format!("step {index} passed its checks and waits before {what}");
    turn.say(Severity::Info, "GateReached", message);
    let passed_at = turn.now;
    turn.state.hooks.approved = None;
    enter(
        turn,
        index,
        StepPart::Gate {
            since: at.since,
            passed_at,
            next_check_at: at.next_check_at,
            verdict,
        },
    );
}

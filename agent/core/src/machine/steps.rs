//! The steps of a plan: pods ready, endpoints ready, route observed, checks, gate, next.

use bellwether_api::{
    number::Weight,
    rollout::Advance,
    status::{CheckResult, Severity, Verdict},
};
use jiff::Timestamp;

use super::{
    awaits,
    checks::{check, failed, interval, said_of},
    commands,
    stage::{PromotionPart, Stage, StepPart, StepVerdict},
    start::pins_hold,
    turn::{Turn, later},
};
use crate::{sizes::canary_pods, weights::PlannedStep};

/// Tells whether a verdict opens the way.
pub(super) const fn lets_pass(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::NothingConfigured)
}

pub(super) fn step(turn: &mut Turn<'_>, index: u32, part: &StepPart) {
    let found = usize::try_from(index)
        .ok()
        .and_then(|index| turn.steps.get(index))
        .cloned();
    // Plans are pinned at the grant; one that shrank all the same is not promoted blindly.
    let Some(step) = found else {
        turn.wait("StepMissing", format!("the plan has no step {index}"));
        return;
    };
    resize(turn, &step);
    match part {
        StepPart::Scaling => scaling(turn, index, &step),
        StepPart::Routing => {
            if awaits::routes(turn, turn.state.weight) {
                let until = turn.after(turn.seen.route_settle);
                enter(turn, index, StepPart::Settling { until });
            }
        }
        StepPart::Settling { until } => settling(turn, index, *until),
        StepPart::Analysing {
            since,
            next_check_at,
            checked,
        } => {
            analysing(turn, index, &step, (*since, *next_check_at, *checked));
        }
        StepPart::Gate { .. } => gate(turn, index, &step, part.clone()),
    }
}

fn enter(turn: &mut Turn<'_>, index: u32, part: StepPart) {
    turn.enter(Stage::Step { index, part });
}

/// Sizes the canary anew; while it has traffic it never loses its last pod.
fn resize(turn: &mut Turn<'_>, step: &PlannedStep) {
    let Some(workload) = &turn.seen.workload else {
        return;
    };
    let pods = canary_pods(
        step,
        workload.replicas,
        turn.grant.plan.instances.min_replicas,
    );
    turn.state.canary_pods = pods.max(u32::from(turn.state.weight > Weight::ZERO));
}

fn scaling(turn: &mut Turn<'_>, index: u32, step: &PlannedStep) {
    if !turn.seen.autoscalers.is_empty() {
        let on = turn.seen.autoscalers.join(", ");
        turn.wait_on(
            "Autoscaler",
            format!("{on} scales the workload since the run began"),
            &on,
        );
        return;
    }
    if step.weight > Weight::ZERO && turn.state.canary_pods == 0 {
        turn.wait(
            "ScaledToZero",
            format!("{} has no pods to compare with", turn.grant.workload),
        );
        return;
    }
    // No short circuit: people see everything that is missing.
    let ready = pins_hold(turn)
        & awaits::canary_ready(turn)
        & awaits::apart(turn)
        & awaits::stable_carries_rest(turn, step.weight);
    if !ready {
        return;
    }
    turn.state.weight = step.weight;
    turn.state.routed |= step.weight > Weight::ZERO;
    enter(turn, index, StepPart::Routing);
}

fn settling(turn: &mut Turn<'_>, index: u32, until: Timestamp) {
    if !awaits::routes(turn, turn.state.weight) {
        return;
    }
    if turn.now < until {
        let message = "the gateway's data plane takes the weight over";
        turn.wait_until("Settling", message, until, "the weight counts as in force");
        return;
    }
    let next_check_at = later(until, interval(turn));
    // A new number, so that no answer from before this weight counts.
    turn.state.check += 1;
    let message = format!("the canary has {} % of the traffic", turn.state.weight);
    turn.say(Severity::Info, "WeightInForce", message);
    enter(
        turn,
        index,
        StepPart::Analysing {
            since: until,
            next_check_at,
            checked: false,
        },
    );
}

fn analysing(
    turn: &mut Turn<'_>,
    index: u32,
    step: &PlannedStep,
    (since, next_check_at, checked): (Timestamp, Timestamp, bool),
) {
    // No short circuit: people see everything that is missing.
    let serves = awaits::canary_ready(turn) & awaits::routes(turn, turn.state.weight);
    if !serves {
        return;
    }
    let holds = |one: &&CheckResult| !one.ignored && !lets_pass(one.verdict);
    if checked && let Some(check) = turn.state.checks.iter().find(holds) {
        let message = said_of(check);
        turn.wait("ChecksNotPassed", message);
    }
    let Some((verdict, next_check_at)) = check(turn, since, next_check_at, checked) else {
        return;
    };
    match verdict {
        Verdict::Pass | Verdict::NothingConfigured if step.advance == Advance::Auto => {
            leave(turn, verdict, "");
        }
        Verdict::Pass | Verdict::NothingConfigured => {
            let what = if is_last(turn, index) {
                "promotion"
            } else {
                "the next step"
            };
            let message = format!("step {index} passed its checks and waits before {what}");
            turn.say(Severity::Info, "GateReached", message);
            let passed_at = turn.now;
            enter(
                turn,
                index,
                StepPart::Gate {
                    since,
                    passed_at,
                    next_check_at,
                    verdict,
                },
            );
        }
        Verdict::Fail if failed(turn) => {}
        _ => enter(
            turn,
            index,
            StepPart::Analysing {
                since,
                next_check_at,
                checked: true,
            },
        ),
    }
}

/// Waits for a human or a time; checks go on meanwhile.
fn gate(turn: &mut Turn<'_>, index: u32, step: &PlannedStep, part: StepPart) {
    let StepPart::Gate {
        since,
        passed_at,
        next_check_at,
        verdict,
    } = part
    else {
        return;
    };
    let serves = awaits::canary_ready(turn) & awaits::routes(turn, turn.state.weight);
    if !serves {
        return;
    }
    if !turn.grant.plan.analysis.metrics.is_empty()
        && let Some((checked, next_check_at)) = check(turn, since, next_check_at, true)
    {
        match checked {
            Verdict::Fail if failed(turn) => {}
            Verdict::Fail => {
                enter(
                    turn,
                    index,
                    StepPart::Analysing {
                        since,
                        next_check_at,
                        checked: true,
                    },
                );
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
    let over = completes || opens_at.is_some_and(|at| at <= turn.now);
    turn.waits.clear();
    if (over || turn.approve_pending) && !lets_pass(verdict) {
        let message = format!("step {index} would go on, but its last check is unknown");
        turn.wait("ChecksUnknown", message);
        return;
    }
    if over {
        let by = if completes {
            "onDeletion: Complete"
        } else {
            ""
        };
        leave(turn, verdict, by);
        return;
    }
    turn.stands_still = true;
    match opens_at {
        Some(at) => {
            let message = format!(
                "step {index} stays for {} after its checks passed",
                step.after
            );
            turn.wait_until("StepTime", message, at, "the step is left");
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

fn is_last(turn: &Turn<'_>, index: u32) -> bool {
    usize::try_from(index).is_ok_and(|index| index + 1 >= turn.steps.len())
}

/// Leaves the current step, and says why.
pub(super) fn leave(turn: &mut Turn<'_>, verdict: Verdict, by: &str) {
    let Stage::Step { index, .. } = turn.state.stage else {
        return;
    };
    let verdict = StepVerdict {
        step: index,
        verdict,
        by: by.to_owned(),
        at: turn.now,
    };
    turn.state.verdicts.push(verdict);
    if is_last(turn, index) {
        let message = "every step passed; the workload takes the new template";
        turn.say(Severity::Info, "Promoting", message.to_owned());
        turn.enter(Stage::Promoting {
            part: PromotionPart::Unpinning,
        });
    } else {
        enter(turn, index + 1, StepPart::Scaling);
    }
}

/// Leaves the current step unchecked.
pub(super) fn skip(turn: &mut Turn<'_>, by: &str) {
    leave(turn, Verdict::Overridden, by);
}

/// Leaves every remaining step unchecked.
pub(super) fn promote(turn: &mut Turn<'_>, by: &str) {
    while matches!(turn.state.stage, Stage::Step { .. }) {
        leave(turn, Verdict::Overridden, by);
    }
}

//! A version that passed its steps and waits for other rollouts, with which it shares configuration, and
//! for objects of the release that the API server does not take.

use bellwether_api::status::Verdict;

use super::{
    awaits,
    checks::{check, failed},
    hooking,
    stage::{Judged, PromotionPart, Stage, StepPart},
    steps::lets_pass,
    turn::Turn,
};

/// How a version is judged on that leaves its last step by `verdict`; `None` = not at all, since a
/// human took it without checks.
pub(super) const fn judged(part: &StepPart, verdict: Verdict) -> Option<Judged> {
    match part {
        StepPart::Analysing {
            since,
            next_check_at,
            ..
        }
        | StepPart::Gate {
            since,
            next_check_at,
            ..
        } if !matches!(verdict, Verdict::Overridden) => Some(Judged {
            since: *since,
            next_check_at: *next_check_at,
            verdict,
        }),
        _ => None,
    }
}

/// Waits for the others; checks go on meanwhile, and act as they do at a gate.
pub(super) fn gathering(turn: &mut Turn<'_>, judged: Option<Judged>) {
    // By revision both versions have the new configuration since the first step.
    let is_free = turn.is_by_revision() || turn.seen.config_held_by.is_empty();
    let passes = |judged: Option<Judged>| judged.is_none_or(|at| lets_pass(at.verdict));
    if is_free && turn.seen.untaken.is_empty() && passes(judged) {
        let part = if turn.is_by_revision() {
            PromotionPart::Updating
        } else {
            PromotionPart::Unpinning
        };
        turn.enter(Stage::Promoting { part });
        return;
    }
    let judged = match judged {
        Some(at) if hooking::has_checks(turn) => {
            if !(awaits::canary_ready(turn) & awaits::routes(turn)) {
                return;
            }
            let Some(at) = judge(turn, at) else {
                return;
            };
            Some(at)
        }
        other => other,
    };
    turn.waits.clear();
    if !passes(judged) {
        let message = "the version would be promoted, but its last check did not pass";
        turn.wait("ChecksNotPassed", message);
    }
    awaits::taken(turn);
    if !is_free {
        awaits::config_is_free(turn);
    }
}

/// Makes the check that is due; `None` = it failed once too often.
fn judge(turn: &mut Turn<'_>, at: Judged) -> Option<Judged> {
    let Some(made) = check(turn, at.since, at.next_check_at, true) else {
        return Some(at);
    };
    let at = Judged {
        next_check_at: made.next_check_at,
        verdict: made.verdict,
        ..at
    };
    if made.verdict == Verdict::Fail {
        // It is the last step that fails: a plan that pauses holds that one.
        let last = turn.steps.len().saturating_sub(1);
        turn.state.stage = Stage::Step {
            index: u32::try_from(last).unwrap_or(u32::MAX),
            part: StepPart::Gate {
                since: at.since,
                passed_at: turn.now,
                next_check_at: at.next_check_at,
                verdict: at.verdict,
            },
        };
        if failed(turn, made.on_failure) {
            if matches!(turn.state.stage, Stage::Step { .. }) {
                // It is left by another verdict, should it be left again.
                turn.state.verdicts.pop();
            }
            return None;
        }
    }
    let part = PromotionPart::Gathering { judged: Some(at) };
    turn.state.stage = Stage::Promoting { part };
    Some(at)
}

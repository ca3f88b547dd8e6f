//! Checks of a weight that is in force: asked for, answered, counted.

use bellwether_api::{
    analysis::AnalysisFailure,
    duration::Dur,
    hooks::HookKind,
    status::{CheckResult, FailureReason, Severity, Verdict},
};
use jiff::Timestamp;

use super::{
    decision::{PlannedCheck, SampleRequest},
    hooking,
    stage::Failure,
    steps,
    turn::{Turn, later},
};
use crate::analysis;

/// Checks are never closer than this.
const MIN_INTERVAL: Dur = Dur::from_secs(1);

/// A check that was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    pub(super) verdict: Verdict,
    /// What its failed metrics ask for, should it be one failure too many.
    pub(super) on_failure: AnalysisFailure,
    pub(super) next_check_at: Timestamp,
}

/// Makes the check that is due; `None` while none is due or it is not answered, with what is waited
/// for.
pub(super) fn check(
    turn: &mut Turn<'_>,
    since: Timestamp,
    due: Timestamp,
    again: bool,
) -> Option<Checked> {
    if turn.now < due {
        turn.wait_until(
            "CheckDue",
            "the next check is not due yet",
            due,
            "the checks are made",
        );
        // The first wait at a weight is planned; once something held the run, its time counts.
        let held = again || turn.state.clock.elapsed(turn.now) > jiff::SignedDuration::ZERO;
        turn.stands_still = !held;
        turn.planned = planned(turn, since, due);
        return None;
    }
    let plan = &turn.grant.plan.analysis;
    let made = Checked {
        verdict: Verdict::NothingConfigured,
        on_failure: plan.on_failure,
        next_check_at: next_after(turn, due),
    };
    let (passed, mut asked) = hooking::judged(turn)?;
    if !passed || plan.metrics.is_empty() {
        turn.state.check += 1;
        turn.state.checks = asked;
        let verdict = match passed {
            false => Verdict::Fail,
            true if hooking::nothing_judges(turn) => Verdict::NothingConfigured,
            true => Verdict::Pass,
        };
        return Some(Checked { verdict, ..made });
    }
    let check = turn.state.check;
    let Some(samples) = turn
        .seen
        .samples
        .as_ref()
        .filter(|samples| samples.check == check)
    else {
        turn.sample = Some(SampleRequest {
            check,
            in_force_since: since,
        });
        hooking::keep(turn, HookKind::Rollout, check);
        turn.wait("Measuring", "the metrics are being measured");
        return None;
    };
    let sample_of = |name: &str| {
        samples
            .metrics
            .iter()
            .find(|metric| metric.metric == name)
            .map(|metric| &metric.sample)
    };
    let analysis::CheckOutcome {
        verdict,
        on_failure,
        results: checks,
    } = analysis::check(plan, sample_of, samples.at);
    let was_unknown = turn
        .state
        .checks
        .iter()
        .any(|check| check.verdict == Verdict::Unknown && !check.ignored);
    asked.extend(checks);
    turn.state.checks = asked;
    turn.state.check += 1;
    if verdict == Verdict::Unknown && !(again && was_unknown) {
        let message = described(&turn.state.checks, |check| {
            check.verdict == Verdict::Unknown
        });
        turn.say(Severity::Warn, "CheckUnknown", message);
    }
    Some(Checked {
        verdict,
        on_failure: on_failure.unwrap_or(made.on_failure),
        ..made
    })
}

/// The check that is due next, unless hooks are asked before its metrics.
fn planned(turn: &Turn<'_>, since: Timestamp, due: Timestamp) -> Option<PlannedCheck> {
    let measures = !turn.grant.plan.analysis.metrics.is_empty();
    let alone = measures && !hooking::configured(turn, HookKind::Rollout);
    alone.then_some(PlannedCheck {
        request: SampleRequest {
            check: turn.state.check,
            in_force_since: since,
        },
        due,
    })
}

/// When the check after one that was `due` is due: checks keep their rhythm however long their answers
/// take, but for one that took longer than the interval, from whose end on it is counted anew.
fn next_after(turn: &Turn<'_>, due: Timestamp) -> Timestamp {
    let next = later(due, interval(turn));
    if next > turn.now {
        next
    } else {
        turn.after(interval(turn))
    }
}

/// Counts a failed check, whose metrics ask for `on_failure`. Returns whether it was one too many.
pub(super) fn failed(turn: &mut Turn<'_>, on_failure: AnalysisFailure) -> bool {
    turn.state.failed_checks = turn.state.failed_checks.saturating_add(1);
    let (count, threshold) = (turn.state.failed_checks, threshold(turn));
    let analysis = &turn.grant.plan.analysis;
    let why = described(&turn.state.checks, |check| analysis::fails(analysis, check));
    let message = format!("failed check {count} of {threshold}: {why}");
    turn.say(Severity::Warn, "CheckFailed", message.clone());
    if count < threshold {
        return false;
    }
    steps::fail(
        turn,
        Failure {
            reason: FailureReason::FailedChecks,
            message,
        },
        on_failure,
    );
    true
}

/// Returns the failed checks at which a run goes back.
pub(super) fn threshold(turn: &Turn<'_>) -> u32 {
    turn.grant.plan.analysis.failure_threshold.max(1)
}

pub(super) fn interval(turn: &Turn<'_>) -> Dur {
    turn.grant.plan.analysis.interval.max(MIN_INTERVAL)
}

fn described(checks: &[CheckResult], matters: impl Fn(&CheckResult) -> bool) -> String {
    let those: Vec<_> = checks
        .iter()
        .filter(|check| matters(check) && !check.ignored)
        .map(said_of)
        .collect();
    if those.is_empty() {
        "no metric decided".to_owned()
    } else {
        those.join("; ")
    }
}

pub(super) fn said_of(check: &CheckResult) -> String {
    if let Some(hook) = check.metric.strip_prefix(hooking::CHECK_PREFIX) {
        return format!("hook {hook}: {}", check.reason);
    }
    let value = check.value.as_deref().unwrap_or("no data");
    let reason = if check.reason.is_empty() {
        String::new()
    } else {
        format!(", {}", check.reason)
    };
    format!(
        "{} is {value} (limit {}{reason})",
        check.metric, check.limit
    )
}

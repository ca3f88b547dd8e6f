//! Where a run stands, for people.

use bellwether_api::{
    number::Weight,
    status::{CurrentStep, Phase, ReadyCount, TrackSummary},
};

use super::{
    by_pods, by_revision, checks, in_place,
    observations::{Observations, RouteView},
    stage::{Stage, StepPart, phase_of},
    turn::{Turn, later},
};
use crate::provider::Split;

/// Sums a decision up. `name` is the workload's: the track's own name is the shell's to fill in.
pub(super) fn summary(turn: &Turn<'_>) -> TrackSummary {
    let (state, seen) = (&turn.state, turn.seen);
    let in_place = in_place::counts(state, turn).or_else(|| by_revision::counts(state, turn));
    let failure = match &state.stage {
        Stage::RollingBack { failure, .. } | Stage::Failed { failure } => Some(failure),
        _ => None,
    };
    let message = failure
        .map(|failure| failure.message.clone())
        .unwrap_or_else(|| {
            turn.waits
                .first()
                .map_or_else(String::new, |wait| wait.message.clone())
        });
    TrackSummary {
        name: turn.grant.workload.name.clone(),
        workload: turn.grant.workload.clone(),
        phase: phase(turn),
        failure: failure.map(|failure| failure.reason),
        message,
        step: state.step(),
        steps: u32::try_from(turn.steps.len()).unwrap_or(u32::MAX),
        weight: state.weight,
        current: current(turn),
        observed_weight: if turn.by_pods() {
            by_pods::share(seen)
        } else {
            let carried = seen.routes.iter().filter_map(observed_weight);
            carried.max().unwrap_or(Weight::ZERO)
        },
        stable: in_place.map_or_else(|| of_workload(seen), |(old, _)| old),
        canary: in_place.map_or_else(|| of_canary(turn), |(_, new)| new),
        failed_checks: state.failed_checks,
        failure_threshold: checks::threshold(turn),
        checks: state.checks.clone(),
        waiting_on: turn.waits.clone(),
    }
}

fn of_workload(seen: &Observations) -> ReadyCount {
    seen.workload
        .as_ref()
        .map_or_else(ReadyCount::default, |workload| ReadyCount {
            ready: workload.ready,
            desired: workload.replicas,
        })
}

fn of_canary(turn: &Turn<'_>) -> ReadyCount {
    ReadyCount {
        ready: turn.seen.canary.as_ref().map_or(0, |canary| canary.ready),
        desired: turn.state.canary_pods,
    }
}

/// The share that a route carries: read back from it, or, beside matches and mirrors, where some
/// kinds have none to read, what was written.
fn observed_weight(route: &RouteView) -> Option<Weight> {
    let written = route.split.as_ref();
    let unread = written.filter(|split| **split != Split::by_weight(split.weight));
    route.weight.or(unread.map(|split| split.weight))
}

fn current(turn: &Turn<'_>) -> CurrentStep {
    let state = &turn.state;
    let strategy = turn.grant.plan.strategy.set().unwrap_or_default();
    let mut current = CurrentStep {
        strategy,
        matched: !state.matches.is_empty(),
        mirror: state.mirror,
        ..CurrentStep::default()
    };
    let Stage::Step { index, part } = &state.stage else {
        return current;
    };
    let step = usize::try_from(*index)
        .ok()
        .and_then(|index| turn.steps.get(index));
    let Some(step) = step else {
        return current;
    };
    current.name.clone_from(&step.name);
    current.iterations = step.iterations;
    match part {
        StepPart::Analysing { passed, .. } => current.iteration = *passed,
        StepPart::Gate { passed_at, .. } => {
            current.iteration = step.iterations;
            current.standby_until = step
                .standby
                .then(|| later(*passed_at, step.after).to_string());
        }
        _ => {}
    }
    current
}

fn phase(turn: &Turn<'_>) -> Phase {
    let stage = &turn.state.stage;
    if turn.state.is_terminal() || matches!(stage, Stage::RollingBack { .. }) {
        return phase_of(stage, false);
    }
    if turn.suspended {
        return Phase::Suspended;
    }
    if turn.holds_edit {
        return Phase::Paused;
    }
    let at_gate = matches!(
        stage,
        Stage::Step {
            part: StepPart::Gate { .. },
            ..
        }
    );
    if turn.closed.is_some() && !at_gate {
        return Phase::Waiting;
    }
    let step = usize::try_from(turn.state.step().unwrap_or(0)).ok();
    let last = step.is_some_and(|step| step + 1 >= turn.steps.len());
    let stands_by = step
        .and_then(|step| turn.steps.get(step))
        .is_some_and(|step| step.standby);
    phase_of(stage, last && !stands_by)
}

//! Where a run stands, for people.

use bellwether_api::{
    number::Weight,
    status::{Phase, ReadyCount, TrackSummary},
};

use super::{
    checks,
    stage::{Stage, phase_of},
    turn::Turn,
};

/// Sums a decision up. `name` is the workload's: the track's own name is the shell's to fill in.
pub(super) fn summary(turn: &Turn<'_>) -> TrackSummary {
    let (state, seen) = (&turn.state, turn.seen);
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
        observed_weight: seen
            .routes
            .iter()
            .filter_map(|route| route.weight)
            .max()
            .unwrap_or(Weight::ZERO),
        stable: seen
            .workload
            .as_ref()
            .map_or_else(ReadyCount::default, |workload| ReadyCount {
                ready: workload.ready,
                desired: workload.replicas,
            }),
        canary: ReadyCount {
            ready: seen.canary.as_ref().map_or(0, |canary| canary.ready),
            desired: state.canary_pods,
        },
        failed_checks: state.failed_checks,
        failure_threshold: checks::threshold(turn),
        checks: state.checks.clone(),
        waiting_on: turn.waits.clone(),
    }
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
    let last = usize::try_from(turn.state.step().unwrap_or(0))
        .is_ok_and(|step| step + 1 >= turn.steps.len());
    phase_of(stage, last)
}

use bellwether_api::{
    application::{OnFailure, UnreachablePolicy},
    status::Severity,
};
use uuid::Uuid;

use super::{
    cluster::ClusterPhase,
    deadline,
    decide::Turn,
    gate::{self, GateVerdict, Side},
    input::{Reach, Unrendered},
    state::{Ending, RunStatus, WavePhase},
};

/// How the clusters of one wave stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Clusters of the wave.
    pub all: u32,
    /// Succeeded, skipped, gone.
    pub settled: u32,
    /// Of those, the ones that succeeded and that nobody takes back.
    pub succeeded: u32,
    /// Attempts that failed, back already or not.
    pub failed: u32,
    /// Of those, the ones that are not back yet.
    pub returning: u32,
    /// Never granted, and unreachable or without objects that could be sent.
    pub unreachable: u32,
    /// Slots taken.
    pub in_flight: u32,
}

pub(super) fn tally(turn: &Turn<'_>, wave: usize) -> Tally {
    let mut tally = Tally::default();
    for (id, cluster) in turn.next.of_wave(wave) {
        tally.all += 1;
        tally.settled += u32::from(cluster.phase.is_settled());
        let succeeded = matches!(cluster.phase, ClusterPhase::Succeeded { .. });
        tally.succeeded += u32::from(succeeded && cluster.take_back.is_none());
        tally.failed += u32::from(cluster.counts_as_failed());
        tally.returning += u32::from(matches!(cluster.phase, ClusterPhase::Returning { .. }));
        tally.in_flight += u32::from(cluster.phase.takes_slot());
        if cluster.phase == ClusterPhase::Waiting {
            match turn.reach(*id) {
                Reach::Unreachable => {
                    tally.unreachable += 1;
                    tally.in_flight += u32::from(may_be_under_way(turn, *id, cluster.attempt));
                }
                _ if matches!(turn.seen[id].unrendered, Some(Unrendered::Failed(_))) => {
                    tally.unreachable += 1;
                }
                // What another run left between two versions takes a slot of this one.
                _ if turn.seen[id]
                    .is_busy_elsewhere(turn.input.run.id, turn.input.plan.governed) =>
                {
                    tally.in_flight += 1
                }
                _ => {}
            }
        }
    }
    tally
}

/// Tells whether an earlier attempt of this run may still be under way in a cluster of which nobody
/// hears: it was never heard to have ended there.
pub(super) fn may_be_under_way(turn: &Turn<'_>, id: Uuid, attempt: u32) -> bool {
    let (run, governed) = (turn.input.run.id, turn.input.plan.governed);
    let seen = turn.seen.get(&id).filter(|_| attempt > 0);
    seen.is_some_and(|seen| seen.is_busy_elsewhere(run, governed))
}

/// Tells how many clusters count against `maxFailures` for good.
pub(super) fn lost(tally: Tally, policy: UnreachablePolicy) -> u32 {
    tally.failed
        + if policy == UnreachablePolicy::Fail {
            tally.unreachable
        } else {
            0
        }
}

/// Moves waves on: opens, settles, passes, fails them.
pub(super) fn advance(turn: &mut Turn<'_>) {
    for wave in 0..turn.next.waves.len() {
        let acts = match turn.next.status {
            RunStatus::Progressing => true,
            // A straggler that catches up with a finished run changes nothing of its outcome.
            _ => false,
        };
        if !acts {
            return;
        }
        advance_one(turn, wave);
    }
}

fn advance_one(turn: &mut Turn<'_>, wave: usize) {
    let now = turn.now();
    let mut phase = turn.next.waves[wave].phase;
    if phase == WavePhase::Waiting && (wave == 0 || is_behind(turn, wave - 1)) {
        phase = WavePhase::Opening { since: now };
        turn.next.waves[wave].phase = phase;
    }
    if let WavePhase::Opening { .. } = phase {
        gate::keep_clocks(turn, wave, Side::Before);
        gate::open_to_complete(turn, wave, Side::Before);
        if !may_pass(turn, wave, Side::Before) {
            return;
        }
        phase = WavePhase::Running { since: now };
        turn.next.waves[wave].phase = phase;
        let name = &turn.input.plan.waves[wave].name;
        turn.event(None, Severity::Info, "WaveStarted", format!("wave {name}"));
    }
    if matches!(phase, WavePhase::Waiting | WavePhase::Failed { .. }) {
        return;
    }
    let started = phase.started().unwrap_or(now);
    let tally = tally(turn, wave);
    let planned = &turn.input.plan.waves[wave];
    if lost(tally, planned.unreachable) > planned.max_failures {
        let message = format!(
            "wave {}: {} of {} clusters failed, {} allowed",
            planned.name,
            lost(tally, planned.unreachable),
            tally.all,
            planned.max_failures
        );
        let rest_is_done =
            tally.returning == 0 && tally.settled + tally.failed + tally.unreachable >= tally.all;
        // With Continue every cluster of the wave has its own chance; only then the next wave starts.
        if rest_is_done || turn.input.plan.on_failure != OnFailure::Continue {
            fail(turn, wave, started, message);
        }
        return;
    }
    if deadline::keep(turn, wave, tally) {
        let limit = planned.progress_deadline.unwrap_or_default();
        let message = format!("wave {}: no cluster finished for {limit}", planned.name);
        fail(turn, wave, started, message);
        return;
    }
    let done = is_done(tally, planned.unreachable, planned.max_failures);
    match phase {
        WavePhase::Running { .. } if done => {
            turn.next.waves[wave].phase = WavePhase::Settling {
                started,
                since: now,
            };
            // The clock may have been kept already; whether it counts is judged below.
            settle(turn, wave);
        }
        WavePhase::Running { .. } => gate::keep_clocks(turn, wave, Side::After),
        WavePhase::Settling { started, .. } if !done => {
            turn.next.waves[wave].phase = WavePhase::Running { since: started };
            gate::keep_clocks(turn, wave, Side::After);
        }
        WavePhase::Settling { .. } => settle(turn, wave),
        _ => {}
    }
}

/// Tells whether the wave after this one may start.
fn is_behind(turn: &Turn<'_>, wave: usize) -> bool {
    let phase = turn.next.waves[wave].phase;
    match turn.input.plan.on_failure {
        OnFailure::Continue => phase.is_done(),
        OnFailure::Halt | OnFailure::RollbackAll => phase.is_done() && !phase.is_failed(),
    }
}

fn settle(turn: &mut Turn<'_>, wave: usize) {
    gate::keep_clocks(turn, wave, Side::After);
    gate::open_to_complete(turn, wave, Side::After);
    if !may_pass(turn, wave, Side::After) {
        return;
    }
    let WavePhase::Settling { started, .. } = turn.next.waves[wave].phase else {
        return;
    };
    turn.next.waves[wave].phase = WavePhase::Passed {
        started,
        at: turn.now(),
    };
    let name = &turn.input.plan.waves[wave].name;
    turn.event(None, Severity::Info, "WavePassed", format!("wave {name}"));
}

/// A wave is done when every cluster succeeded or is counted, within the limit. Clusters that its
/// policy passes over need at least one that proved the release.
fn is_done(tally: Tally, policy: UnreachablePolicy, max_failures: u32) -> bool {
    if tally.returning > 0 || tally.settled + tally.failed + tally.unreachable < tally.all {
        return false;
    }
    if tally.unreachable == 0 {
        return tally.failed <= max_failures;
    }
    match policy {
        UnreachablePolicy::SkipAndCatchUp => tally.succeeded > 0 && tally.failed <= max_failures,
        UnreachablePolicy::Wait | UnreachablePolicy::Fail => {
            tally.failed + tally.unreachable <= max_failures
        }
    }
}

fn fail(turn: &mut Turn<'_>, wave: usize, started: jiff::Timestamp, message: String) {
    let now = turn.now();
    if turn.input.plan.on_failure == OnFailure::Halt {
        turn.next.status = RunStatus::Halted { wave, since: now };
    }
    turn.next.waves[wave].phase = WavePhase::Failed { started, at: now };
    turn.next.waves[wave].progress = None;
    turn.event(None, Severity::Error, "WaveFailed", message.clone());
    if turn.input.plan.on_failure == OnFailure::RollbackAll {
        turn.roll_everything_back(Ending::Failed { message });
    }
}

fn stopped(turn: &Turn<'_>, wave: usize) -> bool {
    turn.is_suspended() || turn.next.waves[wave].suspended.is_some()
}

/// Tells whether nobody stopped the wave and every gate of that side holds.
fn may_pass(turn: &mut Turn<'_>, wave: usize, side: Side) -> bool {
    if stopped(turn, wave) {
        return false;
    }
    gate::tell_humans(turn, wave, side);
    gate::verdicts(turn, wave, side)
        .iter()
        .all(|verdict| *verdict == GateVerdict::Holds)
}

impl WavePhase {
    /// Tells whether the next wave's turn has come.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Passed { .. } | Self::Failed { .. })
    }

    /// Tells whether more clusters failed than may.
    #[must_use]
    pub const fn is_failed(self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

//! How far a run has come, and how long it may go without coming further.

use bellwether_api::status::FailureReason;
use jiff::Timestamp;

use super::{
    observations::Observations,
    replacing,
    stage::{Failure, PromotionPart, RollbackPart, Shift, Stage, StepPart},
    state::RunState,
    steps,
    turn::{Turn, later},
};

/// Accounts for progress and time. Returns whether the deadline has just ended the run.
pub(super) fn account(turn: &mut Turn<'_>) -> bool {
    let reached = point(&turn.state, turn.seen);
    if reached > turn.state.furthest {
        turn.state.furthest = reached;
        turn.state.clock.reset(turn.now);
    }
    turn.state.clock.run(!turn.stands_still, turn.now);
    if turn.stands_still || !is_bounded(&turn.state.stage) {
        return false;
    }
    if !is_overdue(turn) {
        if let Some(at) = deadline(turn) {
            turn.wake(at);
        }
        return false;
    }
    if matches!(turn.state.stage, Stage::RollingBack { .. }) || replacing::keeps(turn) {
        return false;
    }
    let waits: Vec<_> = turn
        .waits
        .iter()
        .map(|wait| wait.message.as_str())
        .collect();
    let message = format!(
        "no progress for {}: {}",
        turn.grant.plan.progress_deadline,
        waits.join("; ")
    );
    steps::fail(
        turn,
        Failure {
            reason: FailureReason::DeadlineExceeded,
            message,
        },
        turn.grant.plan.analysis.on_failure,
    );
    true
}

/// Tells whether the run has gone without progress for longer than its plan allows.
pub(super) fn is_overdue(turn: &Turn<'_>) -> bool {
    turn.state.clock.elapsed(turn.now) >= turn.grant.plan.progress_deadline.as_signed()
}

/// Starts the time anew for a rollback.
pub(super) fn restart(turn: &mut Turn<'_>) {
    turn.state.furthest = point(&turn.state, turn.seen).max(turn.state.furthest);
    turn.state.clock.run(true, turn.now);
    turn.state.clock.reset(turn.now);
}

fn deadline(turn: &Turn<'_>) -> Option<Timestamp> {
    let end = later(
        turn.state.clock.running_since?,
        turn.grant.plan.progress_deadline,
    );
    Some(end.checked_sub(turn.state.clock.spent).unwrap_or(end))
}

/// Tells whether a lack of progress changes anything. Once the canary is without traffic there is
/// nothing to go back from: only its removal is left.
fn is_bounded(stage: &Stage) -> bool {
    match stage {
        Stage::Succeeded | Stage::Failed { .. } => false,
        Stage::Promoting { part } => !matches!(
            part,
            PromotionPart::Draining { .. }
                | PromotionPart::Shrinking { .. }
                | PromotionPart::Removing { .. }
                | PromotionPart::Releasing
                | PromotionPart::Unpausing
        ),
        Stage::RollingBack { part, .. } => {
            matches!(
                part,
                RollbackPart::Replacing | RollbackPart::Retemplating | RollbackPart::Unloading
            )
        }
        _ => true,
    }
}

/// Numbers how far a run is: later is larger, whatever it fell back to in between.
fn point(state: &RunState, seen: &Observations) -> u64 {
    let (major, minor, fine) = match &state.stage {
        Stage::Initializing => (0, 0, 0),
        Stage::Pausing => (1, 0, 0),
        Stage::Pinning => (2, 0, 0),
        Stage::Step { index, part } => {
            let (part, fine) = match part {
                StepPart::Scaling | StepPart::Announcing | StepPart::Warming { .. } => {
                    (0, canary_pods(state, seen))
                }
                StepPart::Routing => (1, 0),
                StepPart::Settling { .. } => (2, 0),
                StepPart::Analysing { passed, .. } => (3, *passed),
                StepPart::Gate { .. } => (4, 0),
                // Whatever was reached before is not reached anew.
                StepPart::Held { .. } => (0, 0),
            };
            (3, u64::from(*index) * 8 + part, fine)
        }
        Stage::Promoting { part } => promoting(part, state, seen),
        Stage::RollingBack { part, .. } => rolling_back(part, state, seen),
        Stage::Succeeded | Stage::Failed { .. } => (6, 0, 0),
    };
    (major << 56) | (minor << 24) | u64::from(fine.min(0x00ff_ffff))
}

fn promoting(part: &PromotionPart, state: &RunState, seen: &Observations) -> (u64, u64, u32) {
    let (minor, pods) = match part {
        PromotionPart::Gathering { .. }
        | PromotionPart::Unpinning
        | PromotionPart::Replacing { begun: false } => (0, 0),
        PromotionPart::Updating | PromotionPart::Replacing { begun: true } => {
            (1, pods_of(seen, |hash| !is_stable(state, hash)))
        }
        PromotionPart::Freezing { .. } => (2, 0),
        PromotionPart::Repinning { .. } => (3, 0),
        PromotionPart::Shifting { shift, .. } => {
            let shift = match shift {
                Shift::Routing => 0,
                Shift::Settling { .. } => 1,
                Shift::Dwelling { .. } => 2,
            };
            (4 + u64::from(state.weight.rest().percent()) * 4 + shift, 0)
        }
        PromotionPart::Draining { .. } => (1_000, 0),
        PromotionPart::Shrinking { .. } => (1_001, 0),
        PromotionPart::Removing { .. } => (1_002, 0),
        PromotionPart::Releasing => (1_003, 0),
        PromotionPart::Unpausing => (1_004, 0),
    };
    (4, minor, pods)
}

fn rolling_back(part: &RollbackPart, state: &RunState, seen: &Observations) -> (u64, u64, u32) {
    let (minor, pods) = match part {
        RollbackPart::Unpinning | RollbackPart::Replacing => (0, 0),
        RollbackPart::Retemplating => (1, pods_of(seen, |hash| is_stable(state, hash))),
        RollbackPart::Freezing { .. } => (2, 0),
        RollbackPart::Repinning { .. } => (3, 0),
        RollbackPart::Unloading => (4 + u64::from(state.weight.rest().percent()), 0),
        RollbackPart::Settling { .. } => (200, 0),
        RollbackPart::Draining { .. } => (201, 0),
        RollbackPart::Shrinking => (202, 0),
        RollbackPart::Removing => (203, 0),
        RollbackPart::Releasing => (204, 0),
        RollbackPart::Unpausing => (205, 0),
    };
    (5, minor, pods)
}

/// Ready pods of other versions than the old one.
pub(super) fn new_pods(turn: &Turn<'_>) -> u32 {
    pods_of(turn.seen, |hash| !is_stable(&turn.state, hash))
}

fn canary_pods(state: &RunState, seen: &Observations) -> u32 {
    if let Some(view) = &seen.in_place {
        return view.updated_available;
    }
    seen.canary
        .as_ref()
        .map_or(0, |canary| canary.available.min(state.canary_pods))
}

fn is_stable(state: &RunState, hash: &str) -> bool {
    state
        .stable
        .as_ref()
        .is_some_and(|stable| stable.hash == hash)
}

fn pods_of(seen: &Observations, of: impl Fn(&str) -> bool) -> u32 {
    // Its template is the version that it is on the way to.
    if let Some(view) = &seen.in_place {
        return view.updated_available;
    }
    seen.replica_sets
        .iter()
        .filter(|set| of(&set.hash))
        .fold(0, |sum, set| sum.saturating_add(set.ready))
}

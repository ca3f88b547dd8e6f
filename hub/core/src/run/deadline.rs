use bellwether_api::status::Phase;
use jiff::Timestamp;

use super::{
    cluster::ClusterPhase,
    decide::Turn,
    state::{Progress, WavePhase},
    wave::Tally,
};

/// Keeps the clock of a wave's deadline: it begins again with every cluster that finishes, and stands
/// still while somebody is waited for or nothing is under way. Tells whether it has run out.
pub(super) fn keep(turn: &mut Turn<'_>, wave: usize, tally: Tally) -> bool {
    let Some(deadline) = turn.input.plan.waves[wave].progress_deadline else {
        return false;
    };
    let now = turn.now();
    let runs = matches!(turn.next.waves[wave].phase, WavePhase::Running { .. })
        && tally.in_flight > 0
        && !is_waited_for(turn, wave);
    let finished = tally.settled + tally.failed;
    let clock = &mut turn.next.waves[wave].progress;
    if !runs {
        *clock = None;
        return false;
    }
    match clock {
        Some(progress) if progress.finished == finished => {
            let ends = progress.since.saturating_add(deadline.as_signed());
            now >= ends.unwrap_or(Timestamp::MAX)
        }
        _ => {
            *clock = Some(Progress {
                since: now,
                finished,
            });
            false
        }
    }
}

/// Returns when the deadline of a wave ends; absent = its clock does not run.
pub(super) fn ends(turn: &Turn<'_>, wave: usize) -> Option<Timestamp> {
    let deadline = turn.input.plan.waves[wave].progress_deadline?;
    let progress = turn.next.waves[wave].progress?;
    progress.since.saturating_add(deadline.as_signed()).ok()
}

/// Tells whether a human stopped the wave or something in it, or has to say something.
fn is_waited_for(turn: &Turn<'_>, wave: usize) -> bool {
    let waits = |phase: Phase| {
        matches!(
            phase,
            Phase::Waiting | Phase::Suspended | Phase::Paused | Phase::WaitingPromotion
        )
    };
    turn.is_suspended()
        || turn.next.waves[wave].suspended.is_some()
        || turn.next.of_wave(wave).any(|(id, cluster)| {
            let status = turn
                .seen
                .get(id)
                .and_then(|seen| seen.status_of(turn.input.run.id, cluster.attempt));
            matches!(cluster.phase, ClusterPhase::Running { .. })
                && (cluster.suspended.is_some()
                    || status.is_some_and(|status| {
                        status.rollouts.iter().any(|track| waits(track.phase))
                    }))
        })
}

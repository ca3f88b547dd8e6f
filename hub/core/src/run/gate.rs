mod humans;

use bellwether_api::{
    application::{Gate, VerdictsGate},
    number::IntOrPercent,
    schedule::{Window, WindowState},
    status::{Phase, Verdict},
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    cluster::ClusterPhase,
    decide::Turn,
    input::Reach,
    state::{Approval, GateState, KeptReading, ReadingOutcome, RunState, WavePhase},
};
use crate::plan::Plan;

pub(super) use humans::tell_humans;

/// How long an answer to a gate counts.
const FRESH_READING: SignedDuration = SignedDuration::from_secs(90);
/// How long an answer is kept before the same one is noted again.
const NOTE_AGAIN: SignedDuration = SignedDuration::from_secs(45);
/// When a gate that was asked is looked at again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// When a gate whose answer is due is looked at again.
const ASK_SOON: SignedDuration = SignedDuration::from_secs(1);

/// A gate that waits for somebody's answer.
#[derive(Clone, Copy, Debug)]
pub struct AskedGate<'a> {
    /// The index of its wave.
    pub wave: usize,
    /// Whether it stands after the wave.
    pub after: bool,
    /// Its index on that side.
    pub index: usize,
    /// The gate.
    pub gate: &'a Gate,
}

/// Which side of a wave a gate stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// Whether a gate holds, and if not, what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateVerdict {
    /// It holds.
    Holds,
    /// It waits for humans.
    Approval {
        /// How many have approved.
        given: u32,
        /// How many must.
        needed: u32,
        /// Who may; empty = whoever may act on the application.
        by: Vec<String>,
    },
    /// It waits for time alone.
    Soak {
        /// Until then.
        until: Timestamp,
    },
    /// It waits for a window of time.
    Window {
        /// When it opens; absent = never.
        opens: Option<Timestamp>,
    },
    /// It waits for canaries that prove the release.
    Verdicts {
        /// Clusters in which they did.
        passed: u32,
        /// Clusters in which they must.
        needed: u32,
        /// Names of those in which they did not.
        missing: Vec<String>,
    },
    /// It waits for somebody's answer.
    Answer {
        /// What was answered last; absent = nothing, or too long ago.
        last: Option<ReadingOutcome>,
        /// When it is asked again at the latest.
        asked: Timestamp,
    },
    /// Clusters that are not healthy and fresh stop the clock.
    SoakStopped {
        /// Their names; empty = the clock has not started.
        clusters: Vec<String>,
    },
}

/// Keeps the clocks of a wave's soak gates: running while every cluster in question is healthy.
pub(super) fn keep_clocks(turn: &mut Turn<'_>, wave: usize, side: Side) {
    let now = turn.now();
    let worse = !worse(turn, wave, side).is_empty();
    for state in gates_mut(turn, wave, side) {
        match (state.soak_since, worse) {
            (Some(_), true) => state.soak_since = None,
            (None, false) => state.soak_since = Some(now),
            _ => {}
        }
    }
}

/// Opens gates that wait for humans when deleted Rollouts want the run finished; others hold on.
pub(super) fn open_to_complete(turn: &mut Turn<'_>, wave: usize, side: Side) {
    if turn.next.completing.is_none() {
        return;
    }
    let at = turn.now();
    let verdicts = verdicts(turn, wave, side);
    for (state, verdict) in gates_mut(turn, wave, side).iter_mut().zip(verdicts) {
        if matches!(verdict, GateVerdict::Approval { .. }) {
            state.overridden = Some(Approval {
                by: "hub".to_owned(),
                reason: "onDeletion: Complete".to_owned(),
                at,
            });
        }
    }
}

/// Judges the gates of one side, in their order.
pub(super) fn verdicts(turn: &Turn<'_>, wave: usize, side: Side) -> Vec<GateVerdict> {
    let planned = &turn.input.plan.waves[wave];
    let state = &turn.next.waves[wave];
    let (gates, states) = match side {
        Side::Before => (&planned.before, &state.before),
        Side::After => (&planned.after, &state.after),
    };
    gates
        .iter()
        .zip(states)
        .map(|(gate, state)| verdict(turn, wave, side, gate, state))
        .collect()
}

fn verdict(
    turn: &Turn<'_>,
    wave: usize,
    side: Side,
    gate: &Gate,
    state: &GateState,
) -> GateVerdict {
    if state.overridden.is_some() {
        return GateVerdict::Holds;
    }
    if let Some(approval) = &gate.approval {
        let given = u32::try_from(state.approvals.len()).unwrap_or(u32::MAX);
        let needed = approval.count.max(1);
        if given < needed {
            return GateVerdict::Approval {
                given,
                needed,
                by: approval.by.clone(),
            };
        }
    }
    if let Some(window) = &gate.window {
        // What cannot be read is refused where it is written: whatever it is, it is not open.
        let opens = match Window::read(window).map(|window| window.state(turn.now())) {
            Ok(WindowState::Open { .. }) => return GateVerdict::Holds,
            Ok(WindowState::Closed { opens }) => opens,
            Err(_) => None,
        };
        return GateVerdict::Window { opens };
    }
    if gate.metric.is_some() || gate.external.is_some() {
        return answered(turn, state);
    }
    if let Some(quorum) = &gate.verdicts {
        return quorum_of(turn, quorum, &proving(turn, wave, side));
    }
    if let Some(soak) = gate.soak {
        let proving = proving(turn, wave, side);
        if proving.is_empty() {
            // Nothing runs that could prove anything by running on.
            return GateVerdict::Holds;
        }
        let silent: Vec<String> = proving
            .iter()
            .filter(|id| !is_proven(turn, **id))
            .map(|id| turn.next.clusters[id].name.clone())
            .collect();
        let Some(since) = state.soak_since else {
            return GateVerdict::SoakStopped { clusters: silent };
        };
        let until = since
            .max(starts(turn, wave, side, &proving))
            .saturating_add(soak.as_signed())
            .unwrap_or(Timestamp::MAX);
        if turn.now() < until {
            return GateVerdict::Soak { until };
        }
        if !silent.is_empty() {
            return GateVerdict::SoakStopped { clusters: silent };
        }
    }
    GateVerdict::Holds
}

/// An answer counts while it is fresh: what was well an hour ago proves nothing.
fn answered(turn: &Turn<'_>, state: &GateState) -> GateVerdict {
    let now = turn.now();
    let fresh = state
        .reading
        .as_ref()
        .filter(|kept| now.duration_since(kept.at) <= FRESH_READING);
    let Some(kept) = fresh else {
        return GateVerdict::Answer {
            last: None,
            asked: now.saturating_add(ASK_SOON).unwrap_or(Timestamp::MAX),
        };
    };
    if matches!(kept.outcome, ReadingOutcome::Passed { .. }) {
        return GateVerdict::Holds;
    }
    GateVerdict::Answer {
        last: Some(kept.outcome.clone()),
        asked: now.saturating_add(ASK_AGAIN).unwrap_or(Timestamp::MAX),
    }
}

/// Takes in what gates were answered. A repeated answer is noted now and then, so that it stays fresh
/// and a gate that waits for days does not write all the time.
pub(super) fn keep_readings(turn: &mut Turn<'_>) {
    for reading in turn.input.readings {
        let side = if reading.after {
            Side::After
        } else {
            Side::Before
        };
        let Some(state) = turn
            .next
            .waves
            .get_mut(reading.wave)
            .map(|wave| match side {
                Side::Before => &mut wave.before,
                Side::After => &mut wave.after,
            })
            .and_then(|gates| gates.get_mut(reading.index))
        else {
            continue;
        };
        let same = state.reading.as_ref().is_some_and(|kept| {
            std::mem::discriminant(&kept.outcome) == std::mem::discriminant(&reading.outcome)
                && reading.at.duration_since(kept.at) < NOTE_AGAIN
        });
        if !same {
            state.reading = Some(KeptReading {
                at: reading.at,
                outcome: reading.outcome.clone(),
            });
        }
    }
}

/// Lists the gates that wait for somebody's answer.
#[must_use]
pub fn asked<'a>(plan: &'a Plan, state: &RunState) -> Vec<AskedGate<'a>> {
    let mut asked = Vec::new();
    for (wave, (planned, held)) in plan.waves.iter().zip(&state.waves).enumerate() {
        let Some(side) = waiting_side(held.phase) else {
            continue;
        };
        let (gates, states) = match side {
            Side::Before => (&planned.before, &held.before),
            Side::After => (&planned.after, &held.after),
        };
        for (index, (gate, state)) in gates.iter().zip(states).enumerate() {
            let asks = gate.metric.is_some() || gate.external.is_some();
            if asks && state.overridden.is_none() {
                asked.push(AskedGate {
                    wave,
                    after: side == Side::After,
                    index,
                    gate,
                });
            }
        }
    }
    asked
}

/// Counts the clusters whose canaries proved the release. Nobody is no quorum.
fn quorum_of(turn: &Turn<'_>, quorum: &VerdictsGate, proving: &[Uuid]) -> GateVerdict {
    let missing: Vec<String> = proving
        .iter()
        .filter(|id| !passed_checks(turn, **id))
        .map(|id| turn.next.clusters[id].name.clone())
        .collect();
    let all = u32::try_from(proving.len()).unwrap_or(u32::MAX);
    let passed = all.saturating_sub(u32::try_from(missing.len()).unwrap_or(u32::MAX));
    let needed = IntOrPercent::Percent(quorum.percent.percent().into())
        .ceil_of(all)
        .max(1);
    if passed >= needed {
        GateVerdict::Holds
    } else {
        GateVerdict::Verdicts {
            passed,
            needed,
            missing,
        }
    }
}

/// Tells whether every metric that decides passed its last check in every governed workload there.
fn passed_checks(turn: &Turn<'_>, id: Uuid) -> bool {
    let attempt = turn.next.clusters[&id].attempt;
    let status = turn
        .seen
        .get(&id)
        .and_then(|seen| seen.status_of(turn.input.run.id, attempt));
    status.is_some_and(|status| {
        !status.rollouts.is_empty()
            && status.rollouts.iter().all(|track| {
                let mut deciding = track
                    .checks
                    .iter()
                    .filter(|check| !check.ignored)
                    .peekable();
                track.phase == Phase::Succeeded
                    && deciding.peek().is_some()
                    && deciding.all(|check| check.verdict == Verdict::Pass)
            })
    })
}

/// Clusters whose running on is the proof: those of the wave that succeeded; before a wave, those
/// of every earlier one.
fn proving(turn: &Turn<'_>, wave: usize, side: Side) -> Vec<Uuid> {
    turn.next
        .clusters
        .iter()
        .filter(|(_, cluster)| matches!(cluster.phase, ClusterPhase::Succeeded { .. }))
        .filter(|(_, cluster)| {
            cluster.wave.is_some_and(|own| match side {
                Side::Before => own < wave,
                Side::After => own == wave,
            })
        })
        .map(|(id, _)| *id)
        .collect()
}

fn is_proven(turn: &Turn<'_>, id: Uuid) -> bool {
    let attempt = turn.next.clusters[&id].attempt;
    turn.seen
        .get(&id)
        .is_some_and(|seen| seen.is_healthy(turn.input.now, turn.input.run.id, attempt))
}

/// Clusters that restart the clock. A stream that was cut a moment ago does not: it only keeps
/// the gate shut until the cluster is heard again.
fn worse(turn: &Turn<'_>, wave: usize, side: Side) -> Vec<Uuid> {
    let is_worse = |id: &Uuid| match turn.reach(*id) {
        Reach::Unreachable => true,
        Reach::Fresh => !is_proven(turn, *id),
        Reach::Silent { .. } => false,
    };
    proving(turn, wave, side)
        .into_iter()
        .filter(is_worse)
        .collect()
}

fn starts(turn: &Turn<'_>, wave: usize, side: Side, proving: &[Uuid]) -> Timestamp {
    match (side, turn.next.waves[wave].phase) {
        (Side::Before, WavePhase::Opening { since }) => since,
        _ => proving
            .iter()
            .filter_map(|id| turn.next.clusters[id].phase.since())
            .max()
            .unwrap_or(turn.input.now),
    }
}

pub(super) fn gates_mut<'t>(
    turn: &'t mut Turn<'_>,
    wave: usize,
    side: Side,
) -> &'t mut Vec<GateState> {
    let wave = &mut turn.next.waves[wave];
    match side {
        Side::Before => &mut wave.before,
        Side::After => &mut wave.after,
    }
}

/// Returns the side of the wave whose gates are waited for now; absent = none.
pub(super) fn waiting_side(phase: WavePhase) -> Option<Side> {
    match phase {
        WavePhase::Opening { .. } => Some(Side::Before),
        WavePhase::Settling { .. } => Some(Side::After),
        _ => None,
    }
}

use std::collections::BTreeMap;

use bellwether_api::{
    command::{Abort, AbortCause},
    status::{Severity, WaitReason},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    act,
    cluster::{ClusterPhase, ClusterRun},
    command,
    decision::{ActionOutcome, AnsweredAction, ClusterAnswer, Decision, Grant, HubEvent},
    gate::{self, GateVerdict, Side},
    grant,
    input::{ClusterSeen, Input, Reach, Supersession},
    observe,
    state::{Completing, Ending, RunState, RunStatus},
    waiting, wave,
};

/// Decides what a run does next. Deciding again on the result, with nothing new seen, changes
/// nothing.
#[must_use]
pub fn decide(input: &Input<'_>) -> Decision {
    let mut turn = Turn::new(input);
    // Nothing is done in the name of a release that another one has replaced, except telling
    // whoever waits for an answer.
    if !matches!(turn.next.status, RunStatus::Superseded { .. }) {
        observe::membership(&mut turn);
        observe::statuses(&mut turn);
        observe::held(&mut turn);
        act::retry::once_back(&mut turn);
        gate::keep_readings(&mut turn);
        supersede(&mut turn);
    }
    act::answer_all(&mut turn);
    // One pass may open what the next one grants; a plan has only so many doors.
    for _ in 0..input.plan.waves.len() + 4 {
        let before = turn.next.clone();
        complete(&mut turn);
        wave::advance(&mut turn);
        // Whoever joins a run that has just ended gets what an ended run gives.
        finish(&mut turn);
        grant::grant(&mut turn);
        if turn.next == before {
            break;
        }
    }
    let commands = command::changes(&mut turn);
    let (waiting_on, wake_at) = waiting::explain(&turn);
    let Turn {
        mut next,
        grants,
        events,
        answered,
        ..
    } = turn;
    next.next_event += u64::try_from(events.len()).unwrap_or(u64::MAX);
    Decision {
        next,
        grants,
        commands,
        answered,
        events,
        waiting_on,
        wake_at,
    }
}

/// Says what a run waits for as it stands, and when time alone may move it, without deciding
/// anything. The first is empty when the run has ended.
#[must_use]
pub fn explain(input: &Input<'_>) -> (Vec<WaitReason>, Option<Timestamp>) {
    waiting::explain(&Turn::new(input))
}

/// Judges the gates of one wave as they stand: those before it, then those after it.
#[must_use]
pub fn gates(input: &Input<'_>, wave: usize) -> Vec<GateVerdict> {
    let turn = Turn::new(input);
    let mut verdicts = gate::verdicts(&turn, wave, Side::Before);
    verdicts.extend(gate::verdicts(&turn, wave, Side::After));
    verdicts
}

/// One decision in the making.
pub(super) struct Turn<'a> {
    pub input: &'a Input<'a>,
    pub seen: BTreeMap<Uuid, &'a ClusterSeen>,
    pub next: RunState,
    pub grants: Vec<Grant>,
    pub events: Vec<HubEvent>,
    pub answered: Vec<AnsweredAction>,
    /// What the action that is being answered did in clusters.
    pub told: Vec<ClusterAnswer>,
}

impl<'a> Turn<'a> {
    fn new(input: &'a Input<'a>) -> Self {
        Self {
            input,
            seen: input.clusters.iter().map(|seen| (seen.id, seen)).collect(),
            next: input.state.clone(),
            grants: Vec::new(),
            events: Vec::new(),
            answered: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Notes what the action that is being answered does in a cluster.
    pub fn tell(&mut self, cluster: Uuid, message: &str) {
        let Some(known) = self.next.clusters.get(&cluster) else {
            return;
        };
        let message = match self.reach(cluster) {
            Reach::Unreachable => format!("{message}, once it is heard again"),
            _ => message.to_owned(),
        };
        self.told.push(ClusterAnswer {
            cluster: known.name.clone(),
            outcome: ActionOutcome::Executed,
            message,
        });
    }

    pub fn now(&self) -> Timestamp {
        self.input.now
    }

    pub fn reach(&self, cluster: Uuid) -> Reach {
        self.seen
            .get(&cluster)
            .map_or(Reach::Unreachable, |seen| seen.reach(self.input.now))
    }

    pub fn is_suspended(&self) -> bool {
        self.input.suspended_by_spec || self.next.suspended.is_some()
    }

    pub fn event(
        &mut self,
        cluster: Option<Uuid>,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let message = message.into();
        self.events.push(HubEvent {
            cluster,
            severity,
            reason: reason.to_owned(),
            message,
        });
    }

    /// Tells every cluster under way to go back to what it had.
    pub fn send_back(&mut self, cause: AbortCause, by: &str, reason: &str) {
        let now = self.now();
        for cluster in self.next.clusters.values_mut() {
            send_cluster_back(cluster, cause, by, reason, now);
        }
    }

    /// Starts to take the release back everywhere.
    pub fn roll_everything_back(&mut self, ending: Ending) {
        let (by, reason) = match &ending {
            Ending::Failed { message } => ("hub".to_owned(), message.clone()),
            Ending::Aborted { by, reason } => (by.clone(), reason.clone()),
        };
        self.send_back(AbortCause::RollbackAll, &by, &reason);
        self.next.suspended = None;
        self.next.status = RunStatus::RollingBack {
            since: self.now(),
            ending,
        };
        self.event(
            None,
            Severity::Error,
            "RollingBackAll",
            "every cluster goes back to the release it had before, newest wave first",
        );
    }
}

/// Ends one cluster's attempt, if one is under way.
pub(super) fn send_cluster_back(
    cluster: &mut ClusterRun,
    cause: AbortCause,
    by: &str,
    reason: &str,
    now: Timestamp,
) -> bool {
    cluster.retry = None;
    if !matches!(cluster.phase, ClusterPhase::Succeeded { .. }) {
        cluster.take_back = None;
        cluster.take_back_to = None;
    }
    if !matches!(
        cluster.phase,
        ClusterPhase::Running { .. } | ClusterPhase::Returning { .. }
    ) {
        return false;
    }
    if cluster.abort.is_none() {
        cluster.abort = Some(Abort {
            cause,
            by: by.to_owned(),
            reason: reason.to_owned(),
        });
    }
    cluster.queue.clear();
    if matches!(cluster.phase, ClusterPhase::Running { .. }) {
        cluster.phase = ClusterPhase::Returning {
            since: now,
            reason: format!("{cause:?}"),
        };
    }
    true
}

fn supersede(turn: &mut Turn<'_>) {
    let now = turn.now();
    match turn.input.supersession {
        None => {}
        Some(Supersession::Release { revision }) => {
            let cause = format!("revision {revision} took its place");
            turn.send_back(AbortCause::Superseded, "hub", &cause);
            let mut touched = false;
            for cluster in turn.next.clusters.values_mut() {
                if cluster.phase.takes_slot() {
                    cluster.phase = ClusterPhase::Superseded { at: now };
                    touched = true;
                }
            }
            if !turn.next.status.is_finished() {
                turn.next.status = RunStatus::Superseded { at: now, revision };
                touched = true;
            }
            if touched {
                turn.event(None, Severity::Warn, "Superseded", cause);
            }
        }
        Some(Supersession::RolloutDeleted) => {
            let waits = matches!(
                turn.next.status,
                RunStatus::Progressing | RunStatus::Halted { .. }
            );
            if waits {
                go_back(turn, "the Rollout was deleted");
            }
        }
        Some(Supersession::ApplicationDeleted) if !turn.next.status.is_finished() => {
            let reason = "the application was deleted".to_owned();
            turn.event(None, Severity::Warn, "ApplicationDeleted", reason.clone());
            turn.next.status = RunStatus::Aborted {
                at: now,
                by: "hub".to_owned(),
                reason,
            };
        }
        Some(Supersession::ApplicationDeleted) => {}
    }
}

fn go_back(turn: &mut Turn<'_>, reason: &str) {
    turn.send_back(AbortCause::Deleted, "hub", reason);
    turn.next.suspended = None;
    turn.next.status = RunStatus::Aborting {
        since: turn.now(),
        by: "hub".to_owned(),
        reason: reason.to_owned(),
    };
    turn.event(None, Severity::Warn, "RolloutDeleted", reason);
}

/// Sees to a run whose deleted Rollouts want it finished. A failed one cannot be: it goes back.
fn complete(turn: &mut Turn<'_>) {
    let rollouts = turn.input.completes;
    if rollouts.is_empty() {
        turn.next.completing = None;
        return;
    }
    match turn.next.status {
        RunStatus::Halted { .. } => go_back(
            turn,
            "the Rollout was deleted, and a run that failed cannot be completed",
        ),
        RunStatus::Progressing => {
            let known = turn.next.completing.as_ref();
            if known.is_some_and(|known| known.rollouts == rollouts) {
                return;
            }
            turn.next.completing = Some(Completing {
                rollouts: rollouts.to_vec(),
                since: turn.now(),
            });
            // Whoever suspended it did so before it was to be finished, and may say so again.
            turn.next.suspended = None;
            for wave in &mut turn.next.waves {
                wave.suspended = None;
            }
            for cluster in turn.next.clusters.values_mut() {
                cluster.suspended = None;
            }
            let message = format!(
                "{} was deleted (onDeletion: Complete): the run goes on to its end without \
                 waiting for humans",
                rollouts.join(", ")
            );
            turn.event(None, Severity::Warn, "CompletesOnDeletion", message);
        }
        _ => {}
    }
}

/// Ends the run when nothing is left to do.
fn finish(turn: &mut Turn<'_>) {
    let now = turn.now();
    let busy = turn
        .next
        .clusters
        .values()
        .any(|cluster| cluster.phase.takes_slot());
    match turn.next.status.clone() {
        RunStatus::Progressing => {
            let all_done = turn.next.waves.iter().all(|wave| wave.phase.is_done());
            let waves_busy = turn
                .next
                .clusters
                .values()
                .filter(|cluster| cluster.wave.is_some())
                .any(|cluster| {
                    // A cluster that counted as settled may still be brought to another release.
                    let goes_on = !matches!(cluster.phase, ClusterPhase::Succeeded { .. })
                        && cluster.awaits_going_back().is_some();
                    cluster.phase.takes_slot() || goes_on
                });
            if all_done && !waves_busy && !turn.is_suspended() {
                end_progress(turn);
            }
        }
        RunStatus::Aborting { by, reason, .. } if !busy => {
            turn.event(None, Severity::Warn, "Aborted", said(&by, &reason));
            turn.next.status = RunStatus::Aborted {
                at: now,
                by,
                reason,
            };
        }
        RunStatus::RollingBack { ending, .. } if !busy && !grant::has_something_to_revert(turn) => {
            match ending {
                Ending::Failed { message } => {
                    turn.event(None, Severity::Error, "Failed", message.clone());
                    turn.next.status = RunStatus::Failed { at: now, message };
                }
                Ending::Aborted { by, reason } => {
                    turn.event(None, Severity::Warn, "Aborted", said(&by, &reason));
                    turn.next.status = RunStatus::Aborted {
                        at: now,
                        by,
                        reason,
                    };
                }
            }
        }
        _ => {}
    }
}

fn said(by: &str, reason: &str) -> String {
    if reason.is_empty() {
        format!("by {by}")
    } else {
        format!("by {by}: {reason}")
    }
}

fn end_progress(turn: &mut Turn<'_>) {
    let now = turn.now();
    let failed_waves = turn
        .next
        .waves
        .iter()
        .filter(|wave| wave.phase.is_failed())
        .count();
    if failed_waves == 0 {
        turn.event(None, Severity::Info, "Succeeded", "every wave passed");
        turn.next.status = RunStatus::Succeeded { at: now };
        return;
    }
    let message = format!("failed on {}", waiting::failed_on(&turn.next, None));
    turn.event(None, Severity::Error, "Failed", message.clone());
    turn.next.status = RunStatus::Failed { at: now, message };
}

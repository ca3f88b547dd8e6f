//! A checker of histories: what must hold at every decision of a run, whatever happened before.
//!
//! It is written against the rules and not against the decisions: it counts for itself. Tests and
//! the simulation feed it every decision; a violation names the rule that was broken.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    application::{OnFailure, UnreachablePolicy},
    status::{Health, UnitOutcome},
};
use jiff::Timestamp;
use uuid::Uuid;

use crate::run::{
    ActionKind, ActionOutcome, ClusterPhase, Decision, GrantRelease, Input, Reach, RunStatus,
    WavePhase,
};

/// A rule that a decision broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Violation {
    /// The rule's short name, such as `I13-wave-order`.
    pub rule: &'static str,
    /// What broke it.
    pub detail: String,
}

/// Watches the decisions of any number of runs.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    granted: BTreeSet<(Uuid, Uuid, u32)>,
    last_attempt: BTreeMap<(Uuid, Uuid), u32>,
    answered: BTreeSet<Uuid>,
    healthy_since: BTreeMap<(Uuid, Uuid), Timestamp>,
}

impl Checker {
    /// Judges one decision; give every decision that was saved, in its order.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn observe(&mut self, input: &Input<'_>, decision: &Decision) -> Result<(), Violation> {
        self.watch_health(input);
        self.grants_once(input, decision)?;
        waves_in_order(input, decision)?;
        budgets(input, decision)?;
        proofs(input, decision)?;
        self.soaks(input, decision)?;
        self.answers_once(input, decision)?;
        endings(input, decision)?;
        explained(decision)
    }

    fn grants_once(&mut self, input: &Input<'_>, decision: &Decision) -> Result<(), Violation> {
        let run = input.run.id;
        for grant in &decision.grants {
            let last = self.last_attempt.entry((run, grant.cluster)).or_default();
            if grant.attempt <= *last || !self.granted.insert((run, grant.cluster, grant.attempt)) {
                return broken(
                    "I15-granted-once",
                    format!(
                        "attempt {} of {} follows {last}",
                        grant.attempt, grant.cluster
                    ),
                );
            }
            *last = grant.attempt;
            let allowed = match (&decision.next.status, &grant.release) {
                (RunStatus::Progressing | RunStatus::Succeeded { .. }, _) => true,
                (RunStatus::RollingBack { .. }, release) => *release != GrantRelease::This,
                (RunStatus::Superseded { .. }, _) => false,
                // A human wants that cluster back on what it had.
                (RunStatus::Halted { .. }, GrantRelease::Digest(_)) => {
                    let before = input.state.clusters.get(&grant.cluster);
                    before.is_some_and(|one| one.take_back.is_some())
                        || !decision.answered.is_empty()
                }
                (_, release) => *release == GrantRelease::LastSucceeded,
            };
            if !allowed {
                return broken(
                    "I15-never-after-halt",
                    format!(
                        "granted {} while {}",
                        grant.cluster,
                        decision.next.status.word()
                    ),
                );
            }
            let seen = input.clusters.iter().find(|seen| seen.id == grant.cluster);
            let reached = seen.is_some_and(|seen| seen.reach(input.now) == Reach::Fresh);
            // What is written for a silent cluster waits there for it, so that a run whose clusters are all
            // silent may go back and end within one decision.
            let ends = decision.next.status.is_finished() && !input.state.status.is_finished();
            let had_it = input
                .state
                .clusters
                .get(&grant.cluster)
                .is_some_and(|before| matches!(before.phase, ClusterPhase::Succeeded { .. }));
            let going_back = matches!(decision.next.status, RunStatus::RollingBack { .. })
                || ends && had_it && grant.release != GrantRelease::This;
            if !reached && !going_back {
                return broken("I16-unreachable-granted", grant.cluster.to_string());
            }
            let unrendered = seen.is_some_and(|seen| seen.unrendered.is_some());
            if unrendered && grant.release == GrantRelease::This {
                return broken("I16-unrendered-granted", grant.cluster.to_string());
            }
            let waits = seen.is_some_and(|seen| !seen.awaits.is_empty());
            if waits && grant.release == GrantRelease::This && !input.plan.rollback {
                return broken("dependencies-come-first", grant.cluster.to_string());
            }
            if seen.is_some_and(|seen| seen.is_busy_elsewhere(run, input.plan.governed))
                && !going_back
            {
                return broken("I8-one-run-per-target", grant.cluster.to_string());
            }
        }
        Ok(())
    }

    /// Remembers since when every cluster has been healthy without a break.
    fn watch_health(&mut self, input: &Input<'_>) {
        for (id, cluster) in &input.state.clusters {
            let key = (input.run.id, *id);
            let seen = input.clusters.iter().find(|seen| seen.id == *id);
            let healthy = seen.is_some_and(|seen| {
                seen.reach(input.now) != Reach::Unreachable
                    && seen
                        .status_of(input.run.id, cluster.attempt)
                        .is_some_and(|status| {
                            status.outcome == UnitOutcome::Succeeded
                                && status.health == Health::Healthy
                        })
            });
            if healthy {
                self.healthy_since.entry(key).or_insert(input.now);
            } else {
                self.healthy_since.remove(&key);
            }
        }
    }

    /// A wave with a soak gate passes only when every cluster that succeeded in it has been
    /// healthy for that long without a break, unless a human opened the gate.
    fn soaks(&self, input: &Input<'_>, decision: &Decision) -> Result<(), Violation> {
        for (index, wave) in decision.next.waves.iter().enumerate() {
            let before = input.state.waves[index].phase;
            if !matches!(wave.phase, WavePhase::Passed { .. })
                || matches!(before, WavePhase::Passed { .. })
            {
                continue;
            }
            for (gate, state) in input.plan.waves[index].after.iter().zip(&wave.after) {
                if state.overridden.is_some() {
                    continue;
                }
                if let Some(approval) = &gate.approval {
                    let people: BTreeSet<&str> = state
                        .approvals
                        .iter()
                        .map(|approval| approval.by.as_str())
                        .collect();
                    if people.len() < approval.count.max(1) as usize {
                        return broken("I13-approval", format!("wave {index} passed without it"));
                    }
                }
                let Some(soak) = gate.soak else { continue };
                for (id, cluster) in decision.next.of_wave(index) {
                    if !matches!(cluster.phase, ClusterPhase::Succeeded { .. }) {
                        continue;
                    }
                    let since = self.healthy_since.get(&(input.run.id, *id));
                    let long_enough = since
                        .is_some_and(|since| input.now.duration_since(*since) >= soak.as_signed());
                    if !long_enough {
                        return broken(
                            "I13-soak",
                            format!(
                                "wave {index} passed, {} healthy since {since:?}",
                                cluster.name
                            ),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn answers_once(&mut self, input: &Input<'_>, decision: &Decision) -> Result<(), Violation> {
        for answer in &decision.answered {
            if !self.answered.insert(answer.id) {
                return broken("answered-once", answer.id.to_string());
            }
        }
        for action in input.actions {
            if !self.answered.contains(&action.id) {
                return broken("answered-at-all", action.id.to_string());
            }
        }
        Ok(())
    }
}

fn broken(rule: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { rule, detail })
}

/// I13: the release reaches a wave only once every earlier one is done by its rule.
fn waves_in_order(input: &Input<'_>, decision: &Decision) -> Result<(), Violation> {
    for grant in &decision.grants {
        if grant.release != GrantRelease::This {
            continue;
        }
        let Some(wave) = decision
            .next
            .clusters
            .get(&grant.cluster)
            .and_then(|one| one.wave)
        else {
            continue;
        };
        for earlier in 0..wave {
            let phase = decision.next.waves[earlier].phase;
            let done = match phase {
                WavePhase::Passed { .. } => true,
                WavePhase::Failed { .. } => input.plan.on_failure == OnFailure::Continue,
                // A wave that runs again for those that failed lets the others be.
                WavePhase::Running { .. } | WavePhase::Settling { .. } => {
                    decision.next.waves[wave].phase.started().is_some()
                }
                _ => false,
            };
            if !done {
                return broken(
                    "I13-wave-order",
                    format!("wave {wave} granted while wave {earlier} is {phase:?}"),
                );
            }
        }
    }
    for (index, wave) in decision.next.waves.iter().enumerate() {
        let newly = matches!(wave.phase, WavePhase::Passed { .. })
            && !matches!(input.state.waves[index].phase, WavePhase::Passed { .. });
        if newly {
            met_its_rule(input, decision, index)?;
        }
    }
    Ok(())
}

fn met_its_rule(input: &Input<'_>, decision: &Decision, wave: usize) -> Result<(), Violation> {
    let planned = &input.plan.waves[wave];
    let mut counted = 0;
    let mut open = 0;
    let mut passed_over = 0;
    for (id, cluster) in decision.next.of_wave(wave) {
        match cluster.phase {
            // A later wave may have failed in the same decision, which takes this one back.
            ClusterPhase::Succeeded { .. }
            | ClusterPhase::Reverting { .. }
            | ClusterPhase::Reverted { .. }
            | ClusterPhase::Skipped { .. }
            | ClusterPhase::Gone { .. } => {}
            ClusterPhase::Failed { .. } => counted += 1,
            ClusterPhase::Waiting => {
                let seen = input.clusters.iter().find(|seen| seen.id == *id);
                if seen.is_some_and(|seen| seen.reach(input.now) != Reach::Unreachable) {
                    open += 1;
                } else if planned.unreachable == UnreachablePolicy::SkipAndCatchUp {
                    passed_over += 1;
                } else {
                    counted += 1;
                }
            }
            _ => open += 1,
        }
    }
    let all_go_back = matches!(decision.next.status, RunStatus::RollingBack { .. });
    let proven = decision
        .next
        .of_wave(wave)
        .any(|(id, cluster)| match cluster.phase {
            ClusterPhase::Succeeded { .. } => true,
            // It proved the release, before or with what is seen now, and a later wave failed in the
            // same decision.
            ClusterPhase::Reverting { .. } if all_go_back => {
                let before = input.state.clusters.get(id);
                before.is_some_and(|one| match one.phase {
                    ClusterPhase::Succeeded { .. } => true,
                    ClusterPhase::Running { .. } | ClusterPhase::Returning { .. } => {
                        reports_success(input, *id, one.attempt)
                    }
                    _ => false,
                })
            }
            _ => false,
        });
    if open > 0 || counted > planned.max_failures || passed_over > 0 && !proven {
        return broken(
            "I13-wave-rule",
            format!(
                "wave {wave} passed with {open} open, {counted} counted and {passed_over} passed over"
            ),
        );
    }
    Ok(())
}

/// I14: never more clusters under way than the wave allows, counted over what the records say.
fn budgets(input: &Input<'_>, decision: &Decision) -> Result<(), Violation> {
    for (index, planned) in input.plan.waves.iter().enumerate() {
        let granted = decision
            .grants
            .iter()
            .filter(|grant| {
                decision
                    .next
                    .clusters
                    .get(&grant.cluster)
                    .and_then(|one| one.wave)
                    == Some(index)
            })
            .count();
        if granted == 0 {
            continue;
        }
        let going_back = matches!(decision.next.status, RunStatus::RollingBack { .. });
        let under_way = decision.next.of_wave(index).filter(|(id, cluster)| {
            let heard = input
                .clusters
                .iter()
                .any(|seen| seen.id == **id && seen.reach(input.now) != Reach::Unreachable);
            // What is written for a silent cluster on the way back takes nobody's slot.
            cluster.phase.takes_slot() && (heard || !going_back)
        });
        let under_way = u32::try_from(under_way.count()).unwrap_or(u32::MAX);
        if under_way > planned.max_concurrent {
            return broken(
                "I14-max-concurrent",
                format!(
                    "wave {index}: {under_way} under way, {} allowed",
                    planned.max_concurrent
                ),
            );
        }
        let failed = decision
            .next
            .of_wave(index)
            .filter(|(_, one)| one.counts_as_failed())
            .count();
        let failed = u32::try_from(failed).unwrap_or(u32::MAX);
        // Only this release is bounded by its failures; what ran before goes anywhere.
        let brings = decision.grants.iter().any(|grant| {
            grant.release == GrantRelease::This
                && decision
                    .next
                    .clusters
                    .get(&grant.cluster)
                    .and_then(|one| one.wave)
                    == Some(index)
        });
        let bounded = input.plan.on_failure != OnFailure::Continue && brings;
        if bounded && failed > planned.max_failures {
            return broken(
                "I14-max-failures",
                format!(
                    "wave {index} granted with {failed} failed, {} allowed",
                    planned.max_failures
                ),
            );
        }
    }
    Ok(())
}

/// Tells whether a cluster that is heard now reports that this very attempt succeeded.
fn reports_success(input: &Input<'_>, id: Uuid, attempt: u32) -> bool {
    input.clusters.iter().any(|seen| {
        seen.id == id
            && seen.reach(input.now) == Reach::Fresh
            && seen.status.as_ref().is_some_and(|status| {
                status.run == input.run.id
                    && status.attempt == attempt
                    && status.outcome == UnitOutcome::Succeeded
                    && seen.desired.as_deref() == Some(status.digest.as_str())
            })
    })
}

/// I16: success is believed only from a fresh report on this very attempt of this very bundle.
fn proofs(input: &Input<'_>, decision: &Decision) -> Result<(), Violation> {
    for (id, cluster) in &decision.next.clusters {
        let was = input.state.clusters.get(id).map(|cluster| &cluster.phase);
        let newly = matches!(cluster.phase, ClusterPhase::Succeeded { .. })
            && !matches!(was, Some(ClusterPhase::Succeeded { .. }));
        if !newly {
            continue;
        }
        if !reports_success(input, *id, cluster.attempt) {
            return broken(
                "I16-proof",
                format!("{} counted as succeeded", cluster.name),
            );
        }
    }
    Ok(())
}

/// I10: what has ended stays ended, unless a human retries.
fn endings(input: &Input<'_>, decision: &Decision) -> Result<(), Violation> {
    let before = &input.state.status;
    if before.is_finished() && decision.next.status != *before {
        let retried = input.actions.iter().any(|action| {
            action.kind == ActionKind::Retry
                && decision.answered.iter().any(|answer| {
                    answer.id == action.id && answer.outcome == ActionOutcome::Executed
                })
        });
        if !retried || matches!(before, RunStatus::Superseded { .. }) {
            return broken(
                "I10-terminal",
                format!("{} became {}", before.word(), decision.next.status.word()),
            );
        }
    }
    Ok(())
}

fn explained(decision: &Decision) -> Result<(), Violation> {
    if decision.next.status.is_finished() != decision.waiting_on.is_empty() {
        return broken(
            "waiting-on",
            format!(
                "{} waits on {:?}",
                decision.next.status.word(),
                decision.waiting_on
            ),
        );
    }
    Ok(())
}

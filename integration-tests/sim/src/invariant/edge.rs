//! One decision of one agent.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    machine::{Decision, Overlay, PromotionPart, RunState, Stage},
    settled::TemplateVersion,
    weights::planned_steps,
};
use bellwether_api::{
    command::Verb,
    hooks::HookKind,
    number::Weight,
    status::{FailureReason, Verdict},
    track::RolloutTrackSpec,
};
use jiff::SignedDuration;
use uuid::Uuid;

use super::{broken::Broken, time::SLACK};
use crate::{member::Member, scenario::Quality};

/// One decision of one agent, against what is true in its cluster.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// The grant and what was commanded.
    pub spec: &'a RolloutTrackSpec,
    /// The state before.
    pub before: &'a RunState,
    /// The decision.
    pub decision: &'a Decision,
    /// Every (run, attempt, step) in which a measurement was answered.
    pub measured: &'a BTreeSet<(Uuid, u32, u32)>,
    /// Every (run, attempt, hook) that passed.
    pub passed: &'a BTreeSet<(Uuid, u32, String)>,
    /// What was there when the agent looked.
    pub look: &'a Member,
    /// For how long it has not been known in this process that the old version has all of its pods.
    pub broken_for: SignedDuration,
}

impl Edge<'_> {
    /// Judges the decision; `image` is the version under test.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, image: &str) -> Result<(), Broken> {
        self.ends_stay(image)?;
        self.steps_one_by_one()?;
        self.promotes_on_proof(image)?;
        self.replaces_what_is_broken(image)?;
        self.keeps_what_replaces(image)?;
        self.comes_in_whole(image)?;
        self.asked_before_it_promotes(image)?;
        self.obeys()?;
        self.traffic_has_pods()?;
        self.rises_as_granted(image)?;
        self.matches_as_granted(image)?;
        self.batch_is_ready()?;
        self.explains_itself()
    }

    fn next(&self) -> &RunState {
        &self.decision.next
    }

    fn ends_stay(&self, image: &str) -> Result<(), Broken> {
        if self.before.is_terminal() && self.next().stage != self.before.stage {
            return Err(Broken::new(
                "I10-terminal",
                format!("{image}: {:?}", self.next().stage),
            ));
        }
        Ok(())
    }

    /// Steps are left one after the other; those that humans skip have their verdicts too.
    fn steps_one_by_one(&self) -> Result<(), Broken> {
        if let (Stage::Step { index: from, .. }, Stage::Step { index: to, .. }) =
            (&self.before.stage, &self.next().stage)
            && (to < from || !left_each(self.next(), *to))
        {
            return Err(Broken::new(
                "I10-steps",
                format!("from step {from} to step {to}"),
            ));
        }
        Ok(())
    }

    /// A step is left, and a version promoted, only on a recorded verdict that is true.
    fn promotes_on_proof(&self, image: &str) -> Result<(), Broken> {
        let Stage::Step { index, .. } = self.before.stage else {
            return Ok(());
        };
        let left = match self.next().stage {
            Stage::Step { index: now, .. } => now != index,
            Stage::Promoting { .. } => true,
            _ => false,
        };
        if !left {
            return Ok(());
        }
        let verdict = self
            .next()
            .verdicts
            .iter()
            .rev()
            .find(|verdict| verdict.step == index);
        let proven = match verdict.map(|verdict| verdict.verdict) {
            Some(Verdict::Pass) => Quality::of(image) == Quality::Good,
            Some(Verdict::Overridden) => true,
            _ => false,
        };
        let of = (self.spec.run, self.spec.attempt, index);
        let passed = verdict.is_some_and(|verdict| verdict.verdict == Verdict::Pass);
        if passed && !self.measured.contains(&of) {
            let detail = format!("{image} left step {index}, of which nothing was measured");
            return Err(Broken::new("I9-unknown", detail));
        }
        if proven {
            return Ok(());
        }
        Err(Broken::new(
            "I9-proof",
            format!("{image} left step {index} on {verdict:?}"),
        ))
    }

    /// A version leaves all of its steps at once on a human's word alone, where not all pods of the old one
    /// are ready, and have not been for a while.
    fn replaces_what_is_broken(&self, image: &str) -> Result<(), Broken> {
        let replaces = |state: &RunState| {
            matches!(
                state.stage,
                Stage::Promoting {
                    part: PromotionPart::Replacing { .. }
                }
            )
        };
        if !replaces(self.next()) || replaces(self.before) {
            return Ok(());
        }
        let (old, wanted) = (&self.look.image, self.look.replicas);
        let ready = self.look.pods_of(old).1;
        let lasts = self.spec.plan.progress_deadline.as_signed() / 4;
        if self.broken_for + SLACK < lasts {
            let lacked = self.broken_for;
            let detail = format!("{image} replaced {old}, which lacked pods for {lacked:?} only");
            return Err(Broken::new("I9-replaced", detail));
        }
        let mut queue = self.spec.command.queue.iter();
        if ready >= wanted || !queue.any(|queued| queued.verb == Verb::Promote) {
            let detail =
                format!("{image} replaced {old}, {ready} of {wanted} pods of which are ready");
            return Err(Broken::new("I9-replaced", detail));
        }
        Ok(())
    }

    /// I1: no deadline takes ready pods of a version away that replaces one that was not available.
    fn keeps_what_replaces(&self, image: &str) -> Result<(), Broken> {
        let part = PromotionPart::Replacing { begun: true };
        let goes_back = matches!(
            &self.next().stage,
            Stage::RollingBack { failure, .. } if failure.reason == FailureReason::DeadlineExceeded
        );
        if self.before.stage != (Stage::Promoting { part }) || !goes_back {
            return Ok(());
        }
        let takes = self.look.particulars.update_takes;
        let (new, all) = (self.look.pods_of(image).1, self.look.pods().1);
        if new > 0 && all > self.look.replicas.saturating_sub(takes) {
            let detail = format!("{image} goes, {new} of {all} ready pods are its own");
            return Err(Broken::new("I1-kept", detail));
        }
        Ok(())
    }

    /// I19: no version gets traffic or comes in before the API server has taken all that its release brings.
    fn comes_in_whole(&self, image: &str) -> Result<(), Broken> {
        let comes = Overlay::of(self.before).template != TemplateVersion::New
            && self.decision.overlay.template == TemplateVersion::New;
        let rises = self.next().weight > self.before.weight;
        if (comes || rises) && self.look.lacks(image) {
            let shard = &self.look.shard;
            let detail = format!("{image} comes in beside the shard of {shard:?}");
            return Err(Broken::new("I19-untaken", detail));
        }
        Ok(())
    }

    /// A hook that confirms the promotion has passed, unless a human went on without it.
    fn asked_before_it_promotes(&self, image: &str) -> Result<(), Broken> {
        let promotes = matches!(self.next().stage, Stage::Promoting { .. })
            && matches!(self.before.stage, Stage::Step { .. });
        let last = self.next().verdicts.last();
        let overridden = last.is_some_and(|verdict| verdict.verdict == Verdict::Overridden);
        if !promotes || overridden {
            return Ok(());
        }
        let hooks = self.spec.plan.hooks.iter();
        for hook in hooks.filter(|hook| hook.kind == HookKind::ConfirmPromotion) {
            let of = (self.spec.run, self.spec.attempt, hook.name.clone());
            if !self.passed.contains(&of) {
                let detail = format!("{image} was promoted before {} passed", hook.name);
                return Err(Broken::new("I9-hook", detail));
            }
        }
        Ok(())
    }

    /// I11: once it was stopped or aborted, nothing is promoted and no step left.
    fn obeys(&self) -> Result<(), Broken> {
        let command = &self.spec.command;
        let named = command.run == self.spec.run && command.attempt == self.spec.attempt;
        let starts = matches!(self.next().stage, Stage::Promoting { .. })
            && !matches!(self.before.stage, Stage::Promoting { .. });
        let leaves = match (&self.before.stage, &self.next().stage) {
            (Stage::Step { index: from, .. }, Stage::Step { index: to, .. }) => to > from,
            _ => starts,
        };
        if named && command.abort.is_some() && leaves {
            let detail = "promoted although it was aborted".to_owned();
            return Err(Broken::new("I11-abort", detail));
        }
        let rises = self.next().weight > self.before.weight;
        if named && command.suspend && (leaves || rises) {
            let detail = "went on although it was suspended".to_owned();
            return Err(Broken::new("I11-suspend", detail));
        }
        Ok(())
    }

    fn traffic_has_pods(&self) -> Result<(), Broken> {
        let weight = self.next().weight;
        let ready = self.look.canary_ready();
        let needed =
            (self.look.replicas.min(self.look.whole()) * u32::from(weight.percent())).div_ceil(100);
        if weight > self.before.weight && ready < needed {
            let detail =
                format!("weight {weight} needs {needed} ready canary pods, there are {ready}");
            return Err(Broken::new("I2-readiness", detail));
        }
        Ok(())
    }

    /// I3, I5: the weight rises to that of the granted plan's own step, for pods of the granted
    /// version.
    fn rises_as_granted(&self, image: &str) -> Result<(), Broken> {
        if self.next().weight <= self.before.weight {
            return Ok(());
        }
        let canary = self.look.canary.as_ref().map(|canary| &*canary.image);
        if canary != Some(image) {
            let detail = format!("{canary:?} gets traffic that was granted to {image}");
            return Err(Broken::new("I5-hash", detail));
        }
        let steps = planned_steps(&self.spec.plan.strategy);
        let Stage::Step { index, .. } = self.next().stage else {
            let detail = format!("{:?} has a weight that rose", self.next().stage);
            return Err(Broken::new("I3-step", detail));
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let granted = steps.get(index).map(|step| step.weight);
        if granted != Some(self.next().weight) {
            let weight = self.next().weight;
            let detail = format!("step {index} has {weight} %, {granted:?} was granted");
            return Err(Broken::new("I3-step", detail));
        }
        Ok(())
    }

    /// I2, I3, I5: requests that match and mirrored ones are those of the granted plan's own step, and
    /// there are pods of the granted version for them.
    fn matches_as_granted(&self, image: &str) -> Result<(), Broken> {
        let (before, next) = (self.before, self.next());
        let matches = next.matches != before.matches && !next.matches.is_empty();
        if !matches && next.mirror <= before.mirror {
            return Ok(());
        }
        let canary = self.look.canary.as_ref().map(|canary| &*canary.image);
        if canary != Some(image) {
            let detail = format!("{canary:?} gets requests that were granted to {image}");
            return Err(Broken::new("I5-hash", detail));
        }
        let steps = planned_steps(&self.spec.plan.strategy);
        let granted = match next.stage {
            Stage::Step { index, .. } => usize::try_from(index).ok(),
            _ => None,
        };
        let granted = granted.and_then(|index| steps.get(index));
        let is_granted =
            granted.is_some_and(|step| step.matches == next.matches && step.mirror == next.mirror);
        if !is_granted {
            let detail = format!("{:?} was written, {granted:?} was granted", next.split());
            return Err(Broken::new("I3-match", detail));
        }
        // What matches may be anything, unless a share is given too.
        let all = matches && next.weight == Weight::ZERO && self.look.scaler.is_none();
        let needed = if all { self.look.replicas } else { 1 };
        let ready = self.look.canary_ready();
        if ready < needed {
            let detail = format!("{ready} of {needed} canary pods are ready for what matches");
            return Err(Broken::new("I2-match", detail));
        }
        Ok(())
    }

    /// I1: no further pod is let go before those that were are ready.
    fn batch_is_ready(&self) -> Result<(), Broken> {
        let granted = |state: &RunState| state.in_place.as_ref().map_or(0, |run| run.granted);
        let (before, after) = (granted(self.before), granted(self.next()));
        let ready = self.look.pods_of(&self.look.image).1;
        let total = |state: &RunState| state.in_place.as_ref().map(|run| run.total);
        // Whoever scales it while every pod is let go adds pods that are.
        let is_step = total(self.before) == total(self.next());
        if is_step && before > 0 && after > before && ready < before {
            let detail = format!("{after} pods are let go, {ready} of {before} are ready");
            return Err(Broken::new("I1-batch", detail));
        }
        Ok(())
    }

    fn explains_itself(&self) -> Result<(), Broken> {
        if self.decision.waiting_on.is_empty() && !self.next().is_terminal() {
            let detail = format!("{:?} waits for nothing", self.next().stage);
            return Err(Broken::new("waiting-on", detail));
        }
        Ok(())
    }
}

/// Tells whether every step before one has its verdict, in their order.
pub(super) fn left_each(state: &RunState, step: u32) -> bool {
    let left = state.verdicts.iter().map(|verdict| verdict.step);
    (0..step).eq(left)
}

//! One decision of one agent.

use std::collections::BTreeSet;

use bellwether_agent_core::machine::{Decision, RunState, Stage};
use bellwether_api::{status::Verdict, track::RolloutTrackSpec};
use uuid::Uuid;

use super::broken::Broken;
use crate::{
    member::{Member, REPLICAS},
    scenario::Quality,
};

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
}

impl Edge<'_> {
    /// Judges the decision; `image` is the version under test.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, member: &Member, image: &str) -> Result<(), Broken> {
        self.ends_stay(image)?;
        self.steps_one_by_one()?;
        self.promotes_on_proof(image)?;
        self.no_promotion_after_abort()?;
        self.traffic_has_pods(member)?;
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

    fn steps_one_by_one(&self) -> Result<(), Broken> {
        if let (Stage::Step { index: from, .. }, Stage::Step { index: to, .. }) =
            (&self.before.stage, &self.next().stage)
            && *to != *from
            && *to != from + 1
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

    fn no_promotion_after_abort(&self) -> Result<(), Broken> {
        let command = &self.spec.command;
        let aborted = command.run == self.spec.run
            && command.attempt == self.spec.attempt
            && command.abort.is_some();
        let starts = matches!(self.next().stage, Stage::Promoting { .. })
            && !matches!(self.before.stage, Stage::Promoting { .. });
        if aborted && starts {
            return Err(Broken::new(
                "I11-abort",
                "promoted although it was aborted".to_owned(),
            ));
        }
        Ok(())
    }

    fn traffic_has_pods(&self, member: &Member) -> Result<(), Broken> {
        let weight = self.next().weight;
        let needed = (REPLICAS * u32::from(weight.percent())).div_ceil(100);
        if weight > self.before.weight && member.canary_ready() < needed {
            let detail = format!(
                "weight {weight} needs {needed} ready canary pods, there are {}",
                member.canary_ready()
            );
            return Err(Broken::new("I2-readiness", detail));
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

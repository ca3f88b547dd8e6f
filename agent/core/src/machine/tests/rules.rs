//! What must hold of every decision, whatever the history.

use bellwether_api::{number::Weight, status::Phase, strategy::InstancesMode, traffic::is_by_pods};

use super::{
    super::{Decision, Observations, Overlay, RunState, Stage, decide},
    model::Cluster,
};
use crate::{
    sizes::share_ceil,
    weights::{PlannedStep, planned_steps},
};

impl Cluster {
    /// What must hold of every decision.
    pub(super) fn check(&self, decision: &Decision, seen: &Observations) {
        let (before, next) = (&self.state, &decision.next);
        let back =
            |stage: &Stage| matches!(stage, Stage::RollingBack { .. } | Stage::Failed { .. });
        let again = decide(self.now, &self.grant, next, seen);
        assert_eq!(&again.next, next, "deciding again changes nothing");
        assert_eq!(
            (again.events.len(), again.executed.len()),
            (0, 0),
            "{:?}",
            again.events
        );
        assert_eq!(again.overlay, decision.overlay);
        assert_eq!(again.waiting_on, decision.waiting_on);
        assert_eq!(again.summary, decision.summary);
        assert_eq!(
            (again.sample, again.planned, again.hooks, again.wake_at),
            (
                decision.sample.clone(),
                decision.planned.clone(),
                decision.hooks.clone(),
                decision.wake_at
            )
        );
        assert!(again.after.is_empty(), "named twice");
        assert_eq!(decision.waiting_on.is_empty(), next.is_terminal());
        assert_eq!(decision.overlay, Overlay::of(next));
        assert!(
            decision.wake_at.is_none_or(|at| at > self.now),
            "wakes in the past"
        );
        if let Some(planned) = &decision.planned {
            assert!(planned.due > self.now, "planned in the past");
            assert_eq!(planned.request.check, next.check);
            assert!(next.is_judged() && decision.sample.is_none());
        }
        if decision.only_counts(before, decision.correct_drift) {
            let same = |state: &RunState| (state.step(), state.split(), state.canary_pods);
            assert_eq!(same(before), same(next), "counting moves nothing");
            assert_eq!(decision.overlay, Overlay::of(before));
            assert!(!next.is_terminal() && !back(&next.stage));
        }
        if before.is_terminal() {
            assert_eq!(before.stage, next.stage, "the end is the end");
        }
        if !seen.fresh {
            assert_eq!((&before.stage, before.weight), (&next.stage, next.weight));
            return;
        }
        self.check_weights(decision, seen);
        assert!(
            !back(&before.stage) || back(&next.stage),
            "nothing comes back from a rollback"
        );
        assert!(next.failed_checks >= before.failed_checks);
        if back(&before.stage) {
            assert!(next.weight <= before.weight, "the weight only falls");
            let none = |matches: &[_]| matches.is_empty();
            assert!(none(&next.matches) || !none(&before.matches));
            assert_eq!(next.mirror, Weight::ZERO);
        }
        self.check_sizes(decision, seen);
        for (index, verdict) in (0..).zip(&next.verdicts) {
            assert_eq!(verdict.step, index, "steps are left one by one");
        }
        if matches!(next.stage, Stage::Promoting { .. } | Stage::Succeeded) {
            let steps = usize::try_from(decision.summary.steps).expect("few steps");
            assert_eq!(
                next.verdicts.len(),
                steps,
                "every step has a verdict: {next:?}"
            );
        }
    }

    fn check_weights(&self, decision: &Decision, seen: &Observations) {
        let (before, next) = (&self.state, &decision.next);
        if !decision.overlay.split.is_none() {
            assert!(
                !seen.canary_endpoints.ready.is_empty(),
                "a weight without a ready canary"
            );
        }
        if next.weight > before.weight {
            assert!(matches!(next.stage, Stage::Step { .. }), "{:?}", next.stage);
            let ours = self.grant.command.attempt == self.grant.attempt;
            assert!(
                !(ours && self.grant.command.suspend),
                "suspended runs do not rise"
            );
            assert!(decision.correct_drift);
            let planned = self.planned();
            let by_hand = next.by_hand.is_some_and(|set| set.weight == next.weight);
            assert!(
                by_hand || planned.iter().any(|step| step.weight == next.weight),
                "{}",
                next.weight
            );
            if planned.iter().all(|step| step.replicas.is_none()) && next.by_hand.is_none() {
                let needed = share_ceil(next.weight, self.stable_replicas(seen));
                assert!(seen.canary_endpoints.ready_count() >= needed);
            }
            let overlap = seen.apex_endpoints.overlaps(&seen.canary_endpoints);
            assert_eq!(overlap, self.by_pods());
        }
    }

    fn by_pods(&self) -> bool {
        is_by_pods(&self.grant.plan.traffic)
    }

    fn planned(&self) -> Vec<PlannedStep> {
        planned_steps(&self.grant.plan.strategy)
    }

    fn stable_replicas(&self, seen: &Observations) -> u32 {
        match self.grant.plan.instances.mode {
            InstancesMode::FixedTotal => self.replicas,
            _ => seen.workload.as_ref().map_or(0, |view| view.replicas),
        }
    }

    /// Neither version is smaller than what the route still gives it.
    fn check_sizes(&self, decision: &Decision, seen: &Observations) {
        let next = &decision.next;
        let held = !decision.correct_drift || decision.summary.phase == Phase::Suspended;
        if held || !matches!(next.stage, Stage::Step { .. }) || self.canary_is_lost(seen) {
            return;
        }
        let sized = self.planned().iter().any(|step| step.replicas.is_some());
        let total = self.stable_replicas(seen);
        if !sized && next.by_hand.is_none() {
            let carried = share_ceil(self.carried, total);
            assert!(
                next.canary_pods >= carried,
                "{} pods for {} %: {next:?}",
                next.canary_pods,
                self.carried
            );
        }
        let fixed = self.grant.plan.instances.mode == InstancesMode::FixedTotal;
        assert!(fixed || decision.overlay.replicas.is_none());
        if let Some(stable) = decision.overlay.replicas {
            // Without a router the canary's ready pods carry their share as they come.
            let (carried, all) = if self.by_pods() {
                (seen.canary_endpoints.ready_count(), next.weight)
            } else {
                (share_ceil(self.carried, total), self.carried)
            };
            assert!(stable + carried >= total, "{stable} beside {carried}");
            assert!(stable > 0 || all == Weight::FULL);
        }
    }

    fn canary_is_lost(&self, seen: &Observations) -> bool {
        seen.canary_endpoints.ready.is_empty()
    }
}

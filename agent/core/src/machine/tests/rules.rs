//! What must hold of every decision, whatever the history.

use bellwether_api::number::Weight;

use super::{
    super::{Decision, Observations, Overlay, Stage, decide},
    model::Cluster,
};

impl Cluster {
    /// What must hold of every decision.
    pub(super) fn check(&self, decision: &Decision, seen: &Observations) {
        let (before, next) = (&self.state, &decision.next);
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
            (again.sample, again.wake_at),
            (decision.sample.clone(), decision.wake_at)
        );
        assert_eq!(decision.waiting_on.is_empty(), next.is_terminal());
        assert_eq!(decision.overlay, Overlay::of(next));
        assert!(
            decision.wake_at.is_none_or(|at| at > self.now),
            "wakes in the past"
        );
        if before.is_terminal() {
            assert_eq!(before.stage, next.stage, "the end is the end");
        }
        if !seen.fresh {
            assert_eq!((&before.stage, before.weight), (&next.stage, next.weight));
            return;
        }
        self.check_weights(decision, seen);
        let back =
            |stage: &Stage| matches!(stage, Stage::RollingBack { .. } | Stage::Failed { .. });
        assert!(
            !back(&before.stage) || back(&next.stage),
            "nothing comes back from a rollback"
        );
        assert!(next.failed_checks >= before.failed_checks);
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
        if next.weight > Weight::ZERO {
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
            let steps = self.grant.plan.strategy.canary.as_ref().expect("a canary");
            let planned = crate::weights::planned_steps(steps);
            assert!(
                planned.iter().any(|step| step.weight == next.weight),
                "{}",
                next.weight
            );
            assert!(!seen.apex_endpoints.overlaps(&seen.canary_endpoints));
        }
    }
}

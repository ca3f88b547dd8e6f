//! The workload while somebody changes how many pods there are to be.

use serde_json::Value;

use super::{Pod, Workload};
use crate::{
    machine::{Decision, Observations, RunState},
    settled::TemplateVersion,
    sizes::ready_enough,
};

impl Workload {
    /// A CloneSet, whose partition counts pods.
    pub(in super::super) fn of_clones(steps: &Value, replicas: usize) -> Self {
        let mut workload = Self::new(steps, replicas);
        let plan = &mut workload.grant.plan.workload;
        "apps.kruise.io/v1alpha1".clone_into(&mut plan.api_version);
        "CloneSet".clone_into(&mut plan.kind);
        workload.by_count = true;
        workload
    }

    /// An autoscaler sets how many pods there are to be.
    pub(in super::super) fn scale(&mut self, replicas: usize) {
        self.generation += i64::from(replicas != self.wanted);
        self.wanted = replicas;
    }

    /// The controller makes and takes the pods before anybody can write anything.
    pub(in super::super) fn scale_at_once(&mut self, replicas: usize) {
        self.scale(replicas);
        self.make_pods();
    }

    /// Pods come by the partition that there is; those that go are the last.
    pub(super) fn make_pods(&mut self) {
        self.pods.truncate(self.wanted);
        while self.pods.len() < self.wanted {
            let is_held = if self.by_count {
                let others = self.pods.iter().filter(|pod| pod.version != self.template);
                others.count() < self.held()
            } else {
                self.pods.len() < self.held()
            };
            let version = if is_held {
                TemplateVersion::Old
            } else {
                self.template
            };
            let ready = false;
            self.pods.push(Pod { version, ready });
            self.joined += u32::from(version == TemplateVersion::New);
        }
    }

    /// How many pods there are.
    pub(in super::super) fn size(&self) -> usize {
        self.pods.len()
    }

    /// New pods, but for those that a partition by ordinals keeps as they are.
    pub(super) fn let_go(&self) -> u32 {
        let kept = if self.by_count { 0 } else { self.held() };
        let pods = self.pods.iter().take(self.wanted).skip(kept);
        let new = pods.filter(|pod| pod.version == TemplateVersion::New);
        u32::try_from(new.count()).expect("few pods")
    }

    /// New pods that a partition by ordinals keeps as they are.
    pub(super) fn kept_new(&self) -> u32 {
        let kept = if self.by_count { 0 } else { self.held() };
        let pods = self.pods.iter().take(kept);
        let new = pods.filter(|pod| pod.version == TemplateVersion::New);
        u32::try_from(new.count()).expect("few pods")
    }

    /// No more pods are new than may be, but for those that came before anybody could keep them back.
    pub(super) fn check_let_go(&mut self, granted_before: u32) {
        let (granted, let_go) = (self.granted(), self.let_go());
        // What was let go stays new where the workload grew.
        self.joined += granted_before.saturating_sub(granted);
        assert!(
            let_go <= granted + self.joined,
            "more pods are new than the {granted} that were granted"
        );
    }

    pub(super) fn check_grant(&self, decision: &Decision, seen: &Observations) {
        let run = |state: &RunState| {
            let run = state.in_place.as_ref();
            run.map_or((0, 0), |run| (run.granted, run.total))
        };
        let ((before, pods), (after, pods_after)) = (run(&self.state), run(&decision.next));
        assert!(
            before <= after || pods != pods_after,
            "what was granted is not taken back"
        );
        let view = seen.in_place.as_ref().expect("a view");
        let kept = if self.template == TemplateVersion::New {
            view.kept_new
        } else {
            0
        };
        if before + kept > 0 && after > before && pods == pods_after {
            let threshold = self.grant.plan.instances.ready_threshold;
            let needed = ready_enough(threshold, before + kept);
            assert!(
                view.updated_available >= needed,
                "a batch was passed with {} of {} pods ready",
                view.updated_available,
                before + kept
            );
        }
    }
}

//! The working value of one decision.

use std::collections::BTreeSet;

use bellwether_api::{
    alert_provider::{AlertRef, told},
    command::ExecutedCommand,
    duration::Dur,
    hooks::HookKind,
    number::Weight,
    status::{Severity, WaitReason},
    strategy::{InstancesMode, Manual},
    track::RolloutTrackSpec,
    traffic::{Traffic, is_by_pods},
};
use jiff::Timestamp;

use super::{
    by_revision,
    decision::{Decision, Happening, HookRequest, PlannedCheck, SampleRequest},
    hooking,
    observations::Observations,
    overlay::Overlay,
    stage::Stage,
    state::RunState,
    summary,
};
use crate::{
    provider,
    settled::DeploymentView,
    sizes::{fixed_stable, min_ready_stable, share_ceil},
    weights::{PlannedStep, planned_steps},
};

/// What is read, and what was decided so far.
pub(super) struct Turn<'a> {
    pub(super) now: Timestamp,
    pub(super) grant: &'a RolloutTrackSpec,
    pub(super) seen: &'a Observations,
    pub(super) steps: Vec<PlannedStep>,
    /// The plan never does more to routes than to weigh.
    pub(super) only_weighs: bool,
    pub(super) state: RunState,
    pub(super) events: Vec<Happening>,
    pub(super) executed: Vec<ExecutedCommand>,
    pub(super) waits: Vec<WaitReason>,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) sample: Option<SampleRequest>,
    pub(super) planned: Option<PlannedCheck>,
    pub(super) hooks: Vec<HookRequest>,
    /// The gate that hooks keep closed.
    pub(super) closed: Option<HookKind>,
    /// A human or the hub stopped the run.
    pub(super) suspended: bool,
    /// A human's edit is held.
    pub(super) holds_edit: bool,
    /// A human or a planned time is awaited.
    pub(super) stands_still: bool,
    /// A human approved, and the checks are still missing.
    pub(super) approve_pending: bool,
    /// A human promoted, and the steps have not begun.
    pub(super) promote_pending: bool,
}

/// Tells whether a route of the plan names the canary before and after it has a share, whoever serves it.
fn announces(grant: &RolloutTrackSpec) -> bool {
    let traffic = grant.plan.traffic.iter();
    let mut routes = traffic.flat_map(Traffic::routes);
    routes.any(|route| provider::announces(route.provider))
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        now: Timestamp,
        grant: &'a RolloutTrackSpec,
        state: &RunState,
        seen: &'a Observations,
    ) -> Self {
        let steps = planned_steps(&grant.plan.strategy);
        let weighs = |step: &PlannedStep| step.matches.is_empty() && step.mirror == Weight::ZERO;
        let only_weighs =
            steps.iter().all(weighs) && grant.plan.session_affinity.is_none() && !announces(grant);
        let mut turn = Self {
            now,
            grant,
            seen,
            steps,
            only_weighs,
            state: state.clone(),
            events: Vec::new(),
            executed: Vec::new(),
            waits: Vec::new(),
            wake_at: None,
            sample: None,
            planned: None,
            hooks: Vec::new(),
            closed: None,
            suspended: false,
            holds_edit: false,
            stands_still: false,
            approve_pending: false,
            promote_pending: false,
        };
        if let Some(manual) = turn.state.by_hand {
            turn.set_by_hand(manual);
        }
        turn
    }

    /// Takes weight and pods that a human sets for those of the plan.
    pub(super) fn set_by_hand(&mut self, manual: Manual) {
        self.state.by_hand = Some(manual);
        for step in self.steps.iter_mut().filter(|step| step.by_hand) {
            (step.weight, step.replicas) = (manual.weight, manual.replicas);
        }
    }

    /// Forgets what one round found out about waiting.
    pub(super) fn clear(&mut self) {
        self.waits.clear();
        self.wake_at = None;
        self.sample = None;
        self.planned = None;
        self.hooks.clear();
        self.closed = None;
        self.stands_still = false;
        self.approve_pending = false;
        self.promote_pending = false;
    }

    /// Tells whether routes name the canary before and after it has a share: it is decided before the
    /// first, and whoever serves them then.
    pub(super) fn announces(&self) -> bool {
        announces(self.grant) || self.state.announced
    }

    /// Tells whether routes have to name the canary before its first share.
    pub(super) fn must_announce(&self) -> bool {
        self.announces() || self.seen.routes.iter().any(|route| route.announces)
    }

    /// Tells whether the shares that stand in routes tell what these carry. A canary that is named without
    /// one has none, as one that is not named.
    pub(super) const fn told_by_shares(&self) -> bool {
        self.only_weighs && !self.state.announced
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        self.state.stage = stage;
        self.state.entered_at = self.now;
    }

    pub(super) fn say(&mut self, severity: Severity, reason: &'static str, message: String) {
        self.tell(severity, reason, message, &[]);
    }

    /// Says that something happened, to these too.
    pub(super) fn tell(
        &mut self,
        severity: Severity,
        reason: &'static str,
        message: String,
        to: &[AlertRef],
    ) {
        let alerts = told(&self.grant.plan.alerts, severity).into_iter();
        let notify: BTreeSet<String> = alerts
            .chain(to.iter().map(|one| one.name.clone()))
            .collect();
        self.events.push(Happening {
            severity,
            reason,
            message,
            notify: notify.into_iter().collect(),
        });
    }

    /// Waits for something that will be observed.
    pub(super) fn wait(&mut self, reason: &str, message: impl Into<String>) {
        self.push_wait(reason, message.into(), None, None);
    }

    /// Waits for something of an object, a gate or a human.
    pub(super) fn wait_on(&mut self, reason: &str, message: impl Into<String>, on: &str) {
        self.push_wait(reason, message.into(), Some(on.to_owned()), None);
    }

    /// Waits for a time.
    pub(super) fn wait_until(
        &mut self,
        reason: &str,
        message: impl Into<String>,
        at: Timestamp,
        then: &str,
    ) {
        self.push_wait(reason, message.into(), None, Some(format!("{at}: {then}")));
        self.wake(at);
    }

    /// Decides again at `at`, or earlier.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(super) fn push_wait(
        &mut self,
        reason: &str,
        message: String,
        on: Option<String>,
        by_itself: Option<String>,
    ) {
        let since = Some(self.state.entered_at.to_string());
        self.waits.push(WaitReason {
            reason: reason.to_owned(),
            message,
            on,
            since,
            by_itself,
        });
    }

    /// Returns the time of `span` after now.
    pub(super) fn after(&self, span: Dur) -> Timestamp {
        later(self.now, span)
    }

    /// Returns the pods that the user wrote for the workload, and those of both versions together;
    /// `None` unless both share a fixed total.
    pub(super) fn fixed_total(&self) -> Option<(u32, u32)> {
        let instances = &self.grant.plan.instances;
        let shares = instances.mode == InstancesMode::FixedTotal;
        let stable = self.state.stable.as_ref().filter(|_| shares)?;
        let total = instances.max_replicas.unwrap_or(stable.replicas);
        Some((stable.replicas, total))
    }

    /// Returns the pods that carry all the traffic: shares are shares of them.
    pub(super) fn base(&self, workload: &DeploymentView) -> u32 {
        let scaled = self.state.scaled;
        let all = scaled.map_or(workload.replicas, |scaled| scaled.base);
        self.fixed_total().map_or(all, |(_, total)| total)
    }

    /// Returns the pods that the old version has when nothing is taken from it.
    pub(super) fn whole_stable(&self, workload: &DeploymentView) -> u32 {
        let scaled = self.state.scaled;
        let whole = scaled.map_or(workload.replicas, |scaled| scaled.whole);
        self.fixed_total().map_or(whole, |(wrote, _)| wrote)
    }

    /// Returns the ready pods that the old version must have before the canary carries `weight`.
    pub(super) fn stable_needed(&self, weight: Weight, workload: &DeploymentView) -> u32 {
        match self.fixed_total() {
            Some((wrote, total)) => {
                let all = weight == Weight::FULL;
                fixed_stable(wrote, total, share_ceil(weight, total), all)
            }
            None => match self.state.scaled {
                // Its autoscaler gives it what the traffic needs that it has now.
                Some(scaled) if matches!(self.state.stage, Stage::Step { .. }) => {
                    min_ready_stable(weight, scaled.base).min(workload.replicas)
                }
                Some(scaled) => min_ready_stable(weight, scaled.whole),
                None => min_ready_stable(weight, workload.replicas),
            },
        }
    }

    /// Tells whether the workload itself is updated, with no copy beside it.
    pub(super) const fn is_in_place(&self) -> bool {
        self.grant.plan.strategy.batch.is_some()
    }

    /// Tells whether the workload keeps revisions and shares requests between them, so that no copy is
    /// made.
    pub(super) fn is_by_revision(&self) -> bool {
        self.grant.plan.workload.keeps_revisions()
    }

    /// Tells whether a copy of a DaemonSet runs beside it, with a pod on each node.
    pub(super) fn is_per_node(&self) -> bool {
        self.grant.plan.copies_daemon_set()
    }

    /// Tells whether the copy is of a kind that an adapter tells of.
    pub(super) fn is_adapted(&self) -> bool {
        self.grant.plan.copy_adapter().is_some()
    }

    /// Tells whether no router splits traffic: Services select both versions, which share it by their
    /// pods.
    pub(super) fn by_pods(&self) -> bool {
        is_by_pods(&self.grant.plan.traffic)
    }

    /// Tells whether traffic is split at all.
    pub(super) fn splits_traffic(&self) -> bool {
        self.grant.plan.service.is_some()
    }

    /// Tells whether no pod of the canary can answer.
    pub(super) fn canary_is_lost(&self) -> bool {
        if self.is_by_revision() {
            by_revision::is_lost(self)
        } else if self.splits_traffic() {
            self.seen.canary_endpoints.ready.is_empty()
        } else {
            self.seen
                .canary
                .as_ref()
                .is_none_or(|canary| canary.ready == 0)
        }
    }

    pub(super) fn decision(mut self) -> Decision {
        let mut after = Vec::new();
        if self.state.is_terminal() {
            self.clear();
            after = hooking::farewell(&mut self);
        } else if self.waits.is_empty() {
            self.wait("Working", "the next change is being made");
        }
        let summary = summary::summary(&self);
        Decision {
            overlay: Overlay::of(&self.state),
            next: self.state,
            correct_drift: !self.holds_edit,
            sample: self.sample,
            planned: self.planned,
            hooks: self.hooks,
            after,
            waiting_on: self.waits,
            wake_at: self.wake_at,
            events: self.events,
            executed: self.executed,
            summary,
        }
    }
}

/// Returns the time of `span` after `at`; the end of time when it lies beyond.
pub(super) fn later(at: Timestamp, span: Dur) -> Timestamp {
    at.checked_add(span.as_signed()).unwrap_or(Timestamp::MAX)
}

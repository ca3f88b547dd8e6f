//! The working value of one decision.

use bellwether_api::{
    command::ExecutedCommand,
    duration::Dur,
    status::{Severity, WaitReason},
    track::RolloutTrackSpec,
};
use jiff::Timestamp;

use super::{
    decision::{Decision, Happening, SampleRequest},
    observations::Observations,
    overlay::Overlay,
    stage::Stage,
    state::RunState,
    summary,
};
use crate::weights::{PlannedStep, planned_steps};

/// What is read, and what was decided so far.
pub(super) struct Turn<'a> {
    pub(super) now: Timestamp,
    pub(super) grant: &'a RolloutTrackSpec,
    pub(super) seen: &'a Observations,
    pub(super) steps: Vec<PlannedStep>,
    pub(super) state: RunState,
    pub(super) events: Vec<Happening>,
    pub(super) executed: Vec<ExecutedCommand>,
    pub(super) waits: Vec<WaitReason>,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) sample: Option<SampleRequest>,
    /// A human or the hub stopped the run.
    pub(super) suspended: bool,
    /// A human's edit is held.
    pub(super) holds_edit: bool,
    /// A human or a planned time is awaited.
    pub(super) stands_still: bool,
    /// A human approved, and the checks are still missing.
    pub(super) approve_pending: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        now: Timestamp,
        grant: &'a RolloutTrackSpec,
        state: &RunState,
        seen: &'a Observations,
    ) -> Self {
        Self {
            now,
            grant,
            seen,
            steps: grant
                .plan
                .strategy
                .canary
                .as_ref()
                .map(planned_steps)
                .unwrap_or_default(),
            state: state.clone(),
            events: Vec::new(),
            executed: Vec::new(),
            waits: Vec::new(),
            wake_at: None,
            sample: None,
            suspended: false,
            holds_edit: false,
            stands_still: false,
            approve_pending: false,
        }
    }

    /// Forgets what one round found out about waiting.
    pub(super) fn clear(&mut self) {
        self.waits.clear();
        self.wake_at = None;
        self.sample = None;
        self.stands_still = false;
        self.approve_pending = false;
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        self.state.stage = stage;
        self.state.entered_at = self.now;
    }

    pub(super) fn say(&mut self, severity: Severity, reason: &'static str, message: String) {
        self.events.push(Happening {
            severity,
            reason,
            message,
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

    fn push_wait(
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

    /// Tells whether traffic is split at all.
    pub(super) fn splits_traffic(&self) -> bool {
        self.grant.plan.service.is_some()
    }

    /// Tells whether no pod of the canary can answer.
    pub(super) fn canary_is_lost(&self) -> bool {
        if self.splits_traffic() {
            self.seen.canary_endpoints.ready.is_empty()
        } else {
            self.seen
                .canary
                .as_ref()
                .is_none_or(|canary| canary.ready == 0)
        }
    }

    pub(super) fn decision(mut self) -> Decision {
        if self.state.is_terminal() {
            self.clear();
        } else if self.waits.is_empty() {
            self.wait("Working", "the next change is being made");
        }
        let summary = summary::summary(&self);
        Decision {
            overlay: Overlay::of(&self.state),
            next: self.state,
            correct_drift: !self.holds_edit,
            sample: self.sample,
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

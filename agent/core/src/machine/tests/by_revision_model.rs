//! A workload that keeps revisions, whose controller is one tick late.

use bellwether_api::{
    command::{Abort, AbortCause, QueuedCommand, Verb},
    duration::Dur,
    number::Weight,
    strategy::Manual,
    track::RolloutTrackSpec,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::{
        Decision, MetricSample, Observations, Overlay, RevisionsView, RevisionsWant, RouteView,
        RunState, SampleRequest, Samples, Stage, decide,
    },
    model::{REVISION, grant},
};
use crate::{
    analysis::Sample,
    provider::RouteObservation,
    settled::{
        DeploymentView,
        TemplateVersion::{self, New, Old},
    },
};

/// A workload whose controller is one tick late, and the run of it.
pub(super) struct Workload {
    pub(super) now: Timestamp,
    grant: RolloutTrackSpec,
    pub(super) state: RunState,
    pub(super) decisions: Vec<Decision>,
    pub(super) metric: Option<f64>,
    /// Whether revisions of the new template become ready.
    pub(super) new_works: bool,
    /// Whether revisions of the old template become ready.
    pub(super) old_works: bool,
    exists: bool,
    deleted: bool,
    /// Revisions by their number, from 1.
    pub(super) revisions: Vec<TemplateVersion>,
    pub(super) template: TemplateVersion,
    want: RevisionsWant,
    weight: Weight,
    /// Requests of each revision as they are in force; the newest ready one is the last of a pair.
    pub(super) in_force: Vec<(String, u8)>,
    latest_ready: usize,
    generation: i64,
    observed: i64,
    asked: Option<SampleRequest>,
    samples: Option<Samples>,
    /// What the API server has not taken of the release; empty = nothing.
    pub(super) untaken: String,
    /// The process dies before the workload is written.
    pub(super) crash: bool,
}

pub(super) fn name(number: usize) -> String {
    format!("web-{number:05}")
}

impl Workload {
    pub(super) fn new(canary: &Value) -> Self {
        Self::of(&json!({"canary": canary}))
    }

    pub(super) fn of(strategy: &Value) -> Self {
        let plan = serde_json::from_value(json!({
            "workload": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "web",
                "namespace": "shop"},
            "progressDeadline": "300s",
            "strategy": strategy,
            "traffic": [{"knative": {}}],
            "analysis": {"interval": "20s", "failureThreshold": 2,
                "metrics": [{"name": "request-success-rate", "range": {"min": "99"}}]},
        }))
        .expect("a plan");
        let mut grant = grant(plan);
        "Service".clone_into(&mut grant.workload.kind);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        Self {
            now,
            state: RunState::new(&grant, now),
            grant,
            decisions: Vec::new(),
            metric: Some(100.0),
            new_works: true,
            old_works: true,
            exists: true,
            deleted: false,
            revisions: vec![Old],
            template: Old,
            want: RevisionsWant::default(),
            weight: Weight::ZERO,
            in_force: vec![(name(1), 100)],
            latest_ready: 1,
            generation: 1,
            observed: 1,
            asked: None,
            samples: None,
            untaken: String::new(),
            crash: false,
        }
    }

    fn works(&self, template: TemplateVersion) -> bool {
        match template {
            Old => self.old_works,
            _ => self.new_works,
        }
    }

    fn version_of(&self, revision: &str) -> TemplateVersion {
        let number: usize = revision[4..].parse().expect("a number");
        self.revisions[number - 1]
    }

    /// The share of requests that the new version has.
    pub(super) fn share(&self) -> u8 {
        let new = |(revision, _): &&(String, u8)| self.version_of(revision) == New;
        self.in_force
            .iter()
            .filter(new)
            .map(|(_, share)| share)
            .sum()
    }

    fn observe(&self) -> Observations {
        let created = self.revisions.len();
        let is_seen = self.observed >= self.generation;
        let works = self.works(self.revisions[created - 1]);
        let ready = is_seen && works && self.latest_ready == created;
        let broken = is_seen && !works;
        let as_written = self.want.old.is_none();
        let workload = DeploymentView {
            generation: self.generation,
            observed_generation: self.observed,
            replicas: 1,
            ready: 1,
            available: 1,
            template: self.template,
            ..DeploymentView::default()
        };
        let view = RevisionsView {
            written: Some(self.want.clone()),
            created: name(created),
            is_ready: ready,
            trouble: if broken {
                "it crashes".into()
            } else {
                String::new()
            },
            has_all: is_seen && as_written && self.in_force == [(name(created), 100)],
        };
        let observation = if is_seen {
            RouteObservation::Programmed
        } else {
            RouteObservation::NotYet { why: "late".into() }
        };
        let route = (!as_written).then(|| RouteView {
            name: "Service/web".into(),
            is_missing: !self.exists,
            weight: Some(self.weight),
            split: None,
            lacking: None,
            announces: false,
            observation,
        });
        Observations {
            fresh: true,
            workload: self.exists.then_some(workload),
            revisions: self.exists.then_some(view),
            routes: route.into_iter().collect(),
            samples: self.samples.clone(),
            untaken: self.untaken.clone(),
            deleted: self.deleted,
            route_settle: Dur::from_secs(2),
            ..Observations::default()
        }
    }

    pub(super) fn tick(&mut self, seconds: i64) {
        let seen = self.observe();
        let decision = decide(self.now, &self.grant, &self.state, &seen);
        let again = decide(self.now, &self.grant, &decision.next, &seen);
        assert_eq!(again.next, decision.next, "a decision that is not final");
        assert_eq!(decision.overlay, Overlay::of(&decision.next));
        assert_eq!(decision.waiting_on.is_empty(), decision.next.is_terminal());
        self.state = RunState::from_value(&decision.next.to_value()).expect("a state");
        if decision.next.check != self.decisions.last().map_or(0, |last| last.next.check) {
            self.samples = None;
        }
        if decision.sample.is_some() {
            self.asked.clone_from(&decision.sample);
        }
        if decision.correct_drift && !std::mem::take(&mut self.crash) {
            self.apply(&Overlay::of(&self.state));
        }
        self.decisions.push(decision);
        self.now += SignedDuration::from_secs(seconds);
        self.control();
        assert!(
            !self.exists || self.in_force.iter().map(|(_, share)| share).sum::<u8>() == 100,
            "{:?}",
            self.in_force
        );
    }

    fn apply(&mut self, overlay: &Overlay) {
        let wanted = (overlay.template, &overlay.revisions, overlay.split.weight);
        if self.exists && (self.template, &self.want, self.weight) != wanted {
            self.template = overlay.template;
            self.want = overlay.revisions.clone();
            self.weight = overlay.split.weight;
            self.generation += 1;
        }
    }

    /// Knative makes a revision of another template, and gives requests to what is named.
    fn control(&mut self) {
        if self.observed < self.generation {
            self.observed = self.generation;
            if self.revisions.last() != Some(&self.template) {
                self.revisions.push(self.template);
            }
        }
        if self.works(self.template) {
            self.latest_ready = self.revisions.len();
        }
        self.in_force = match (&self.want.old, &self.want.new) {
            (None, _) => vec![(name(self.latest_ready), 100)],
            (Some(old), Some(new)) if self.weight > Weight::ZERO => vec![
                (old.clone(), self.weight.rest().percent()),
                (new.clone(), self.weight.percent()),
            ],
            (Some(old), _) => vec![(old.clone(), 100)],
        };
        self.in_force.retain(|(_, share)| *share > 0);
        if let Some(asked) = &self.asked {
            let value = self.metric;
            self.samples = Some(Samples {
                check: asked.check,
                at: self.now,
                metrics: vec![MetricSample {
                    metric: "request-success-rate".into(),
                    sample: Sample {
                        value,
                        requests: Some(1_000.0),
                        scrapes: Some(5),
                        window: Dur::from_secs(20),
                        age_ms: Some(0),
                        skew_ms: None,
                        stable: None,
                        read: Vec::new(),
                        error: String::new(),
                    },
                }],
            });
        }
    }

    pub(super) fn until(&mut self, there: impl Fn(&RunState) -> bool) {
        for _ in 0..3_000 {
            if there(&self.state) {
                return;
            }
            self.tick(5);
        }
        let waits = self.decisions.last().map(|last| &last.waiting_on);
        panic!("never there: {:?} waiting on {waits:?}", self.state);
    }

    pub(super) fn finish(&mut self) -> &Stage {
        self.until(RunState::is_terminal);
        self.tick(1);
        &self.state.stage
    }

    pub(super) fn queue(&mut self, id: u64, verb: Verb, set: Option<Manual>) {
        self.grant.command.queue.push(QueuedCommand {
            id,
            verb,
            step: None,
            revision: REVISION,
            by: "ann".into(),
            reason: String::new(),
            set,
        });
    }

    pub(super) fn abort(&mut self) {
        self.grant.command.abort = Some(Abort {
            cause: AbortCause::Manual,
            by: "ann".into(),
            reason: "no".into(),
        });
    }

    /// The workload is as the user wrote it, and only this version serves.
    pub(super) fn assert_clean(&self, version: TemplateVersion) {
        assert_eq!(self.want, RevisionsWant::default());
        assert_eq!(self.template, version);
        let [(serves, 100)] = &self.in_force[..] else {
            panic!("{:?}", self.in_force);
        };
        assert_eq!(self.version_of(serves), version);
    }
}

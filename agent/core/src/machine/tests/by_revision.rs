//! Workloads that keep revisions: shares between them, and every way back.

use bellwether_api::{
    command::{Abort, AbortCause, QueuedCommand, Verb},
    duration::Dur,
    number::Weight,
    status::FailureReason,
    strategy::Manual,
    track::RolloutTrackSpec,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use serde_json::{Value, json};

use super::{
    super::{
        Decision, MetricSample, Observations, Overlay, RevisionsView, RevisionsWant, RouteView,
        RunState, SampleRequest, Samples, Stage, StepPart, decide,
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
struct Workload {
    now: Timestamp,
    grant: RolloutTrackSpec,
    state: RunState,
    decisions: Vec<Decision>,
    metric: Option<f64>,
    /// Whether revisions of the new template become ready.
    new_works: bool,
    /// Whether revisions of the old template become ready.
    old_works: bool,
    exists: bool,
    deleted: bool,
    /// Revisions by their number, from 1.
    revisions: Vec<TemplateVersion>,
    template: TemplateVersion,
    want: RevisionsWant,
    weight: Weight,
    /// Requests of each revision as they are in force; the newest ready one is the last of a pair.
    in_force: Vec<(String, u8)>,
    latest_ready: usize,
    generation: i64,
    observed: i64,
    asked: Option<SampleRequest>,
    samples: Option<Samples>,
    /// The process dies before the workload is written.
    crash: bool,
}

fn name(number: usize) -> String {
    format!("web-{number:05}")
}

impl Workload {
    fn new(canary: &Value) -> Self {
        Self::of(&json!({"canary": canary}))
    }

    fn of(strategy: &Value) -> Self {
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
    fn share(&self) -> u8 {
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
            observation,
        });
        Observations {
            fresh: true,
            workload: self.exists.then_some(workload),
            revisions: self.exists.then_some(view),
            routes: route.into_iter().collect(),
            samples: self.samples.clone(),
            deleted: self.deleted,
            route_settle: Dur::from_secs(2),
            ..Observations::default()
        }
    }

    fn tick(&mut self, seconds: i64) {
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
                        error: String::new(),
                    },
                }],
            });
        }
    }

    fn until(&mut self, there: impl Fn(&RunState) -> bool) {
        for _ in 0..3_000 {
            if there(&self.state) {
                return;
            }
            self.tick(5);
        }
        let waits = self.decisions.last().map(|last| &last.waiting_on);
        panic!("never there: {:?} waiting on {waits:?}", self.state);
    }

    fn finish(&mut self) -> &Stage {
        self.until(RunState::is_terminal);
        self.tick(1);
        &self.state.stage
    }

    fn queue(&mut self, id: u64, verb: Verb, set: Option<Manual>) {
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

    fn abort(&mut self) {
        self.grant.command.abort = Some(Abort {
            cause: AbortCause::Manual,
            by: "ann".into(),
            reason: "no".into(),
        });
    }

    /// The workload is as the user wrote it, and only this version serves.
    fn assert_clean(&self, version: TemplateVersion) {
        assert_eq!(self.want, RevisionsWant::default());
        assert_eq!(self.template, version);
        let [(serves, 100)] = &self.in_force[..] else {
            panic!("{:?}", self.in_force);
        };
        assert_eq!(self.version_of(serves), version);
    }
}

fn failure(workload: &Workload) -> FailureReason {
    match &workload.state.stage {
        Stage::RollingBack { failure, .. } | Stage::Failed { failure } => failure.reason,
        other => panic!("no failure: {other:?}"),
    }
}

fn at_gate(state: &RunState) -> bool {
    matches!(
        &state.stage,
        Stage::Step {
            part: StepPart::Gate { .. },
            ..
        }
    )
}

#[test]
fn shares_rise_step_by_step_and_the_end_is_the_users() {
    let mut workload = Workload::new(&json!({"weights": [10, 40]}));
    let mut shares = vec![0];
    while !workload.state.is_terminal() {
        workload.tick(5);
        shares.push(workload.share());
    }
    shares.dedup();
    assert_eq!(shares, [0, 10, 40, 100]);
    assert_eq!(workload.state.stage, Stage::Succeeded);
    workload.assert_clean(New);
    assert_eq!(workload.revisions, [Old, New], "one revision was made");
}

#[test]
fn no_request_comes_to_a_revision_before_it_is_ready() {
    let mut workload = Workload::new(&json!({"weights": [50]}));
    workload.new_works = false;
    for _ in 0..20 {
        workload.tick(5);
        assert_eq!(workload.share(), 0);
    }
    let waits = &workload.decisions.last().expect("a decision").waiting_on;
    assert!(waits[0].message.contains("it crashes"), "{waits:?}");
    workload.new_works = true;
    assert_eq!(workload.finish(), &Stage::Succeeded);
}

#[test]
fn a_revision_that_never_becomes_ready_goes_back_at_the_deadline() {
    let mut workload = Workload::new(&json!({"weights": [50]}));
    workload.new_works = false;
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::DeadlineExceeded);
    workload.assert_clean(Old);
}

#[test]
fn failed_checks_give_every_request_back_before_the_template_returns() {
    let mut workload = Workload::new(&json!({"weights": [20, 60]}));
    workload.until(|state| state.weight == Weight::clamped(60));
    workload.metric = Some(50.0);
    workload.until(|state| matches!(state.stage, Stage::RollingBack { .. }));
    while workload.share() > 0 {
        assert_eq!(workload.template, New);
        workload.tick(1);
    }
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::FailedChecks);
    workload.assert_clean(Old);
    assert_eq!(workload.revisions, [Old, New, Old]);
}

#[test]
fn the_old_revision_serves_until_one_of_the_old_template_can() {
    let mut workload = Workload::new(&json!({"weights": [20], "advance": "Manual"}));
    workload.until(at_gate);
    workload.old_works = false;
    workload.abort();
    for _ in 0..200 {
        workload.tick(5);
    }
    assert!(
        !workload.state.is_terminal(),
        "the newest revision would be the new version's"
    );
    assert_eq!(workload.in_force, [(name(1), 100)]);
    workload.old_works = true;
    workload.finish();
    workload.assert_clean(Old);
}

#[test]
fn an_abort_while_promoting_gives_every_request_back() {
    let mut workload = Workload::new(&json!({"weights": [20]}));
    workload.until(|state| matches!(state.stage, Stage::Promoting { .. }));
    workload.abort();
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::Manual);
    workload.assert_clean(Old);
}

#[test]
fn an_abort_before_anything_was_shared_takes_no_detour() {
    let mut workload = Workload::new(&json!({"weights": [20]}));
    workload.until(|state| matches!(state.stage, Stage::Step { .. }));
    workload.abort();
    workload.finish();
    assert!(
        workload
            .decisions
            .iter()
            .all(|one| one.next.weight == Weight::ZERO)
    );
    workload.assert_clean(Old);
}

#[test]
fn a_revision_that_breaks_under_traffic_loses_it_at_once() {
    let mut workload = Workload::new(&json!({"weights": [30], "advance": "Manual"}));
    workload.until(at_gate);
    assert_eq!(workload.share(), 30);
    workload.new_works = false;
    workload.tick(1);
    workload.tick(1);
    assert_eq!(workload.share(), 0);
}

#[test]
fn blue_green_switches_at_once_and_weights_are_set_by_hand() {
    let mut workload = Workload::of(&json!({"blueGreen": {"iterations": 2}}));
    let mut shares = vec![0];
    while !workload.state.is_terminal() {
        workload.tick(5);
        shares.push(workload.share());
    }
    shares.dedup();
    assert_eq!(shares, [0, 100]);
    workload.assert_clean(New);

    let mut workload = Workload::new(&json!({"manual": {"weight": 5}}));
    workload.until(at_gate);
    assert_eq!(workload.share(), 5);
    let set = |weight, replicas: Option<u32>| {
        let manual = json!({"weight": weight, "replicas": replicas});
        Some(serde_json::from_value(manual).expect("a weight"))
    };
    workload.queue(1, Verb::SetWeight, set(35, None));
    workload.tick(5);
    workload.until(at_gate);
    assert_eq!(workload.share(), 35);
    workload.queue(2, Verb::SetWeight, set(50, Some(2)));
    workload.tick(5);
    workload.tick(5);
    assert_eq!(workload.share(), 35, "pods are nobody's to set");
    workload.queue(3, Verb::Promote, None);
    assert_eq!(workload.finish(), &Stage::Succeeded);
    workload.assert_clean(New);
}

#[test]
fn what_revisions_cannot_do_is_refused() {
    let matched = json!({"weights": [20], "match": [{"headers": [{"name": "a", "exact": "b"}]}]});
    let mut workload = Workload::new(&matched);
    workload.finish();
    assert_eq!(failure(&workload), FailureReason::Refused);
    assert_eq!(workload.revisions, [Old]);
}

#[derive(Clone, Copy, Debug)]
enum Disturbance {
    Crash,
    Abort,
    NewBreaks,
    NewWorks,
    OldBreaks,
    OldWorks,
    BadMetric,
    NoMetric,
    Approve,
    Promote,
}

fn disturbances() -> impl Strategy<Value = Vec<(u8, Disturbance)>> {
    use Disturbance::*;
    let one = prop_oneof![
        Just(Crash),
        Just(Abort),
        Just(NewBreaks),
        Just(NewWorks),
        Just(OldBreaks),
        Just(OldWorks),
        Just(BadMetric),
        Just(NoMetric),
        Just(Approve),
        Just(Promote),
    ];
    proptest::collection::vec((0_u8..40, one), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever happens, no more requests come to the new version than the run has decided on, an
    /// end is the user's own, and every run ends once nothing is broken any more.
    #[test]
    fn every_history_ends_as_the_user_wrote(history in disturbances()) {
        let mut workload = Workload::new(&json!({"steps": [
            {"weight": 10, "advance": "Auto"}, {"weight": 50}, {"weight": 80, "advance": "Auto"},
        ]}));
        let mut most = 0;
        let mut check = |workload: &mut Workload| {
            workload.tick(3);
            let promoted = workload
                .decisions
                .iter()
                .any(|one| matches!(one.next.stage, Stage::Promoting { .. }));
            most = most.max(workload.state.weight.percent());
            assert!(promoted || workload.share() <= most, "{:?}", workload.state);
        };
        for (index, (ticks, disturbance)) in history.into_iter().enumerate() {
            for _ in 0..ticks {
                check(&mut workload);
            }
            let id = index as u64 + 1;
            match disturbance {
                Disturbance::Crash => workload.crash = true,
                Disturbance::Abort => workload.abort(),
                Disturbance::NewBreaks => workload.new_works = false,
                Disturbance::NewWorks => workload.new_works = true,
                Disturbance::OldBreaks => workload.old_works = false,
                Disturbance::OldWorks => workload.old_works = true,
                Disturbance::BadMetric => workload.metric = Some(1.0),
                Disturbance::NoMetric => workload.metric = None,
                Disturbance::Approve => workload.queue(id, Verb::Approve, None),
                Disturbance::Promote => workload.queue(id, Verb::Promote, None),
            }
        }
        workload.old_works = true;
        workload.abort();
        workload.finish();
        let version = if workload.state.stage == Stage::Succeeded { New } else { Old };
        workload.new_works |= version == New;
        workload.assert_clean(version);
    }
}

//! A cluster that reacts to overlays: controllers and the gateway are one tick late.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    bundle::BundleMode,
    command::{Abort, AbortCause, Command, QueuedCommand, Verb},
    duration::Dur,
    number::Weight,
    reference::{NamespacedName, ObjectRef},
    rollout::{Advance, RolloutSpec},
    status::{FailureReason, Phase},
    strategy::Manual,
    track::RolloutTrackSpec,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::super::{
    CanaryView, CanaryWant, Decision, Endpoints, HookAnswer, HookRequest, MetricSample,
    Observations, Overlay, RouteView, RunState, SampleRequest, Samples, ServiceView, Stage, decide,
};
use crate::{
    analysis::Sample,
    hooks::outcome,
    provider::{RouteObservation, Split},
    settled::{DeploymentView, ReplicaSetView, TemplateVersion},
};

pub(super) const REVISION: u64 = 7;

/// A plan of steps with one metric that must be at least 99.
pub(super) fn plan(canary: serde_json::Value) -> RolloutSpec {
    plan_of(json!({"canary": canary}))
}

/// The same with any strategy.
pub(super) fn plan_of(strategy: serde_json::Value) -> RolloutSpec {
    serde_json::from_value(json!({
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop"},
        "service": {"name": "web", "port": 80},
        "progressDeadline": "300s",
        "strategy": strategy,
        "traffic": [{"gatewayApi": {"httpRoutes": ["web"]}}],
        "analysis": {
            "interval": "20s",
            "failureThreshold": 2,
            "metrics": [{"name": "request-success-rate", "range": {"min": "99"}}]
        }
    }))
    .expect("a plan")
}

pub(super) fn grant(plan: RolloutSpec) -> RolloutTrackSpec {
    let run = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
    RolloutTrackSpec {
        application: NamespacedName {
            namespace: "team".into(),
            name: "shop".into(),
        },
        release: "r2".into(),
        revision: REVISION,
        run,
        attempt: 1,
        generation: 1,
        mode: BundleMode::Rollout,
        workload: ObjectRef {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        },
        plan,
        command: Command {
            run,
            attempt: 1,
            ..Command::default()
        },
        local: None,
    }
}

/// Pods of one version.
#[derive(Clone, Copy, Debug, Default)]
struct Pods {
    wanted: u32,
    ready: u32,
}

/// The cluster and the run in it.
pub(super) struct Cluster {
    pub(super) now: Timestamp,
    pub(super) grant: RolloutTrackSpec,
    pub(super) state: RunState,
    /// What the metric says; absent = no data.
    pub(super) metric: Option<f64>,
    /// Whether canary pods become ready.
    pub(super) canary_works: bool,
    /// Whether pods of the new template become ready in the user's workload.
    pub(super) new_works: bool,
    /// Whether pods of the old template become ready.
    pub(super) old_works: bool,
    pub(super) fresh: bool,
    pub(super) replicas: u32,
    /// Whether the workload is a DaemonSet, whose copy is on as many nodes.
    per_node: bool,
    /// Pods that the workload's own update may stop before others are ready.
    pub(super) update_takes: u32,
    /// Fields of the observation that a test sets by itself.
    pub(super) extra: Observations,
    pub(super) workload_exists: bool,
    pub(super) route_exists: bool,
    pub(super) route_works: bool,
    /// What serves the route cannot do of the plan.
    pub(super) lacking: Option<String>,
    /// What serves the route has to know a Service before the route gives it anything.
    pub(super) announces: bool,
    pub(super) decisions: Vec<Decision>,
    /// What each hook answers: a status, or `None` while it hangs. Hooks that are not named pass.
    pub(super) hooks: BTreeMap<&'static str, Option<u16>>,
    /// Every call of a hook, with the phase that it was told of.
    pub(super) called: Vec<(String, Phase)>,
    calls: BTreeSet<HookRequest>,
    answers: Vec<HookAnswer>,
    /// The old version's share of the traffic never needed more of its first pods than were ready.
    pub(super) never_overloaded: bool,
    /// `spec.replicas` as the run wants it; absent = `replicas`.
    shared: Option<u32>,
    paused: bool,
    template: TemplateVersion,
    running: TemplateVersion,
    generation: i64,
    observed: i64,
    versions: BTreeMap<&'static str, Pods>,
    canary: Option<Pods>,
    canary_service: bool,
    /// Somebody wrote the canary anew, and the shell could not write it back.
    pub(super) canary_is_foreign: bool,
    /// Canary pods that run although their Deployment is gone.
    orphaned: u32,
    pin: Option<String>,
    /// The pin of a Service beside the apex; absent = there is no such Service.
    pub(super) direct: Option<Option<String>>,
    pub(super) route: Split,
    /// The canary's share as the gateway carries it.
    pub(super) carried: Weight,
    programmed: bool,
    asked: Option<SampleRequest>,
    samples: Option<Samples>,
}

impl Cluster {
    pub(super) fn new(plan: RolloutSpec) -> Self {
        let grant = grant(plan);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        Self {
            now,
            state: RunState::new(&grant, now),
            grant,
            metric: Some(100.0),
            canary_works: true,
            new_works: true,
            old_works: true,
            fresh: true,
            replicas: 5,
            per_node: false,
            update_takes: 0,
            extra: Observations::default(),
            workload_exists: true,
            route_exists: true,
            route_works: true,
            lacking: None,
            announces: false,
            decisions: Vec::new(),
            hooks: BTreeMap::new(),
            called: Vec::new(),
            calls: BTreeSet::new(),
            answers: Vec::new(),
            never_overloaded: true,
            shared: None,
            paused: false,
            template: TemplateVersion::Old,
            running: TemplateVersion::Old,
            generation: 1,
            observed: 1,
            versions: [
                (
                    "old",
                    Pods {
                        wanted: 5,
                        ready: 5,
                    },
                ),
                ("new", Pods::default()),
            ]
            .into(),
            canary: None,
            canary_service: false,
            canary_is_foreign: false,
            orphaned: 0,
            pin: None,
            direct: None,
            route: Split::default(),
            carried: Weight::ZERO,
            programmed: true,
            asked: None,
            samples: None,
        }
    }

    /// A DaemonSet on some nodes, with a copy beside it.
    pub(super) fn on_nodes(mut plan: RolloutSpec, nodes: u32) -> Self {
        "DaemonSet".clone_into(&mut plan.workload.kind);
        let mut cluster = Self::new(plan);
        "DaemonSet".clone_into(&mut cluster.grant.workload.kind);
        cluster.per_node = true;
        cluster.replicas = nodes;
        let old = Pods {
            wanted: nodes,
            ready: nodes,
        };
        cluster.versions.insert("old", old);
        cluster
    }

    /// One turn of the shell, then one of the controllers, `seconds` later.
    pub(super) fn tick(&mut self, seconds: i64) -> &Decision {
        let seen = self.observe();
        let decision = decide(self.now, &self.grant, &self.state, &seen);
        self.check(&decision, &seen);
        // What is saved is all that is left of a decision.
        self.state = RunState::from_value(&decision.next.to_value()).expect("a state");
        assert_eq!(self.state, decision.next);
        if decision.next.check != self.decisions.last().map_or(0, |last| last.next.check) {
            self.samples = None;
        }
        self.call(&decision);
        if decision.sample.is_some() {
            self.asked.clone_from(&decision.sample);
        }
        if decision.correct_drift {
            self.apply(&Overlay::of(&self.state));
        } else if self.state.split().is_none() {
            self.write_route(&Split::default());
        }
        self.now += SignedDuration::from_secs(seconds);
        self.control();
        self.decisions.push(decision);
        self.decisions.last().expect("just pushed")
    }

    /// Makes the calls that are asked for, and forgets what is not.
    fn call(&mut self, decision: &Decision) {
        let phase = decision.summary.phase;
        let after = decision.after.iter().map(|hook| (hook.clone(), phase));
        self.called.extend(after);
        self.answers.retain(|answer| {
            let asked =
                |request: &HookRequest| request.hook == answer.hook && request.call == answer.call;
            decision.hooks.iter().any(asked)
        });
        let asked: BTreeSet<HookRequest> = decision.hooks.iter().cloned().collect();
        for request in asked.difference(&self.calls) {
            self.called.push((request.hook.clone(), phase));
        }
        self.calls = asked;
    }

    /// The process of the shell ends: what was asked and answered is gone.
    pub(super) fn restart(&mut self) {
        (self.asked, self.samples) = (None, None);
        self.calls.clear();
        self.answers.clear();
    }

    /// How often a hook was called.
    pub(super) fn calls_of(&self, hook: &str) -> usize {
        self.called.iter().filter(|(name, _)| name == hook).count()
    }

    fn answer(&mut self) {
        for request in &self.calls {
            let known =
                |answer: &HookAnswer| answer.hook == request.hook && answer.call == request.call;
            let status = self
                .hooks
                .get(request.hook.as_str())
                .copied()
                .unwrap_or(Some(200));
            if let Some(status) = status.filter(|_| !self.answers.iter().any(known)) {
                self.answers.push(HookAnswer {
                    hook: request.hook.clone(),
                    call: request.call,
                    outcome: outcome(Some(status), ""),
                });
            }
        }
    }

    /// Ticks until the run is over.
    pub(super) fn finish(&mut self) -> &Stage {
        for _ in 0..2_000 {
            if self.tick(5).next.is_terminal() {
                return &self.state.stage;
            }
        }
        panic!(
            "not over: {:?} waiting on {:?}",
            self.state,
            self.last().waiting_on
        );
    }

    /// Ticks until the run stands where `there` says.
    pub(super) fn until(&mut self, there: impl Fn(&RunState) -> bool) {
        for _ in 0..2_000 {
            if there(&self.state) {
                return;
            }
            self.tick(5);
        }
        panic!(
            "never there: {:?} waiting on {:?}",
            self.state,
            self.last().waiting_on
        );
    }

    pub(super) fn last(&self) -> &Decision {
        self.decisions.last().expect("a decision")
    }

    /// The weights that the run set, without repetitions.
    pub(super) fn weights(&self) -> Vec<u8> {
        let mut weights: Vec<u8> = self
            .decisions
            .iter()
            .map(|one| one.next.weight.percent())
            .collect();
        weights.dedup();
        weights
    }

    pub(super) fn queue(&mut self, id: u64, verb: Verb, step: Option<u32>) {
        self.grant.command.queue.push(QueuedCommand {
            id,
            verb,
            step,
            revision: REVISION,
            by: "ann".into(),
            reason: String::new(),
            set: None,
        });
    }

    /// Sets weight and pods by hand.
    pub(super) fn set_weight(&mut self, id: u64, manual: Manual) {
        self.queue(id, Verb::SetWeight, None);
        if let Some(queued) = self.grant.command.queue.last_mut() {
            queued.set = Some(manual);
        }
    }

    /// Lets the workload begin with another size.
    pub(super) fn resize(&mut self, replicas: u32) {
        self.replicas = replicas;
        let pods = Pods {
            wanted: replicas,
            ready: replicas,
        };
        self.versions.insert("old", pods);
    }

    /// The pods of a version: wanted and ready.
    pub(super) fn pods(&self, version: &str) -> (u32, u32) {
        self.versions
            .get(version)
            .map_or((0, 0), |pods| (pods.wanted, pods.ready))
    }

    fn wanted(&self) -> u32 {
        self.shared.unwrap_or(self.replicas)
    }

    pub(super) fn kill_canary(&mut self) {
        if let Some(canary) = &mut self.canary {
            canary.ready = 0;
        }
    }

    pub(super) fn kill_stable(&mut self, left: u32) {
        for pods in self.versions.values_mut() {
            pods.ready = pods.ready.min(left);
        }
    }

    /// Asserts that nothing of the run is left and this version runs alone.
    pub(super) fn assert_clean(&self, version: &str) {
        assert_eq!((self.pin.as_deref(), self.canary_service), (None, false));
        assert!(self.canary.is_none());
        assert_eq!((&self.route, self.paused), (&Split::default(), false));
        assert_eq!(self.shared, None);
        for (name, pods) in &self.versions {
            let expected = if *name == version { self.replicas } else { 0 };
            assert_eq!(pods.ready, expected, "{name}");
        }
    }

    fn apply(&mut self, overlay: &Overlay) {
        let wanted = (overlay.paused, overlay.template, overlay.replicas);
        if self.workload_exists && (self.paused, self.template, self.shared) != wanted {
            (self.paused, self.template, self.shared) = wanted;
            self.generation += 1;
        }
        if let Some(least) = overlay.least_replicas {
            self.replicas = self.replicas.max(least);
        }
        let pin_of = |service: &str| {
            let mut pins = overlay.pins.iter();
            pins.find(|pin| pin.service == service)
                .map(|pin| pin.hash.clone())
        };
        self.pin = pin_of("web");
        self.direct = self.direct.take().map(|_| pin_of("web-direct"));
        self.write_route(&overlay.split);
        let nodes = self.replicas;
        let canary = overlay.canary.map(|want| CanaryWant {
            replicas: if self.per_node && want.replicas > 0 {
                nodes
            } else {
                want.replicas
            },
        });
        match (canary, &mut self.canary) {
            (Some(CanaryWant { replicas }), Some(canary)) => canary.wanted = replicas,
            (Some(CanaryWant { replicas }), None) => {
                self.canary = Some(Pods {
                    wanted: replicas,
                    ready: 0,
                });
            }
            (None, Some(canary)) => {
                // The object goes at once; pods that it still had are stopped later.
                self.orphaned = self.orphaned.max(canary.ready);
                self.canary = None;
            }
            (None, None) => {}
        }
        self.canary_service = self.canary.is_some();
    }

    fn write_route(&mut self, split: &Split) {
        if self.route != *split {
            (self.route, self.programmed) = (split.clone(), false);
        }
    }

    fn control(&mut self) {
        self.orphaned = 0;
        self.observed = self.generation;
        self.programmed |= self.route_works;
        if self.programmed {
            self.carried = self.route.weight;
        }
        if let Some(canary) = &mut self.canary {
            canary.ready = if self.canary_works {
                canary.wanted
            } else {
                canary.ready.min(canary.wanted)
            };
        }
        if let Some(asked) = self.asked.take() {
            let sample = Sample {
                value: self.metric,
                requests: self.metric.map(|_| 1_000.0),
                scrapes: self.metric.map(|_| 10),
                ..Sample::default()
            };
            let metric = MetricSample {
                metric: "request-success-rate".into(),
                sample,
            };
            self.samples = Some(Samples {
                check: asked.check,
                at: self.now,
                metrics: vec![metric],
            });
        }
        self.answer();
        if self.per_node {
            self.roll_by_node();
        } else {
            self.roll();
        }
        let ready: u32 = self.versions.values().map(|pods| pods.ready).sum();
        let share = u32::from(self.carried.rest().percent());
        self.never_overloaded &= ready * 100 >= share * 5;
    }

    /// One pod more of the version that is wanted, one less of the other for each that is ready.
    fn roll(&mut self) {
        if !self.paused {
            self.running = self.template;
        }
        let (to, from) = if self.running == TemplateVersion::New {
            ("new", "old")
        } else {
            ("old", "new")
        };
        let works = if to == "new" {
            self.new_works
        } else {
            self.old_works
        };
        let wanted = self.wanted();
        let other_works = if to == "new" {
            self.old_works
        } else {
            self.new_works
        };
        // A paused Deployment still scales, but does not roll.
        let alone = self.versions[from].wanted == 0;
        let ready = {
            let pods = self.versions.get_mut(to).expect("a version");
            if !self.paused || alone {
                pods.wanted = if self.paused {
                    wanted
                } else {
                    (pods.ready + 1).min(wanted)
                };
            }
            pods.ready = if works {
                pods.wanted
            } else {
                pods.ready.min(pods.wanted)
            };
            pods.ready
        };
        let pods = self.versions.get_mut(from).expect("a version");
        if !self.paused {
            pods.wanted = pods.wanted.min(wanted.saturating_sub(ready));
        }
        pods.ready = if other_works {
            pods.wanted
        } else {
            pods.ready.min(pods.wanted)
        };
    }

    /// The pod of one node goes before its next one is made.
    fn roll_by_node(&mut self) {
        if !self.paused {
            self.running = self.template;
        }
        let (to, from, works) = match self.running {
            TemplateVersion::New => ("new", "old", self.new_works),
            _ => ("old", "new", self.old_works),
        };
        let left = self.versions[from];
        let pods = self.versions.get_mut(to).expect("a version");
        let gaps = self.replicas - (pods.wanted + left.wanted);
        pods.wanted += gaps;
        if works {
            pods.ready = pods.wanted;
        }
        let all_ready = gaps == 0 && pods.ready == pods.wanted;
        let goes = !self.paused && left.wanted > 0 && (all_ready || left.ready < left.wanted);
        let pods = self.versions.get_mut(from).expect("a version");
        pods.wanted -= u32::from(goes);
        pods.ready = pods.ready.min(pods.wanted);
    }

    /// Whether a client of the Service beside the apex is answered.
    pub(super) fn direct_answers(&self) -> bool {
        match &self.direct {
            Some(Some(hash)) => self.versions[hash.as_str()].ready > 0,
            _ => true,
        }
    }

    fn addresses(&self, version: &str, ready: u32) -> BTreeSet<String> {
        (0..ready)
            .map(|number| format!("{version}-{number}"))
            .collect()
    }

    fn observe_copy(&self) -> Option<CanaryView> {
        self.canary.map(|canary| CanaryView {
            replicas: canary.wanted,
            generation: 1,
            observed_generation: 1,
            updated: canary.wanted,
            ready: canary.ready,
            available: canary.ready,
            trouble: String::new(),
            labels: BTreeSet::new(),
            deleting: false,
            unwritten: self.canary_is_foreign,
        })
    }

    pub(super) fn observe(&self) -> Observations {
        let hash = if self.running == TemplateVersion::New {
            "new"
        } else {
            "old"
        };
        let canary_ready = self.canary.map_or(0, |canary| canary.ready);
        let mut apex = BTreeSet::new();
        for (version, pods) in &self.versions {
            if self.pin.as_deref().is_none_or(|pin| pin == *version) {
                apex.extend(self.addresses(version, pods.ready));
            }
        }
        assert!(
            self.pin.is_some() || self.orphaned == 0,
            "a Service selects pods without owner"
        );
        let canary = self.addresses("canary", canary_ready);
        if self.pin.is_none() {
            apex.extend(canary.clone());
        }
        let sum = |of: fn(&Pods) -> u32| self.versions.values().map(of).sum();
        let workload = DeploymentView {
            uid: "u".into(),
            generation: self.generation,
            observed_generation: self.observed,
            replicas: self.wanted(),
            total: sum(|pods| pods.wanted),
            updated: self.versions[hash].wanted,
            ready: sum(|pods| pods.ready),
            available: sum(|pods| pods.ready),
            paused: self.paused,
            revision: hash.into(),
            template: self.template,
            update_takes: self.update_takes,
            unread: String::new(),
        };
        let set = |(version, pods): (&&str, &Pods)| ReplicaSetView {
            name: format!("web-{version}"),
            hash: (*version).into(),
            owner_uid: "u".into(),
            revision: (*version).into(),
            replicas: pods.wanted,
            ready: pods.ready,
        };
        Observations {
            fresh: self.fresh,
            workload: self.workload_exists.then_some(workload),
            replica_sets: self.versions.iter().map(set).collect(),
            canary: self.observe_copy(),
            canary_service: self.canary_service,
            services: [
                Some(("web", &self.pin)),
                self.direct.as_ref().map(|pin| ("web-direct", pin)),
            ]
            .into_iter()
            .flatten()
            .map(|(name, pin)| ServiceView {
                name: name.into(),
                pin: pin.clone(),
                unpinnable: String::new(),
            })
            .collect(),
            apex_endpoints: Endpoints {
                ready: apex,
                not_ready: BTreeSet::new(),
            },
            canary_endpoints: Endpoints {
                ready: canary,
                not_ready: BTreeSet::new(),
            },
            routes: vec![RouteView {
                name: "HTTPRoute/web".into(),
                is_missing: !self.route_exists,
                weight: (self.route_exists && self.route.matches.is_empty())
                    .then_some(self.route.weight),
                split: self.route_exists.then(|| self.route.clone()),
                lacking: self.lacking.clone(),
                announces: self.announces,
                observation: if self.programmed && self.route_exists {
                    RouteObservation::Programmed
                } else {
                    RouteObservation::NotYet {
                        why: "not yet".into(),
                    }
                },
            }],
            samples: self.samples.clone(),
            hooks: self.answers.clone(),
            route_settle: Dur::from_millis(2_500),
            ..self.extra.clone()
        }
    }
}

/// Explicit steps, which wait for a human.
pub(super) fn manual(weights: &[u8]) -> serde_json::Value {
    let steps: Vec<_> = weights
        .iter()
        .map(|weight| json!({"weight": weight}))
        .collect();
    json!({"steps": steps})
}

pub(super) fn advance(step: &mut RolloutSpec, advance: Advance) {
    if let Some(canary) = &mut step.strategy.canary {
        canary.advance = Some(advance);
    }
}

pub(super) fn linear() -> serde_json::Value {
    json!({"stepWeight": 10, "maxWeight": 50})
}

pub(super) fn failure(cluster: &Cluster) -> FailureReason {
    match &cluster.state.stage {
        Stage::Failed { failure } | Stage::RollingBack { failure, .. } => failure.reason,
        other => panic!("no failure: {other:?}"),
    }
}

pub(super) fn abort(cluster: &mut Cluster, cause: AbortCause) {
    cluster.grant.command.abort = Some(Abort {
        cause,
        by: "ann".into(),
        reason: "no".into(),
    });
}

pub(super) fn in_step(index: u32) -> impl Fn(&RunState) -> bool {
    move |state| matches!(&state.stage, Stage::Step { index: at, part: super::super::StepPart::Analysing { .. } } if *at == index)
}

//! A workload with a partition, whose controller is one tick late and goes pod by pod from the last.

mod scaled;

use bellwether_api::{
    command::{Abort, AbortCause, QueuedCommand, Verb},
    duration::Dur,
    number::Weight,
    rollout::RolloutSpec,
    track::RolloutTrackSpec,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::{
        Decision, Endpoints, InPlaceView, MetricSample, Observations, Overlay, RouteView, RunState,
        SampleRequest, Samples, ServiceView, Stage, StepPart, decide,
    },
    model::{REVISION, grant},
};
use crate::{
    analysis::Sample,
    provider::{RouteObservation, Split},
    settled::{DeploymentView, TemplateVersion},
};

/// A plan of batches with one metric that must be at least 99.
pub(super) fn batches(steps: &Value) -> RolloutSpec {
    serde_json::from_value(json!({
        "workload": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "namespace": "shop"},
        "progressDeadline": "300s",
        "strategy": {"batch": {"steps": steps}},
        "analysis": {
            "interval": "20s",
            "failureThreshold": 2,
            "metrics": [{"name": "errors", "query": "up", "range": {"min": "99"}}]
        }
    }))
    .expect("a plan")
}

#[derive(Clone, Copy, Debug)]
struct Pod {
    version: TemplateVersion,
    ready: bool,
}

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// The decision is lost.
    BeforeSave,
    /// The decision is saved, and nothing follows from it yet.
    AfterSave,
}

/// The workload and the run of it.
pub(super) struct Workload {
    pub(super) now: Timestamp,
    pub(super) grant: RolloutTrackSpec,
    pub(super) state: RunState,
    /// What the metric says; absent = no data.
    pub(super) metric: Option<f64>,
    /// Whether pods of the new template become ready.
    pub(super) new_works: bool,
    /// Fields of the observation that a test sets by itself.
    pub(super) extra: Observations,
    pub(super) crash: Option<Crash>,
    pub(super) decisions: Vec<Decision>,
    pods: Vec<Pod>,
    /// How many pods there are to be.
    wanted: usize,
    /// `None` = as the user wrote it, which is none.
    partition: Option<u32>,
    template: TemplateVersion,
    generation: i64,
    observed: i64,
    asked: Option<SampleRequest>,
    samples: Option<Samples>,
    /// Whether the partition is a number of pods, whichever they are.
    pub(super) by_count: bool,
    /// Pods that came with the template's version, or got it, whatever was granted, because a node joined
    /// or the partition had not risen yet.
    joined: u32,
    /// Of how many pods the partition was written to hold some.
    held_of: usize,
    /// What requests come by.
    pub(super) net: Net,
}

/// The user's Service and route, and the run's own Service.
#[derive(Clone, Debug, Default)]
pub(super) struct Net {
    /// What the user's Service is pinned to; absent = nothing.
    pub(super) pin: Option<String>,
    /// What the run's own Service selects; absent = it does not exist.
    pub(super) own: Option<String>,
    /// What the route carries.
    pub(super) route: Split,
    /// What the gateway still may use: it follows one turn later.
    before: Split,
    /// Whether every request must find a ready pod, because no pod fails by itself.
    pub(super) strict: bool,
}

impl Workload {
    /// A workload behind a Service and a route.
    pub(super) fn behind_a_route(steps: &Value, replicas: usize) -> Self {
        let mut workload = Self::new(steps, replicas);
        let plan = json!({"name": "web", "port": 80});
        workload.grant.plan.service = serde_json::from_value(plan).expect("a Service");
        let traffic = json!([{"gatewayApi": {"httpRoutes": ["web"]}}]);
        workload.grant.plan.traffic = serde_json::from_value(traffic).expect("traffic");
        workload.extra.route_settle = Dur::from_secs(2);
        workload.net.strict = true;
        workload
    }

    pub(super) fn new(steps: &Value, replicas: usize) -> Self {
        let mut grant = grant(batches(steps));
        "StatefulSet".clone_into(&mut grant.workload.kind);
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let old = Pod {
            version: TemplateVersion::Old,
            ready: true,
        };
        Self {
            now,
            state: RunState::new(&grant, now),
            grant,
            metric: Some(100.0),
            new_works: true,
            extra: Observations::default(),
            crash: None,
            decisions: Vec::new(),
            pods: vec![old; replicas],
            wanted: replicas,
            partition: None,
            template: TemplateVersion::Old,
            generation: 1,
            observed: 1,
            asked: None,
            samples: None,
            by_count: false,
            joined: 0,
            held_of: replicas,
            net: Net::default(),
        }
    }

    fn label(version: TemplateVersion) -> String {
        format!("web-{version:?}")
    }

    /// Ready pods that a Service with this pin selects.
    pub(super) fn behind(&self, pin: Option<&str>) -> Vec<String> {
        let selected = |(number, pod): (usize, &Pod)| {
            let label = Self::label(pod.version);
            let found = pod.ready && pin.is_none_or(|pin| pin == label);
            found.then(|| format!("{number}-{label}"))
        };
        self.pods.iter().enumerate().filter_map(selected).collect()
    }

    /// Every request finds a ready pod, whichever of the two last routes its gateway uses.
    fn check_requests(&self) {
        if !self.net.strict {
            return;
        }
        let apex = self.behind(self.net.pin.as_deref());
        let own = self.net.own.as_deref();
        let own = own.map_or_else(Vec::new, |label| self.behind(Some(label)));
        for route in [&self.net.before, &self.net.route] {
            let to_own = route.weight > Weight::ZERO || !route.matches.is_empty();
            assert!(
                !to_own || !own.is_empty(),
                "{route:?} leads nowhere: {:?}",
                self.state
            );
            let to_apex = route.weight < Weight::FULL;
            assert!(
                !to_apex || !apex.is_empty(),
                "nobody answers {route:?}: {:?}",
                self.state
            );
        }
    }

    /// One turn of the shell, then one of the controller, `seconds` later.
    pub(super) fn tick(&mut self, seconds: i64) {
        let seen = self.observe();
        let decision = decide(self.now, &self.grant, &self.state, &seen);
        self.check(&decision, &seen);
        let (granted_before, new_before) = (self.granted(), self.count(TemplateVersion::New));
        let crash = self.crash.take();
        if crash != Some(Crash::BeforeSave) {
            self.state = RunState::from_value(&decision.next.to_value()).expect("a state");
            if decision.next.check != self.decisions.last().map_or(0, |last| last.next.check) {
                self.samples = None;
            }
            if decision.sample.is_some() {
                self.asked.clone_from(&decision.sample);
            }
            if decision.correct_drift && crash.is_none() {
                self.apply(&Overlay::of(&self.state));
            }
            self.decisions.push(decision);
        }
        self.now += SignedDuration::from_secs(seconds);
        self.control();
        if self.template == TemplateVersion::New {
            self.check_let_go(granted_before);
        } else {
            assert!(
                self.count(TemplateVersion::New) <= new_before,
                "on the way back"
            );
        }
        self.check_requests();
    }

    fn granted(&self) -> u32 {
        self.state.in_place.as_ref().map_or(0, |run| run.granted)
    }

    /// What must hold of every decision, whatever happened.
    fn check(&self, decision: &Decision, seen: &Observations) {
        let again = decide(self.now, &self.grant, &decision.next, seen);
        assert_eq!(again.next, decision.next, "a decision that is not final");
        assert_eq!(decision.overlay, Overlay::of(&decision.next));
        assert_eq!(
            decision.waiting_on.is_empty(),
            decision.next.is_terminal(),
            "what is unfinished says what it waits on"
        );
        self.check_grant(decision, seen);
        let over = decision.next.is_terminal() && !self.state.is_terminal();
        let changed = self.state.in_place.is_some();
        if over && changed && seen.workload.is_some() && !seen.namespace_terminating {
            let view = seen.in_place.as_ref().expect("a view");
            assert_eq!(
                view.partition, None,
                "over before it is as the user wrote it"
            );
        }
    }

    /// Ticks until the run is over.
    pub(super) fn finish(&mut self) -> &Stage {
        self.until(RunState::is_terminal);
        &self.state.stage
    }

    /// Ticks until the run stands where `there` says.
    pub(super) fn until(&mut self, there: impl Fn(&RunState) -> bool) {
        for _ in 0..3_000 {
            if there(&self.state) {
                return;
            }
            self.tick(5);
        }
        panic!(
            "never there: {:?} waiting on {:?}",
            self.state,
            self.decisions.last().map(|last| &last.waiting_on)
        );
    }

    pub(super) fn queue(&mut self, id: u64, verb: Verb) {
        self.grant.command.queue.push(QueuedCommand {
            id,
            verb,
            step: None,
            revision: REVISION,
            by: "ann".into(),
            reason: String::new(),
            set: None,
        });
    }

    pub(super) fn count(&self, version: TemplateVersion) -> u32 {
        let pods = self.pods.iter().filter(|pod| pod.version == version);
        u32::try_from(pods.count()).expect("few pods")
    }

    /// Whether each pod is new, from the first on.
    pub(super) fn new_pods(&self) -> Vec<bool> {
        let is_new = |pod: &Pod| pod.version == TemplateVersion::New;
        self.pods.iter().map(is_new).collect()
    }

    /// A DaemonSet: nodes may join, whose pods are of the template, and leave.
    pub(super) fn by_node(steps: &Value, nodes: usize) -> Self {
        let mut workload = Self::new(steps, nodes);
        "DaemonSet".clone_into(&mut workload.grant.plan.workload.kind);
        workload.by_count = true;
        workload
    }

    pub(super) fn join(&mut self) {
        self.pods.push(Pod {
            version: self.template,
            ready: true,
        });
        self.wanted += 1;
        self.joined += u32::from(self.template == TemplateVersion::New);
    }

    pub(super) fn leave(&mut self) {
        self.pods.remove(0);
        self.wanted -= 1;
    }

    pub(super) fn kill(&mut self, pod: usize) {
        let pod = pod % self.pods.len();
        self.pods[pod].ready = false;
    }

    /// Asserts that every pod is of this version and the workload as the user wrote it.
    pub(super) fn assert_clean(&mut self, version: TemplateVersion) {
        self.tick(1);
        assert_eq!((self.template, self.partition), (version, None));
        assert_eq!((&self.net.pin, &self.net.own), (&None, &None));
        assert!(self.net.route.is_none(), "{:?}", self.net.route);
        assert!(
            self.pods
                .iter()
                .all(|pod| pod.version == version && pod.ready)
        );
    }

    fn apply(&mut self, overlay: &Overlay) {
        self.net.pin = overlay.pins.first().map(|pin| pin.hash.clone());
        self.net.own.clone_from(&overlay.new_pods);
        self.net.before = std::mem::replace(&mut self.net.route, overlay.split.clone());
        let wanted = (overlay.template, overlay.in_place.partition);
        if (self.template, self.partition) != wanted {
            (self.template, self.partition) = wanted;
            self.generation += 1;
        }
        if let Some(run) = &self.state.in_place {
            self.held_of = usize::try_from(run.total).expect("few pods");
        }
        let clears = overlay.in_place.replaces.is_some() && self.observed == self.generation;
        let (template, held) = (self.template, self.held());
        for (number, pod) in self.pods.iter_mut().enumerate() {
            if clears && !pod.ready && pod.version != TemplateVersion::Old && number >= held {
                pod.version = template;
            }
        }
    }

    fn held(&self) -> usize {
        usize::try_from(self.partition.unwrap_or(0)).expect("few pods")
    }

    /// A pod that never becomes ready keeps every other from being updated.
    fn control(&mut self) {
        if let Some(asked) = self.asked.take() {
            let sample = Sample {
                value: self.metric,
                requests: self.metric.map(|_| 1_000.0),
                scrapes: self.metric.map(|_| 10),
                ..Sample::default()
            };
            self.samples = Some(Samples {
                check: asked.check,
                at: self.now,
                metrics: vec![MetricSample {
                    metric: "errors".into(),
                    sample,
                }],
            });
        }
        if self.observed != self.generation {
            self.observed = self.generation;
            return;
        }
        self.make_pods();
        let mut waits = false;
        for pod in &mut self.pods {
            pod.ready |= pod.version == TemplateVersion::Old || self.new_works;
            waits |= !pod.ready;
        }
        let (template, held) = (self.template, self.held());
        let others = self.pods.iter().filter(|pod| pod.version != template);
        let may = if self.by_count {
            0..self.pods.len() * usize::from(others.count() > held)
        } else {
            held..self.pods.len()
        };
        let next = may
            .rev()
            .find(|number| self.pods[*number].version != template);
        if let Some(number) = next.filter(|_| !waits) {
            // Written for fewer pods than there are to be, a partition lets more of them go.
            let outgrown = self.wanted > self.held_of;
            let is_new = template == TemplateVersion::New;
            self.joined += u32::from(outgrown && is_new);
            self.pods[number] = Pod {
                version: template,
                ready: false,
            };
        }
    }

    fn observe(&self) -> Observations {
        let all = u32::try_from(self.pods.len()).expect("few pods");
        let counted = |of: &dyn Fn(&Pod) -> bool| {
            u32::try_from(self.pods.iter().filter(|pod| of(pod)).count()).expect("few pods")
        };
        let ready = counted(&|pod| pod.ready);
        let template = self.template;
        let seen = self.observed == self.generation;
        let workload = DeploymentView {
            uid: "u".into(),
            generation: self.generation,
            observed_generation: self.observed,
            replicas: u32::try_from(self.wanted).expect("few pods"),
            total: all,
            updated: 0,
            ready,
            available: ready,
            paused: false,
            revision: Self::label(template),
            template,
            update_takes: 0,
            unread: String::new(),
        };
        let overlay = Overlay::of(&self.state);
        let view = InPlaceView {
            written: ((overlay.template, overlay.in_place.partition) == (template, self.partition))
                .then_some(overlay.in_place),
            partition: self.partition,
            // What an older template's revision counts, says nothing of this one.
            updated: if seen {
                counted(&|pod| pod.version == template)
            } else {
                all
            },
            updated_available: if seen {
                counted(&|pod| pod.version == template && pod.ready)
            } else {
                all
            },
            kept_new: if seen && template == TemplateVersion::New {
                self.kept_new()
            } else {
                0
            },
            label: if seen && self.count(template) > 0 {
                Self::label(template)
            } else {
                String::new()
            },
            trouble: String::new(),
        };
        let seen = Observations {
            fresh: true,
            workload: Some(workload),
            in_place: Some(view),
            samples: self.samples.clone(),
            ..self.extra.clone()
        };
        if self.grant.plan.service.is_some() {
            self.observe_traffic(seen)
        } else {
            seen
        }
    }

    fn observe_traffic(&self, seen: Observations) -> Observations {
        let endpoints = |ready: Vec<String>| Endpoints {
            ready: ready.into_iter().collect(),
            ..Endpoints::default()
        };
        let own = self.net.own.as_deref();
        let own = own.map_or_else(Vec::new, |label| self.behind(Some(label)));
        let unpinnable = seen.services.first().map(|one| one.unpinnable.clone());
        Observations {
            services: vec![ServiceView {
                name: "web".into(),
                pin: self.net.pin.clone(),
                unpinnable: unpinnable.unwrap_or_default(),
            }],
            apex_endpoints: endpoints(self.behind(self.net.pin.as_deref())),
            canary_service: self.net.own.is_some(),
            canary_endpoints: endpoints(own),
            routes: vec![RouteView {
                name: "HTTPRoute/web".into(),
                is_missing: false,
                weight: Some(self.net.route.weight),
                split: Some(self.net.route.clone()),
                lacking: None,
                announces: false,
                observation: RouteObservation::Programmed,
            }],
            ..seen
        }
    }
}

/// A step waits for a human.
pub(super) fn at_gate(index: u32) -> impl Fn(&RunState) -> bool {
    move |state| {
        matches!(&state.stage,
            Stage::Step { index: at, part: StepPart::Gate { .. } } if *at == index)
    }
}

/// A human aborts the run.
pub(super) fn abort(workload: &mut Workload) {
    workload.grant.command.abort = Some(Abort {
        cause: AbortCause::Manual,
        by: "ann".into(),
        reason: "no".into(),
    });
}

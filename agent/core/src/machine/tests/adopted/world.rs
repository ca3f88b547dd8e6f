//! A Deployment, its controller, its owner, and the agent's passes over it. Service, route and canary
//! follow at once: what is tried here is the workload.

use std::collections::BTreeSet;

use bellwether_api::{
    command::{Abort, AbortCause},
    duration::Dur,
    number::Weight,
    track::RolloutTrackSpec,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    super::{
        super::{
            CanaryView, Endpoints, Observations, Overlay, RouteView, RunState, ServiceView, Stage,
            decide,
        },
        field_managers::{IMAGE, Writer, manages, record},
        model::{grant, plan},
    },
    controller::Set,
};
use crate::{
    admission::{Governed, Update, admit},
    adopted::{
        HELD_ANNOTATION, Held, Look, Sight, WRITTEN_ANNOTATION, decision_view, look, owed, pause,
        release, workload_hold,
    },
    merge_patch::merged,
    provider::{RouteObservation, Split},
    settled::{DeploymentView, ReplicaSetView, TemplateVersion},
};

pub(super) const ROLLOUT: &str = "shop-web";
pub(super) const OLD: &str = "v1";
pub(super) const NEW: &str = "v2";

const TICKS_AT_REST: usize = 20;

pub(super) fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}]}})
}

/// A write of the owner's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub(super) replicas: u32,
    pub(super) image: &'static str,
    pub(super) by: Writer,
    /// Whether the API server asks the agent first.
    pub(super) asks: bool,
}

/// What happens beside the agent in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Works,
    /// Pods become ready, and it has not noticed.
    Lags,
}

pub(super) struct World {
    now: Timestamp,
    pub(super) grant: RolloutTrackSpec,
    pub(super) state: RunState,
    pub(super) object: Value,
    /// What its owner wrote last, as far as anybody can know.
    pub(super) wrote: Write,
    pub(super) sets: Vec<Set>,
    pub(super) new_works: bool,
    /// Pods of a template that nobody was asked about were ready before the agent saw it.
    pub(super) overtaken: bool,
    /// What the run has made of Service, route and canary.
    laid: Overlay,
    /// The run has let the new template roll.
    let_go: bool,
    /// The run is over, and what it held was laid once more.
    handed_back: bool,
}

impl World {
    /// Its owner has written a new template, and the write was held.
    pub(super) fn new() -> Self {
        let mut grant = grant(plan(json!({"stepWeight": 50, "maxWeight": 50})));
        grant.plan.analysis.metrics.clear();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "uid": "u", "generation": 1,
                "annotations": {"deployment.kubernetes.io/revision": "1"}},
            "spec": {"replicas": 3, "template": template(OLD)},
            "status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3,
                "readyReplicas": 3, "availableReplicas": 3},
        });
        let first = Write {
            replicas: 3,
            image: OLD,
            by: Writer::Updates,
            asks: true,
        };
        let mut world = Self {
            now,
            state: RunState::new(&grant, now),
            grant,
            object,
            wrote: first,
            sets: vec![Set::first(OLD, 3)],
            new_works: true,
            overtaken: false,
            laid: Overlay::none(TemplateVersion::Old),
            let_go: false,
            handed_back: false,
        };
        world.write(Write {
            image: NEW,
            ..first
        });
        world
    }

    pub(super) fn written(&self) -> Value {
        json!({"replicas": self.wrote.replicas, "template": template(self.wrote.image)})
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.object["metadata"]["annotations"].get(name)?.as_str()
    }

    /// Its owner writes all of it. Of a template that a run has put back already, their word of before
    /// still holds unless the API server knows better.
    pub(super) fn write(&mut self, write: Write) {
        let put_back = self.annotation(WRITTEN_ANNOTATION).is_some()
            && self.object.pointer(IMAGE) == Some(&json!(write.image));
        let is_seen = write.by == Writer::Applies && manages(&self.object, Writer::Run, IMAGE);
        let before = self.wrote.image;
        self.wrote = write;
        if put_back && !is_seen {
            self.wrote.image = before;
        }
        let mut new = self.object.clone();
        new["spec"] = json!({"replicas": write.replicas, "template": template(write.image)});
        record(&self.object, &mut new, write.by);
        if write.asks {
            self.admit(&mut new);
        }
        self.store(new);
    }

    fn admit(&self, new: &mut Value) {
        let governed = Governed {
            rollout: ROLLOUT,
            is_known: true,
            is_running: !self.handed_back,
        };
        let update = Update {
            old: &self.object,
            new,
        };
        let hold = admit(update, governed);
        for op in hold.iter().flat_map(|hold| hold.patch.as_array()).flatten() {
            let path = op["path"].as_str().expect("a path");
            let (parent, key) = path.rsplit_once('/').expect("a path");
            let key = key.replace("~1", "/").replace("~0", "~");
            new.pointer_mut(parent).expect("it is there")[key] = op["value"].clone();
        }
    }

    fn patch(&mut self, patch: Option<Value>) {
        if let Some(patch) = patch {
            let mut object = merged(&self.object, &patch);
            record(&self.object, &mut object, Writer::Run);
            self.store(object);
        }
    }

    fn store(&mut self, mut object: Value) {
        if object["spec"] != self.object["spec"] {
            let generation = self.object["metadata"]["generation"].as_i64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.object = object;
    }

    fn undo(&mut self, name: &str) {
        for set in self.sets.iter_mut().filter(|set| set.name() == name) {
            set.wanted = 0;
        }
    }

    fn sight(&self) -> Sight {
        let sets: Vec<Value> = self.sets.iter().map(Set::object).collect();
        Sight::of(&self.object, &sets)
    }

    /// One pass of the agent, then what the cluster makes of it.
    pub(super) fn tick(&mut self, saves: bool, controller: Controller) {
        if self.handed_back {
            self.rest();
        } else {
            self.drive(saves);
        }
        self.now += SignedDuration::from_secs(5);
        let works = self.new_works;
        for set in &mut self.sets {
            set.become_ready(set.image == OLD || works);
        }
        if controller == Controller::Works {
            self.control();
        }
        self.check_pods();
    }

    /// While a run is under way nobody has pods of a version that it did not let go.
    fn check_pods(&self) {
        let may = |set: &Set| set.image == OLD || set.image == NEW && self.let_go;
        let stray = self.sets.iter().find(|set| set.wanted > 0 && !may(set));
        assert!(
            self.handed_back || self.overtaken || stray.is_none(),
            "{stray:?}: {:?}\n{}",
            self.state,
            self.object
        );
    }

    fn drive(&mut self, saves: bool) {
        let (new, old) = (template(NEW), template(OLD));
        let held = Held {
            rollout: ROLLOUT,
            new: &new,
            old: &old,
        };
        let goes_back = matches!(
            self.state.stage,
            Stage::RollingBack { .. } | Stage::Failed { .. }
        );
        if self.object["spec"]["template"] != new && !goes_back {
            self.abort(AbortCause::Superseded);
        }
        self.laid = Overlay::of(&self.state);
        let rolls = self.laid.template == TemplateVersion::New && !self.laid.paused;
        self.let_go |= rolls;
        let hold = workload_hold(&self.sight(), held, &self.laid);
        self.patch(hold.patch);
        if let Some(name) = hold.undo {
            self.undo(&name);
        }
        if self.state.is_terminal() {
            self.hand_back();
            return;
        }
        let seen = self.observe(held);
        let decision = decide(self.now, &self.grant, &self.state, &seen);
        assert_eq!(decision.waiting_on.is_empty(), decision.next.is_terminal());
        if saves {
            self.state = RunState::from_value(&decision.next.to_value()).expect("a state");
        }
    }

    /// A workload that is still held when the run is over has pods of the version that it ended with.
    fn hand_back(&mut self) {
        self.handed_back = true;
        let ended_with = match self.state.stage {
            Stage::Succeeded => NEW,
            _ => OLD,
        };
        let is_held = self.annotation(HELD_ANNOTATION).is_some();
        let mut with_pods = self.sets.iter().filter(|set| set.wanted > 0);
        assert!(
            !is_held || with_pods.all(|set| set.image == ended_with),
            "{:?}: {:?}",
            self.state.stage,
            self.sets
        );
        assert!(self.laid.canary.is_none() && self.laid.pins.is_empty());
    }

    pub(super) fn abort(&mut self, cause: AbortCause) {
        self.grant.command.abort = Some(Abort {
            cause,
            by: "ann".into(),
            reason: String::new(),
        });
    }

    /// What the agent does while no run is under way, but for beginning one.
    fn rest(&mut self) {
        let sight = self.sight();
        match look(&sight, true) {
            Look::Catch => self.patch(pause(&sight, ROLLOUT)),
            Look::Completes => self.patch(owed(&sight, ROLLOUT)),
            Look::Undo { replica_set } => self.undo(&replica_set),
            Look::Release => self.patch(release(&sight)),
            Look::Bypassed => {
                let patch = release(&sight).map(|mut patch| {
                    // What serves already stays: only the pause goes.
                    if let Some(spec) = patch.get_mut("spec").and_then(Value::as_object_mut) {
                        spec.remove("template");
                    }
                    patch
                });
                self.patch(patch);
            }
            _ => {}
        }
    }

    fn observe(&self, held: Held<'_>) -> Observations {
        let sight = self.sight();
        let count = |path: &str| {
            let count = self.object.pointer(path).and_then(Value::as_u64);
            u32::try_from(count.unwrap_or(0)).expect("few pods")
        };
        let number = |path: &str| self.object.pointer(path).and_then(Value::as_i64);
        let revision = self.annotation("deployment.kubernetes.io/revision");
        let view = DeploymentView {
            uid: "u".into(),
            generation: number("/metadata/generation").unwrap_or(0),
            observed_generation: number("/status/observedGeneration").unwrap_or(0),
            replicas: count("/spec/replicas"),
            total: count("/status/replicas"),
            updated: count("/status/updatedReplicas"),
            ready: count("/status/readyReplicas"),
            available: count("/status/availableReplicas"),
            paused: self.object["spec"]["paused"] == true,
            revision: revision.unwrap_or_default().to_owned(),
            template: TemplateVersion::Other,
            update_takes: 0,
            unread: String::new(),
        };
        let sets = self.sets.iter().map(|set| ReplicaSetView {
            name: set.name(),
            hash: set.hash(),
            owner_uid: "u".into(),
            revision: set.revision.to_string(),
            replicas: set.wanted,
            ready: set.ready,
        });
        let seen = Observations {
            fresh: true,
            delivered_by_others: true,
            workload: Some(decision_view(&sight, held, &self.laid, view)),
            replica_sets: sets.collect(),
            route_settle: Dur::from_millis(2_500),
            ..Observations::default()
        };
        self.observe_traffic(seen)
    }

    fn observe_traffic(&self, seen: Observations) -> Observations {
        let pin = self.laid.pins.first().map(|pin| pin.hash.clone());
        let addresses = |version: &str, ready: u32| -> BTreeSet<String> {
            (0..ready)
                .map(|number| format!("{version}-{number}"))
                .collect()
        };
        let canary = self.laid.canary.map_or(0, |canary| canary.replicas);
        let mut apex = BTreeSet::new();
        for set in &self.sets {
            if pin.as_ref().is_none_or(|pin| *pin == set.hash()) {
                apex.extend(addresses(&set.image, set.ready));
            }
        }
        let canary_pods = addresses("canary", canary);
        if pin.is_none() {
            apex.extend(canary_pods.clone());
        }
        let endpoints = |ready| Endpoints {
            ready,
            not_ready: BTreeSet::new(),
        };
        let split: &Split = &self.laid.split;
        Observations {
            canary: self.laid.canary.map(|_| CanaryView {
                replicas: canary,
                generation: 1,
                observed_generation: 1,
                updated: canary,
                ready: canary,
                available: canary,
                trouble: String::new(),
                labels: BTreeSet::new(),
                deleting: false,
                unwritten: false,
            }),
            canary_service: self.laid.canary.is_some(),
            services: vec![ServiceView {
                name: "web".into(),
                pin,
                unpinnable: String::new(),
            }],
            apex_endpoints: endpoints(apex),
            canary_endpoints: endpoints(canary_pods),
            routes: vec![RouteView {
                name: "HTTPRoute/web".into(),
                is_missing: false,
                weight: split.matches.is_empty().then_some(split.weight),
                split: Some(split.clone()),
                lacking: None,
                announces: false,
                observation: RouteObservation::Programmed,
            }],
            ..seen
        }
    }

    pub(super) fn ends(&mut self) {
        for _ in 0..2_000 {
            if self.state.is_terminal() {
                return;
            }
            self.tick(true, Controller::Works);
        }
        panic!(
            "never over: {:?}\n{}\n{:?}",
            self.state, self.object, self.sets
        );
    }

    /// Over, every field has its owner's value, or the workload is held with pods of the version before.
    pub(super) fn check_end(&mut self) {
        for _ in 0..TICKS_AT_REST {
            self.tick(true, Controller::Works);
        }
        assert!(self.laid.split.weight == Weight::ZERO);
        assert_eq!(self.annotation(WRITTEN_ANNOTATION), None);
        if self.object["spec"] == self.written() {
            assert_eq!(self.annotation(HELD_ANNOTATION), None);
            return;
        }
        let held = merged(&self.written(), &json!({"paused": true}));
        assert_eq!(self.object["spec"], held);
        assert_eq!(self.annotation(HELD_ANNOTATION), Some(ROLLOUT));
        let with_pods = self.sets.iter().filter(|set| set.wanted > 0);
        let with_pods: Vec<(&str, u32)> = with_pods
            .map(|set| (set.image.as_str(), set.wanted))
            .collect();
        assert_eq!(with_pods.len(), 1, "{with_pods:?}");
        assert_ne!(with_pods[0].0, self.wrote.image);
        assert_eq!(with_pods[0].1, self.wrote.replicas);
        assert_eq!(look(&self.sight(), true), Look::Stands);
    }
}

//! The cluster: objects of somebody else, and controllers that take time.

use bellwether_agent_core::{
    admission::{Governed, Update, admit},
    adopted::HELD_ANNOTATION,
    merge_patch::{merged, replacing},
};
use bellwether_api::number::Weight;
use rand::{Rng, rngs::StdRng};
use serde_json::{Value, json};

use crate::scenario::Quality;

/// Pods that the owner wants.
pub(super) const REPLICAS: u32 = 4;
/// The Service of the canary's pods.
pub(super) const CANARY: &str = "web-canary";

/// What the owner wants.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// The image.
    pub image: String,
    /// A field of the route that no run knows.
    pub timeout_s: u32,
}

impl Owner {
    pub(super) fn template(&self) -> Value {
        template(&self.image)
    }

    /// The route's rules as the owner writes them.
    pub(super) fn rules(&self) -> Value {
        json!([{
            "backendRefs": [{"name": "web", "port": 80}],
            "timeouts": {"request": format!("{}s", self.timeout_s)},
        }])
    }
}

/// The pod template of an image.
pub(super) fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": image}]}})
}

/// The image of a pod template.
pub(super) fn image_of(template: &Value) -> String {
    let image = template.pointer("/spec/containers/0/image");
    image.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Pods of one template of the workload.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub image: String,
    pub revision: u32,
    pub wanted: u32,
    pub ready: u32,
}

/// The canary's pods.
#[derive(Clone, Debug)]
pub(super) struct Pods {
    pub image: String,
    pub wanted: u32,
    pub ready: u32,
}

/// What the API server holds.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub owner: Owner,
    /// The route's rules as the owner wrote them last.
    pub rules: Value,
    pub workload: Value,
    pub route: Value,
    pub pin: Option<String>,
    pub canary: Option<Pods>,
    pub sets: Vec<Set>,
    /// The canary's share as the gateway carries it.
    pub carried: Weight,
    /// Whether every pod was there at once.
    pub stood: bool,
    lag: u32,
}

impl Site {
    pub(super) fn new(owner: Owner) -> Self {
        let workload = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": 1},
            "spec": {"replicas": REPLICAS, "template": owner.template()},
            "status": {"observedGeneration": 0},
        });
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"rules": owner.rules()},
        });
        Self {
            rules: owner.rules(),
            owner,
            workload,
            route,
            pin: None,
            canary: None,
            sets: Vec::new(),
            carried: Weight::ZERO,
            stood: false,
            lag: 0,
        }
    }

    /// The applier writes what the owner wants, whatever a run has laid on it. Gives whether the agent,
    /// if it was asked, held an update back.
    pub(super) fn apply(&mut self, governed: Option<Governed<'_>>) -> bool {
        let live = self.workload.pointer("/spec/template");
        let template = replacing(live.unwrap_or(&Value::Null), &self.owner.template());
        let patch = json!({"spec": {"template": template}});
        let written = merged(&self.workload, &patch);
        let update = Update {
            old: &self.workload,
            new: &written,
        };
        let hold = governed.and_then(|governed| Some((admit(update, governed)?, governed.rollout)));
        self.patch_workload(&patch);
        if let Some((_, rollout)) = &hold {
            self.patch_workload(&json!({
                "metadata": {"annotations": {HELD_ANNOTATION: rollout}}, "spec": {"paused": true},
            }));
        }
        self.rules = self.owner.rules();
        self.patch_route(&json!({"spec": {"rules": self.rules}}));
        hold.is_some()
    }

    pub(super) fn patch_workload(&mut self, patch: &Value) {
        let written = merged(&self.workload, patch);
        let changes = written.pointer("/spec") != self.workload.pointer("/spec");
        self.workload = written;
        if changes {
            let generation = self.number("/metadata/generation") + 1;
            self.workload["metadata"]["generation"] = json!(generation);
        }
    }

    pub(super) fn patch_route(&mut self, patch: &Value) {
        let before = self.weight();
        self.route = merged(&self.route, patch);
        if self.weight() != before {
            self.lag = 3;
        }
    }

    pub(super) fn scale_set(&mut self, name: &str, wanted: u32) {
        let sets = self.sets.iter_mut();
        for set in sets.filter(|set| set_name(&set.image) == name) {
            set.wanted = wanted;
            set.ready = set.ready.min(wanted);
        }
    }

    /// The canary's share as it is written.
    pub(super) fn weight(&self) -> Weight {
        let backends = self.route.pointer("/spec/rules/0/backendRefs");
        let backends = backends.and_then(Value::as_array);
        let weight_of = |backend: &Value| {
            let weight = backend.get("weight").and_then(Value::as_u64);
            u32::try_from(weight.unwrap_or(1)).unwrap_or(0)
        };
        let mut all = backends.into_iter().flatten();
        let canary = all.find(|one| one.get("name").and_then(Value::as_str) == Some(CANARY));
        Weight::clamped(canary.map_or(0, weight_of))
    }

    pub(super) fn image(&self) -> String {
        image_of(&self.workload["spec"]["template"])
    }

    pub(super) fn is_paused(&self) -> bool {
        self.workload.pointer("/spec/paused") == Some(&json!(true))
    }

    pub(super) fn number(&self, path: &str) -> i64 {
        self.workload
            .pointer(path)
            .and_then(Value::as_i64)
            .unwrap_or(0)
    }

    /// Ready pods of the workload, of every version.
    pub(super) fn ready(&self) -> u32 {
        self.sets.iter().map(|set| set.ready).sum()
    }

    /// Versions of the workload of which a pod is ready.
    pub(super) fn serving(&self) -> usize {
        self.sets.iter().filter(|set| set.ready > 0).count()
    }

    pub(super) fn canary_ready(&self) -> u32 {
        self.canary.as_ref().map_or(0, |canary| canary.ready)
    }

    /// Lets controllers work for a second.
    pub(super) fn tick(&mut self, rng: &mut StdRng) {
        self.roll(rng);
        if let Some(canary) = &mut self.canary
            && starts(&canary.image)
            && canary.ready < canary.wanted
            && rng.random_bool(0.7)
        {
            canary.ready += 1;
        }
        self.lag = self.lag.saturating_sub(1);
        if self.lag == 0 {
            self.carried = self.weight();
        }
        self.stood |= self.ready() >= REPLICAS;
        let current = self.sets.iter().find(|set| set.image == self.image());
        let updated = current.map_or(0, |set| set.wanted);
        let revision = current.map_or(0, |set| set.revision);
        let total: u32 = self.sets.iter().map(|set| set.wanted).sum();
        let ready = self.ready();
        let generation = self.number("/metadata/generation");
        self.workload["status"] = json!({
            "observedGeneration": generation, "replicas": total, "updatedReplicas": updated,
            "readyReplicas": ready, "availableReplicas": ready,
        });
        self.workload["metadata"]["annotations"]["deployment.kubernetes.io/revision"] =
            json!(revision.to_string());
    }

    fn roll(&mut self, rng: &mut StdRng) {
        let (image, paused) = (self.image(), self.is_paused());
        let newest = self.sets.iter().map(|set| set.revision).max().unwrap_or(0);
        let found = self.sets.iter().position(|set| set.image == image);
        let current = match found {
            Some(index) => {
                if !paused && self.sets[index].revision != newest {
                    self.sets[index].revision = newest + 1;
                }
                Some(index)
            }
            None if paused => None,
            None => {
                self.sets.push(Set {
                    image,
                    revision: newest + 1,
                    wanted: 0,
                    ready: 0,
                });
                Some(self.sets.len() - 1)
            }
        };
        let with_pods: Vec<usize> = (0..self.sets.len())
            .filter(|index| self.sets[*index].wanted > 0)
            .collect();
        // Paused, it still fills up the only version that has pods.
        let filled = if paused {
            with_pods.first().copied().filter(|_| with_pods.len() == 1)
        } else {
            current
        };
        if let Some(index) = filled {
            self.sets[index].wanted = REPLICAS;
        }
        for set in &mut self.sets {
            if starts(&set.image) && set.ready < set.wanted && rng.random_bool(0.8) {
                set.ready += 1;
            }
        }
        let Some(current) = current.filter(|_| !paused) else {
            return;
        };
        let missing = REPLICAS - self.sets[current].ready.min(REPLICAS);
        for (index, set) in self.sets.iter_mut().enumerate() {
            if index != current {
                set.wanted = set.wanted.min(missing);
                set.ready = set.ready.min(set.wanted);
            }
        }
    }
}

pub(super) fn set_name(image: &str) -> String {
    format!("web-{}", hash_of(image))
}

pub(super) fn hash_of(image: &str) -> String {
    image.replace(':', "-")
}

fn starts(image: &str) -> bool {
    Quality::of(image) != Quality::Stuck
}

//! A member cluster: one Deployment with its Service and route, and controllers that take time.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    machine::{CanaryView, Endpoints, Observations, Overlay, RouteView, ServiceView},
    provider::{RouteObservation, Split},
    settled::{DeploymentView, ReplicaSetView, TemplateVersion},
};
use bellwether_api::{duration::Dur, number::Weight};
use rand::{Rng, rngs::StdRng};

use crate::scenario::Quality;

/// Pods that the user wants.
pub const REPLICAS: u32 = 4;
const SERVICE: &str = "web";

/// What the API server of a member cluster holds, with its controllers.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// The image of the user's Deployment; empty = there is none.
    pub image: String,
    /// `spec.paused`.
    pub paused: bool,
    generation: i64,
    observed: i64,
    sets: Vec<Set>,
    /// The canary's Deployment.
    pub canary: Option<Canary>,
    /// The Service's pin.
    pub pin: Option<String>,
    /// The canary's share as written to the route.
    pub weight: Weight,
    /// The canary's share as the gateway carries it.
    pub carried: Weight,
    /// Small applications that run beside.
    pub others: BTreeSet<String>,
    lag: u32,
}

#[derive(Clone, Debug)]
struct Set {
    image: String,
    revision: u32,
    replicas: u32,
    ready: u32,
}

/// The canary's pods.
#[derive(Clone, Debug)]
pub struct Canary {
    /// Its image.
    pub image: String,
    /// Wanted pods.
    pub replicas: u32,
    /// Ready pods.
    pub ready: u32,
    generation: i64,
    observed: i64,
}

fn hash_of(image: &str) -> String {
    image.replace(':', "-")
}

fn starts(image: &str) -> bool {
    Quality::of(image) != Quality::Stuck
}

impl Member {
    /// Applies the user's manifests as they are.
    pub fn apply(&mut self, image: &str) {
        if self.image != image {
            self.image = image.to_owned();
            self.generation += 1;
        }
    }

    /// Deletes the user's workload.
    pub fn remove(&mut self) {
        self.image.clear();
        self.sets.clear();
    }

    /// Makes everything match an overlay, where `old` and `new` are the images of the two
    /// templates.
    pub fn overlay(&mut self, overlay: &Overlay, old: &str, new: &str) {
        if self.paused != overlay.paused {
            self.paused = overlay.paused;
            self.generation += 1;
        }
        match overlay.template {
            TemplateVersion::Old => self.apply(old),
            TemplateVersion::New => self.apply(new),
            TemplateVersion::Other => {}
        }
        self.pin = overlay
            .pins
            .iter()
            .find(|pin| pin.service == SERVICE)
            .map(|pin| pin.hash.clone());
        if self.weight != overlay.route_weight() {
            self.weight = overlay.route_weight();
            self.lag = 2;
        }
        match (&mut self.canary, overlay.canary) {
            (Some(canary), Some(want)) => {
                if canary.replicas != want.replicas {
                    canary.replicas = want.replicas;
                    canary.ready = canary.ready.min(want.replicas);
                    canary.generation += 1;
                }
            }
            (none @ None, Some(want)) => {
                *none = Some(Canary {
                    image: new.to_owned(),
                    replicas: want.replicas,
                    ready: 0,
                    generation: 1,
                    observed: 0,
                });
            }
            (canary, None) => *canary = None,
        }
    }

    /// Lets controllers work for a second.
    pub fn tick(&mut self, rng: &mut StdRng) {
        self.observed = self.generation;
        self.roll(rng);
        if let Some(canary) = &mut self.canary {
            canary.observed = canary.generation;
            if starts(&canary.image) && canary.ready < canary.replicas && rng.random_bool(0.7) {
                canary.ready += 1;
            }
        }
        if self.lag > 0 {
            self.lag -= 1;
        }
        if self.lag == 0 {
            self.carried = self.weight;
        }
    }

    fn roll(&mut self, rng: &mut StdRng) {
        if self.image.is_empty() {
            return;
        }
        let newest = self.sets.iter().map(|set| set.revision).max().unwrap_or(0);
        let image = self.image.clone();
        let current = self.sets.iter().position(|set| set.image == image);
        let current = match current {
            Some(index) => {
                if !self.paused && self.sets[index].revision != newest {
                    self.sets[index].revision = newest + 1;
                }
                index
            }
            None if self.paused => return,
            None => {
                self.sets.push(Set {
                    image: image.clone(),
                    revision: newest + 1,
                    replicas: 0,
                    ready: 0,
                });
                self.sets.len() - 1
            }
        };
        if !self.paused {
            self.sets[current].replicas = REPLICAS;
        }
        let set = &mut self.sets[current];
        if starts(&set.image) && set.ready < set.replicas && rng.random_bool(0.8) {
            set.ready += 1;
        }
        if self.paused {
            return;
        }
        let missing = REPLICAS - self.sets[current].ready.min(REPLICAS);
        for (index, set) in self.sets.iter_mut().enumerate() {
            if index != current {
                set.replicas = set.replicas.min(missing);
                set.ready = set.ready.min(set.replicas);
            }
        }
    }

    /// Kills every canary pod; tells whether there was one.
    pub fn kill_canary(&mut self) -> bool {
        match &mut self.canary {
            Some(canary) if canary.ready > 0 => {
                canary.ready = 0;
                true
            }
            _ => false,
        }
    }

    /// Tells whether the image runs, all of it and nothing else.
    #[must_use]
    pub fn runs(&self, image: &str) -> bool {
        self.image == image
            && self.observed == self.generation
            && self
                .sets
                .iter()
                .all(|set| (set.image == image) == (set.replicas > 0))
            && self
                .sets
                .iter()
                .any(|set| set.image == image && set.ready == REPLICAS)
    }

    /// Tells whether nothing of a run is left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.paused
            && self.canary.is_none()
            && self.pin.is_none()
            && self.weight == Weight::ZERO
            && self.carried == Weight::ZERO
    }

    /// Ready pods of the canary.
    #[must_use]
    pub fn canary_ready(&self) -> u32 {
        self.canary.as_ref().map_or(0, |canary| canary.ready)
    }

    /// What an agent sees; `old` and `new` are the images of the two templates.
    #[must_use]
    pub fn observe(&self, old: &str, new: &str) -> Observations {
        let template = match self.image.as_str() {
            image if image == old => TemplateVersion::Old,
            image if image == new => TemplateVersion::New,
            _ => TemplateVersion::Other,
        };
        Observations {
            fresh: true,
            workload: (!self.image.is_empty()).then(|| self.workload(template)),
            replica_sets: self.sets.iter().map(view).collect(),
            canary: self.canary.as_ref().map(|canary| CanaryView {
                replicas: canary.replicas,
                generation: canary.generation,
                observed_generation: canary.observed,
                updated: canary.replicas,
                ready: canary.ready,
                available: canary.ready,
                trouble: String::new(),
                deleting: false,
            }),
            canary_service: self.canary.is_some(),
            services: vec![ServiceView {
                name: SERVICE.to_owned(),
                pin: self.pin.clone(),
                unpinnable: String::new(),
            }],
            apex_endpoints: self.apex(),
            canary_endpoints: endpoints("canary", self.canary_ready()),
            routes: vec![RouteView {
                name: "HTTPRoute/web".to_owned(),
                weight: Some(self.weight),
                split: Some(Split::by_weight(self.weight)),
                observation: if self.carried == self.weight {
                    RouteObservation::Programmed
                } else {
                    RouteObservation::NotYet {
                        why: "the gateway has not taken it".to_owned(),
                    }
                },
            }],
            route_settle: Dur::from_millis(1_000),
            ..Observations::default()
        }
    }

    fn apex(&self) -> Endpoints {
        let mut all = Endpoints::default();
        for set in &self.sets {
            if self
                .pin
                .as_ref()
                .is_none_or(|pin| *pin == hash_of(&set.image))
            {
                all.ready
                    .extend(endpoints(&hash_of(&set.image), set.ready).ready);
            }
        }
        if self.pin.is_none() {
            all.ready
                .extend(endpoints("canary", self.canary_ready()).ready);
        }
        all
    }

    fn workload(&self, template: TemplateVersion) -> DeploymentView {
        let current = self.sets.iter().find(|set| set.image == self.image);
        let ready: u32 = self.sets.iter().map(|set| set.ready).sum();
        DeploymentView {
            uid: "uid".to_owned(),
            generation: self.generation,
            observed_generation: self.observed,
            replicas: REPLICAS,
            total: self.sets.iter().map(|set| set.replicas).sum(),
            updated: current.map_or(0, |set| set.replicas),
            ready,
            available: ready,
            paused: self.paused,
            revision: current
                .map(|set| set.revision.to_string())
                .unwrap_or_default(),
            template,
        }
    }
}

fn view(set: &Set) -> ReplicaSetView {
    ReplicaSetView {
        name: format!("web-{}", hash_of(&set.image)),
        hash: hash_of(&set.image),
        owner_uid: "uid".to_owned(),
        revision: set.revision.to_string(),
        replicas: set.replicas,
        ready: set.ready,
    }
}

fn endpoints(prefix: &str, count: u32) -> Endpoints {
    let ready: BTreeSet<String> = (0..count)
        .map(|number| format!("{prefix}-{number}"))
        .collect();
    Endpoints {
        ready,
        not_ready: BTreeSet::new(),
    }
}

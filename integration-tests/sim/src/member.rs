//! A member cluster: one workload with its Service, route and configuration, and controllers that
//! take time.

mod breaking;
mod ordered;
mod particular;
mod people;
mod scaler;
mod view;
mod write;

use std::collections::BTreeSet;

use bellwether_agent_core::provider::Split;
use rand::{Rng, rngs::StdRng};

pub use ordered::Ordered;
use particular::names;
pub use people::{Edit, EditKind};
pub use scaler::Scaler;
pub use write::{Fingerprint, Part, Wanted};

use crate::scenario::{Particulars, Quality, World};

/// Pods that the user wants at first.
pub const REPLICAS: u32 = 4;
/// Seconds in which missing pods may come from what was not the agent's doing.
const RECOVERS: i64 = 40;

/// What the API server of a member cluster holds, with its controllers.
#[derive(Clone, Debug)]
pub struct Member {
    /// Seconds that it has been there.
    pub clock: i64,
    /// The image of the user's workload; empty = there is none.
    pub image: String,
    /// The image of the release whose configuration is there; empty = none.
    pub config: String,
    /// The image of the release whose shard is there, where releases bring one; empty = none.
    pub shard: String,
    /// `spec.paused`.
    pub paused: bool,
    /// `spec.replicas`.
    pub replicas: u32,
    generation: i64,
    observed: i64,
    /// The image of the template that the controller has seen.
    seen_image: String,
    sets: Vec<Set>,
    /// Pods of a workload that is updated in place; absent = it is a Deployment.
    pub ordered: Option<Ordered>,
    /// The canary's Deployment.
    pub canary: Option<Canary>,
    /// The Service's pin.
    pub pin: Option<String>,
    /// What the canary gets, as written to the route.
    pub split: Split,
    /// What it gets as the gateway carries it.
    pub carried: Split,
    /// Small applications that run beside.
    pub others: BTreeSet<String>,
    /// What scales the workload; absent = nothing does.
    pub scaler: Option<Scaler>,
    /// What is particular about the cluster.
    pub particulars: Particulars,
    /// Until when shards cannot be converted.
    unconverted_until: i64,
    /// Whether the gateway was given a share for a Service that it did not know.
    gave_unknown: bool,
    /// Until when what the gateway carries may be what people wrote.
    route_excused_until: i64,
    /// What somebody changed by hand and has not taken back.
    pub edit: Option<Edit>,
    /// Whether somebody deleted the workload by hand and it is not there again.
    pub deleted_by_hand: bool,
    /// The size of a workload that shares a fixed total with its canary, without the canary.
    shared_from: Option<u32>,
    /// Whether somebody scaled it meanwhile, and nobody has written over that.
    share_is_scaled: bool,
    /// Whether every pod of the workload was ready at once since something happened to it.
    stood: bool,
    /// How often anybody wrote anything here.
    pub changes: u64,
    /// A version whose pods do not become ready, and until when; absent = none is.
    broken: Option<(String, i64)>,
    excused_until: i64,
    lag: u32,
    next_lag: u32,
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
    /// The smallest size that the workload has had beside it.
    pub least: u32,
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
    /// An empty cluster.
    #[must_use]
    pub fn new(world: &World) -> Self {
        Self {
            clock: 0,
            image: String::new(),
            config: String::new(),
            shard: String::new(),
            paused: false,
            replicas: REPLICAS,
            generation: 0,
            observed: 0,
            seen_image: String::new(),
            sets: Vec::new(),
            ordered: world.in_place.then(Ordered::default),
            canary: None,
            pin: None,
            split: Split::default(),
            carried: Split::default(),
            others: BTreeSet::new(),
            scaler: world.scaler.clone(),
            particulars: world.particulars,
            unconverted_until: 0,
            gave_unknown: false,
            route_excused_until: 0,
            edit: None,
            deleted_by_hand: false,
            shared_from: None,
            share_is_scaled: false,
            stood: false,
            changes: 0,
            broken: None,
            excused_until: 0,
            lag: 0,
            next_lag: 2,
        }
    }

    /// Deletes the user's objects.
    pub fn remove(&mut self) {
        self.image.clear();
        self.config.clear();
        self.shard.clear();
        self.sets.clear();
        self.edit = None;
        self.stood = false;
        self.share_is_scaled = false;
        self.replicas = self.shared_from.take().unwrap_or(self.replicas);
        if let Some(ordered) = &mut self.ordered {
            *ordered = Ordered::default();
        }
        self.excuse();
    }

    /// Pods may be missing for a while, and nobody is to blame.
    fn excuse(&mut self) {
        self.changes += 1;
        self.excused_until = self.excused_until.max(self.clock + RECOVERS);
        self.stood = false;
    }

    /// Tells whether pods may be missing for a reason that is not the agent's.
    #[must_use]
    pub fn is_excused(&self) -> bool {
        self.clock < self.excused_until
            || self.edit.is_some()
            || self.share_is_scaled
            || !self.stood
    }

    /// Lets controllers work for a second.
    pub fn tick(&mut self, rng: &mut StdRng) {
        self.clock += 1;
        self.next_lag = rng.random_range(1..7);
        self.heal();
        self.scale();
        self.take_back();
        let seen = self.observed == self.generation;
        self.observed = self.generation;
        self.seen_image.clone_from(&self.image);
        match &mut self.ordered {
            Some(ordered) if !self.image.is_empty() => {
                ordered.tick(&self.image, self.replicas, seen, rng);
            }
            Some(_) => {}
            None => self.roll(rng),
        }
        if let Some(canary) = &mut self.canary {
            canary.observed = canary.generation;
            canary.least = canary.least.min(self.shared_from.unwrap_or(self.replicas));
            if starts(&canary.image) && canary.ready < canary.replicas && rng.random_bool(0.7) {
                canary.ready += 1;
            }
        }
        self.stood |= self.stands();
        self.lag = self.lag.saturating_sub(1);
        if self.lag == 0 {
            self.learn();
            self.carried.clone_from(&self.split);
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
            // Pods of other versions that are not ready go first: no surge is spent on them.
            let others = self.sets.iter_mut().enumerate();
            for (_, set) in others.filter(|(index, _)| *index != current) {
                set.replicas = set.replicas.min(set.ready);
            }
        }
        self.size_sets(current);
        let works = self.works(&image);
        let set = &mut self.sets[current];
        if works && set.ready < set.replicas && rng.random_bool(0.8) {
            set.ready += 1;
        }
        if self.paused {
            return;
        }
        let missing = self.replicas - self.sets[current].ready.min(self.replicas);
        let missing = missing.saturating_sub(self.particulars.update_takes);
        for (index, set) in self.sets.iter_mut().enumerate() {
            if index != current {
                set.replicas = set.replicas.min(missing);
                set.ready = set.ready.min(set.replicas);
            }
        }
    }

    /// The current ReplicaSet has the wanted size; while paused, if no other has pods.
    fn size_sets(&mut self, current: usize) {
        let with_pods = self.sets.iter().filter(|set| set.replicas > 0).count();
        let only = with_pods == usize::from(self.sets[current].replicas > 0);
        if !self.paused || only {
            let set = &mut self.sets[current];
            set.replicas = self.replicas;
            set.ready = set.ready.min(set.replicas);
        }
    }

    /// Whether every pod that the user wants is ready. Of pods in an order the first are kept: one that is
    /// ready and about to go stands for none of them.
    fn stands(&self) -> bool {
        let whole = match &self.ordered {
            Some(ordered) => ordered.stands(self.replicas),
            None => self.pods().1 >= self.replicas,
        };
        whole && !self.image.is_empty()
    }

    /// Kills canary pods, or of a workload that is updated in place its last pod; tells whether
    /// there was one.
    pub fn kill_pods(&mut self) -> bool {
        let killed = match (&mut self.canary, &mut self.ordered) {
            (Some(canary), _) if canary.ready > 0 => {
                canary.ready = 0;
                true
            }
            (_, Some(ordered)) => ordered.kill(),
            _ => false,
        };
        if killed {
            self.excuse();
        }
        killed
    }

    /// Tells whether the image runs, all of it and nothing else.
    #[must_use]
    pub fn runs(&self, image: &str) -> bool {
        let there = self.image == image && self.observed == self.generation;
        let Some(ordered) = &self.ordered else {
            let alone = |set: &Set| (set.image == image) == (set.replicas > 0);
            let whole = |set: &Set| set.image == image && set.ready == self.replicas;
            return there && self.sets.iter().all(alone) && self.sets.iter().any(whole);
        };
        there && ordered.runs(image, self.replicas)
    }

    /// Tells whether nothing of a run is left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let partitioned = self
            .ordered
            .as_ref()
            .is_some_and(|ordered| ordered.partition.is_some());
        !self.paused
            && !partitioned
            && self.canary.is_none()
            && self.pin.is_none()
            && !names(&self.split)
            && !names(&self.carried)
    }

    /// Ready pods of the canary.
    #[must_use]
    pub fn canary_ready(&self) -> u32 {
        self.canary.as_ref().map_or(0, |canary| canary.ready)
    }

    /// Pods of the user's workload: wanted and ready ones of every version.
    #[must_use]
    pub fn pods(&self) -> (u32, u32) {
        match &self.ordered {
            Some(ordered) => ordered.count(|_| true),
            None => self.sets.iter().fold((0, 0), |(all, ready), set| {
                (all + set.replicas, ready + set.ready)
            }),
        }
    }

    /// Tells whether the workload runs this image, and every pod of it is ready.
    #[must_use]
    pub fn is_whole(&self, image: &str) -> bool {
        self.image == image && self.pods_of(image).1 >= self.replicas
    }

    /// Pods that both versions have together when nothing is missing.
    #[must_use]
    pub fn whole(&self) -> u32 {
        self.shared_from.unwrap_or(self.replicas)
    }

    /// The total that both versions share; absent = nothing is shared.
    #[must_use]
    pub const fn shared_total(&self) -> Option<u32> {
        self.shared_from
    }

    /// Pods of one version in the user's workload: all and ready ones.
    #[must_use]
    pub fn pods_of(&self, image: &str) -> (u32, u32) {
        match &self.ordered {
            Some(ordered) => ordered.count(|pod| pod == image),
            None => self
                .sets
                .iter()
                .filter(|set| set.image == image)
                .fold((0, 0), |(all, ready), set| {
                    (all + set.replicas, ready + set.ready)
                }),
        }
    }
}

//! Clusters that join, leave and are relabelled, and applications that come and go beside the one
//! under test.

use bellwether_hub_core::placement::ClusterFacts;
use bellwether_store::{
    conformance::Refusal,
    desired::{ClusterChange, Deletions, UnitChange},
};
use rand::Rng;
use uuid::Uuid;

use super::Play;
use crate::{
    agent::Agent,
    scenario::{MEMBER, cluster, other_key},
};

/// Clusters of a fleet at most.
const MAX_CLUSTERS: usize = 7;

impl Play {
    /// Registers a cluster with its agent.
    pub(super) fn join(&mut self, facts: ClusterFacts) {
        self.database.register(facts.id);
        let (truth, seed) = (self.truth(), self.rng.random());
        let agent = Agent::new(facts.id, truth, &self.scenario.world, seed);
        self.agents.push(agent);
        self.database.facts.insert(facts.id, facts);
    }

    /// Gives every cluster the small applications beside.
    pub(super) fn give_others(&mut self) {
        let digest = self.database.put(b"another application");
        let changes: Vec<UnitChange> = (0..self.scenario.others)
            .map(|number| UnitChange {
                key: other_key(number),
                digest: Some(digest),
                origin: "setup".to_owned(),
            })
            .collect();
        let clusters: Vec<ClusterChange> = self
            .agents
            .iter()
            .map(|agent| ClusterChange {
                cluster: agent.cluster,
                changes: changes.clone(),
            })
            .collect();
        self.database
            .write(&clusters, Deletions::Braked)
            .expect("nothing is taken away");
    }

    /// Something may change in every second.
    pub(super) fn change_fleet(&mut self) {
        let number = self.rng.random_range(0..self.agents.len());
        let id = self.agents[number].cluster;
        match self.rng.random_range(0..500) {
            0 if self.agents.len() < MAX_CLUSTERS => {
                let tier = if self.rng.random_bool(0.3) {
                    "canary"
                } else {
                    "prod"
                };
                self.counts.one("fleet/joined");
                self.join(cluster(tier, self.agents.len() as u128 + 1));
            }
            1 => self.label(id, MEMBER, "no", "fleet/left"),
            2..=4 => self.label(id, MEMBER, "yes", "fleet/came-back"),
            5 => self.label(id, "tier", "prod", "fleet/relabelled"),
            6 => self.label(id, "tier", "canary", "fleet/relabelled"),
            // A mistyped label takes half of the fleet out of the destination at once.
            7 => {
                let half = self.agents.len().div_ceil(2);
                for agent in 0..half {
                    let id = self.agents[agent].cluster;
                    self.label(id, MEMBER, "no", "fleet/left");
                }
            }
            8 => self.take_others(1, Deletions::Braked),
            9 | 10 => self.take_others(8, Deletions::Braked),
            11 => self.take_others(8, Deletions::Allowed),
            12 => self.give_others(),
            _ => {}
        }
    }

    fn label(&mut self, id: Uuid, label: &str, value: &str, count: &str) {
        let Some(facts) = self.database.facts.get_mut(&id) else {
            return;
        };
        let before = facts.labels.insert(label.to_owned(), value.to_owned());
        if before.as_deref() != Some(value) {
            self.counts.one(count);
        }
    }

    /// A human deletes small applications everywhere, all in one go.
    fn take_others(&mut self, count: u32, deletions: Deletions) {
        let changes: Vec<UnitChange> = (0..self.scenario.others.min(count))
            .map(|number| UnitChange {
                key: other_key(number),
                digest: None,
                origin: "human".to_owned(),
            })
            .collect();
        let clusters = self.agents.iter().map(|agent| {
            let units = &self.database.clusters[&agent.cluster].units;
            let held = changes
                .iter()
                .filter(|change| units.contains_key(&change.key));
            ClusterChange {
                cluster: agent.cluster,
                changes: held.cloned().collect(),
            }
        });
        let clusters: Vec<ClusterChange> = clusters.collect();
        match self.database.write(&clusters, deletions) {
            Ok(written) => self
                .counts
                .many("human/others-deleted", written.len() as u64),
            Err(Refusal::MassDelete { .. }) => self.counts.one("brake/units"),
            Err(refusal) => unreachable!("every agent's cluster is registered: {refusal:?}"),
        }
    }
}

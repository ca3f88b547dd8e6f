//! I22: nothing is deleted without a tombstone, and never more at once than the budgets allow.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::broken::Broken;
use crate::{
    agent::Agent,
    database::{ClusterRow, Database},
    scenario::unit_key,
};

/// Watches what is there and what was taken away.
#[derive(Clone, Debug, Default)]
pub struct Deletions {
    /// What ran in each cluster when it was looked at last, by unit.
    running: BTreeMap<Uuid, BTreeSet<String>>,
    /// The generation of each cluster that was looked at last, and its live units then.
    judged: BTreeMap<Uuid, (u64, u64)>,
    /// How many removals from clusters that left were looked at.
    taken: usize,
}

impl Deletions {
    /// Looks at everything after an event.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn look(&mut self, database: &Database, agents: &[Agent]) -> Result<(), Broken> {
        for agent in agents {
            self.nothing_vanishes(database, agent)?;
        }
        for (cluster, row) in &database.clusters {
            self.units_go_slowly(database, *cluster, row)?;
        }
        for (leaving, holding) in &database.taken[self.taken..] {
            if *leaving > 1 && leaving * 5 > *holding {
                let detail = format!("{leaving} of {holding} clusters lost it at once");
                return Err(Broken::new("I22-clusters", detail));
            }
        }
        self.taken = database.taken.len();
        Ok(())
    }

    fn nothing_vanishes(&mut self, database: &Database, agent: &Agent) -> Result<(), Broken> {
        let before = self.running.entry(agent.cluster).or_default();
        let has_workload = !agent.member.image.is_empty();
        let same = before.contains(&unit_key()) == has_workload
            && before.len() == agent.member.others.len() + usize::from(has_workload);
        if same {
            return Ok(());
        }
        let mut now = agent.member.others.clone();
        if has_workload {
            now.insert(unit_key());
        }
        for key in before.difference(&now) {
            if *key == unit_key() && agent.member.deleted_by_hand {
                continue;
            }
            let held = agent.durable.units.get(key);
            let told = held.is_some_and(|(generation, digest)| {
                let tombstone = (agent.cluster, key.clone(), *generation);
                digest.is_none() && database.tombstones.contains(&tombstone)
            });
            if !told {
                let detail = format!("{} lost {key}, of which it holds {held:?}", agent.cluster);
                return Err(Broken::new("I22-deleted", detail));
            }
        }
        *before = now;
        Ok(())
    }

    fn units_go_slowly(
        &mut self,
        database: &Database,
        cluster: Uuid,
        row: &ClusterRow,
    ) -> Result<(), Broken> {
        let judged = self.judged.get(&cluster).copied().unwrap_or_default();
        let (generation, live_before) = judged;
        if generation == row.generation {
            return Ok(());
        }
        let live = row.units.values().filter(|(_, digest)| digest.is_some());
        let live = live.count() as u64;
        self.judged.insert(cluster, (row.generation, live));
        let gone = row
            .units
            .values()
            .filter(|(changed, digest)| *changed > generation && digest.is_none())
            .count() as u64;
        let allowed = database.allowed.contains(&(cluster, row.generation));
        if gone > 5 && gone * 5 > live_before && !allowed {
            let detail = format!("{gone} of {live_before} units of {cluster} went at once");
            return Err(Broken::new("I22-units", detail));
        }
        Ok(())
    }
}

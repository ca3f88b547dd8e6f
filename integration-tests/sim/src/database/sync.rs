//! Desired state and streams, as the store keeps them.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_hub_core::clock;
use bellwether_store::{
    Digest,
    conformance::Refusal,
    desired::{
        ClusterChange, Deletions, Delta, Snapshot, UnitChange, UnitVersion, Written,
        needs_allowance,
    },
    sessions::Ack,
};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::Database;

const LEASE: SignedDuration = SignedDuration::from_secs(clock::LEASE.as_secs() as i64);

impl Database {
    /// Writes changes of desired state, all or none.
    ///
    /// # Errors
    /// A cluster is not registered, or too many units would go at once.
    pub fn write(
        &mut self,
        changes: &[ClusterChange],
        deletions: Deletions,
    ) -> Result<Vec<Written>, Refusal> {
        let mut wanted: BTreeMap<Uuid, BTreeMap<&str, &UnitChange>> = BTreeMap::new();
        for change in changes {
            let row = self
                .clusters
                .get(&change.cluster)
                .ok_or(Refusal::UnknownCluster)?;
            let units = wanted.entry(change.cluster).or_default();
            units.extend(change.changes.iter().map(|unit| (unit.key.as_str(), unit)));
            units.retain(|key, unit| {
                row.units.get(*key).and_then(|(_, digest)| *digest) != unit.digest
            });
        }
        wanted.retain(|_, units| !units.is_empty());
        for (cluster, units) in &wanted {
            let row = &self.clusters[cluster];
            let total = count(
                row.units
                    .values()
                    .filter(|(_, digest)| digest.is_some())
                    .count(),
            );
            let gone = count(units.values().filter(|unit| unit.digest.is_none()).count());
            let braked = deletions == Deletions::Braked && !self.unbraked;
            if braked && needs_allowance(gone, total) {
                return Err(Refusal::MassDelete { count: gone, total });
            }
        }
        let mut written = Vec::new();
        for (cluster, units) in wanted {
            let Some(row) = self.clusters.get_mut(&cluster) else {
                continue;
            };
            let commands = units.keys().all(|key| key.starts_with("command/"));
            row.generation += u64::from(!(commands && self.reuses_generations));
            if deletions == Deletions::Allowed {
                self.allowed.insert((cluster, row.generation));
            }
            for (key, unit) in units {
                if unit.digest.is_none() {
                    let tombstone = (cluster, key.to_owned(), row.generation);
                    self.tombstones.insert(tombstone);
                }
                let old = row
                    .units
                    .insert(key.to_owned(), (row.generation, unit.digest));
                if let Some((_, Some(old))) = old {
                    row.root.remove(key, &old.0);
                }
                if let Some(new) = unit.digest {
                    row.root.add(key, &new.0);
                }
            }
            written.push(Written {
                cluster,
                generation: row.generation,
                root: row.root,
            });
        }
        Ok(written)
    }

    /// What changed after a generation; absent when the cluster is not registered.
    #[must_use]
    pub fn delta(&self, cluster: Uuid, since: u64) -> Option<Delta> {
        let row = self.clusters.get(&cluster)?;
        let changes = row
            .units
            .iter()
            .filter(|(_, (generation, _))| *generation > since);
        Some(Delta {
            from: since,
            to: row.generation,
            root: row.root,
            changes: changes.map(version).collect(),
        })
    }

    /// Everything that a cluster shall hold, tombstones too; absent when it is not registered.
    #[must_use]
    pub fn snapshot(&self, cluster: Uuid) -> Option<Snapshot> {
        let row = self.clusters.get(&cluster)?;
        Some(Snapshot {
            generation: row.generation,
            root: row.root,
            units: row.units.iter().map(version).collect(),
        })
    }

    /// Starts a stream; gives its epoch.
    pub fn open_session(&mut self, cluster: Uuid, replica: Uuid, seen: u64) -> Option<u64> {
        let row = self.clusters.get_mut(&cluster)?;
        let given = if self.trusts_seen_epochs {
            0
        } else {
            row.epoch
        };
        row.epoch = given.max(seen) + 1;
        row.replica = Some(replica);
        Some(row.epoch)
    }

    /// Ends a stream, unless it was replaced.
    pub fn close_session(&mut self, cluster: Uuid, epoch: u64, last_beat: Timestamp) {
        if let Some(row) = self.clusters.get_mut(&cluster)
            && row.epoch == epoch
        {
            row.replica = None;
            row.last_seen = row.last_seen.max(Some(last_beat));
        }
    }

    /// Records acknowledgements; gives the clusters whose epoch is old, sorted.
    pub fn ack(&mut self, acks: &[Ack]) -> Vec<Uuid> {
        let mut fenced = BTreeSet::new();
        for ack in acks {
            match self.clusters.get_mut(&ack.cluster) {
                Some(row) if row.epoch == ack.epoch => {
                    // Nobody holds what was never written.
                    row.acked = row.acked.max(ack.generation.min(row.generation));
                }
                _ => {
                    fenced.insert(ack.cluster);
                }
            }
        }
        fenced.into_iter().collect()
    }

    /// Tells whether a live hub holds the cluster's stream, and when it was last known to be there.
    #[must_use]
    pub fn link(&self, cluster: Uuid, now: Timestamp) -> (bool, Option<Timestamp>) {
        let Some(row) = self.clusters.get(&cluster) else {
            return (false, None);
        };
        let renewed = row
            .replica
            .and_then(|replica| self.leases.get(&replica))
            .copied();
        let open = renewed.is_some_and(|at| now.duration_since(at) < LEASE);
        (open, row.last_seen.max(renewed))
    }
}

fn version((key, (generation, digest)): (&String, &(u64, Option<Digest>))) -> UnitVersion {
    UnitVersion {
        key: key.clone(),
        generation: *generation,
        digest: *digest,
        deletion: None,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

//! The hub's database: one serialisable truth that two hubs share.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{root::Root, status::UnitStatus};
use bellwether_hub_core::{
    plan::Plan,
    release::Release,
    run::{AnsweredAction, PendingAction, RunState},
};
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

/// How long a hub counts as alive without renewing its lease.
pub const LEASE: SignedDuration = SignedDuration::from_secs(15);

/// Everything that is durable at the hub.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// Registered clusters.
    pub clusters: BTreeMap<Uuid, ClusterRow>,
    /// Contents by digest.
    pub blobs: BTreeMap<[u8; 32], Vec<u8>>,
    /// The latest report of each cluster.
    pub statuses: BTreeMap<Uuid, StatusRow>,
    /// Releases by revision, from 1.
    pub releases: Vec<Release>,
    /// Runs, oldest first; one a release.
    pub runs: Vec<RunRow>,
    /// What humans said.
    pub actions: Vec<ActionRow>,
    /// When each hub renewed its lease.
    pub leases: BTreeMap<Uuid, Timestamp>,
    /// Every bundle that was ever granted, by cluster: (run, attempt, digest).
    pub granted: BTreeSet<(Uuid, Uuid, u32, [u8; 32])>,
}

/// One cluster with its stream.
#[derive(Clone, Debug, Default)]
pub struct ClusterRow {
    /// Unit → (generation of its last change, digest or tombstone).
    pub units: BTreeMap<String, (u64, Option<Digest>)>,
    /// What it shall hold.
    pub generation: u64,
    /// The root at that generation.
    pub root: Root,
    /// What it holds.
    pub acked: u64,
    /// Rises with every stream.
    pub epoch: u64,
    /// The hub that holds its stream.
    pub replica: Option<Uuid>,
    /// When its last stream was known to be there.
    pub last_seen: Option<Timestamp>,
}

/// The latest report of one cluster on the application.
#[derive(Clone, Debug)]
pub struct StatusRow {
    /// The session.
    pub epoch: u64,
    /// Its number in the session.
    pub sequence: u64,
    /// The report.
    pub status: UnitStatus,
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunRow {
    /// Its id.
    pub id: Uuid,
    /// The revision of its release.
    pub revision: u64,
    /// The revision of the last release that succeeded before; absent = none.
    pub previous: Option<u64>,
    /// The plan.
    pub plan: Plan,
    /// The state.
    pub state: RunState,
    /// Rises with every save.
    pub version: u64,
}

/// One action.
#[derive(Clone, Debug)]
pub struct ActionRow {
    /// The run.
    pub run: Uuid,
    /// What was said.
    pub action: PendingAction,
    /// What became of it; absent = nothing yet.
    pub answer: Option<AnsweredAction>,
}

impl Database {
    /// Registers a cluster that holds nothing.
    pub fn register(&mut self, cluster: Uuid) {
        self.clusters.insert(cluster, ClusterRow::default());
    }

    /// Stores a content.
    pub fn put(&mut self, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        self.blobs
            .entry(digest.0)
            .or_insert_with(|| content.to_vec());
        digest
    }

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
            if deletions == Deletions::Braked && needs_allowance(gone, total) {
                return Err(Refusal::MassDelete { count: gone, total });
            }
        }
        let mut written = Vec::new();
        for (cluster, units) in wanted {
            let Some(row) = self.clusters.get_mut(&cluster) else {
                continue;
            };
            row.generation += 1;
            for (key, unit) in units {
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
        row.epoch = row.epoch.max(seen) + 1;
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
        let open = renewed.is_some_and(|at| now.duration_since(at) <= LEASE);
        (open, row.last_seen.max(renewed))
    }

    /// Returns the newest run.
    #[must_use]
    pub fn newest_run(&self) -> Option<&RunRow> {
        self.runs.last()
    }
}

fn version((key, (generation, digest)): (&String, &(u64, Option<Digest>))) -> UnitVersion {
    UnitVersion {
        key: key.clone(),
        generation: *generation,
        digest: *digest,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

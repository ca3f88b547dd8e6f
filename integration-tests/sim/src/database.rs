//! The hub's database: one serialisable truth that two hubs share.

mod sync;

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api::{
    root::Root,
    status::{RunEvent, UnitStatus},
};
use bellwether_hub_core::{
    clock::Reading,
    placement::{ClusterFacts, place},
    plan::Plan,
    release::{Release, ReleaseContent},
    run::{AnsweredAction, PendingAction, RunState},
};
use bellwether_store::Digest;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::scenario::destination;

/// Everything that is durable at the hub.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// How far the wall clock of its machine is ahead of the time that really passes.
    pub wall: SignedDuration,
    /// When a hub last began by its clock after an outage of all hubs, in the time that really
    /// passes: a clock that was set forward meanwhile looks like a longer outage.
    pub resumed: Option<Timestamp>,
    /// Whether it lets any number of units go at once: a guard that a mutant removes.
    pub unbraked: bool,
    /// Whether it changes commands without a new generation: a guard that a mutant removes.
    pub reuses_generations: bool,
    /// Whether it counts streams on from what their agent has seen: a guard that a mutant removes.
    pub trusts_seen_epochs: bool,
    /// What the user wants of the application; absent = it was deleted, or never made.
    pub application: Option<ReleaseContent>,
    /// Registered clusters with their labels.
    pub facts: BTreeMap<Uuid, ClusterFacts>,
    /// Registered clusters with their streams.
    pub clusters: BTreeMap<Uuid, ClusterRow>,
    /// Events of each cluster by their number.
    pub events: BTreeMap<Uuid, BTreeMap<u64, RunEvent>>,
    /// Contents by digest.
    pub blobs: BTreeMap<[u8; 32], Vec<u8>>,
    /// The latest report of each cluster.
    pub statuses: BTreeMap<Uuid, StatusRow>,
    /// Releases by revision, from 1; empty again once the application is deleted.
    pub releases: Vec<Release>,
    /// Releases that restore an earlier one, by revision: which, and the digest of what the records
    /// ask for meanwhile.
    pub restored: BTreeMap<u64, (u64, String)>,
    /// Runs, oldest first; one a release.
    pub runs: Vec<RunRow>,
    /// Runs that were ever made.
    pub made: u64,
    /// What humans said.
    pub actions: Vec<ActionRow>,
    /// When each hub renewed its lease.
    pub leases: BTreeMap<Uuid, Timestamp>,
    /// Every bundle that was ever granted, by cluster: (run, attempt, digest).
    pub granted: BTreeSet<(Uuid, Uuid, u32, [u8; 32])>,
    /// Every tombstone that was ever written: (cluster, unit, generation).
    pub tombstones: BTreeSet<(Uuid, String, u64)>,
    /// Generations in which a human allowed any number of deletions, by cluster.
    pub allowed: BTreeSet<(Uuid, u64)>,
    /// Clusters that left the destination and lost the application at once, of how many that had
    /// it, every time.
    pub taken: Vec<(usize, usize)>,
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
    /// When it was made, by the hub that did.
    pub made_at: Timestamp,
    /// When it was saved last, by the hub that did.
    pub saved_at: Timestamp,
}

/// One action.
#[derive(Clone, Debug)]
pub struct ActionRow {
    /// The run.
    pub run: Uuid,
    /// What was said.
    pub action: PendingAction,
    /// The revision that a rollback names; absent = the last that succeeded.
    pub to_revision: Option<u64>,
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

    /// Keeps events that it does not have; told again, they are the same.
    pub fn tell(&mut self, cluster: Uuid, events: &[RunEvent]) {
        let kept = self.events.entry(cluster).or_default();
        for event in events {
            kept.entry(event.seq).or_insert_with(|| event.clone());
        }
    }

    /// Tells the time, when `truth` is the time that really passes.
    #[must_use]
    pub fn read_time(&self, truth: Timestamp) -> Reading {
        let seen = self.clusters.values().filter_map(|row| row.last_seen);
        let saved = self.runs.iter().map(|run| run.saved_at);
        Reading {
            database: truth + self.wall,
            saved: saved.chain(seen).chain(self.leases.values().copied()).max(),
            renewed: self.leases.clone(),
        }
    }

    /// Returns the clusters that the application is meant for.
    #[must_use]
    pub fn placed(&self) -> Vec<ClusterFacts> {
        let facts: Vec<ClusterFacts> = self.facts.values().cloned().collect();
        place(&destination(), None, &facts)
            .expect("the destination has a selector")
            .clusters
    }

    /// Returns the clusters that shall hold a unit.
    #[must_use]
    pub fn holders(&self, key: &str) -> BTreeSet<Uuid> {
        let live = self.clusters.iter().filter(|(_, row)| {
            row.units
                .get(key)
                .is_some_and(|(_, digest)| digest.is_some())
        });
        live.map(|(cluster, _)| *cluster).collect()
    }

    /// Tells whether the newest release restores an earlier one, and the records still ask for what
    /// it was restored instead of.
    #[must_use]
    pub fn stays_restored(&self, wanted: &ReleaseContent) -> bool {
        let newest = self.releases.last();
        let restored = newest.and_then(|release| self.restored.get(&release.revision));
        restored.is_some_and(|(_, instead_of)| *instead_of == wanted.digest())
    }

    /// Returns the newest run.
    #[must_use]
    pub fn newest_run(&self) -> Option<&RunRow> {
        self.runs.last()
    }
}

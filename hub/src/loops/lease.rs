use std::{collections::BTreeMap, time::Duration};

use bellwether_api::reference::NamespacedName;
use bellwether_store::{
    Store, StoreError, Tx,
    leases::{self, SHARDS, ShardLease, shard_of},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::LoopError;
use crate::clock::Clock;

/// How long a shard stays with a hub that says nothing.
const TTL: Duration = Duration::from_secs(15);
/// How often leases are renewed; well under a third of their length.
const RENEW_EVERY: Duration = Duration::from_secs(4);

/// The shards that this hub works on.
#[derive(Debug)]
pub(super) struct Shards {
    replica: Uuid,
    clock: Clock,
    held: BTreeMap<u8, ShardLease>,
    renewed: Option<Timestamp>,
}

impl Shards {
    pub const fn new(replica: Uuid, clock: Clock) -> Self {
        Self {
            replica,
            clock,
            held: BTreeMap::new(),
            renewed: None,
        }
    }

    /// Renews what is held and takes its share, if it is time to. Returns the shards that are new.
    pub async fn renew(&mut self, store: &Store, now: Timestamp) -> Result<bool, StoreError> {
        let due = self.renewed.is_none_or(|at| {
            now.duration_since(at).unsigned_abs() >= RENEW_EVERY || self.held.is_empty()
        });
        if !due {
            return Ok(false);
        }
        let mut replicas = leases::live_replicas(store, now).await?;
        if !replicas.contains(&self.replica) {
            replicas.push(self.replica);
        }
        let count = u8::try_from(replicas.len()).unwrap_or(SHARDS).max(1);
        let leases =
            leases::acquire_shards(store, self.replica, SHARDS.div_ceil(count), now, TTL).await?;
        let held: BTreeMap<u8, ShardLease> = leases
            .into_iter()
            .map(|lease| (lease.shard, lease))
            .collect();
        let gained = held.iter().any(|(shard, lease)| {
            self.held
                .get(shard)
                .is_none_or(|old| old.epoch != lease.epoch)
        });
        self.held = held;
        self.renewed = Some(now);
        Ok(gained)
    }

    /// Has what is held read again at the next renewal, whenever that was due.
    pub const fn forget(&mut self) {
        self.renewed = None;
    }

    /// Returns the fence of an application; absent = another hub works on it.
    pub fn fence(&self, application: &NamespacedName) -> Option<Fence> {
        let shard = shard_of(&application.to_string());
        self.held.get(&shard).map(|lease| Fence {
            replica: self.replica,
            clock: self.clock,
            lease: *lease,
        })
    }
}

/// The right to write for the applications of one shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fence {
    replica: Uuid,
    clock: Clock,
    lease: ShardLease,
}

impl Fence {
    /// The right to write for whatever else is worked on by the hub that holds a shard.
    pub const fn of(replica: Uuid, clock: Clock, lease: ShardLease) -> Self {
        Self {
            replica,
            clock,
            lease,
        }
    }

    /// Tells the time by which its lease is judged.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Begins a transaction in which the shard cannot go to another hub.
    pub async fn begin(&self, store: &Store, now: Timestamp) -> Result<Tx, LoopError> {
        let mut tx = store.begin().await?;
        leases::fence(&mut tx, self.replica, &self.lease, now).await?;
        Ok(tx)
    }
}

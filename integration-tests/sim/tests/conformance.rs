//! The simulation's database does what Postgres does: the same suite runs against both.

use std::cell::{Cell, RefCell};

use bellwether_sim::database::Database;
use bellwether_store::{
    Digest,
    conformance::{self, Refusal, SyncStore},
    desired::{ClusterChange, Deletions, Delta, Snapshot, Written},
    sessions::Ack,
};
use uuid::Uuid;

#[derive(Default)]
struct Simulated {
    database: RefCell<Database>,
    clusters: Cell<u128>,
}

impl SyncStore for Simulated {
    async fn add_cluster(&self) -> Uuid {
        self.clusters.set(self.clusters.get() + 1);
        let cluster = Uuid::from_u128(self.clusters.get());
        self.database.borrow_mut().register(cluster);
        cluster
    }

    async fn put_blob(&self, content: &[u8]) -> Digest {
        self.database.borrow_mut().put(content)
    }

    async fn write(
        &self,
        changes: &[ClusterChange],
        deletions: Deletions,
    ) -> Result<Vec<Written>, Refusal> {
        self.database.borrow_mut().write(changes, deletions)
    }

    async fn delta(&self, cluster: Uuid, since: u64) -> Option<Delta> {
        self.database.borrow().delta(cluster, since)
    }

    async fn snapshot(&self, cluster: Uuid) -> Option<Snapshot> {
        self.database.borrow().snapshot(cluster)
    }

    async fn open_session(&self, cluster: Uuid, replica: Uuid, seen_epoch: u64) -> Option<u64> {
        self.database
            .borrow_mut()
            .open_session(cluster, replica, seen_epoch)
    }

    async fn ack(&self, acks: &[Ack]) -> Vec<Uuid> {
        self.database.borrow_mut().ack(acks)
    }

    async fn acked_generation(&self, cluster: Uuid) -> u64 {
        self.database.borrow().clusters[&cluster].acked
    }
}

#[tokio::test]
async fn the_database_conforms() {
    conformance::run(|| async { Simulated::default() }).await;
}

//! The store of desired state does what every such store must do.

use bellwether_store::{
    Digest, Store, blobs,
    blobs::Secrecy,
    clusters,
    conformance::{self, Refusal, SyncStore},
    desired::{self, ClusterChange, Deletions, Delta, Snapshot, WriteError, Written},
    sessions::{self, Ack, OpenSession},
    testing,
};
use jiff::Timestamp;
use uuid::Uuid;

struct OnPostgres(Store);

impl SyncStore for OnPostgres {
    async fn add_cluster(&self) -> Uuid {
        let id = Uuid::new_v4();
        let new = clusters::NewCluster {
            id,
            name: id.to_string(),
            labels: Default::default(),
            annotations: Default::default(),
            spec: serde_json::json!({}),
            by: "test".to_owned(),
        };
        let mut tx = self.0.begin().await.unwrap();
        clusters::create(&mut tx, &new, Timestamp::now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn put_blob(&self, content: &[u8]) -> Digest {
        let mut tx = self.0.begin().await.unwrap();
        let digest = blobs::put(&mut tx, content, Secrecy::Plain, Timestamp::now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        digest
    }

    async fn write(
        &self,
        changes: &[ClusterChange],
        deletions: Deletions,
    ) -> Result<Vec<Written>, Refusal> {
        let mut tx = self.0.begin().await.unwrap();
        match desired::write(&mut tx, changes, deletions).await {
            Ok(written) => {
                tx.commit().await.unwrap();
                Ok(written)
            }
            Err(WriteError::MassDelete { count, total, .. }) => {
                Err(Refusal::MassDelete { count, total })
            }
            Err(WriteError::UnknownCluster { .. }) => Err(Refusal::UnknownCluster),
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn delta(&self, cluster: Uuid, since: u64) -> Option<Delta> {
        desired::delta(&self.0, cluster, since).await.unwrap()
    }

    async fn snapshot(&self, cluster: Uuid) -> Option<Snapshot> {
        desired::snapshot(&self.0, cluster).await.unwrap()
    }

    async fn open_session(&self, cluster: Uuid, replica: Uuid, seen_epoch: u64) -> Option<u64> {
        let session = OpenSession {
            cluster,
            seen_epoch,
            agent_version: "1".to_owned(),
            kubernetes_version: "1.33".to_owned(),
            capabilities: vec!["apps/v1".to_owned()],
        };
        let opened = sessions::open(&self.0, &session, replica, Timestamp::now())
            .await
            .unwrap();
        opened.map(|session| session.epoch)
    }

    async fn ack(&self, acks: &[Ack]) -> Vec<Uuid> {
        sessions::ack(&self.0, acks).await.unwrap()
    }

    async fn acked_generation(&self, cluster: Uuid) -> u64 {
        let cluster = clusters::by_id(&self.0, cluster).await.unwrap().unwrap();
        cluster.connection.acked_generation
    }
}

#[tokio::test]
async fn postgres_conforms() {
    let store = testing::store().await;
    // The checks make clusters of their own and need no database each.
    conformance::run(|| async { OnPostgres(store.clone()) }).await;
}

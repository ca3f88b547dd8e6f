use std::{collections::BTreeMap, time::Duration};

use bellwether_api::reference::NamespacedName;
use bellwether_store::{
    Store,
    blobs::Secrecy,
    clusters::{self, NewCluster},
    leases,
    records::{self, NewRecord, RecordKey, RecordKind},
    sessions::{self, OpenSession},
    testing::TestDatabase,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::Gatherer;
use crate::loops::{plan, queue::Queue};

/// An application in one cluster, whose stream is at hub `replica`.
async fn connected(store: &Store, replica: Uuid, now: Timestamp) {
    let cluster = Uuid::now_v7();
    let mut tx = store.begin().await.expect("a transaction");
    let new = NewCluster {
        id: cluster,
        name: "c1".to_owned(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        spec: json!({}),
        by: "test".to_owned(),
    };
    clusters::create(&mut tx, &new, now)
        .await
        .expect("a cluster");
    let new = NewRecord {
        key: RecordKey {
            kind: RecordKind::Application,
            namespace: "default".to_owned(),
            name: "shop".to_owned(),
        },
        uid: Uuid::now_v7(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        spec: json!({"destination": {"clusters": ["c1"]}, "components": []}),
        secrecy: Secrecy::Plain,
        by: "test".to_owned(),
        reason: String::new(),
    };
    records::apply(&mut tx, &new, None, now)
        .await
        .expect("a record");
    tx.commit().await.expect("a commit");
    let open = OpenSession {
        cluster,
        seen_epoch: 0,
        agent_version: String::new(),
        kubernetes_version: String::new(),
        capabilities: Vec::new(),
    };
    sessions::open(store, &open, replica, now)
        .await
        .expect("an answer")
        .expect("a session");
}

fn drain(queue: &mut Queue) -> Vec<NamespacedName> {
    let mut found = Vec::new();
    while let Some(application) = queue.next() {
        queue.done(&application);
        found.push(application);
    }
    found
}

#[tokio::test]
async fn who_was_connected_to_a_hub_that_died_is_looked_at_when_its_lease_runs_out() {
    let database = TestDatabase::create().await;
    let store = database.store().await;
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let replica = Uuid::now_v7();
    connected(&store, replica, now).await;
    // Whoever plans has every shard as long as no other hub is known.
    plan::once(&store, None, Uuid::now_v7(), now)
        .await
        .expect("planned");
    let ttl = Duration::from_secs(10);
    leases::renew_replica(&store, replica, now, ttl)
        .await
        .expect("a lease");
    let mut gatherer = Gatherer::new(store, None);
    let mut queue = Queue::default();
    let mut look = async |seconds| {
        let at = now + SignedDuration::from_secs(seconds);
        gatherer.gather(&mut queue, at).await.expect("gathered");
        drain(&mut queue).len()
    };
    assert_eq!(look(0).await, 1, "the first look gives everything");
    assert_eq!(look(9).await, 0, "nothing happened");
    assert_eq!(look(10).await, 1, "the lease ran out");
    assert_eq!(look(11).await, 0, "once");
}

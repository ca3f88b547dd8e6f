//! Leases and streams: who holds what, and until when.

use std::{collections::BTreeSet, time::Duration};

use bellwether_api::root::Root;
use bellwether_store::{
    clock, clusters,
    desired::{self, Deletions, Target},
    hints::{HintListener, Hinter},
    leases::{self, FenceError, SHARDS},
    sessions::{self, Resume},
    testing::{self, TestDatabase},
};
use uuid::Uuid;

use crate::fixture::{at, blob, change, cluster, open};

const TTL: Duration = Duration::from_secs(15);

#[tokio::test]
async fn shards_are_shared_and_fenced() {
    let store = testing::store().await;
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let all = leases::acquire_shards(&store, one, SHARDS, at(0), TTL)
        .await
        .unwrap();
    assert_eq!(all.len(), usize::from(SHARDS));
    let none = leases::acquire_shards(&store, two, SHARDS, at(1), TTL)
        .await
        .unwrap();
    assert_eq!(none, []);
    // The first takes its share only, the second gets the rest.
    let half = leases::acquire_shards(&store, one, SHARDS / 2, at(2), TTL)
        .await
        .unwrap();
    let rest = leases::acquire_shards(&store, two, SHARDS / 2, at(3), TTL)
        .await
        .unwrap();
    let shards: BTreeSet<u8> = half.iter().chain(&rest).map(|lease| lease.shard).collect();
    assert_eq!(shards.len(), usize::from(SHARDS));
    assert!(
        half.iter().all(|lease| lease.epoch == 1),
        "renewing keeps the epoch"
    );
    assert!(
        rest.iter().all(|lease| lease.epoch == 2),
        "a new owner has a new one"
    );

    let mut tx = store.begin().await.unwrap();
    leases::fence(&mut tx, one, &half[0], at(4)).await.unwrap();
    let given_away = all
        .iter()
        .find(|lease| lease.shard == rest[0].shard)
        .unwrap();
    let lost = leases::fence(&mut tx, one, given_away, at(4)).await;
    assert!(matches!(lost, Err(FenceError::Lost { .. })));
    let late = leases::fence(&mut tx, one, &half[0], at(17)).await;
    assert!(
        matches!(late, Err(FenceError::Lost { .. })),
        "its time is over"
    );
    tx.commit().await.unwrap();
    // What runs out is taken over with a new epoch.
    let taken = leases::acquire_shards(&store, two, SHARDS, at(17), TTL)
        .await
        .unwrap();
    assert_eq!(taken.len(), usize::from(SHARDS));
    assert!(taken.iter().all(|lease| lease.epoch == 2));
    assert_eq!(
        leases::shard_of("default/shop"),
        leases::shard_of("default/shop")
    );
    assert!(leases::shard_of("default/shop") < SHARDS);
}

#[tokio::test]
async fn a_cluster_is_connected_while_its_hub_lives() {
    let store = testing::store().await;
    let (hub, id) = (Uuid::new_v4(), cluster(&store, "one").await);
    leases::renew_replica(&store, hub, at(0), TTL)
        .await
        .unwrap();
    let session = open(&store, id, hub).await;
    leases::renew_replica(&store, hub, at(5), TTL)
        .await
        .unwrap();
    let connection = clusters::by_id(&store, id)
        .await
        .unwrap()
        .unwrap()
        .connection;
    assert!(connection.is_open(at(19)));
    assert!(
        !connection.is_open(at(20)),
        "the hub is dead: nothing is known"
    );
    assert_eq!(connection.last_seen, Some(at(5)));
    assert_eq!(leases::live_replicas(&store, at(19)).await.unwrap(), [hub]);

    sessions::close(&store, id, session.epoch - 1, at(6))
        .await
        .unwrap();
    let connection = clusters::by_id(&store, id)
        .await
        .unwrap()
        .unwrap()
        .connection;
    assert_eq!(
        connection.replica,
        Some(hub),
        "an older stream's end changes nothing"
    );
    sessions::close(&store, id, session.epoch, at(7))
        .await
        .unwrap();
    let connection = clusters::by_id(&store, id)
        .await
        .unwrap()
        .unwrap()
        .connection;
    assert_eq!(
        (connection.replica, connection.last_seen),
        (None, Some(at(7)))
    );

    open(&store, id, hub).await;
    leases::release_replica(&store, hub, at(9)).await.unwrap();
    let connection = clusters::by_id(&store, id)
        .await
        .unwrap()
        .unwrap()
        .connection;
    assert_eq!(
        (connection.replica, connection.last_seen),
        (None, Some(at(9)))
    );
    assert!(
        leases::live_replicas(&store, at(9))
            .await
            .unwrap()
            .is_empty()
    );
    leases::renew_replica(&store, hub, at(0), TTL)
        .await
        .unwrap();
    assert_eq!(leases::sweep(&store, at(100)).await.unwrap(), 1);
}

#[tokio::test]
async fn one_lookup_tells_how_each_agent_resumes() {
    let store = testing::store().await;
    let digest = blob(&store, b"1").await;
    let mut held = Vec::new();
    for name in ["current", "behind", "wrong", "ahead"] {
        let id = cluster(&store, name).await;
        let written = desired::fan_out(
            &store,
            vec![change(id, "a", Some(digest))],
            Deletions::Braked,
        )
        .await
        .unwrap();
        let target = Target {
            generation: 1,
            root: written[0].root,
        };
        let target = match name {
            "behind" => Target {
                generation: 0,
                root: Root::EMPTY,
            },
            "wrong" => Target {
                root: Root::EMPTY,
                ..target
            },
            "ahead" => Target {
                generation: 9,
                ..target
            },
            _ => target,
        };
        held.push((id, target));
    }
    let answers = sessions::resume(&store, &held).await.unwrap();
    let decisions: Vec<Resume> = held.iter().map(|(id, _)| answers[id].0).collect();
    assert_eq!(
        decisions,
        [
            Resume::Current,
            Resume::Delta,
            Resume::Snapshot,
            Resume::Ahead
        ]
    );

    let ahead = held[3].0;
    let mut tx = store.begin().await.unwrap();
    let target = desired::jump_past(&mut tx, ahead, 9).await.unwrap();
    assert!(
        desired::jump_past(&mut tx, ahead, u64::MAX).await.is_err(),
        "no agent holds that"
    );
    tx.commit().await.unwrap();
    assert_eq!(target.generation, 10);
    let snapshot = desired::snapshot(&store, ahead).await.unwrap().unwrap();
    assert_eq!((snapshot.generation, snapshot.units.len()), (10, 1));
    let next = blob(&store, b"2").await;
    let written = desired::fan_out(
        &store,
        vec![change(ahead, "a", Some(next))],
        Deletions::Braked,
    );
    assert_eq!(written.await.unwrap()[0].generation, 11);
}

#[tokio::test]
async fn many_streams_open_in_one_transaction() {
    let store = testing::store().await;
    let mut all = Vec::new();
    for number in 0..50 {
        all.push(sessions::OpenSession {
            cluster: cluster(&store, &format!("cluster-{number}")).await,
            seen_epoch: 4,
            agent_version: "1 \0".to_owned(),
            kubernetes_version: "v1.33".to_owned(),
            capabilities: (0..number % 3).map(|group| group.to_string()).collect(),
        });
    }
    let opened = sessions::open_many(&store, &all, Uuid::new_v4(), at(1))
        .await
        .unwrap();
    assert_eq!(opened.len(), 50);
    assert!(opened.iter().all(|session| session.epoch == 5));
    assert!(opened.is_sorted_by_key(|session| session.cluster));
    let clusters = clusters::list(&store).await.unwrap();
    for session in &all {
        let cluster = clusters
            .iter()
            .find(|cluster| cluster.id == session.cluster)
            .unwrap();
        assert_eq!(cluster.capabilities, session.capabilities);
        assert_eq!(cluster.agent_version.as_deref(), Some("1 \u{fffd}"));
    }
}

#[tokio::test]
async fn a_hint_reaches_the_other_hub() {
    let database = TestDatabase::create().await;
    let (one, two) = (database.store().await, database.store().await);
    let mut listener = HintListener::new(two);
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, listener.wait())
        .await
        .expect("connecting is a hint itself");
    let hinter = Hinter::new();
    let giver = tokio::spawn({
        let hinter = hinter.clone();
        async move { hinter.run(&one).await }
    });
    for _ in 0..100 {
        hinter.hint();
    }
    tokio::time::timeout(patience, listener.wait())
        .await
        .expect("the hint arrives");
    giver.abort();
}

#[tokio::test]
async fn the_time_is_read_with_what_hubs_saved() {
    let store = testing::store().await;
    let empty = clock::read(&store).await.unwrap();
    assert_eq!((empty.saved, empty.renewed.len()), (None, 0));
    let hub = Uuid::from_u128(1);
    let held = cluster(&store, "uat-1").await;
    let session = open(&store, held, hub).await;
    sessions::close(&store, held, session.epoch, at(30))
        .await
        .unwrap();
    let read = clock::read(&store).await.unwrap();
    assert_eq!((read.saved, read.renewed.len()), (Some(at(30)), 0));
    leases::renew_replica(&store, hub, at(40), TTL)
        .await
        .unwrap();
    let read = clock::read(&store).await.unwrap();
    assert_eq!(read.saved, Some(at(40)), "not when the lease ends");
    assert_eq!(read.renewed, [(hub, at(40))].into());
    assert!(read.database >= empty.database);
}

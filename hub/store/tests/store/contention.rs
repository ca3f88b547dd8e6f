//! Many writers at once: the tailer misses nothing, roots stay true, nothing deadlocks.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bellwether_api::root::Root;
use bellwether_store::{
    Digest, Store,
    desired::{self, ClusterChange, Deletions},
    sessions::{self, Ack},
    tailer::{SyncTailer, xmin_age_ms},
    testing,
};
use uuid::Uuid;

use crate::fixture::{blob, change, cluster, open};

const WRITERS: usize = 16;
const CLUSTERS: usize = 60;
const ROUNDS: usize = 25;

struct Fleet {
    clusters: Vec<Uuid>,
    digests: Vec<Digest>,
}

async fn fleet(store: &Store) -> Fleet {
    let mut clusters = Vec::new();
    for number in 0..CLUSTERS {
        clusters.push(cluster(store, &format!("cluster-{number}")).await);
    }
    let mut digests = Vec::new();
    for number in 0..WRITERS {
        digests.push(blob(store, number.to_string().as_bytes()).await);
    }
    Fleet { clusters, digests }
}

/// Writes a few clusters a transaction and holds some of them open, as slow writers do.
async fn write_much(store: Store, fleet: Arc<Fleet>, writer: usize) {
    for round in 0..ROUNDS {
        let mut changes: Vec<ClusterChange> = (0..3)
            .map(|step| {
                let cluster = fleet.clusters[(writer * 7 + round * 13 + step * 17) % CLUSTERS];
                let key = format!("application/default/app-{}", (writer + step) % 5);
                let digest = (round % 4 != 3).then(|| fleet.digests[(writer + round) % WRITERS]);
                change(cluster, &key, digest)
            })
            .collect();
        changes.reverse();
        let mut tx = store.begin().await.unwrap();
        desired::write(&mut tx, &changes, Deletions::Braked)
            .await
            .unwrap();
        let held_ms = (writer * 31 + round * 17) % 30;
        tokio::time::sleep(Duration::from_millis(u64::try_from(held_ms).unwrap())).await;
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_tailer_sees_the_last_generation_of_every_cluster() {
    let store = testing::store().await;
    let fleet = Arc::new(fleet(&store).await);
    let running = Arc::new(AtomicUsize::new(WRITERS));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (store, fleet, running) = (store.clone(), fleet.clone(), running.clone());
        writers.push(tokio::spawn(async move {
            write_much(store, fleet, writer).await;
            running.fetch_sub(1, Ordering::SeqCst);
        }));
    }
    let mut tailer = SyncTailer::new(store.clone());
    let mut seen: BTreeMap<Uuid, u64> = BTreeMap::new();
    let mut polls = 0;
    loop {
        let done = running.load(Ordering::SeqCst) == 0;
        for change in tailer.poll().await.unwrap() {
            let before = seen.insert(change.cluster, change.generation);
            assert!(
                before.is_none_or(|before| before < change.generation),
                "a repeat got through"
            );
        }
        polls += 1;
        if done {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(polls > 10, "the tailer looked while writers wrote");
    for cluster in &fleet.clusters {
        let snapshot = desired::snapshot(&store, *cluster).await.unwrap().unwrap();
        assert_eq!(
            seen[cluster], snapshot.generation,
            "the last generation was missed"
        );
        let live = snapshot
            .units
            .iter()
            .filter_map(|unit| Some((unit.key.as_str(), unit.digest.as_ref()?.as_bytes())));
        assert_eq!(
            snapshot.root,
            Root::of(live),
            "the root is the sum of what is written"
        );
    }
}

#[tokio::test]
async fn a_generation_that_commits_late_is_seen() {
    let store = testing::store().await;
    let (slow, fast) = (cluster(&store, "slow").await, cluster(&store, "fast").await);
    let digest = blob(&store, b"1").await;
    let mut tailer = SyncTailer::new(store.clone());
    tailer.poll().await.unwrap();
    let mut late = store.begin().await.unwrap();
    desired::write(
        &mut late,
        &[change(slow, "a", Some(digest))],
        Deletions::Braked,
    )
    .await
    .unwrap();
    // A later transaction commits first, and the tailer moves on.
    desired::fan_out(
        &store,
        vec![change(fast, "a", Some(digest))],
        Deletions::Braked,
    )
    .await
    .unwrap();
    let changed: Vec<Uuid> = tailer
        .poll()
        .await
        .unwrap()
        .into_iter()
        .map(|change| change.cluster)
        .collect();
    assert_eq!(changed, [fast]);
    assert!(xmin_age_ms(&store).await.unwrap() < 60_000);
    late.commit().await.unwrap();
    let changed: Vec<Uuid> = tailer
        .poll()
        .await
        .unwrap()
        .into_iter()
        .map(|change| change.cluster)
        .collect();
    assert_eq!(
        changed,
        [slow],
        "the late one, and no repeat of the fast one"
    );
    assert_eq!(tailer.poll().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fan_outs_acknowledgements_and_sessions_do_not_deadlock() {
    let store = testing::store().await;
    let fleet = Arc::new(fleet(&store).await);
    let replica = Uuid::new_v4();
    let mut tasks = Vec::new();
    for worker in 0..6_usize {
        let (store, fleet) = (store.clone(), fleet.clone());
        tasks.push(tokio::spawn(async move {
            let mut clusters = fleet.clusters.clone();
            clusters.rotate_left(worker * 9);
            if worker % 2 == 0 {
                clusters.reverse();
            }
            for round in 0..10 {
                let digest = fleet.digests[(worker + round) % WRITERS];
                match worker % 3 {
                    0 => {
                        let changes = clusters
                            .iter()
                            .map(|id| change(*id, "a", Some(digest)))
                            .collect();
                        desired::fan_out(&store, changes, Deletions::Braked)
                            .await
                            .unwrap();
                    }
                    1 => {
                        let acks: Vec<Ack> = clusters
                            .iter()
                            .map(|cluster| Ack {
                                cluster: *cluster,
                                epoch: 1,
                                generation: 1,
                                root: Root::EMPTY,
                                applied_generation: 0,
                            })
                            .collect();
                        sessions::ack(&store, &acks).await.unwrap();
                    }
                    _ => {
                        for cluster in clusters.iter().take(10) {
                            open(&store, *cluster, replica).await;
                        }
                    }
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

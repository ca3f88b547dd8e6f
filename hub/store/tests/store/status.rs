//! Status by latest value, events once, and who may say either.

use bellwether_store::{
    events::{self, EventCursor, EventFilter, Order},
    status::{self, StatusReport},
    tailer::StatusTailer,
    testing,
};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{KEY, app, at, cluster, event, open};

fn report(cluster: Uuid, epoch: u64, sequence: u64, text: &str) -> StatusReport {
    StatusReport {
        cluster,
        key: KEY.to_owned(),
        epoch,
        sequence,
        detail: json!({"text": text}),
        events: Vec::new(),
    }
}

#[tokio::test]
async fn the_latest_report_counts_whatever_the_order() {
    let store = testing::store().await;
    let id = cluster(&store, "one").await;
    let epoch = open(&store, id, Uuid::new_v4()).await.epoch;
    let batch = [report(id, epoch, 2, "two"), report(id, epoch, 1, "one")];
    let told = status::ingest(&store, &batch, at(1)).await.unwrap();
    assert!(told.fenced.is_empty());
    assert_eq!((told.acked.len(), told.acked[0].sequence), (1, 2));
    let late = status::ingest(&store, &[report(id, epoch, 1, "late")], at(2))
        .await
        .unwrap();
    assert_eq!(
        late.acked[0].sequence, 1,
        "it is overtaken, and may be confirmed"
    );
    let rows = status::list_for_application(&store, &app()).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].sequence, &rows[0].detail),
        (2, &json!({"text": "two"}))
    );
    assert_eq!(rows[0].received_at, at(1));
    // A new session starts counting again and wins all the same.
    let next = open(&store, id, Uuid::new_v4()).await.epoch;
    status::ingest(&store, &[report(id, next, 1, "new")], at(3))
        .await
        .unwrap();
    let rows = status::list_for_cluster(&store, id).await.unwrap();
    assert_eq!(rows[0].detail, json!({"text": "new"}));
}

#[tokio::test]
async fn an_old_session_says_nothing() {
    let store = testing::store().await;
    let (one, two) = (cluster(&store, "one").await, cluster(&store, "two").await);
    let old = open(&store, one, Uuid::new_v4()).await.epoch;
    let new = open(&store, one, Uuid::new_v4()).await.epoch;
    let other = open(&store, two, Uuid::new_v4()).await.epoch;
    assert!(new > old);
    let stale = StatusReport {
        events: vec![event(0, Uuid::nil())],
        ..report(one, old, 99, "from the past")
    };
    let batch = [stale, report(two, other, 1, "fine")];
    let told = status::ingest(&store, &batch, at(1)).await.unwrap();
    assert_eq!(told.fenced, [one]);
    assert_eq!((told.acked.len(), told.acked[0].cluster), (1, two));
    assert_eq!(status::list_for_cluster(&store, one).await.unwrap(), []);
    let kept = events::list(&store, &EventFilter::All, Order::Oldest, None, 10)
        .await
        .unwrap();
    assert_eq!(kept, []);
    let unknown = report(Uuid::from_u128(1), 1, 1, "nobody");
    let told = status::ingest(&store, &[unknown], at(1)).await.unwrap();
    assert_eq!(told.fenced, [Uuid::from_u128(1)]);
}

#[tokio::test]
async fn events_are_kept_once_and_confirmed_without_gaps() {
    let store = testing::store().await;
    let id = cluster(&store, "one").await;
    let epoch = open(&store, id, Uuid::new_v4()).await.epoch;
    let run = Uuid::now_v7();
    let told = |sequence, seqs: &[u64]| StatusReport {
        events: seqs.iter().map(|seq| event(*seq, run)).collect(),
        ..report(id, epoch, sequence, "x")
    };
    let first = status::ingest(&store, &[told(1, &[0, 1, 2])], at(1))
        .await
        .unwrap();
    assert_eq!(first.acked[0].event_sequence, Some(2));
    // The answer was lost, so the agent tells them again, and two more.
    let second = status::ingest(&store, &[told(2, &[0, 1, 2, 3, 4])], at(2))
        .await
        .unwrap();
    assert_eq!(second.acked[0].event_sequence, Some(4));
    let listed = events::list(&store, &EventFilter::Run(run), Order::Oldest, None, 10)
        .await
        .unwrap();
    let seqs: Vec<u64> = listed.iter().map(|row| row.event.seq).collect();
    assert_eq!(seqs, [0, 1, 2, 3, 4]);
    assert_eq!(listed[0].event, event(0, run));
    assert_eq!(
        (listed[0].cluster_name.as_str(), listed[0].received_at),
        ("one", at(1))
    );

    let mut tx = store.begin().await.unwrap();
    events::insert(&mut tx, id, KEY, &[event(7, run)], at(3))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let highest = |from| events::highest_without_gap(&store, id, KEY, from);
    assert_eq!(highest(0).await.unwrap(), Some(4));
    assert_eq!(highest(3).await.unwrap(), Some(4));
    assert_eq!(highest(5).await.unwrap(), None);
    assert_eq!(highest(7).await.unwrap(), Some(7));

    let by_application = EventFilter::Application(app());
    let newest = events::list(&store, &by_application, Order::Newest, None, 2)
        .await
        .unwrap();
    assert_eq!(
        newest.iter().map(|row| row.event.seq).collect::<Vec<_>>(),
        [7, 4]
    );
    let place = EventCursor::at(&newest[1]);
    let earlier = events::list(&store, &by_application, Order::Newest, Some(&place), 2);
    assert_eq!(earlier.await.unwrap()[0].event.seq, 3);
    let of_cluster = EventFilter::Cluster(id);
    let later = events::list(&store, &of_cluster, Order::Oldest, Some(&place), 9);
    assert_eq!(later.await.unwrap().len(), 1);
    assert_eq!(events::sweep(&store, at(2), 100).await.unwrap(), 3);
}

#[tokio::test]
async fn what_an_agent_says_cannot_break_the_batch() {
    let store = testing::store().await;
    let id = cluster(&store, "one").await;
    let epoch = open(&store, id, Uuid::new_v4()).await.epoch;
    let mut bad = event(u64::MAX, Uuid::nil());
    bad.message = "nul \0".to_owned();
    bad.at = "not a time".to_owned();
    bad.attempt = u32::MAX;
    let report = StatusReport {
        detail: json!({"nul \u{0}": ["\u{0}"]}),
        events: vec![bad],
        ..report(id, epoch, u64::MAX, "x")
    };
    let told = status::ingest(&store, &[report], at(1)).await.unwrap();
    assert_eq!(told.acked.len(), 1);
    let row = &status::list_for_cluster(&store, id).await.unwrap()[0];
    assert_eq!(row.detail, json!({"nul \u{fffd}": ["\u{fffd}"]}));
    let kept = events::list(&store, &EventFilter::All, Order::Oldest, None, 10)
        .await
        .unwrap();
    assert_eq!(kept[0].event.at, at(1).to_string());
}

#[tokio::test]
async fn the_tailer_tells_which_applications_are_dirty() {
    let store = testing::store().await;
    let id = cluster(&store, "one").await;
    let epoch = open(&store, id, Uuid::new_v4()).await.epoch;
    let mut tailer = StatusTailer::new(store.clone());
    assert!(tailer.poll_keys().await.unwrap().is_empty());
    status::ingest(&store, &[report(id, epoch, 1, "a")], at(1))
        .await
        .unwrap();
    assert_eq!(
        tailer
            .poll_keys()
            .await
            .unwrap()
            .into_iter()
            .collect::<Vec<_>>(),
        [KEY]
    );
    assert!(tailer.poll().await.unwrap().is_empty(), "no repeats");
    status::ingest(&store, &[report(id, epoch, 1, "a")], at(2))
        .await
        .unwrap();
    assert!(tailer.poll().await.unwrap().is_empty(), "nothing newer");
    status::ingest(&store, &[report(id, epoch, 2, "b")], at(2))
        .await
        .unwrap();
    assert_eq!(tailer.poll().await.unwrap()[0].sequence, 2);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(status::forget(&mut tx, KEY).await.unwrap(), 1);
}

//! Messages about events: one for each event and provider, whoever repeats or dies.

use bellwether_api::{reference::NamespacedName, status::RunEvent};
use bellwether_store::{
    Store,
    alerts::{self, AlertCounts, AlertOutcome},
    events, testing,
};
use jiff::SignedDuration;
use uuid::Uuid;

use crate::fixture::{KEY, at, cluster, event};

fn named(seq: u64, to: &[&str]) -> RunEvent {
    RunEvent {
        notify: to.iter().map(|name| (*name).to_owned()).collect(),
        ..event(seq, Uuid::nil())
    }
}

async fn keep(store: &Store, cluster: Uuid, key: &str, events: &[RunEvent]) {
    let mut tx = store.begin().await.unwrap();
    events::insert(&mut tx, cluster, key, events, at(1))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

fn team(namespace: &str) -> NamespacedName {
    NamespacedName {
        namespace: namespace.to_owned(),
        name: "team".to_owned(),
    }
}

async fn counts(store: &Store) -> AlertCounts {
    alerts::counts(store, &team("default")).await.unwrap()
}

#[tokio::test]
async fn an_event_that_is_told_again_makes_no_second_message() {
    let store = testing::store().await;
    let id = cluster(&store, "one").await;
    let told = [
        named(1, &["team"]),
        named(2, &[]),
        named(3, &["team", "boss"]),
    ];
    for _ in 0..3 {
        keep(&store, id, KEY, &told).await;
    }
    assert_eq!(counts(&store).await.waiting, 2);
    let due = alerts::due(&store, at(1), 10).await.unwrap();
    assert_eq!(due.len(), 2);
    let first = alerts::take(&store, &team("default"), at(2))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (first.event.event.seq, first.attempt),
        (1, 1),
        "the oldest comes first"
    );
    assert_eq!(first.event.cluster_name, "one");
    alerts::note(&store, &first, &AlertOutcome::Sent, at(3))
        .await
        .unwrap();
    keep(&store, id, KEY, &told).await;
    let second = alerts::take(&store, &team("default"), at(4))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.event.event.seq, 3);
    assert_eq!(
        alerts::take(&store, &team("default"), at(4)).await.unwrap(),
        None
    );
    let now = counts(&store).await;
    assert_eq!((now.sent, now.waiting, now.unknown), (1, 0, 1));
    assert_eq!(now.last_sent, Some(at(3)));
}

#[tokio::test]
async fn a_message_whose_sender_died_is_not_sent_again() {
    let store = testing::store().await;
    let id = cluster(&store, "one").await;
    keep(&store, id, KEY, &[named(1, &["team"])]).await;
    alerts::take(&store, &team("default"), at(2))
        .await
        .unwrap()
        .unwrap();
    let later = at(1_000_000);
    assert_eq!(alerts::due(&store, later, 10).await.unwrap(), []);
    assert_eq!(
        alerts::take(&store, &team("default"), later).await.unwrap(),
        None
    );
    assert_eq!(counts(&store).await.unknown, 1);
}

#[tokio::test]
async fn what_did_not_arrive_waits_for_its_time() {
    let store = testing::store().await;
    let id = cluster(&store, "one").await;
    keep(&store, id, KEY, &[named(1, &["team"])]).await;
    let taken = alerts::take(&store, &team("default"), at(2))
        .await
        .unwrap()
        .unwrap();
    let again = AlertOutcome::Again {
        at: at(2) + SignedDuration::from_secs(30),
        why: "it answered\0 503".to_owned(),
    };
    alerts::note(&store, &taken, &again, at(2)).await.unwrap();
    assert_eq!(
        alerts::take(&store, &team("default"), at(31))
            .await
            .unwrap(),
        None
    );
    let taken = alerts::take(&store, &team("default"), at(32))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(taken.attempt, 2);
    let failed = AlertOutcome::Failed {
        why: "it answered 404".to_owned(),
    };
    alerts::note(&store, &taken, &failed, at(33)).await.unwrap();
    let now = counts(&store).await;
    assert_eq!(
        (now.failed, now.last_error.as_str()),
        (1, "it answered 404")
    );
    // Once it is over, nothing that comes late changes it.
    alerts::note(&store, &taken, &AlertOutcome::Sent, at(34))
        .await
        .unwrap();
    assert_eq!(counts(&store).await.sent, 0);
}

#[tokio::test]
async fn an_agent_names_providers_of_its_units_namespace_alone() {
    let store = testing::store().await;
    let id = cluster(&store, "one").await;
    let many: Vec<String> = (0..50).map(|number| format!("p{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    keep(&store, id, "application/bank/till", &[named(1, &["team"])]).await;
    keep(&store, id, "command/default/shop", &[named(1, &["team"])]).await;
    keep(&store, id, KEY, &[named(1, &["../team", "a/b", "\0", ""])]).await;
    assert_eq!(
        alerts::due(&store, at(9), 100).await.unwrap(),
        [team("bank")]
    );
    keep(&store, id, KEY, &[named(2, &many)]).await;
    assert_eq!(alerts::due(&store, at(9), 100).await.unwrap().len(), 9);
}

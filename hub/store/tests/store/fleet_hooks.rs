//! Calls of fleets' hooks: in order, one hub at a time, bounded, until they are told.

use bellwether_api::fleet_hook::FleetEvent;
use bellwether_store::{
    Store,
    fleet_hooks::{self, CallState, HookCall, NewCall},
    testing,
};
use uuid::Uuid;

use crate::fixture::at;

fn call(cluster: u128, event: FleetEvent) -> NewCall {
    NewCall {
        id: Uuid::now_v7(),
        fleet: "eu".to_owned(),
        hook: "inventory".to_owned(),
        event,
        cluster: Uuid::from_u128(cluster),
        cluster_name: format!("eu-{cluster}"),
        body: "{}".to_owned(),
    }
}

async fn write(store: &Store, calls: &[NewCall], second: i64) {
    let mut tx = store.begin().await.unwrap();
    fleet_hooks::enqueue(&mut tx, calls, at(second))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn claimed(store: &Store, second: i64) -> Vec<HookCall> {
    fleet_hooks::claim(store, at(second), at(second + 60), 8)
        .await
        .unwrap()
}

async fn finish(store: &Store, call: &HookCall, state: CallState, message: &str) -> bool {
    let mut tx = store.begin().await.unwrap();
    let (next, now) = (at(100), at(50));
    let written = fleet_hooks::finish(&mut tx, call, state, message, next, now).await;
    tx.commit().await.unwrap();
    written.unwrap()
}

#[tokio::test]
async fn one_hub_tries_a_call_and_what_came_later_of_its_cluster_waits_for_it() {
    let store = testing::store().await;
    let registered = call(1, FleetEvent::ClusterRegistered);
    let detached = call(1, FleetEvent::ClusterDetached);
    write(&store, std::slice::from_ref(&registered), 0).await;
    write(
        &store,
        &[detached.clone(), call(2, FleetEvent::ClusterRegistered)],
        1,
    )
    .await;

    let first = claimed(&store, 2).await;
    let clusters: Vec<&str> = first.iter().map(|one| one.cluster_name.as_str()).collect();
    assert_eq!(first.len(), 2, "{clusters:?}");
    let taken = first.iter().find(|one| one.id == registered.id).unwrap();
    assert_eq!(
        (taken.tries, taken.event),
        (1, FleetEvent::ClusterRegistered)
    );
    assert!(claimed(&store, 3).await.is_empty(), "somebody tries them");

    // Whoever took it is gone: another hub tries it, and the first one's word comes too late.
    let again = claimed(&store, 70).await;
    let again = again.iter().find(|one| one.id == registered.id).unwrap();
    assert_eq!(again.tries, 2);
    assert!(!finish(&store, taken, CallState::Delivered, "").await);
    assert!(finish(&store, again, CallState::Delivered, "").await);
    assert!(
        !finish(&store, again, CallState::Waiting, "late").await,
        "it has ended"
    );

    let next = claimed(&store, 71).await;
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].id, detached.id, "now it is its turn");
}

#[tokio::test]
async fn a_failure_shows_until_a_later_call_is_delivered() {
    let store = testing::store().await;
    write(&store, &[call(1, FleetEvent::ClusterRegistered)], 0).await;
    assert!(
        fleet_hooks::unsettled(&store).await.unwrap().is_empty(),
        "nothing failed"
    );
    let taken = claimed(&store, 0).await.remove(0);
    assert!(finish(&store, &taken, CallState::Waiting, "it answered 500").await);
    let shown = fleet_hooks::unsettled(&store).await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (shown[0].state, shown[0].next_at),
        (CallState::Waiting, at(100))
    );
    assert!(claimed(&store, 99).await.is_empty(), "it pauses");
    let taken = claimed(&store, 100).await.remove(0);
    assert!(finish(&store, &taken, CallState::GivenUp, "it answered 500").await);
    let shown = fleet_hooks::unsettled(&store).await.unwrap();
    assert_eq!(shown[0].state, CallState::GivenUp);

    write(&store, &[call(1, FleetEvent::ClusterDetached)], 200).await;
    let taken = claimed(&store, 200).await.remove(0);
    assert!(finish(&store, &taken, CallState::Delivered, "").await);
    assert!(fleet_hooks::unsettled(&store).await.unwrap().is_empty());
    assert_eq!(fleet_hooks::sweep(&store, at(50), 10).await.unwrap(), 0);
    assert_eq!(fleet_hooks::sweep(&store, at(51), 10).await.unwrap(), 2);
}

#[tokio::test]
async fn of_too_many_calls_of_a_hook_the_oldest_gives_way() {
    let store = testing::store().await;
    let calls: Vec<NewCall> = (0..1_001)
        .map(|cluster| call(cluster, FleetEvent::ClusterRegistered))
        .collect();
    write(&store, &calls[..1_000], 0).await;
    assert!(fleet_hooks::unsettled(&store).await.unwrap().is_empty());
    write(&store, &calls[1_000..], 1).await;
    let shown = fleet_hooks::unsettled(&store).await.unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (shown[0].id, shown[0].state),
        (calls[0].id, CallState::GivenUp)
    );
}

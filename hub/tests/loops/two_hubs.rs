use std::collections::BTreeSet;

use bellwether_api::status::UnitOutcome;
use bellwether_hub::loops::LoopError;
use bellwether_store::{
    actions::ActionType,
    events::{self, EventFilter, Order},
};
use uuid::Uuid;

use crate::fleet::{Fleet, shop};

/// Two hubs plan at the same moment, again and again, through a whole release with a retry:
/// nothing is granted, answered or told twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_granted_twice() {
    release_with(|_| Uuid::now_v7()).await;
}

/// The same with two hubs that hold one lease at once, as after a clock that jumped: then only
/// compare-and-set stands between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_granted_twice_even_without_the_fence() {
    release_with(|first| first).await;
}

async fn release_with(second: impl Fn(Uuid) -> Uuid) {
    let mut fleet = Fleet::new(4).await;
    fleet.install().await;
    let second_store = fleet.database.store().await;
    let second = second(fleet.hub);
    fleet.be_alive(second).await;
    fleet.apply("2").await;
    for turn in 0..40 {
        let (one, two) = tokio::join!(
            fleet.plan_as(&fleet.store, fleet.hub),
            fleet.plan_as(&second_store, second)
        );
        for result in [one, two] {
            if let Err(error) = result {
                // Two owners of one name may be in each other's way when they renew its leases.
                let transient = matches!(&error, LoopError::Store(source) if source.is_transient());
                assert!(error.is_routine() || transient, "{}", error.chain());
            }
        }
        let outcome = if turn == 0 {
            UnitOutcome::Failed
        } else {
            UnitOutcome::Succeeded
        };
        for name in fleet.granted(2).await {
            fleet.report(&name, outcome).await;
        }
        if turn == 2 {
            fleet.act(ActionType::Retry).await;
        }
    }
    assert_eq!(fleet.view().await.done, 5);
    let run = fleet.view().await.run;
    let told = events::list(
        &fleet.store,
        &EventFilter::Run(run),
        Order::Oldest,
        None,
        1000,
    )
    .await
    .expect("events");
    let grants: Vec<(&str, u32)> = told
        .iter()
        .filter(|row| row.event.reason == "ClusterGranted")
        .map(|row| (row.event.message.as_str(), row.event.attempt))
        .collect();
    let unique: BTreeSet<&(&str, u32)> = grants.iter().collect();
    assert_eq!(grants.len(), unique.len(), "{grants:?}");
    assert_eq!(
        grants.len(),
        6,
        "five clusters, one of them twice: {grants:?}"
    );
    let sequences: Vec<u64> = told.iter().map(|row| row.event.seq).collect();
    assert!(
        sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "no gap: {sequences:?}"
    );
    for name in fleet.clusters.keys() {
        let expected = if name == "canary-1" { 2 } else { 1 };
        assert_eq!(
            fleet.bundle(name).await.expect("a bundle").1.attempt,
            expected,
            "{name}"
        );
    }
    assert_eq!(
        bellwether_store::releases::list(&fleet.store, &shop(), 9)
            .await
            .expect("releases")
            .len(),
        2,
        "one release, whoever saw the change first"
    );
}

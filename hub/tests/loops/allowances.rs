//! Words that allow much to go at once: each counts once.

use bellwether_api::{reference::NamespacedName, status::UnitOutcome};
use bellwether_hub::loops::LoopError;
use serde_json::{Value, json};

use crate::fleet::Fleet;

const PRUNE: &str = "bellwether.dev/allow-prune";
const REMOVAL: &str = "bellwether.dev/allow-removal";

fn everywhere() -> Value {
    json!({"fleet": "quickstart"})
}

/// Applies so many objects with that word, and lets what comes of it succeed.
async fn release(fleet: &mut Fleet, objects: usize, word: &str) -> Result<(), LoopError> {
    fleet
        .apply_named("shop", everywhere(), objects, &[(PRUNE, word)])
        .await;
    fleet.plan().await?;
    fleet.succeed_all().await;
    fleet.plan().await
}

#[tokio::test]
async fn a_word_for_one_release_does_not_allow_the_next() {
    let mut fleet = Fleet::new(1).await;
    release(&mut fleet, 10, "6").await.expect("released");
    // What takes no word leaves it as it is.
    release(&mut fleet, 8, "6").await.expect("released");
    release(&mut fleet, 10, "6").await.expect("released");
    release(&mut fleet, 4, "6").await.expect("allowed");
    release(&mut fleet, 10, "6").await.expect("released");
    assert_eq!(fleet.view().await.revision, 5);
    let error = release(&mut fleet, 4, "6").await.expect_err("it was used");
    let told = error.to_string();
    assert!(
        told.contains("6 of its 10 objects")
            && told.contains("allow-prune: \"6 again\"")
            && told.contains("allowance \"6\" was used by release 4; write another"),
        "{told}"
    );
    // A hub that starts anew knows it too.
    let store = fleet.database.store().await;
    let error = fleet.plan_as(&store, fleet.hub).await;
    let error = error.expect_err("it was used");
    assert!(matches!(error, LoopError::PruneHeld { .. }), "{error}");
    assert_eq!(fleet.view().await.revision, 5, "no release is made");
    release(&mut fleet, 4, "6 again").await.expect("allowed");
    assert_eq!(fleet.view().await.revision, 6);
}

#[tokio::test]
async fn a_word_that_is_taken_off_and_written_again_counts_again() {
    let mut fleet = Fleet::new(1).await;
    release(&mut fleet, 10, "6").await.expect("released");
    release(&mut fleet, 4, "6").await.expect("allowed");
    fleet.apply_named("shop", everywhere(), 10, &[]).await;
    fleet.plan().await.expect("released");
    fleet.succeed_all().await;
    fleet.plan().await.expect("done");
    release(&mut fleet, 4, "6").await.expect("allowed");
    assert_eq!(fleet.view().await.revision, 4);
}

#[tokio::test]
async fn a_word_for_clusters_that_left_does_not_allow_others_to_leave() {
    let mut fleet = Fleet::new(4).await;
    fleet.install().await;
    let word = [(REMOVAL, "3")];
    let few = json!({"clusters": ["canary-1", "prod-1"]});
    fleet.apply_to("1", few.clone(), &word).await;
    fleet.plan().await.expect("allowed");
    assert_eq!(fleet.holders("shop").await, ["canary-1", "prod-1"]);
    fleet.apply_to("1", everywhere(), &word).await;
    fleet.plan().await.expect("joined");
    assert_eq!(fleet.holders("shop").await.len(), 5);
    fleet.apply_to("1", few.clone(), &word).await;
    let error = fleet.plan().await.expect_err("it was used");
    let told = error.to_string();
    assert!(
        told.contains("3 of 5 clusters")
            && told.contains("\"3\" was used by its removal from 3 clusters; write another"),
        "{told}"
    );
    assert_eq!(fleet.holders("shop").await.len(), 5);
    fleet.apply_to("1", few, &[(REMOVAL, "4")]).await;
    fleet.plan().await.expect("allowed");
    assert_eq!(fleet.holders("shop").await, ["canary-1", "prod-1"]);
}

/// Places eight applications, each with a word for one cluster, and lets what comes of it succeed.
async fn place_all(fleet: &mut Fleet, clusters: &[&str]) -> Result<(), LoopError> {
    let names: Vec<_> = (0..8).map(|number| format!("app-{number}")).collect();
    for name in &names {
        let destination = json!({"clusters": clusters});
        fleet
            .apply_named(name, destination, 1, &[(REMOVAL, "1")])
            .await;
    }
    fleet.plan().await?;
    for name in names {
        let application = NamespacedName {
            namespace: "default".to_owned(),
            name,
        };
        for cluster in clusters {
            fleet
                .report_of(&application, cluster, UnitOutcome::Succeeded)
                .await;
        }
    }
    fleet.plan().await
}

#[tokio::test]
async fn words_that_emptied_a_cluster_do_not_empty_it_again() {
    let mut fleet = Fleet::new(2).await;
    let both = ["prod-1", "prod-2"];
    place_all(&mut fleet, &both).await.expect("placed");
    place_all(&mut fleet, &both[1..]).await.expect("allowed");
    assert_eq!(fleet.holders("app-7").await, ["prod-2"]);
    place_all(&mut fleet, &both).await.expect("placed");
    assert_eq!(fleet.holders("app-7").await, both);
    let error = place_all(&mut fleet, &both[1..]).await;
    let error = error.expect_err("they were used");
    assert!(
        matches!(error, LoopError::ClusterEmptied { .. })
            && error
                .to_string()
                .contains("was used by its removal from 1 cluster;"),
        "{error}"
    );
    assert_eq!(fleet.holders("app-7").await, both);
}

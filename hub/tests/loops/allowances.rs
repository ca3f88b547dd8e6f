//! Words that allow much to go at once: each counts once.

use bellwether_api::{reference::NamespacedName, status::UnitOutcome};
use bellwether_hub::loops::LoopError;
use bellwether_store::records::RecordKind;
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

/// Applies so many objects that say `version`, with that word.
async fn apply(fleet: &Fleet, objects: usize, version: &str, word: &str) {
    let object = |number: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("item-{number}")},
            "data": {"version": version}})
    };
    let spec = json!({
        "destination": everywhere(),
        "components": [{"name": "items", "manifests": (0..objects).map(object).collect::<Vec<Value>>()}],
        "waves": [{"name": "all", "maxConcurrent": "100%"}],
    });
    let kind = RecordKind::Application;
    fleet
        .record(kind, "default", "shop", spec, &[(PRUNE, word)])
        .await;
}

async fn fail_all(fleet: &mut Fleet) {
    for cluster in ["canary-1", "prod-1"] {
        fleet.report(cluster, UnitOutcome::Failed).await;
    }
    fleet.plan().await.expect("it is known");
}

#[tokio::test]
async fn a_word_holds_for_the_release_that_mends_the_one_that_it_was_said_for() {
    let mut fleet = Fleet::new(1).await;
    apply(&fleet, 10, "1", "6").await;
    fleet.plan().await.expect("released");
    fleet.succeed_all().await;
    fleet.plan().await.expect("done");
    apply(&fleet, 4, "broken", "6").await;
    fleet.plan().await.expect("allowed");
    fail_all(&mut fleet).await;
    apply(&fleet, 4, "broken still", "6").await;
    fleet.plan().await.expect("it loses nothing more");
    fail_all(&mut fleet).await;
    // One object more is another loss.
    apply(&fleet, 3, "mended", "6").await;
    let error = fleet.plan().await.expect_err("nobody allowed it");
    let told = error.to_string();
    assert!(
        told.contains("7 of its 10 objects") && told.contains("was used by release 3"),
        "{told}"
    );
    assert_eq!(fleet.view().await.revision, 3);
    apply(&fleet, 4, "mended", "6").await;
    fleet.plan().await.expect("it loses nothing more");
    fleet.succeed_all().await;
    fleet.plan().await.expect("done");
    assert_eq!(fleet.view().await.revision, 4);
    // It succeeded, and the word is used.
    apply(&fleet, 10, "mended", "6").await;
    fleet.plan().await.expect("released");
    fail_all(&mut fleet).await;
    apply(&fleet, 4, "mended", "6").await;
    let error = fleet.plan().await.expect_err("it was used").to_string();
    assert!(error.contains("was used by release 4"), "{error}");
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

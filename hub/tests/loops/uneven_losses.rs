//! What one cluster would lose while others lose less, or nothing: written components, so that nobody renders.

use std::collections::BTreeMap;

use bellwether_api::status::UnitOutcome;
use bellwether_hub::loops::LoopError;
use bellwether_store::{
    allowances,
    clusters::{self, ClusterPatch},
    records::{RecordKey, RecordKind},
};
use serde_json::{Value, json};

use crate::fleet::Fleet;

const PRUNE: &str = "bellwether.dev/allow-prune";

/// A component of so many objects, with where it goes.
fn component(name: &str, objects: usize, destination: &Value) -> Value {
    let object = |number: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("{name}-{number}")}})
    };
    let objects: Vec<Value> = (0..objects).map(object).collect();
    json!({"name": name, "manifests": objects, "destination": destination})
}

/// A component of one object that everybody gets; another version is another release.
fn base(version: u32) -> Value {
    json!({"name": "base", "manifests": [{"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "base"}, "data": {"version": version.to_string()}}]})
}

fn on(clusters: &[&str]) -> Value {
    json!({"clusters": clusters})
}

/// Applies these components to `destination`, with that word.
async fn apply(fleet: &Fleet, destination: Value, components: Value, word: Option<&str>) {
    let waves = json!([{"name": "all", "maxConcurrent": "100%"}]);
    apply_in(fleet, (destination, waves), components, word).await;
}

async fn apply_in(
    fleet: &Fleet,
    (destination, waves): (Value, Value),
    components: Value,
    word: Option<&str>,
) {
    let spec = json!({"destination": destination, "components": components, "waves": waves});
    let word: Vec<(&str, &str)> = word.map(|word| (PRUNE, word)).into_iter().collect();
    let kind = RecordKind::Application;
    fleet.record(kind, "default", "shop", spec, &word).await;
}

/// Looks until nothing changes, whatever is held meanwhile; gives what the last look says.
async fn settle(fleet: &Fleet) -> Result<(), LoopError> {
    let mut last = Ok(());
    for _ in 0..4 {
        last = fleet.look().await;
    }
    last
}

async fn released(fleet: &mut Fleet) {
    settle(fleet).await.expect("released");
    fleet.succeed_all().await;
    settle(fleet).await.expect("done");
}

/// How many objects of a component a cluster shall hold.
async fn held(fleet: &Fleet, cluster: &str, component: &str) -> usize {
    let (_, bundle) = fleet.bundle(cluster).await.expect("a bundle");
    let own = bundle.components.iter().filter(|one| one.name == component);
    own.map(|one| one.objects.len()).sum()
}

#[tokio::test]
async fn what_a_large_cluster_may_lose_does_not_hide_that_a_small_one_is_emptied() {
    let mut fleet = Fleet::new(1).await;
    let both = on(&["canary-1", "prod-1"]);
    // `prod-1` loses 12 of 73, which takes no word; `canary-1` loses 10 of 11, which does.
    let components = |some: &Value, all: &Value| {
        let large = component("large", 50, &on(&["prod-1"]));
        json!([
            base(1),
            large,
            component("some", 12, some),
            component("all", 10, all)
        ])
    };
    let before = components(&on(&["prod-1"]), &both);
    apply(&fleet, both.clone(), before, None).await;
    released(&mut fleet).await;
    assert_eq!(held(&fleet, "canary-1", "all").await, 10);
    let next = components(&on(&["canary-1"]), &on(&["prod-1"]));
    // A word for less is none.
    for word in [None, Some("6"), Some("9")] {
        apply(&fleet, both.clone(), next.clone(), word).await;
        let error = settle(&fleet).await.expect_err("the brake");
        let told = error.to_string();
        assert!(
            matches!(
                error,
                LoopError::PruneHeld {
                    dropped: 10,
                    held: 11,
                    ..
                }
            ) && told.contains("in cluster canary-1;")
                && told.contains("allow-prune: \"10\""),
            "{word:?}: {told}"
        );
        assert_eq!(held(&fleet, "canary-1", "all").await, 10, "{word:?}");
        assert_eq!(fleet.view().await.revision, 1, "{word:?}");
    }
    apply(&fleet, both, next, Some("10")).await;
    released(&mut fleet).await;
    assert_eq!(held(&fleet, "canary-1", "all").await, 0);
    assert_eq!(held(&fleet, "prod-1", "some").await, 0);
}

#[tokio::test]
async fn who_comes_back_keeps_what_the_release_that_it_gets_meanwhile_has_for_others() {
    let mut fleet = Fleet::new(2).await;
    let (all, one) = (json!({"selector": {}}), on(&["canary-1"]));
    let version = |number, extras: &Value| json!([base(number), component("extras", 8, extras)]);
    apply(&fleet, all.clone(), version(1, &all), None).await;
    released(&mut fleet).await;
    // Most clusters leave at once: they keep it, and are none of the release's.
    apply(&fleet, one.clone(), version(2, &one), None).await;
    settle(&fleet).await.expect_err("their removal is held");
    fleet.report("canary-1", UnitOutcome::Succeeded).await;
    settle(&fleet).await.expect_err("their removal is held");
    apply(&fleet, one.clone(), version(3, &one), None).await;
    settle(&fleet).await.expect_err("their removal is held");
    assert_eq!(fleet.granted(3).await, ["canary-1"]);
    apply(&fleet, all.clone(), version(3, &one), None).await;
    let error = settle(&fleet).await.expect_err("the brake");
    assert!(
        matches!(
            error,
            LoopError::PruneHeld {
                dropped: 8,
                held: 9,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fleet.granted(1).await, ["prod-1", "prod-2"]);
    assert_eq!(held(&fleet, "prod-2", "extras").await, 8);
    apply(&fleet, all, version(3, &one), Some("8")).await;
    settle(&fleet).await.expect("allowed");
    assert_eq!(fleet.granted(2).await, ["prod-1", "prod-2"]);
    assert_eq!(held(&fleet, "prod-2", "extras").await, 0);
    let key = RecordKey {
        kind: RecordKind::Application,
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    };
    let spent = allowances::spent(&fleet.store, &key).await;
    assert_eq!(spent.expect("an answer")[0].used_for, "release 2");
}

async fn label(fleet: &Fleet, cluster: &str, tier: &str) {
    let patch = ClusterPatch {
        labels: Some(BTreeMap::from([("tier".to_owned(), tier.to_owned())])),
        ..ClusterPatch::default()
    };
    let mut tx = fleet.store.begin().await.expect("a transaction");
    clusters::update(&mut tx, cluster, &patch, None)
        .await
        .expect("labelled");
    tx.commit().await.expect("a commit");
}

/// What a cluster waits for.
async fn waits(fleet: &Fleet, cluster: &str) -> Vec<String> {
    let view = fleet.view().await;
    let mut clusters = view.waves.into_iter().flat_map(|wave| wave.clusters);
    let found = clusters.find(|one| one.name == cluster).expect("planned");
    let reasons = found.waiting_on.into_iter().map(|one| one.reason);
    reasons.collect()
}

#[tokio::test]
async fn while_one_is_held_others_are_looked_at_in_their_turn() {
    let mut fleet = Fleet::new(4).await;
    let everywhere = || {
        let waves = json!([{"name": "first", "clusters": ["prod-4"]},
            {"name": "rest", "maxConcurrent": 1}]);
        (json!({"selector": {}}), waves)
    };
    let tier = json!({"selector": {"matchLabels": {"tier": "canary"}}});
    let version = |number| json!([base(number), component("extras", 8, &tier)]);
    apply_in(&fleet, everywhere(), version(1), None).await;
    released(&mut fleet).await;
    apply_in(&fleet, everywhere(), version(2), None).await;
    settle(&fleet).await.expect("released");
    // It loses its extras by a label that it did not have when the release was made.
    label(&fleet, "canary-1", "small").await;
    fleet.report("prod-4", UnitOutcome::Succeeded).await;
    fleet.look().await.expect_err("the brake");
    settle(&fleet).await.expect("the others go on");
    assert_eq!(fleet.granted(2).await, ["prod-1", "prod-4"]);
    assert_eq!(waits(&fleet, "canary-1").await, ["PruneHeld"]);
    fleet.garble("prod-3").await;
    fleet.report("prod-1", UnitOutcome::Succeeded).await;
    fleet.look().await.expect_err("the brake");
    assert_eq!(waits(&fleet, "canary-1").await, ["PruneHeld"]);
    assert_eq!(waits(&fleet, "prod-3").await, ["Queued"]);
    // What nobody can read is held in its turn.
    fleet.report("prod-2", UnitOutcome::Succeeded).await;
    fleet.look().await.expect_err("the brake");
    assert_eq!(waits(&fleet, "prod-3").await, ["PruneHeld"]);
}

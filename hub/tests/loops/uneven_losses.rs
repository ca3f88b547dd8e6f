//! What one cluster would lose while others lose less, or nothing: written components, so that nobody renders.

use bellwether_hub::loops::LoopError;
use bellwether_store::records::RecordKind;
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

//! Releases of which some cluster would get more than its agent takes.

use bellwether_store::records::RecordKind;
use serde_json::{Value, json};

use crate::fleet::Fleet;

/// An application of 20 ConfigMaps, which overrides change.
async fn apply(fleet: &Fleet, version: &str, overrides: Value) {
    let manifest = |at: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("item-{at}")},
               "data": {"version": version}})
    };
    let manifests: Vec<Value> = (0..20).map(manifest).collect();
    let spec = json!({
        "destination": {"fleet": "quickstart"},
        "components": [{"name": "items", "manifests": manifests}],
        "overrides": overrides,
        "waves": [{"name": "all", "maxConcurrent": "100%"}],
    });
    fleet
        .record(RecordKind::Application, "default", "shop", spec, &[])
        .await;
}

/// Puts that text into each of the ConfigMaps of one cluster.
fn everywhere(cluster: &str, text: &str) -> Value {
    json!([{"name": "large", "clusters": [cluster], "patches": [
        {"target": {"kind": "ConfigMap"}, "merge": {"data": {"text": text}}},
    ]}])
}

#[tokio::test]
async fn more_than_an_agent_takes_is_said_with_its_cluster_and_nothing_of_it_is_granted() {
    let mut fleet = Fleet::new(1).await;
    apply(&fleet, "1", json!([])).await;
    fleet.plan().await.expect("planned");
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    let before = fleet.bundle("prod-1").await.expect("a bundle").0;
    // 20 times 900,000 bytes, in one of the clusters.
    apply(&fleet, "2", everywhere("prod-1", &"a".repeat(900_000))).await;
    fleet
        .apply_named("other", json!({"fleet": "quickstart"}), 3, &[])
        .await;
    let error = fleet.plan().await.expect_err("too large").chain();
    assert!(
        error.starts_with(
            "failed to make what cluster \"prod-1\" gets of default/shop: TooLarge: 1800"
        ),
        "{error}"
    );
    assert!(
        error.contains("are more than the 16777216 that an agent takes of one application")
            && error.contains("divide it into two applications"),
        "{error}"
    );
    assert_eq!(fleet.granted(2).await, [""; 0]);
    assert_eq!(fleet.granted(1).await, ["canary-1", "prod-1"]);
    assert_eq!(fleet.bundle("prod-1").await.expect("a bundle").0, before);
    assert_eq!(fleet.view().await.revision, 1, "the run before stands");
    assert_eq!(fleet.holders("other").await, ["canary-1", "prod-1"]);
    // What fits comes in.
    apply(&fleet, "2", everywhere("prod-1", &"a".repeat(800_000))).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(2).await, ["canary-1", "prod-1"]);
}

#[tokio::test]
async fn a_cluster_that_joins_and_would_get_too_much_does_not_stop_the_others() {
    let mut fleet = Fleet::new(1).await;
    apply(&fleet, "1", everywhere("late", &"a".repeat(900_000))).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.granted(1).await, ["canary-1", "prod-1"]);
    for name in ["late", "later"] {
        fleet.join(name, "prod").await;
        fleet.connect(name).await;
    }
    fleet.succeed_all().await;
    let error = fleet.plan().await.expect_err("too large").chain();
    assert!(
        error.contains("cluster \"late\" gets of default/shop: TooLarge"),
        "{error}"
    );
    assert_eq!(fleet.holders("shop").await, ["canary-1", "later", "prod-1"]);
}

#[tokio::test]
async fn more_objects_than_an_agent_holds_are_said() {
    let fleet = Fleet::new(0).await;
    fleet
        .apply_named("many", json!({"fleet": "quickstart"}), 10_001, &[])
        .await;
    let error = fleet.plan().await.expect_err("too many").chain();
    assert!(
        error.contains("TooLarge: 10001 objects are more than the 10000"),
        "{error}"
    );
    assert_eq!(fleet.holders("many").await, [""; 0]);
}

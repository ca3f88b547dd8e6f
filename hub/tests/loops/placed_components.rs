//! Components that only some clusters get: the others have nothing of them rendered.

use super::*;

fn placed(destination: Value) -> Value {
    let mut component = chart(|_| {});
    component["destination"] = destination;
    component
}

/// `prod-1` runs a version that the chart refuses.
async fn staged(destination: Value) -> Stage {
    let mut stage = Stage::new(&Shelf::with_chart()).await;
    for (cluster, version) in [("canary-1", "v1.33.1"), ("prod-1", "v1.27.9")] {
        stage
            .fleet
            .connect_as(cluster, version, &["apps/v1", "v1"])
            .await;
    }
    let base = json!({"name": "base", "manifests": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "base"}},
    ]});
    stage
        .apply_components(json!([base, placed(destination)]), json!({}), json!([]))
        .await;
    stage
}

async fn components(stage: &Stage, cluster: &str) -> Vec<String> {
    let (_, bundle) = stage.fleet.bundle(cluster).await.expect("a bundle");
    let components = bundle.components.into_iter();
    components.map(|component| component.name).collect()
}

#[tokio::test]
async fn a_cluster_that_does_not_get_a_component_needs_no_rendering_of_it() {
    let mut stage = staged(json!({"clusters": ["canary-1"]})).await;
    stage.settle().await.expect("released");
    assert_eq!(components(&stage, "canary-1").await, ["base", "web"]);
    assert_eq!(components(&stage, "prod-1").await, ["base"]);
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");

    // Another release goes to both, and back.
    stage.fleet.roll_back(Some(1)).await;
    stage.settle().await.expect("restored");
    assert_eq!(components(&stage, "prod-1").await, ["base"]);
}

#[tokio::test]
async fn a_component_that_fails_for_all_that_get_it_holds_the_release() {
    let stage = staged(json!({"clusters": ["prod-1"]})).await;
    let error = stage.settle().await.expect_err("held").chain();
    assert!(
        error.contains("component \"web\"") && error.contains("needs Kubernetes"),
        "{error}"
    );
    assert!(stage.fleet.bundle("canary-1").await.is_none());
}

#[tokio::test]
async fn a_component_that_nobody_gets_yet_is_checked_all_the_same() {
    let stage = staged(json!({"selector": {"matchLabels": {"tier": "none"}}})).await;
    stage.settle().await.expect("released");
    assert_eq!(components(&stage, "canary-1").await, ["base"]);
}

//! Components that only some clusters get: the others have nothing of them rendered.

use super::*;

fn placed(destination: Value) -> Value {
    let mut component = chart(|_| {});
    component["destination"] = destination;
    component
}

/// `prod-1` runs a version that the chart refuses.
async fn staged(destination: Value) -> Stage {
    staged_with(&Shelf::with_chart(), destination).await
}

async fn staged_with(shelf: &Shelf, destination: Value) -> Stage {
    let mut stage = Stage::new(shelf).await;
    for (cluster, version) in [("canary-1", "v1.33.1"), ("prod-1", "v1.27.9")] {
        stage
            .fleet
            .connect_as(cluster, version, &["apps/v1", "v1"])
            .await;
    }
    apply(&stage, placed(destination)).await;
    stage
}

async fn apply(stage: &Stage, component: Value) {
    let base = json!({"name": "base", "manifests": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "base"}},
    ]});
    stage
        .apply_components(json!([base, component]), json!({}), json!([]))
        .await;
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

    let mut other = placed(json!({"clusters": ["canary-1"]}));
    other["helm"]["values"] = json!({"replicaCount": 7});
    apply(&stage, other).await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.granted(2).await, ["canary-1", "prod-1"]);
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");
    stage.fleet.roll_back(Some(1)).await;
    stage.settle().await.expect("restored");
    assert_eq!(components(&stage, "canary-1").await, ["base", "web"]);
    assert_eq!(components(&stage, "prod-1").await, ["base"]);
}

#[tokio::test]
async fn a_plan_that_such_a_component_renders_is_for_those_clusters() {
    let shelf = Shelf::with_chart();
    shelf.put(
        "templates/rollout.yaml",
        "apiVersion: bellwether.dev/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec:\n  \
         workload: {apiVersion: apps/v1, kind: Deployment, name: web}\n  \
         strategy: {canary: {weights: [20, 50]}}\n",
    );
    let stage = staged_with(&shelf, json!({"clusters": ["canary-1"]})).await;
    stage.settle().await.expect("released");
    let (_, canary) = stage.fleet.bundle("canary-1").await.expect("a bundle");
    let (_, prod) = stage.fleet.bundle("prod-1").await.expect("a bundle");
    assert_eq!((canary.rollouts.len(), prod.rollouts.len()), (1, 0));
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
    for cluster in ["canary-1", "prod-1"] {
        assert_eq!(components(&stage, cluster).await, ["base"], "{cluster}");
    }
}

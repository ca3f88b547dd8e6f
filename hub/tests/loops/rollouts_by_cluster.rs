//! Charts that render a Rollout in some clusters, and another or none in others.

use super::*;

/// A chart with a Rollout wherever a value names its weights.
async fn staged(plans: Value) -> Stage {
    let shelf = Shelf::with_chart();
    shelf.put(
        "templates/rollout.yaml",
        "{{- with .Values.podAnnotations.plan }}
apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata:
  name: web
spec:
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  strategy: {canary: {weights: [{{ . }}]}}
{{- end }}
",
    );
    let mut stage = Stage::new(&shelf).await;
    for cluster in ["prod-1", "canary-1"] {
        let serves = ["apps/v1", "v1"];
        stage.fleet.connect_as(cluster, "v1.33", &serves).await;
    }
    apply(&stage, json!({}), plans).await;
    stage
}

async fn apply(stage: &Stage, sync: Value, plans: Value) {
    let plans = plans.as_object().expect("by tier");
    let overrides = plans.iter().map(|(tier, weights)| {
        json!({"name": tier, "selector": {"matchLabels": {"tier": tier}},
            "values": {"podAnnotations": {"plan": weights}}})
    });
    let components = json!([chart(|helm| helm["includeCRDs"] = json!(false))]);
    stage
        .apply_components(components, sync, overrides.collect())
        .await;
}

/// The weights by which a cluster brings its workload in; absent = plainly.
async fn weights(stage: &Stage, cluster: &str) -> Option<Value> {
    let (_, bundle) = stage.fleet.bundle(cluster).await.expect("a bundle");
    let rollout = bundle.rollouts.first()?;
    let strategy = serde_json::to_value(&rollout.spec.strategy).expect("a strategy");
    Some(strategy["canary"]["weights"].clone())
}

#[tokio::test]
async fn each_cluster_gets_the_rollout_that_is_rendered_for_it() {
    let mut stage = staged(json!({"prod": "20, 50"})).await;
    stage.settle().await.expect("released");
    assert_eq!(weights(&stage, "prod-1").await, Some(json!([20, 50])));
    assert_eq!(weights(&stage, "canary-1").await, None);

    stage.fleet.succeed_all().await;
    apply(&stage, json!({}), json!({"prod": "20, 50", "canary": "90"})).await;
    stage.settle().await.expect("released");
    assert_eq!(weights(&stage, "canary-1").await, Some(json!([90])));
    assert_eq!(weights(&stage, "prod-1").await, Some(json!([20, 50])));
}

#[tokio::test]
async fn a_cluster_that_joins_with_another_rollout_makes_a_release_and_one_that_leaves_does_not() {
    let plans = json!({"prod": "20, 50", "late": "5"});
    let mut stage = staged(plans.clone()).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.fleet.join("late-1", "late").await;
    stage
        .fleet
        .connect_as("late-1", "v1.33", &["apps/v1", "v1"])
        .await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.view().await.revision, 2);
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("granted");
    assert_eq!(weights(&stage, "late-1").await, Some(json!([5])));

    stage.fleet.succeed_all().await;
    stage.fleet.lose("late-1").await;
    stage.settle().await.expect("nothing new");
    assert_eq!(stage.fleet.view().await.revision, 2);
}

#[tokio::test]
async fn where_releases_are_held_back_a_workload_does_not_come_in_without_its_plan() {
    let plans = json!({"prod": "20, 50", "canary": "90", "late": "5"});
    let mut stage = staged(plans.clone()).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    apply(&stage, json!({"suspend": true}), plans).await;
    stage.fleet.join("late-1", "late").await;
    stage.fleet.join("late-2", "prod").await;
    for cluster in ["late-1", "late-2"] {
        let serves = ["apps/v1", "v1"];
        stage.fleet.connect_as(cluster, "v1.33", &serves).await;
    }
    stage.settle().await.expect("granted");
    assert!(stage.fleet.bundle("late-1").await.is_none());
    assert_eq!(weights(&stage, "late-2").await, Some(json!([20, 50])));
    let view = format!("{:?}", stage.fleet.view_with(&stage.renderings).await);
    assert!(
        view.contains("failed to find Rollout web as it is rendered for this cluster"),
        "{view}"
    );
}

#[tokio::test]
async fn a_cluster_that_joins_with_another_rollout_begins_no_failed_release_anew() {
    let mut stage = staged(json!({"prod": "20, 50", "late": "5"})).await;
    stage.settle().await.expect("released");
    for cluster in ["prod-1", "canary-1"] {
        stage.fleet.report(cluster, UnitOutcome::Failed).await;
    }
    stage.settle().await.expect("failed");
    stage.fleet.join("late-1", "late").await;
    let serves = ["apps/v1", "v1"];
    stage.fleet.connect_as("late-1", "v1.33", &serves).await;
    stage.settle().await.expect("nothing new");
    assert_eq!(stage.fleet.view().await.revision, 1);
}

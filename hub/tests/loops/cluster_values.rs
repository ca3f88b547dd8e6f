//! Charts whose values differ from cluster to cluster.

use bellwether_hub_core::{recipe::Recipe, release::ReleaseContent};
use bellwether_store::{Digest, releases, renderings};

use super::*;

/// Two charts of the same files, and what differs in the cluster with label `tier=canary`.
async fn staged(overrides: Value) -> Stage {
    let mut stage = Stage::new(&Shelf::with_chart()).await;
    stage
        .fleet
        .connect_as("prod-1", "v1.33", &["apps/v1", "v1"])
        .await;
    stage
        .fleet
        .connect_as("canary-1", "v1.33", &["apps/v1", "v1"])
        .await;
    apply(&stage, overrides).await;
    stage
}

async fn apply(stage: &Stage, overrides: Value) {
    let plain = json!({"name": "db", "helm": {
        "repository": "https://charts.example", "chart": "web", "version": "1.0.0",
        "releaseName": "db", "includeCRDs": false,
    }});
    let components = json!([
        chart(|helm| {
            helm["values"] = json!({
                "replicaCount": 3, "ingress": {"enabled": true},
                "podAnnotations": {"note": "written", "other": "kept"},
            });
        }),
        plain,
    ]);
    stage
        .apply_components(components, json!({}), overrides)
        .await;
}

/// Host and pods of the first chart in a cluster.
async fn made(stage: &Stage, cluster: &str) -> (Value, Value) {
    let ingress = stage.object(cluster, "Ingress", "web").await;
    let deployment = stage.object(cluster, "Deployment", "web").await;
    (
        ingress["spec"]["rules"][0]["host"].clone(),
        deployment["spec"]["replicas"].clone(),
    )
}

/// How often each component of revision 1 was rendered, by component.
async fn times_rendered(stage: &Stage) -> BTreeMap<String, usize> {
    let store = &stage.fleet.store;
    let name = bellwether_api::reference::NamespacedName {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    };
    let all = releases::list(store, &name, 10).await.expect("releases");
    let bytes = releases::content(store, &all[0]).await.expect("content");
    let content: ReleaseContent = serde_json::from_slice(&bytes).expect("a release");
    let mut times = BTreeMap::new();
    for component in content.components {
        let recipe: Recipe = component.rendered.expect("rendered").recipe;
        let digest = Digest(recipe.digest());
        let rendered = renderings::of_recipes(store, &[digest])
            .await
            .expect("read");
        times.insert(component.name, rendered.len());
    }
    times
}

fn overrides() -> Value {
    json!([
        {"name": "hosts", "components": ["web"],
         "values": {"ingress": {"host": "svc-{{ cluster.labels.tier }}.ink"}, "replicaCount": 4}},
        {"name": "canary", "selector": {"matchLabels": {"tier": "canary"}}, "components": ["web"],
         "values": {"replicaCount": 1}},
        {"name": "late", "clusters": ["canary-1"], "components": ["web"],
         "replicas": [{"target": {"kind": "Deployment", "name": "web"}, "count": 7}]},
    ])
}

#[tokio::test]
async fn each_cluster_gets_the_chart_with_its_own_values() {
    let stage = staged(overrides()).await;
    stage.settle().await.expect("released");
    assert_eq!(
        made(&stage, "prod-1").await,
        (json!("svc-prod.ink"), json!(4))
    );
    let canary = made(&stage, "canary-1").await;
    assert_eq!(
        canary,
        (json!("svc-canary.ink"), json!(7)),
        "the values first, what is rendered of them then"
    );
    let times = times_rendered(&stage).await;
    let expected = [("db".to_owned(), 1), ("web".to_owned(), 2)];
    assert_eq!(
        times,
        expected.into(),
        "a component without values of clusters is rendered once"
    );
}

#[tokio::test]
async fn clusters_of_equal_values_share_one_rendering() {
    let stage = staged(json!([
        {"name": "all", "components": ["web"], "values": {"replicaCount": 4}},
    ]))
    .await;
    stage.settle().await.expect("released");
    assert_eq!(times_rendered(&stage).await["web"], 1);
    assert_eq!(made(&stage, "prod-1").await.1, 4);
}

#[tokio::test]
async fn null_takes_a_value_of_the_component_away() {
    let stage = staged(json!([
        {"name": "less", "selector": {"matchLabels": {"tier": "canary"}}, "components": ["web"],
         "values": {"podAnnotations": {"note": null}}},
    ]))
    .await;
    stage.settle().await.expect("released");
    for (cluster, expected) in [
        ("prod-1", json!({"note": "written", "other": "kept"})),
        ("canary-1", json!({"other": "kept"})),
    ] {
        let deployment = stage.object(cluster, "Deployment", "web").await;
        let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(*annotations, expected, "{cluster}");
    }
}

#[tokio::test]
async fn other_values_are_another_release_and_a_rollback_brings_the_old_ones_back() {
    let mut stage = staged(overrides()).await;
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");
    let first = made(&stage, "prod-1").await;
    apply(
        &stage,
        json!([{"name": "hosts", "components": ["web"], "values": {"replicaCount": 9}}]),
    )
    .await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.granted(2).await.len(), 2);
    assert_eq!(made(&stage, "prod-1").await.1, 9);
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");
    stage.fleet.roll_back(Some(1)).await;
    stage.settle().await.expect("restored");
    assert_eq!(made(&stage, "prod-1").await, first);
}

#[tokio::test]
async fn a_cluster_that_lacks_what_its_values_ask_for_holds_nobody_else() {
    let stage = staged(json!([
        {"name": "zone", "clusters": ["prod-1"], "components": ["web"],
         "values": {"podAnnotations": {"zone": "{{ cluster.labels.zone }}"}}},
    ]))
    .await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.granted(1).await, ["canary-1"]);
    let view = stage.fleet.view_with(&stage.renderings).await;
    let shown = serde_json::to_string(&view).expect("JSON");
    assert!(
        shown.contains("RenderFailed") && shown.contains("zone") && shown.contains("prod-1"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_components_own_overrides_have_values_too() {
    let stage = staged(json!([
        {"name": "all", "components": ["web"], "values": {"replicaCount": 4}},
    ]))
    .await;
    let mut component = chart(|helm| helm["values"] = json!({"replicaCount": 3}));
    component["overrides"] = json!([
        {"name": "own", "selector": {"matchLabels": {"tier": "canary"}},
         "values": {"replicaCount": 1, "ingress": {"enabled": true, "host": "own.ink"}},
         "patches": [{"target": {"kind": "Ingress", "name": "web"},
            "merge": {"metadata": {"annotations": {"own": "yes"}}}}]},
    ]);
    let application = json!([
        {"name": "all", "components": ["web"], "values": {"replicaCount": 4}},
    ]);
    stage
        .apply_components(json!([component]), json!({}), application)
        .await;
    stage.settle().await.expect("released");
    // An object that only these values make is part of the release, and can be patched.
    let ingress = stage.object("canary-1", "Ingress", "web").await;
    assert_eq!(ingress["metadata"]["annotations"]["own"], "yes");
    assert_eq!(
        made(&stage, "canary-1").await,
        (json!("own.ink"), json!(1)),
        "its own override wins"
    );
    let deployment = stage.object("prod-1", "Deployment", "web").await;
    assert_eq!(deployment["spec"]["replicas"], 4);
    assert_eq!(times_rendered(&stage).await["web"], 2);
}

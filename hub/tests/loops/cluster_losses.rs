//! What one cluster would lose of what others keep: the brake looks at each.

use bellwether_api::view::RunPhase;
use bellwether_store::{
    allowances,
    clusters::{self, ClusterPatch},
    records::RecordKey,
};

use super::*;

/// Eight objects more where a value or the cluster has it so.
fn with_extras(condition: &str) -> Shelf {
    let shelf = Shelf::with_chart();
    let extras = format!(
        "{{{{- if {condition} }}}}\n{{{{- range until 8 }}}}\n---\napiVersion: v1\nkind: ConfigMap\n\
         metadata: {{name: extra-{{{{ . }}}}}}\n{{{{- end }}}}\n{{{{- end }}}}\n"
    );
    shelf.put("templates/extras.yaml", &extras);
    shelf
}

async fn extras(stage: &Stage, cluster: &str) -> usize {
    let objects = stage.objects(cluster).await;
    let is_extra = |object: &&Value| {
        let name = object["metadata"]["name"].as_str();
        name.is_some_and(|name| name.starts_with("extra-"))
    };
    objects.iter().filter(is_extra).count()
}

async fn released(stage: &mut Stage) {
    stage.settle().await.expect("released");
    stage.fleet.succeed_all().await;
    stage.settle().await.expect("done");
}

/// Waits for the brake, with who would lose what.
async fn braked(stage: &Stage, cluster: &str) -> String {
    let error = stage.settle().await.expect_err("the brake");
    let told = error.to_string();
    assert!(
        matches!(error, LoopError::PruneHeld { dropped: 8, .. })
            && told.contains("8 of its ")
            && told.contains(&format!("in cluster {cluster}; "))
            && told.contains("allow-prune: \"8"),
        "{told}"
    );
    told
}

#[tokio::test]
async fn values_that_switch_most_off_in_one_cluster_wait_for_a_word() {
    let mut stage = Stage::new(&with_extras(".Values.extras")).await;
    for cluster in ["prod-1", "canary-1"] {
        let connected = stage.fleet.connect_as(cluster, "v1.33", &["apps/v1", "v1"]);
        connected.await;
    }
    let apply = async |stage: &Stage, off: &[&str], word: &[(&str, &str)]| {
        let component = chart(|helm| helm["values"] = json!({"extras": true}));
        let overrides = match off {
            [] => json!([]),
            clusters => json!([{"name": "off", "clusters": clusters, "values": {"extras": false}}]),
        };
        stage
            .apply_annotated(json!([component]), overrides, word)
            .await;
    };
    apply(&stage, &[], &[]).await;
    released(&mut stage).await;
    assert_eq!(extras(&stage, "prod-1").await, 8);
    apply(&stage, &["prod-1"], &[]).await;
    braked(&stage, "prod-1").await;
    assert_eq!(extras(&stage, "prod-1").await, 8);
    assert_eq!(stage.fleet.view_with(&stage.renderings).await.revision, 1);
    let word = [("bellwether.dev/allow-prune", "8")];
    apply(&stage, &["prod-1"], &word).await;
    released(&mut stage).await;
    assert_eq!(extras(&stage, "prod-1").await, 0);
    assert_eq!(extras(&stage, "canary-1").await, 8);
    // It was used for this cluster.
    apply(&stage, &["prod-1", "canary-1"], &word).await;
    let told = stage.settle().await.expect_err("it was used").to_string();
    assert!(told.contains("was used by release 2"), "{told}");
}

#[tokio::test]
async fn a_kind_that_a_cluster_serves_no_more_takes_no_more_along_than_it_may() {
    let has = ".Capabilities.APIVersions.Has \"extras.example/v1\"";
    let mut stage = Stage::new(&with_extras(has)).await;
    let serves = ["apps/v1", "v1", "extras.example/v1"];
    for cluster in ["prod-1", "canary-1"] {
        stage.fleet.connect_as(cluster, "v1.33", &serves).await;
    }
    stage.apply(chart(|_| {})).await;
    released(&mut stage).await;
    assert_eq!(extras(&stage, "prod-1").await, 8);
    stage
        .fleet
        .connect_as("prod-1", "v1.33", &["apps/v1", "v1"])
        .await;
    stage
        .apply(chart(|helm| helm["values"] = json!({"replicaCount": 5})))
        .await;
    braked(&stage, "prod-1").await;
    assert_eq!(extras(&stage, "prod-1").await, 8);
}

#[tokio::test]
async fn a_cluster_whose_new_label_means_removal_keeps_what_it_has() {
    let mut stage = Stage::new(&with_extras("true")).await;
    for cluster in ["prod-1", "canary-1"] {
        let connected = stage.fleet.connect_as(cluster, "v1.33", &["apps/v1", "v1"]);
        connected.await;
    }
    let overrides = json!([{"name": "small", "selector": {"matchLabels": {"tier": "small"}},
        "remove": (0..8).map(|number| json!({"kind": "ConfigMap", "name": format!("extra-{number}")}))
            .collect::<Vec<Value>>()}]);
    let apply = async |stage: &Stage, pods: u32| {
        let component = chart(|helm| helm["values"] = json!({"replicaCount": pods}));
        stage
            .apply_annotated(json!([component]), overrides.clone(), &[])
            .await;
    };
    apply(&stage, 1).await;
    released(&mut stage).await;
    let mut tx = stage.fleet.store.begin().await.expect("a transaction");
    let patch = ClusterPatch {
        labels: Some(BTreeMap::from([("tier".to_owned(), "small".to_owned())])),
        ..ClusterPatch::default()
    };
    clusters::update(&mut tx, "prod-1", &patch, None)
        .await
        .expect("labelled");
    tx.commit().await.expect("a commit");
    apply(&stage, 2).await;
    braked(&stage, "prod-1").await;
    assert_eq!(extras(&stage, "prod-1").await, 8);
    assert_eq!(extras(&stage, "canary-1").await, 8);
}

/// What a cluster waits for before the release is sent to it.
async fn waits(stage: &Stage, cluster: &str) -> Vec<(String, String)> {
    let view = stage.fleet.view_with(&stage.renderings).await;
    let clusters = view.waves.into_iter().flat_map(|wave| wave.clusters);
    let mut found = clusters.filter(|one| one.name == cluster);
    let waits = found.next().expect("it is in the run").waiting_on;
    let words = waits.into_iter().map(|one| (one.reason, one.message));
    words.collect()
}

const HAS_KIND: &str = ".Capabilities.APIVersions.Has \"extras.example/v1\"";
const WITH_KIND: [&str; 3] = ["apps/v1", "v1", "extras.example/v1"];
const WITHOUT_KIND: [&str; 2] = ["apps/v1", "v1"];

/// Connects both clusters as ones that serve these versions.
async fn connected(stage: &mut Stage, versions: &[&str]) {
    for cluster in ["prod-1", "canary-1"] {
        stage.fleet.connect_as(cluster, "v1.33", versions).await;
    }
}

fn replicas(count: u32) -> Value {
    chart(|helm| helm["values"] = json!({"replicaCount": count}))
}

#[tokio::test]
async fn a_cluster_that_is_rendered_for_after_the_release_was_made_is_held_and_nobody_else() {
    let mut stage = Stage::new(&with_extras(HAS_KIND)).await;
    connected(&mut stage, &WITH_KIND).await;
    stage.apply(replicas(2)).await;
    released(&mut stage).await;
    stage.fleet.lose("prod-1").await;
    stage.apply(replicas(5)).await;
    stage.settle().await.expect("released");
    assert_eq!(stage.fleet.granted(2).await, ["canary-1"]);
    // What it gets now was not there when the release was made.
    stage
        .fleet
        .connect_as("prod-1", "v1.33", &WITHOUT_KIND)
        .await;
    let told = braked(&stage, "prod-1").await;
    stage.fleet.report("canary-1", UnitOutcome::Succeeded).await;
    braked(&stage, "prod-1").await;
    assert_eq!(extras(&stage, "prod-1").await, 8);
    assert_eq!(stage.fleet.granted(2).await, ["canary-1"]);
    assert_eq!(
        waits(&stage, "prod-1").await,
        [("PruneHeld".to_owned(), told)]
    );
    let view = stage.fleet.view_with(&stage.renderings).await;
    assert_eq!(view.state, RunPhase::Progressing, "it is not done");
    let word = [("bellwether.dev/allow-prune", "8")];
    stage
        .apply_annotated(json!([replicas(5)]), json!([]), &word)
        .await;
    stage.settle().await.expect("allowed");
    assert_eq!(stage.fleet.granted(2).await, ["canary-1", "prod-1"]);
    assert_eq!(extras(&stage, "prod-1").await, 0);
    let key = RecordKey {
        kind: RecordKind::Application,
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    };
    let spent = allowances::spent(&stage.fleet.store, &key).await;
    assert_eq!(spent.expect("an answer")[0].used_for, "release 2");
}

#[tokio::test]
async fn a_word_that_a_release_was_made_by_holds_for_clusters_that_are_granted_later() {
    let mut stage = Stage::new(&with_extras(".Values.extras")).await;
    connected(&mut stage, &WITHOUT_KIND).await;
    let apply = async |stage: &Stage, overrides: Value, word: &[(&str, &str)]| {
        let component = chart(|helm| helm["values"] = json!({"extras": true}));
        stage
            .apply_annotated(json!([component]), overrides, word)
            .await;
    };
    apply(&stage, json!([]), &[]).await;
    released(&mut stage).await;
    stage.fleet.lose("prod-1").await;
    let off = json!([{"name": "off", "clusters": ["prod-1"], "values": {"extras": false}}]);
    let word = [("bellwether.dev/allow-prune", "8")];
    apply(&stage, off.clone(), &word).await;
    stage.settle().await.expect("allowed");
    // The annotation may go once the release is made.
    apply(&stage, off, &[]).await;
    stage
        .fleet
        .connect_as("prod-1", "v1.33", &WITHOUT_KIND)
        .await;
    stage.settle().await.expect("it was allowed");
    assert_eq!(stage.fleet.granted(2).await, ["canary-1", "prod-1"]);
    assert_eq!(extras(&stage, "prod-1").await, 0);
}

#[tokio::test]
async fn what_a_cluster_got_that_came_after_the_release_was_made_counts_too() {
    let mut stage = Stage::new(&with_extras(HAS_KIND)).await;
    connected(&mut stage, &WITHOUT_KIND).await;
    stage.apply(replicas(2)).await;
    released(&mut stage).await;
    stage.fleet.join("late", "prod").await;
    stage.fleet.connect_as("late", "v1.33", &WITH_KIND).await;
    released(&mut stage).await;
    assert_eq!(stage.fleet.granted(1).await, ["canary-1", "late", "prod-1"]);
    assert_eq!(extras(&stage, "late").await, 8);
    stage.fleet.connect_as("late", "v1.33", &WITHOUT_KIND).await;
    stage.apply(replicas(5)).await;
    braked(&stage, "late").await;
    assert_eq!(extras(&stage, "late").await, 8);
    assert_eq!(stage.fleet.view_with(&stage.renderings).await.revision, 1);
}

#[tokio::test]
async fn what_nobody_can_read_is_not_taken_away() {
    let mut stage = Stage::new(&Shelf::with_chart()).await;
    connected(&mut stage, &WITHOUT_KIND).await;
    stage.apply(replicas(2)).await;
    released(&mut stage).await;
    stage.fleet.garble("prod-1").await;
    stage.apply(replicas(5)).await;
    let error = stage.settle().await.expect_err("nobody can tell");
    let told = error.to_string();
    assert!(
        matches!(error, LoopError::HoldingUnknown { .. })
            && told.contains("what cluster prod-1 holds of it cannot be read")
            && told.ends_with("bellwether.dev/allow-prune: \"10000\""),
        "{told}"
    );
    assert_eq!(stage.fleet.view_with(&stage.renderings).await.revision, 1);
    let word = [("bellwether.dev/allow-prune", "10000")];
    stage
        .apply_annotated(json!([replicas(5)]), json!([]), &word)
        .await;
    stage.settle().await.expect("allowed");
    assert_eq!(stage.fleet.granted(2).await, ["canary-1", "prod-1"]);
}

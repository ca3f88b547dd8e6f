//! What one cluster would lose of what others keep: the brake looks at each.

use bellwether_store::clusters::{self, ClusterPatch};

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

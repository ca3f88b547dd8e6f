use bellwether_api::{
    cluster::{Cordon, NodeProperties},
    status::UnitOutcome,
};
use bellwether_store::{
    clusters::{self, ClusterPatch, ReportedProperties},
    records::RecordKind,
};
use serde_json::{Value, json};

use crate::fleet::Fleet;

/// Applies the application with that placement, to all clusters.
async fn apply(fleet: &Fleet, placement: Value) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}});
    let spec = json!({
        "destination": {"selector": {}},
        "placement": placement,
        "components": [{"name": "web", "manifests": [object]}],
    });
    fleet
        .record(RecordKind::Application, "default", "shop", spec, &[])
        .await;
    fleet.plan().await.expect("planned");
}

async fn tell_nodes(fleet: &Fleet, cluster: &str, ready: Option<u32>) {
    let nodes = ready.map(|ready| NodeProperties {
        ready,
        ..NodeProperties::default()
    });
    let reported = ReportedProperties {
        missing_rights: Vec::new(),
        kubernetes_version: "v1.33.0".to_owned(),
        capabilities: Vec::new(),
        nodes,
    };
    let id = fleet.clusters[cluster].id;
    clusters::record_properties(&fleet.store, id, &reported)
        .await
        .expect("recorded");
}

async fn cordon(fleet: &Fleet, cluster: &str, drain: bool) {
    let cordon = Cordon {
        drain,
        by: "ana".to_owned(),
        reason: String::new(),
        since: String::new(),
    };
    let mut tx = fleet.store.begin().await.expect("a transaction");
    clusters::set_cordon(&mut tx, fleet.clusters[cluster].id, Some(&cordon))
        .await
        .expect("cordoned");
    tx.commit().await.expect("a commit");
}

#[tokio::test]
async fn as_many_as_are_asked_for_get_it_and_better_ones_move_nobody() {
    let mut fleet = Fleet::new(3).await;
    for (cluster, ready) in [("canary-1", 1), ("prod-1", 5), ("prod-2", 3)] {
        tell_nodes(&fleet, cluster, Some(ready)).await;
    }
    let placement = json!({"pick": "N", "count": 2, "scores": [{"property": "ReadyNodes"}],
        "affinity": [{"property": "ReadyNodes", "operator": "AtLeast", "values": ["2"]}]});
    apply(&fleet, placement.clone()).await;
    assert_eq!(fleet.holders("shop").await, ["prod-1", "prod-2"]);
    fleet.succeed_all().await;
    tell_nodes(&fleet, "prod-3", Some(90)).await;
    tell_nodes(&fleet, "prod-2", None).await;
    fleet.plan().await.expect("planned");
    assert_eq!(
        fleet.holders("shop").await,
        ["prod-1", "prod-2"],
        "what is not known takes nothing away"
    );
    tell_nodes(&fleet, "prod-2", Some(1)).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("shop").await, ["prod-1", "prod-3"]);
}

#[tokio::test]
async fn a_taint_keeps_away_and_a_cordon_keeps_what_is_there() {
    let mut fleet = Fleet::new(2).await;
    let taints = json!({"taints": [{"key": "edge", "effect": "NoSchedule"}]});
    let patch = ClusterPatch {
        spec: Some(taints),
        ..ClusterPatch::default()
    };
    let mut tx = fleet.store.begin().await.expect("a transaction");
    clusters::update(&mut tx, "canary-1", &patch, None)
        .await
        .expect("tainted");
    tx.commit().await.expect("a commit");
    apply(&fleet, json!({})).await;
    assert_eq!(fleet.holders("shop").await, ["prod-1", "prod-2"]);
    fleet.succeed_all().await;
    cordon(&fleet, "prod-1", false).await;
    fleet.join("prod-3", "prod").await;
    cordon(&fleet, "prod-3", false).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("shop").await, ["prod-1", "prod-2"]);
    apply(
        &fleet,
        json!({"tolerations": [{"key": "edge", "operator": "Exists"}]}),
    )
    .await;
    assert_eq!(
        fleet.holders("shop").await,
        ["canary-1", "prod-1", "prod-2"]
    );
}

#[tokio::test]
async fn a_drained_cluster_keeps_it_until_another_runs_it() {
    let mut fleet = Fleet::new(2).await;
    apply(&fleet, json!({"pick": "N", "count": 2})).await;
    assert_eq!(fleet.holders("shop").await, ["canary-1", "prod-1"]);
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    cordon(&fleet, "canary-1", true).await;
    fleet.plan().await.expect("planned");
    assert_eq!(
        fleet.holders("shop").await,
        ["canary-1", "prod-1", "prod-2"],
        "nobody runs it instead yet"
    );
    fleet.report("prod-2", UnitOutcome::Progressing).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("shop").await.len(), 3);
    fleet.report("prod-2", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("shop").await, ["prod-1", "prod-2"]);
    cordon(&fleet, "prod-1", true).await;
    fleet.plan().await.expect("planned");
    assert_eq!(
        fleet.holders("shop").await,
        ["prod-1", "prod-2"],
        "there is no other for it"
    );
}

#[tokio::test]
async fn only_a_policy_moves_it_from_a_silent_cluster_and_not_before_its_time() {
    let mut fleet = Fleet::new(2).await;
    apply(&fleet, json!({"pick": "N", "count": 2})).await;
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    fleet.lose("prod-1").await;
    fleet.wait(3_600).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("shop").await, ["canary-1", "prod-1"]);
    apply(
        &fleet,
        json!({"pick": "N", "count": 2, "failover": {"after": "2h"}}),
    )
    .await;
    assert_eq!(fleet.holders("shop").await, ["canary-1", "prod-1"]);
    fleet.wait(3_700).await;
    fleet.plan().await.expect("planned");
    fleet.report("prod-2", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("shop").await, ["canary-1", "prod-2"]);
}

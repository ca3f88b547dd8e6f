use bellwether_api::{
    cluster::{Cordon, NodeProperties, PodRequests},
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

/// The one that takes its place fills the group as soon as it is granted the application, long before it runs it.
#[tokio::test]
async fn a_drained_cluster_keeps_it_until_another_of_its_full_group_runs_it() {
    let mut fleet = Fleet::new(2).await;
    let spread = json!([{"by": "tier", "max": 1}]);
    apply(&fleet, json!({"pick": "N", "count": 2, "spread": spread})).await;
    assert_eq!(fleet.holders("shop").await, ["canary-1", "prod-1"]);
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    cordon(&fleet, "prod-1", true).await;
    let all = ["canary-1", "prod-1", "prod-2"];
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("shop").await, all, "nobody runs it instead");
    fleet.report("prod-2", UnitOutcome::Progressing).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("shop").await, all);
    fleet.report("prod-2", UnitOutcome::Succeeded).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.holders("shop").await, ["canary-1", "prod-2"]);
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

/// Applies the application with 12 replicas, divided like that.
async fn apply_divided(fleet: &Fleet, image: &str, division: Value) {
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 12, "template": {"spec": {"containers": [{
            "name": "web", "image": image,
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]}}}});
    let spec = json!({
        "destination": {"selector": {}},
        "placement": {"division": division},
        "components": [{"name": "web", "manifests": [object]}],
    });
    fleet
        .record(RecordKind::Application, "default", "shop", spec, &[])
        .await;
}

/// How many replicas each of these clusters is sent.
async fn replicas(fleet: &Fleet, clusters: &[&str]) -> Vec<Option<u64>> {
    let mut found = Vec::new();
    for cluster in clusters {
        let bundle = fleet.bundle(cluster).await;
        found.push(
            bundle.and_then(|(_, bundle)| {
                bundle.components[0].objects[0]["spec"]["replicas"].as_u64()
            }),
        );
    }
    found
}

#[tokio::test]
async fn replicas_are_divided_anew_once_a_run_has_succeeded() {
    let mut fleet = Fleet::new(2).await;
    let division = json!({"mode": "Static", "weights": [{"clusters": ["canary-1"], "weight": 2}]});
    apply_divided(&fleet, "web:1", division).await;
    fleet.plan().await.expect("planned");
    let three = ["canary-1", "prod-1", "prod-2"];
    assert_eq!(replicas(&fleet, &three).await, [Some(6), Some(3), Some(3)]);
    fleet.join("prod-3", "prod").await;
    fleet.plan().await.expect("planned");
    let four = ["canary-1", "prod-1", "prod-2", "prod-3"];
    let under_way = replicas(&fleet, &four).await;
    assert_eq!(
        under_way[..3],
        [Some(6), Some(3), Some(3)],
        "the run goes on"
    );
    assert_ne!(under_way[3], Some(3));
    for _ in 0..4 {
        fleet.succeed_all().await;
        fleet.plan().await.expect("planned");
    }
    let shares = replicas(&fleet, &four).await;
    assert_eq!(shares.iter().flatten().sum::<u64>(), 12, "{shares:?}");
    assert_eq!(shares, [Some(5), Some(3), Some(2), Some(2)]);
    fleet.plan().await.expect("planned");
    assert_eq!(replicas(&fleet, &four).await, shares, "nothing changed");
}

#[tokio::test]
async fn a_division_by_what_is_free_waits_until_that_is_known_and_stays_then() {
    let mut fleet = Fleet::new(1).await;
    apply_divided(&fleet, "web:1", json!({"mode": "Dynamic"})).await;
    let error = fleet.plan().await.expect_err("nothing is known").chain();
    assert!(error.contains("waits until it is known"), "{error}");
    assert_eq!(fleet.holders("shop").await, Vec::<String>::new());
    for (cluster, cores) in [("canary-1", 16), ("prod-1", 8)] {
        tell_free(&fleet, cluster, cores).await;
    }
    fleet.plan().await.expect("planned");
    let both = ["canary-1", "prod-1"];
    assert_eq!(replicas(&fleet, &both).await, [Some(8), Some(4)]);
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    tell_free(&fleet, "canary-1", 1).await;
    tell_nodes(&fleet, "prod-1", None).await;
    fleet.plan().await.expect("planned");
    assert_eq!(replicas(&fleet, &both).await, [Some(8), Some(4)]);
    apply_divided(&fleet, "web:2", json!({"mode": "Dynamic"})).await;
    fleet.plan().await.expect("planned");
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    assert_eq!(replicas(&fleet, &both).await, [Some(8), Some(4)]);
}

async fn tell_free(fleet: &Fleet, cluster: &str, cores: u64) {
    let reported = ReportedProperties {
        kubernetes_version: "v1.33.0".to_owned(),
        capabilities: Vec::new(),
        nodes: Some(NodeProperties {
            ready: 1,
            allocatable_cpu_milli: cores * 1_000 + 500,
            allocatable_memory_bytes: 1 << 40,
            requested: Some(PodRequests {
                cpu_milli: 500,
                memory_bytes: 1 << 30,
            }),
            ..NodeProperties::default()
        }),
        missing_rights: Vec::new(),
    };
    let id = fleet.clusters[cluster].id;
    clusters::record_properties(&fleet.store, id, &reported)
        .await
        .expect("recorded");
}

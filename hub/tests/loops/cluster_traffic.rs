//! Rollouts without a provider of their own take the cluster's, then the fleet's.

use bellwether_store::{
    clusters::{self, ClusterPatch},
    records::RecordKind,
};
use serde_json::{Value, json};

use crate::fleet::Fleet;

async fn give(fleet: &Fleet, cluster: &str, traffic: Value) {
    let patch = ClusterPatch {
        spec: Some(json!({"traffic": traffic})),
        ..ClusterPatch::default()
    };
    let mut tx = fleet.store.begin().await.expect("a transaction");
    clusters::update(&mut tx, cluster, &patch, None)
        .await
        .expect("written");
    tx.commit().await.expect("a commit");
}

async fn release(fleet: &Fleet, image: &str, strategy: Value) {
    let defaults = json!({"traffic": [{"gatewayApi": {"httpRoutes": ["web"]}}]});
    let spec = json!({"selector": {}, "defaults": defaults});
    fleet
        .record(RecordKind::Fleet, "", "quickstart", spec, &[])
        .await;
    let rollout = json!({
        "application": "shop",
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "service": {"name": "web", "port": 80},
        "strategy": {"canary": strategy},
        "analysis": {"skip": true},
    });
    fleet
        .record(RecordKind::Rollout, "default", "web", rollout, &[])
        .await;
    fleet.apply(image).await;
}

/// The provider that a cluster was told.
async fn told(fleet: &Fleet, cluster: &str) -> Value {
    let (_, bundle) = fleet.bundle(cluster).await.expect("a bundle");
    json!(bundle.rollouts[0].spec.traffic)
}

#[tokio::test]
async fn a_cluster_is_told_its_own_default_provider_and_the_others_the_fleets() {
    let mut fleet = Fleet::new(1).await;
    let (nginx, routes) = (
        json!([{"nginx": {"ingress": "web"}}]),
        json!([{"gatewayApi": {"httpRoutes": ["web"]}}]),
    );
    give(&fleet, "canary-1", nginx.clone()).await;
    release(&fleet, "1", json!({"weights": [50]})).await;
    fleet.plan().await.expect("planned");
    assert_eq!(told(&fleet, "canary-1").await, nginx);
    assert_eq!(told(&fleet, "prod-1").await, routes);
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    // As with a fleet's: what was granted stays, and the next release takes the new one.
    let before = fleet.bundle("canary-1").await.expect("a bundle").0;
    give(&fleet, "canary-1", json!([])).await;
    fleet.plan().await.expect("planned");
    assert_eq!(fleet.bundle("canary-1").await.expect("a bundle").0, before);
    release(&fleet, "2", json!({"weights": [50]})).await;
    fleet.plan().await.expect("planned");
    assert_eq!(told(&fleet, "canary-1").await, routes);
}

#[tokio::test]
async fn a_release_is_refused_where_a_clusters_default_cannot_do_what_is_asked() {
    let mut fleet = Fleet::new(1).await;
    release(&fleet, "1", json!({"weights": [50]})).await;
    fleet.plan().await.expect("planned");
    fleet.succeed_all().await;
    fleet.plan().await.expect("planned");
    give(&fleet, "prod-1", json!([{"nginx": {"ingress": "web"}}])).await;
    let mirrors = json!({"weights": [50], "mirror": true});
    release(&fleet, "2", mirrors).await;
    let error = fleet.plan().await.expect_err("it cannot mirror").chain();
    assert!(
        error.starts_with(
            "failed to release default/shop: rollout/web: the default of cluster \"prod-1\" \
             nginx.ingress (Ingress) cannot mirror requests"
        ),
        "{error}"
    );
    assert_eq!(fleet.granted(2).await, [""; 0]);
    give(&fleet, "prod-1", json!([{"contour": {"httpProxy": "web"}}])).await;
    fleet.plan().await.expect("it can");
    assert_eq!(fleet.granted(2).await, ["canary-1"]);
}

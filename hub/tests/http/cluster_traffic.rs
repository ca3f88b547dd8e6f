//! A cluster's own default provider.

use bellwether_store::{blobs, desired, testing::TestDatabase};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Answer, Hub, application, eventually, fleet};

const MIRRORS: &str = "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {name: web, namespace: shop}
spec:
  application: shop
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  service: {name: web, port: 80}
  strategy: {canary: {weights: [50], mirror: true}}
  analysis: {skip: true}
";

/// A Service before the first of the application's other objects.
const SERVICE: &str = "    - apiVersion: v1
      kind: Service
      metadata: {name: web}
      spec: {selector: {app: web}, ports: [{port: 80}]}
    - apiVersion: v1
";

fn cluster(name: &str, traffic: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Cluster
metadata: {{name: {name}}}
spec: {{traffic: {traffic}}}
"
    )
}

fn refused(answer: &Answer) -> String {
    let refused = StatusCode::UNPROCESSABLE_ENTITY;
    assert_eq!(answer.status, refused, "{answer:?}");
    let error = &answer.body["errors"][0];
    format!("{}: {}", error["path"], error["detail"]).replace('"', "")
}

#[tokio::test]
async fn a_clusters_default_must_fit_what_is_placed_there() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    for name in ["eu-1", "eu-2"] {
        hub.announce(name, &json!({})).await;
    }
    let shop = [
        fleet("all"),
        application("shop", "shop", "all", "web:1").replace("    - apiVersion: v1\n", SERVICE),
        MIRRORS.to_owned(),
    ];
    admin.applied(&shop.join("---\n")).await;
    // Not one that cannot do what is asked of it.
    let nginx = cluster("eu-1", "[{nginx: {ingress: web}}]");
    let error = refused(&admin.apply(&nginx).await);
    assert!(
        error.contains("spec.traffic")
            && error.contains("rollout shop/web takes it")
            && error.contains("nginx.ingress (Ingress) cannot mirror requests"),
        "{error}"
    );
    // Nor one that is no provider, or several at once.
    let both = cluster(
        "eu-1",
        "[{nginx: {ingress: web}, contour: {httpProxy: web}}]",
    );
    let error = refused(&admin.apply(&both).await);
    assert!(error.contains("spec.traffic[0]"), "{error}");
    let routes = cluster("eu-1", "[{gatewayApi: {httpRoutes: [web]}}]");
    admin.applied(&routes).await;
    let shown = admin.get("/api/v1/clusters/eu-1").await.body;
    assert_eq!(
        shown["spec"]["traffic"][0]["gatewayApi"]["httpRoutes"],
        json!(["web"])
    );
    // A cluster for which nothing asks anything takes any.
    let plain = MIRRORS.replace(", mirror: true", "");
    admin.applied(&plain).await;
    admin.applied(&nginx).await;
    let error = refused(&admin.apply(MIRRORS).await);
    assert!(
        error.contains("the default of cluster \\eu-1\\ nginx.ingress (Ingress) cannot mirror"),
        "{error}"
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn a_clusters_default_is_granted_and_must_fit_workloads_of_others() {
    let database = TestDatabase::create().await;
    let hub = Hub::on(&database, &[]).await;
    let admin = hub.admin();
    hub.announce("eu-1", &json!({})).await;
    let web = MIRRORS
        .replace(
            "  application: shop\n",
            "  destination: {clusters: [eu-1]}\n",
        )
        .replace(
            "name: web}\n  service",
            "name: web, namespace: default}\n  service",
        )
        .replace(", mirror: true", "");
    admin.applied(&web).await;
    let rule = "[{istio: {virtualServices: [web], destinationRule: web}}]";
    let error = refused(&admin.apply(&cluster("eu-1", rule)).await);
    assert!(
        error.contains("spec.traffic")
            && error.contains("rollout shop/web takes it")
            && error.contains("no DestinationRule is copied"),
        "{error}"
    );
    let store = database.store().await;
    let granted = async || {
        let holders = desired::holders(&store, "rollout/shop/web").await.unwrap();
        let digest = *holders.values().next()?;
        let bytes = blobs::get(&store, digest).await.unwrap()?;
        let grant: Value = serde_json::from_slice(&bytes).unwrap();
        Some(grant["spec"]["traffic"].clone())
    };
    let shown = eventually("the grant", granted).await;
    assert_eq!(shown, Value::Null, "nobody says anything");
    let mesh = cluster("eu-1", "[{istio: {virtualServices: [web]}}]");
    admin.applied(&mesh).await;
    eventually("the grant with the cluster's default", async || {
        let own = json!([{"istio": {"virtualServices": ["web"]}}]);
        granted().await.filter(|traffic| *traffic == own)
    })
    .await;
    hub.running.stop().await;
}

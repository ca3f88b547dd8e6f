//! Applications whose objects are to stay.

use bellwether_api::status::UnitOutcome;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    agent::{Held, Session, connect, joined},
    harness::{Hub, Site, digest, eventually},
    statuses::{SHOP, say, status},
};

fn bundle(revision: u64, deletion: &str) -> Vec<u8> {
    bundle_with(revision, deletion, json!([]))
}

fn bundle_with(revision: u64, deletion: &str, components: Value) -> Vec<u8> {
    let bundle = json!({
        "application": {"namespace": "default", "name": "shop"}, "release": "r",
        "revision": revision, "run": uuid::Uuid::nil(), "attempt": 1, "mode": "Plain",
        "targetNamespace": "shop", "createNamespace": false, "components": components, "rollouts": [],
        "sync": {"deletion": deletion}, "metrics": null,
    });
    bundle.to_string().into_bytes()
}

async fn apply(hub: &Hub, deletion: &str) {
    apply_with(hub, deletion, json!(null)).await;
}

async fn apply_with(hub: &Hub, deletion: &str, own: Value) {
    let document = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"destination": {"clusters": ["eu-1"]}, "sync": {"deletion": deletion},
            "components": [{"name": "web", "sync": {"deletion": own}, "manifests": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}]}]},
    });
    hub.ask(Method::POST, "apply", document).await;
}

async fn delete(hub: &Hub) -> (StatusCode, Value) {
    let path = "namespaces/default/applications/shop";
    hub.call(Method::DELETE, path, Value::Null).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_stay_is_not_deleted_before_its_clusters_know() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "eu-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let session = Session::open(channel, &Held::default()).await.unwrap();
    let (first, second) = (bundle(1, "Delete"), bundle(2, "SelectivelyOrphan"));
    hub.write(credentials.cluster, &[(SHOP, Some(&first))])
        .await;
    let mut reported = status(UnitOutcome::Succeeded, Vec::new());
    reported.digest = digest(&first).to_string();
    session.say(say(1, &reported)).await;

    // The record says that objects stay; the cluster would delete them.
    apply(&hub, "SelectivelyOrphan").await;
    let (code, problem) = delete(&hub).await;
    assert_eq!(code, StatusCode::CONFLICT, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("which eu-1 did not take up yet"),
        "{detail}"
    );
    // Granted is not taken up.
    hub.write(credentials.cluster, &[(SHOP, Some(&second))])
        .await;
    assert_eq!(delete(&hub).await.0, StatusCode::CONFLICT);
    // Nor is what keeps less.
    apply(&hub, "Orphan").await;
    reported.digest = digest(&second).to_string();
    session.say(say(2, &reported)).await;
    apply(&hub, "SelectivelyOrphan").await;
    eventually("the deletion", async || {
        (delete(&hub).await.0 == StatusCode::OK).then_some(())
    })
    .await;

    // Who does not mind is not held up.
    apply(&hub, "Orphan").await;
    assert_eq!(delete(&hub).await.0, StatusCode::CONFLICT);
    apply(&hub, "Delete").await;
    assert_eq!(delete(&hub).await.0, StatusCode::OK);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_stay_of_a_component_is_not_deleted_before_its_clusters_know() {
    let mut site = Site::new().await;
    let hub = site.hub().await;
    let credentials = joined(&hub, "eu-1").await;
    let channel = connect(&hub, Some(&credentials)).await.unwrap();
    let session = Session::open(channel, &Held::default()).await.unwrap();
    let web = |sync: Value| json!([{"name": "web", "objects": [], "sync": sync}]);
    let first = bundle_with(1, "Delete", web(json!({})));
    let second = bundle_with(2, "Delete", web(json!({"deletion": "Orphan"})));
    hub.write(credentials.cluster, &[(SHOP, Some(&first))])
        .await;
    let mut reported = status(UnitOutcome::Succeeded, Vec::new());
    reported.digest = digest(&first).to_string();
    session.say(say(1, &reported)).await;

    apply_with(&hub, "Delete", json!("Orphan")).await;
    let (code, problem) = delete(&hub).await;
    assert_eq!(code, StatusCode::CONFLICT, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    let said = "says sync.deletion: Orphan of component \"web\", which eu-1 did not take up yet";
    assert!(detail.contains(said), "{detail}");

    hub.write(credentials.cluster, &[(SHOP, Some(&second))])
        .await;
    reported.digest = digest(&second).to_string();
    session.say(say(2, &reported)).await;
    eventually("the deletion", async || {
        (delete(&hub).await.0 == StatusCode::OK).then_some(())
    })
    .await;
    hub.stop().await;
}

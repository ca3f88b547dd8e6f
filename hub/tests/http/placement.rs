//! What a plan would change, why a cluster is chosen, and clusters that are closed.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::Hub;

fn application(placement: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {{name: shop}}
spec:
  destination: {{selector: {{matchLabels: {{env: prod}}}}}}
{placement}
  components:
  - name: web
    manifests:
    - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: shop}}}}
"
    )
}

const TWO: &str = "  placement:
    pick: N
    count: 2
    spread: [{by: region, max: 1}]";

async fn clusters(hub: &Hub) {
    for (name, region, env) in [
        ("de-1", "de", "prod"),
        ("de-2", "de", "prod"),
        ("us-1", "us", "prod"),
        ("test", "de", "test"),
    ] {
        hub.announce(name, &json!({"region": region, "env": env}))
            .await;
    }
}

fn whys(view: &Value) -> Vec<(&str, bool, &str)> {
    let clusters = view["clusters"].as_array().into_iter().flatten();
    clusters
        .map(|one| {
            (
                one["cluster"].as_str().unwrap_or_default(),
                one["chosen"] == true,
                one["why"].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_plan_says_who_would_get_it_and_stores_nothing() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    clusters(&hub).await;
    let plan = async |documents: String| {
        let request = admin.request(Method::POST, "/api/v1/plan").body(documents);
        admin.send(request).await
    };
    let answer = plan(application("")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let shop = &answer.body["applications"][0];
    let changes = shop["clusters"].as_array().unwrap();
    let named: Vec<&Value> = changes.iter().map(|one| &one["cluster"]).collect();
    assert_eq!(named, ["de-1", "de-2", "us-1"]);
    assert!(
        changes
            .iter()
            .all(|one| one["change"] == "Added" && one["wave"] == "install"),
        "{changes:?}"
    );
    let missing = admin
        .get("/api/v1/namespaces/default/applications/shop")
        .await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND, "nothing is stored");
    // Nobody of them was ever heard.
    let answer = plan(application(TWO)).await;
    let shop = &answer.body["applications"][0];
    assert_eq!(shop["clusters"], json!([]));
    assert_eq!(shop["conditions"][0]["type"], "NoClusters");
    let wrong = plan(application("  placement: {pick: N}")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    hub.running.stop().await;
}

#[tokio::test]
async fn a_plan_and_an_explanation_say_how_many_pods_go_where() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    clusters(&hub).await;
    let document = |mode: &str| {
        format!(
            "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {{name: shop}}
spec:
  destination: {{selector: {{matchLabels: {{env: prod}}}}}}
  placement: {{division: {mode}}}
  components:
    - name: web
      manifests:
        - apiVersion: apps/v1
          kind: Deployment
          metadata: {{name: web}}
          spec:
            replicas: 5
            template: {{spec: {{containers: [{{name: web}}]}}}}
"
        )
    };
    let plan = async |body: String| {
        let request = admin.request(Method::POST, "/api/v1/plan").body(body);
        admin.send(request).await
    };
    let weights = "{mode: Static, weights: [{clusters: [de-1], weight: 3},
      {clusters: [us-1], weight: 0}]}";
    let answer = plan(document(weights)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let said = |list: &Value| -> Vec<Value> {
        let clusters = list.as_array().unwrap().iter();
        clusters.map(|one| one["replicas"].clone()).collect()
    };
    let wanted = [
        json!(["Deployment/web 4 of 5", "weight 3"]),
        json!(["Deployment/web 1 of 5", "weight 1"]),
        json!(["Deployment/web none of 5", "weight 0"]),
    ];
    assert_eq!(said(&answer.body["applications"][0]["clusters"]), wanted);
    let unknown = plan(document("{mode: Dynamic}")).await;
    let conditions = &unknown.body["applications"][0]["conditions"];
    assert!(
        conditions.to_string().contains("waits until it is known"),
        "{unknown:?}"
    );
    admin.applied(&document(weights)).await;
    let path = "/api/v1/namespaces/default/applications/shop/placement";
    let view = admin.get(path).await;
    assert_eq!(said(&view.body["clusters"]), wanted, "{view:?}");
    hub.running.stop().await;
}

#[tokio::test]
async fn every_cluster_is_told_why_or_why_not() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    clusters(&hub).await;
    admin
        .applied(&application(
            "  placement:
    spread: [{by: region, max: 1}]
    affinity: [{property: ReadyNodes, operator: Exists}]",
        ))
        .await;
    let path = "/api/v1/namespaces/default/applications/shop/placement";
    let view = admin.get(path).await;
    assert_eq!(view.status, StatusCode::OK, "{view:?}");
    let said = whys(&view.body);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said.iter()
            .all(|(_, chosen, why)| !chosen && why.contains("its agent has not said")),
        "{said:?}"
    );
    let cordon = "/api/v1/clusters/us-1/cordon";
    let request = admin
        .request(Method::PUT, cordon)
        .json(&json!({"reason": "new nodes"}));
    let closed = admin.send(request).await;
    assert_eq!(closed.status, StatusCode::OK, "{closed:?}");
    assert_eq!(closed.body["status"]["cordon"]["reason"], "new nodes");
    // Cordoned before it fits: the loop may plan whatever is chosen from here on.
    admin
        .applied(&application(
            "  placement: {spread: [{by: region, max: 1}]}",
        ))
        .await;
    let said = admin.get(path).await;
    let said = whys(&said.body);
    assert!(matches!(said[0], ("de-1", true, _)), "{said:?}");
    assert_eq!(
        said[1..],
        [
            (
                "de-2",
                false,
                "region de has the 1 clusters that it may have"
            ),
            ("us-1", false, "it is cordoned"),
        ]
    );
    let open = admin.delete(cordon).await;
    assert_eq!(open.body["status"]["cordon"], Value::Null);
    let said = admin.get(path).await;
    // The loop may have planned it there meanwhile, which is another reason for the same.
    let said = whys(&said.body);
    assert!(
        said.iter()
            .any(|(name, chosen, _)| *name == "us-1" && *chosen),
        "{said:?}"
    );
    let unknown = admin.get("/api/v1/clusters/nope/drain").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let reader = hub.someone("reader", "viewer", &[]).await;
    let request = reader.request(Method::PUT, cordon).json(&json!({}));
    assert_eq!(reader.send(request).await.status, StatusCode::FORBIDDEN);
    hub.running.stop().await;
}

#[tokio::test]
async fn applying_a_cluster_keeps_its_cordon_and_says_what_its_taints_move() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    clusters(&hub).await;
    admin.applied(&application("")).await;
    let request = admin
        .request(Method::PUT, "/api/v1/clusters/de-1/cordon")
        .json(&json!({"drain": true}));
    assert_eq!(admin.send(request).await.status, StatusCode::OK);
    let cluster = "apiVersion: bellwether.dev/v1alpha1
kind: Cluster
metadata: {name: de-1, labels: {env: prod, region: de}}
spec:
  taints: [{key: gpu, value: \"yes\", effect: NoExecute}]
";
    admin.applied(cluster).await;
    let shown = admin.get("/api/v1/clusters/de-1").await;
    assert_eq!(shown.body["spec"]["taints"][0]["key"], "gpu");
    assert_eq!(shown.body["status"]["cordon"]["drain"], true);
    let drained = admin.get("/api/v1/clusters/de-1/drain").await;
    assert_eq!(drained.body["draining"], true, "{drained:?}");
    let wrong = cluster.replace("NoExecute", "PreferNoSchedule");
    let refused = admin.apply(&wrong).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused.body.to_string().contains("NoSchedule"),
        "{refused:?}"
    );
    hub.running.stop().await;
}

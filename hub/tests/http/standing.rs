//! Rollouts of workloads that the hub does not deliver.

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Hub, application, eventually, fleet};

fn standing(name: &str, cluster: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: {name}, namespace: shop}}
spec:
  destination: {{clusters: [{cluster}]}}
  workload: {{apiVersion: apps/v1, kind: Deployment, name: web, namespace: default}}
  strategy: {{canary: {{stepWeight: 10, maxWeight: 50}}}}
  analysis: {{skip: true}}
"
    )
}

#[tokio::test]
async fn each_cluster_of_the_destination_is_granted_it_until_it_goes() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    for cluster in ["eu-1", "eu-2"] {
        hub.announce(cluster, &json!({})).await;
    }
    admin.applied(&standing("web", "eu-1")).await;
    let path = "/api/v1/rollouts/shop/web/status";
    let view = eventually("the grant", async || {
        let answer = admin.get(path).await;
        (answer.status == StatusCode::OK && answer.body["total"] == 1).then_some(answer.body)
    })
    .await;
    let cluster = &view["waves"][0]["clusters"][0];
    assert_eq!(
        (&cluster["name"], &cluster["state"]),
        (&json!("eu-1"), &json!("Unreachable"))
    );
    assert_eq!(view["waitingOn"][0]["reason"], "ClusterUnreachable");
    admin.applied(&standing("web", "eu-2")).await;
    eventually("the other cluster", async || {
        let view = admin.get(path).await.body;
        let clusters = &view["waves"][0]["clusters"];
        (view["total"] == 1 && clusters[0]["name"] == "eu-2").then_some(())
    })
    .await;
    let deleted = admin.delete("/api/v1/namespaces/shop/rollouts/web").await;
    assert_eq!(deleted.status, StatusCode::OK, "{deleted:?}");
    assert_eq!(admin.get(path).await.status, StatusCode::NOT_FOUND);
    hub.running.stop().await;
}

#[tokio::test]
async fn one_workload_has_one_rollout_and_one_who_delivers_it() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    for cluster in ["eu-1", "eu-2"] {
        hub.announce(cluster, &json!({})).await;
    }
    admin.applied(&standing("one", "eu-1")).await;
    let refused = |answer: &crate::harness::Answer| -> String {
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
        let error = &answer.body["errors"][0];
        format!("{}: {}", error["path"], error["detail"]).replace('"', "")
    };
    let second = refused(&admin.apply(&standing("two", "eu-1")).await);
    assert!(
        second.contains("spec.workload") && second.contains("rollout shop/one governs the same"),
        "{second}"
    );
    // In another cluster it is another workload.
    admin.applied(&standing("two", "eu-2")).await;
    let shop = [fleet("all"), application("shop", "shop", "all", "web:1")].join("---\n");
    let delivered = refused(&admin.apply(&shop).await);
    assert!(
        delivered.contains("spec.components") && delivered.contains("rollout shop/one governs"),
        "{delivered}"
    );
    let named = standing("three", "nowhere").replace("name: web, ", "name: other, ");
    let named = admin.applied(&named).await;
    assert_eq!(named["objects"][0]["result"], "created");
    let unknown = standing("four", "eu-1").replace("{clusters: [eu-1]}", "{fleet: non}");
    let unknown = refused(&admin.apply(&unknown).await);
    assert!(unknown.contains("there is no fleet"), "{unknown}");
    hub.running.stop().await;
}

#[tokio::test]
async fn a_word_to_nobody_is_refused() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    hub.announce("eu-1", &json!({})).await;
    admin.applied(&standing("web", "eu-1")).await;
    let path = "/api/v1/rollouts/shop/web/actions";
    let say = async |body: serde_json::Value| admin.post(path, &body).await;
    eventually("the grant", async || {
        let answer = say(json!({"type": "approve"})).await;
        let known = answer.detail().contains("eu-1: no run is under way there");
        (answer.status == StatusCode::CONFLICT && known).then_some(())
    })
    .await;
    let retry = say(json!({"type": "retry"})).await;
    assert!(
        retry.detail().contains("no change failed there"),
        "{retry:?}"
    );
    let wave = say(json!({"type": "approve", "wave": "all"})).await;
    assert_eq!(wave.status, StatusCode::UNPROCESSABLE_ENTITY, "{wave:?}");
    let nowhere = say(json!({"type": "abort", "cluster": "us-1"})).await;
    assert_eq!(
        nowhere.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{nowhere:?}"
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn going_back_is_refused_where_somebody_else_delivers() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    hub.announce("eu-1", &json!({})).await;
    admin.applied(&standing("web", "eu-1")).await;
    let path = "/api/v1/rollouts/shop/web/actions";
    for (body, part) in [
        (json!({"type": "rollback"}), "no releases"),
        (json!({"type": "rollback", "toRevision": 1}), "no releases"),
        (json!({"type": "finish"}), "nothing to put away"),
        (
            json!({"type": "finish", "cluster": "eu-1"}),
            "nothing to put away",
        ),
    ] {
        eventually("the grant", async || {
            let answer = admin.post(path, &body).await;
            let known = answer.detail().contains("eu-1: ");
            (answer.status == StatusCode::CONFLICT && known).then_some(())
        })
        .await;
        let refused = admin.post(path, &body).await;
        assert!(refused.detail().contains(part), "{refused:?}");
    }
    hub.running.stop().await;
}

#[tokio::test]
async fn a_removal_that_is_held_is_a_condition_and_a_reason() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    for cluster in ["eu-1", "eu-2", "eu-3"] {
        hub.announce(cluster, &json!({})).await;
    }
    admin.applied(&standing("web", "eu-1, eu-2, eu-3")).await;
    let path = "/api/v1/rollouts/shop/web/status";
    eventually("all grants", async || {
        (admin.get(path).await.body["total"] == 3).then_some(())
    })
    .await;
    admin.applied(&standing("web", "eu-1")).await;
    let view = eventually("the brake", async || {
        let view = admin.get(path).await.body;
        (view["waitingOn"][0]["reason"] == "Stalled").then_some(view)
    })
    .await;
    assert_eq!(view["total"], 3, "nothing was taken away");
    let why = view["waitingOn"][0]["message"].as_str().unwrap_or_default();
    assert!(
        why.contains("2 of 3 clusters") && why.contains("allow-removal"),
        "{why}"
    );
    let item = admin.get("/api/v1/namespaces/shop/rollouts/web").await.body;
    let condition = &item["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["message"]),
        (&json!("Stalled"), &json!(why))
    );
    let because = admin.get("/api/v1/rollouts/shop/web/why").await.body;
    assert_eq!(because["because"][0]["reason"], "Stalled", "{because}");
    let allowed = standing("web", "eu-1").replace(
        "namespace: shop}",
        "namespace: shop, annotations: {bellwether.dev/allow-removal: '2'}}",
    );
    admin.applied(&allowed).await;
    eventually("the removal", async || {
        let view = admin.get(path).await.body;
        let stalled = view["waitingOn"].to_string().contains("Stalled");
        (view["total"] == 1 && !stalled).then_some(())
    })
    .await;
    // The word was used: the same one allows nothing that goes later.
    admin
        .applied(&allowed.replace("clusters: [eu-1]", "clusters: [eu-1, eu-2, eu-3]"))
        .await;
    eventually("all grants", async || {
        (admin.get(path).await.body["total"] == 3).then_some(())
    })
    .await;
    admin.applied(&allowed).await;
    let view = eventually("the brake", async || {
        let view = admin.get(path).await.body;
        (view["waitingOn"][0]["reason"] == "Stalled").then_some(view)
    })
    .await;
    let why = view["waitingOn"][0]["message"].to_string();
    assert!(
        why.contains("was used by its removal from 2 clusters"),
        "{why}"
    );
    assert_eq!(view["total"], 3);
    hub.running.stop().await;
}

#[tokio::test]
async fn what_a_fleet_gives_must_fit_workloads_of_others() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    hub.announce("eu-1", &json!({})).await;
    let mesh = "apiVersion: bellwether.dev/v1alpha1
kind: Fleet
metadata: {name: mesh}
spec:
  selector: {}
  defaults:
    traffic: [{istio: {virtualServices: [web]RULE}}]
";
    let rule = ", destinationRule: web";
    let web = standing("web", "eu-1")
        .replace("{clusters: [eu-1]}", "{fleet: mesh}")
        .replace(
            "  strategy:",
            "  service: {name: web, port: 80}\n  strategy:",
        );
    admin.applied(&mesh.replace("RULE", rule)).await;
    let refused = admin.apply(&web).await;
    let error = refused.body["errors"][0].to_string();
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );
    assert!(
        error.contains("spec.traffic")
            && error.contains("istio.destinationRule: no DestinationRule is copied"),
        "{error}"
    );
    // Nor may the fleet begin to give it later.
    admin.applied(&mesh.replace("RULE", "")).await;
    admin.applied(&web).await;
    let refused = admin.apply(&mesh.replace("RULE", rule)).await;
    let error = refused.body["errors"][0].to_string();
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );
    assert!(
        error.contains("spec.defaults.traffic") && error.contains("rollout shop/web takes it"),
        "{error}"
    );
    hub.running.stop().await;
}

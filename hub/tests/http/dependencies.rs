//! What applications wait for and what fleets have as add-ons: it is there, nobody waits for each
//! other, and what is needed is not deleted.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Caller, Hub, application, fleet};

/// An application that waits for others.
fn after(namespace: &str, name: &str, others: &str) -> String {
    let whole = application(namespace, name, "all", "web:1");
    let spec = format!("spec:\n  dependsOn: [{others}]\n");
    whole.replacen("spec:\n", &spec, 1)
}

fn found(body: &Value) -> Vec<(&str, &str)> {
    let errors = body["errors"].as_array().expect("errors");
    errors
        .iter()
        .map(|error| {
            let text = |field: &str| error[field].as_str().unwrap_or_default();
            (text("path"), text("detail"))
        })
        .collect()
}

async fn refused(caller: &Caller, documents: &str) -> Value {
    let answer = caller.apply(documents).await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    answer.body
}

#[tokio::test]
async fn unknown_applications_are_named() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let known = [fleet("all"), application("shop", "db", "all", "db:1")].join("---\n");
    admin.applied(&known).await;
    let body = refused(&admin, &after("shop", "web", "{name: db}, {name: dbb}")).await;
    assert_eq!(
        found(&body),
        [(
            "spec.dependsOn[1]",
            "there is no application \"dbb\" in namespace \"shop\""
        )]
    );
    assert_eq!(body["errors"][0]["suggestion"], "db");
    // Both come in one request.
    let both = [
        after("shop", "web", "{name: cache}"),
        application("shop", "cache", "all", "cache:1"),
    ];
    admin.applied(&both.join("---\n")).await;
    hub.running.stop().await;
}

#[tokio::test]
async fn applications_do_not_wait_for_each_other() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let chain = [
        fleet("all"),
        application("shop", "db", "all", "db:1"),
        after("shop", "api", "{name: db}"),
        after("edge", "web", "{name: api, namespace: shop}"),
    ];
    admin.applied(&chain.join("---\n")).await;
    let body = refused(&admin, &after("shop", "db", "{name: web, namespace: edge}")).await;
    assert_eq!(
        found(&body),
        [(
            "spec.dependsOn[0]",
            "applications wait for each other: shop/db → edge/web → shop/api → shop/db"
        )]
    );
    let own = refused(&admin, &after("shop", "db", "{name: db}")).await;
    assert!(found(&own)[0].1.contains("cannot wait for itself"), "{own}");
    hub.running.stop().await;
}

#[tokio::test]
async fn what_is_needed_is_not_deleted() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let documents = [
        fleet("all"),
        application("shop", "db", "all", "db:1"),
        after("shop", "web", "{name: db}"),
    ];
    admin.applied(&documents.join("---\n")).await;
    let addon = "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata: {name: all}\n\
                 spec: {selector: {}, addons: [{name: db, namespace: shop}]}\n";
    admin.applied(addon).await;
    let db = "/api/v1/namespaces/shop/applications/db";
    let answer = admin.delete(db).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("fleet all has it as an add-on")
            && detail.contains("application shop/web depends on it"),
        "{detail}"
    );
    let shown = admin.get("/api/v1/fleets/all").await;
    let status = &shown.body["status"];
    assert_eq!(
        status["addons"],
        json!([{"application": {"namespace": "shop", "name": "db"}, "clusters": 0, "healthy": 0}])
    );
    assert_eq!(status["conditions"][0]["type"], "AddonsHealthy");
    admin.applied(&fleet("all")).await;
    let web = "/api/v1/namespaces/shop/applications/web";
    for path in [web, db] {
        let answer = admin.delete(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    hub.running.stop().await;
}

#[tokio::test]
async fn add_ons_and_fleets_of_components_are_there() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    let addon = "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata: {name: all}\n\
                 spec: {selector: {}, addons: [{name: gone}]}\n";
    let body = refused(&admin, addon).await;
    assert_eq!(
        found(&body),
        [(
            "spec.addons[0]",
            "there is no application \"gone\" in namespace \"default\""
        )]
    );
    admin.applied(&fleet("all")).await;
    let document = json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"destination": {"fleet": "all"}, "components": [
            {"name": "web", "destination": {"fleet": "al"}, "sync": {"prune": false}, "manifests": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}},
            ]},
        ]},
    });
    let body = refused(&admin, &document.to_string()).await;
    assert_eq!(
        found(&body),
        [(
            "spec.components[0].destination.fleet",
            "there is no fleet \"al\""
        )]
    );
    hub.running.stop().await;
}

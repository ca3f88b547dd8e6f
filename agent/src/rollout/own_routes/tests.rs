//! What is taken away when, against an API server that has the objects and counts deletions.

use std::sync::{Arc, Mutex};

use bellwether_agent_core::names::RUN_LABEL;
use bellwether_api::bundle::Bundle;
use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

fn bundle(traffic: &Value) -> Bundle {
    serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": "r", "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
        "mode": "Rollout", "targetNamespace": "shop", "createNamespace": true,
        "components": [],
        "rollouts": [{"name": "shop-web", "spec": {
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop"},
            "service": {"name": "web", "port": 80},
            "strategy": {"canary": {"stepWeight": 50}},
            "traffic": [traffic],
        }}],
        "sync": {}, "metrics": null,
    }))
    .unwrap()
}

fn kinds(path: &str) -> Value {
    let (version, kind, plural) = if path.contains("traefik.io") {
        ("traefik.io/v1alpha1", "TraefikService", "traefikservices")
    } else {
        ("networking.k8s.io/v1", "Ingress", "ingresses")
    };
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
        "resources": [{
            "name": plural, "singularName": "", "namespaced": true, "kind": kind,
            "verbs": ["get", "delete"],
        }],
    })
}

/// An API server on which every object exists until it is deleted, as an object of the run.
fn server(label: &str, deleted: Arc<Mutex<Vec<String>>>) -> kube::Client {
    let label = label.to_owned();
    let answer = move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let mut deleted = deleted.lock().unwrap();
        let (status, body) = if !path.contains("/namespaces/") {
            (StatusCode::OK, kinds(&path))
        } else if deleted.contains(&path) {
            let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": "NotFound", "message": "gone", "code": 404});
            (StatusCode::NOT_FOUND, gone)
        } else {
            if request.method() == Method::DELETE {
                deleted.push(path.clone());
            }
            let name = path.rsplit('/').next().unwrap_or_default();
            let object = json!({"metadata": {
                "name": name, "namespace": "shop", "uid": "1", "labels": {RUN_LABEL: label},
            }});
            (StatusCode::OK, object)
        };
        let response = Response::builder()
            .status(status)
            .body(Body::from(body.to_string().into_bytes()))
            .unwrap();
        futures::future::ready(Ok::<_, std::convert::Infallible>(response))
    };
    kube::Client::new(tower::service_fn(answer), "default")
}

/// How many objects are deleted before and after the split is in force.
async fn deletions(traffic: Value) -> (usize, bool, usize) {
    let bundle = bundle(&traffic);
    let scene = Scene::of(&bundle, &bundle.rollouts[0]);
    let deleted = Arc::default();
    let cluster = Cluster::new(server(&scene.label, Arc::clone(&deleted)));
    let mut own = OwnRoutes {
        held: true,
        ..OwnRoutes::default()
    };
    own.remove_unused(&cluster, &scene, false).await.unwrap();
    let before = deleted.lock().unwrap().len();
    let held = own.are_held();
    own.remove_unused(&cluster, &scene, true).await.unwrap();
    let after = deleted.lock().unwrap().len();
    (before, held, after)
}

#[tokio::test]
async fn what_a_route_named_goes_once_the_gateway_uses_the_route_without_it() {
    let mirror = json!({"traefik": {"ingressRoute": "web"}});
    assert_eq!(deletions(mirror).await, (0, true, 1));
}

#[tokio::test]
async fn what_splits_by_itself_goes_at_once() {
    let canary = json!({"nginx": {"ingress": "web"}});
    assert_eq!(deletions(canary).await, (1, true, 1));
}

use bellwether_api::{application::ApplicationSpec, rollout::RolloutSpec};
use serde_json::{Value, json};

use crate::release::{RolloutRecord, content};

fn application(route: Option<Value>) -> ApplicationSpec {
    let mut manifests = vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}),
    ];
    manifests.extend(route);
    serde_json::from_value(json!({
        "destination": {"fleet": "quickstart"},
        "components": [{"name": "web", "manifests": manifests}],
    }))
    .expect("an application")
}

/// The objects of a release whose one rollout has this provider, beside Deployment and Service.
fn routes(route: Option<Value>, traffic: Option<Value>) -> Vec<Value> {
    let records: Vec<RolloutRecord> = traffic
        .map(|traffic| -> RolloutSpec {
            serde_json::from_value(json!({
                "application": "shop",
                "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "service": {"name": "web", "port": 80},
                "strategy": {"canary": {"stepWeight": 10}},
                "traffic": [traffic],
            }))
            .expect("a rollout")
        })
        .map(|spec| RolloutRecord {
            name: "shop-web".to_owned(),
            spec,
            rendered_as: None,
        })
        .into_iter()
        .collect();
    let made = content("shop", &application(route), &records).expect("content");
    made.components[0].objects[2..].to_vec()
}

fn http_route() -> Value {
    json!({
        "gatewayApi": {"httpRoutes": ["web"]},
        "create": {
            "gateways": ["edge/public"], "hosts": ["shop.example"], "path": "/shop",
            "timeout": "90s",
            "headers": {
                "request": {"set": [{"name": "x-a", "value": "1"}], "remove": ["x-b"]},
                "response": {"add": [{"name": "x-c", "value": "2"}]},
            },
        },
    })
}

#[test]
fn an_http_route_that_is_asked_for_is_part_of_the_release() {
    assert_eq!(
        routes(None, Some(http_route())),
        [json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "web"},
            "spec": {
                "parentRefs": [{"name": "public", "namespace": "edge"}],
                "hostnames": ["shop.example"],
                "rules": [{
                    "matches": [{"path": {"type": "PathPrefix", "value": "/shop"}}],
                    "timeouts": {"request": "1m30s"},
                    "filters": [
                        {"type": "RequestHeaderModifier", "requestHeaderModifier":
                            {"set": [{"name": "x-a", "value": "1"}], "remove": ["x-b"]}},
                        {"type": "ResponseHeaderModifier", "responseHeaderModifier":
                            {"add": [{"name": "x-c", "value": "2"}]}},
                    ],
                    "backendRefs": [{"name": "web", "port": 80}],
                }],
            },
        })]
    );
}

#[test]
fn a_virtual_service_that_is_asked_for_is_part_of_the_release() {
    let created = routes(
        None,
        Some(json!({
            "istio": {"virtualServices": ["web"]},
            "create": {
                "gateways": ["edge"], "hosts": ["shop.example"], "path": "/shop", "timeout": "5s",
                "retries": {"attempts": 3, "perTryTimeout": "1500ms", "retryOn": "5xx"},
                "headers": {"request": {"set": [{"name": "x-a", "value": "1"}], "remove": ["x-b"]}},
                "cors": {"allowOrigins": ["https://a.example", "*"], "allowMethods": ["GET"],
                         "allowCredentials": true, "maxAge": "1h"},
            },
        })),
    );
    assert_eq!(
        created,
        [json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "web"},
            "spec": {
                "hosts": ["shop.example"], "gateways": ["edge"],
                "http": [{
                    "match": [{"uri": {"prefix": "/shop"}}],
                    "route": [{"destination": {"host": "web", "port": {"number": 80}}}],
                    "timeout": "5s",
                    "retries": {"attempts": 3, "perTryTimeout": "1s500ms", "retryOn": "5xx"},
                    "headers": {"request": {"set": {"x-a": "1"}, "remove": ["x-b"]}},
                    "corsPolicy": {
                        "allowOrigins": [{"exact": "https://a.example"}, {"regex": ".*"}],
                        "allowMethods": ["GET"], "allowCredentials": true, "maxAge": "1h",
                    },
                }],
            },
        })]
    );
    let delegate = json!({"istio": {"virtualServices": ["web"]}, "create": {"delegated": true}});
    let spec =
        json!({"http": [{"route": [{"destination": {"host": "web", "port": {"number": 80}}}]}]});
    assert_eq!(routes(None, Some(delegate))[0]["spec"], spec);
}

#[test]
fn a_route_of_the_application_is_left_as_it_is_written() {
    let written = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "default"}, "spec": {"rules": []},
    });
    assert_eq!(routes(Some(written.clone()), Some(http_route())), [written]);
    let other = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "other"},
    });
    assert_eq!(routes(Some(other), Some(http_route())).len(), 2);
}

#[test]
fn what_was_created_goes_with_the_rollout() {
    assert_eq!(routes(None, Some(http_route())).len(), 1);
    assert_eq!(routes(None, None), [Value::Null; 0]);
}

#[test]
fn a_cluster_gets_the_route_beside_what_is_rendered_for_it() {
    let spec: RolloutSpec = serde_json::from_value(json!({
        "application": "shop", "component": "web",
        "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "service": {"name": "web", "port": 80},
        "strategy": {"canary": {"stepWeight": 10}},
        "traffic": [http_route()],
    }))
    .expect("a rollout");
    let record = RolloutRecord {
        name: "shop-web".to_owned(),
        spec,
        rendered_as: None,
    };
    let mut made = content("shop", &application(None), &[record]).expect("content");
    made.components[0].rendered = Some(
        serde_json::from_value(json!({
            "revision": "1.0.0", "recipe": {"kind": "helm", "artifact": "sha256:00"},
        }))
        .expect("a rendering"),
    );
    let rendered =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
    let objects = [("web".to_owned(), vec![rendered.clone()])].into();
    let there = made
        .for_cluster(&objects, &[])
        .expect("no rendered rollout");
    assert_eq!(there.components[0].objects.len(), 2);
    assert_eq!(there.components[0].objects[0], rendered);
    assert_eq!(there.components[0].objects[1]["kind"], "HTTPRoute");
}

use bellwether_api::{matching::Match, traffic::Provider};
use serde_json::{Value, json};

use super::observe;
use crate::provider::{
    Names, RenderError, RouteObservation, Split,
    golden::{by_matches, check_with, cookies, headers, named, names, value, weight},
    own, render, renderer,
};

fn names_with_node() -> Names {
    Names {
        copied: Some(json!({
            "apiVersion": "appmesh.k8s.aws/v1beta2", "kind": "VirtualNode",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {
                "awsName": "web_shop",
                "podSelector": {"matchLabels": {"app": "web"}},
                "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
                "serviceDiscovery": {"dns": {"hostname": "web.shop.svc.cluster.local"}},
            },
        })),
        ..names()
    }
}

/// Several routes, of requests and of connections, and a target of another node.
fn router() -> Value {
    let to = |targets: Value| json!({"weightedTargets": targets});
    json!({
        "apiVersion": "appmesh.k8s.aws/v1beta2", "kind": "VirtualRouter",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "kept-label"}},
        "spec": {
            "awsName": "kept-router",
            "listeners": [{"portMapping": {"port": 80, "protocol": "http"}}],
            "routes": [
                {"name": "api", "priority": 10, "httpRoute": {
                    "match": {"prefix": "/api", "headers": [{"name": "x-tenant", "match": {"exact": "a"}}]},
                    "retryPolicy": {"maxRetries": 2, "perRetryTimeout": {"unit": "s", "value": 2}},
                    "action": to(json!([{"virtualNodeRef": {"name": "web"}, "weight": 1, "port": 8080}])),
                }},
                {"name": "other", "priority": 12, "httpRoute": {
                    "match": {"prefix": "/other"},
                    "action": to(json!([{"virtualNodeRef": {"name": "other"}, "weight": 1}])),
                }},
                {"name": "rest", "priority": 20, "http2Route": {
                    "match": {"prefix": "/"},
                    "action": to(json!([
                        {"virtualNodeRef": {"name": "web", "namespace": "shop"}, "weight": 60},
                        {"virtualNodeRef": {"name": "other", "namespace": "kept-namespace"}, "weight": 40},
                    ])),
                }},
            ],
        },
    })
}

fn rendered(split: &Split) -> Vec<Value> {
    let names = names_with_node();
    let mut out = vec![render(Provider::AppMesh, &router(), &names, split).expect("a split")];
    out.extend(own(Provider::AppMesh, &router(), &names, split).expect("a node"));
    out
}

#[test]
fn what_holds_for_every_provider() {
    let mut plain = router();
    plain["spec"]["routes"] = json!([
        plain["spec"]["routes"][0].take(),
        plain["spec"]["routes"][1].take()
    ]);
    plain["spec"]["routes"][0]["httpRoute"]["match"] = json!({"prefix": "/"});
    check_with(Provider::AppMesh, &plain, &names_with_node());
}

#[test]
fn golden() {
    let all_forms = by_matches(vec![
        Match {
            path: Some(value("^/api/beta")),
            method: Some("GET".into()),
            query_params: vec![named("debug", "=1")],
            ..headers(&[
                ("X-User", "=insider"),
                ("user-agent", "~.*Firefox.*"),
                ("x-v", "^2."),
            ])
        },
        cookies(&[("type", "=insider")]),
    ]);
    for (name, split) in [
        ("weight", Split::by_weight(weight(20))),
        ("matches", all_forms),
    ] {
        insta::assert_json_snapshot!(format!("virtual_router_{name}"), rendered(&split));
    }
}

#[test]
fn weights_stay_within_what_the_mesh_takes() {
    let renderer = renderer(Provider::AppMesh).expect("it is supported");
    for percent in 1..=100 {
        let objects = rendered(&Split::by_weight(weight(percent)));
        let seen = renderer.observed_weight(&objects[0], &[], &names_with_node());
        assert_eq!(seen, Some(weight(percent)));
        for route in objects[0]["spec"]["routes"].as_array().expect("routes") {
            let layer = if route.get("httpRoute").is_some() {
                "httpRoute"
            } else {
                "http2Route"
            };
            let targets = route[layer]["action"]["weightedTargets"].as_array();
            for target in targets.expect("targets") {
                assert!(
                    target["weight"].as_u64().expect("a weight") <= 100,
                    "{route}"
                );
            }
        }
    }
}

#[test]
fn what_weighs_more_than_the_service_is_refused() {
    let mut light = router();
    light["spec"]["routes"][2]["http2Route"]["action"]["weightedTargets"][0]["weight"] = json!(39);
    let by = Split::by_weight(weight(20));
    let refused = render(Provider::AppMesh, &light, &names_with_node(), &by);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

#[test]
fn what_cannot_stand_before_a_route_is_refused() {
    let names = names_with_node();
    let insiders = by_matches(vec![headers(&[("x-user", "=insider")])]);
    let by = |router: &Value| render(Provider::AppMesh, router, &names, &insiders);
    let refused = |router: &Value| {
        let found = by(router);
        matches!(found, Err(RenderError::Unsplittable { .. }))
    };
    let mut unordered = router();
    unordered["spec"]["routes"][0]["priority"] = Value::Null;
    assert!(refused(&unordered), "no priority");
    let mut taken = router();
    taken["spec"]["routes"][1]["priority"] = json!(9);
    assert!(refused(&taken), "the priority before is another's");
    let mut connections = router();
    let action = connections["spec"]["routes"][0]["httpRoute"]["action"].take();
    connections["spec"]["routes"] =
        json!([{"name": "db", "priority": 10, "tcpRoute": {"action": action}}]);
    assert!(refused(&connections), "connections have no headers");
    let shares = Split::by_weight(weight(20));
    assert!(render(Provider::AppMesh, &connections, &names, &shares).is_ok());
    let other_tenant = by_matches(vec![headers(&[("X-Tenant", "=b")])]);
    let after = render(Provider::AppMesh, &router(), &names, &other_tenant).expect("a split");
    assert_eq!(
        after["spec"]["routes"].as_array().map(Vec::len),
        Some(4),
        "only the route without that header"
    );
}

#[test]
fn a_node_of_another_service_is_refused() {
    let mut names = names_with_node();
    if let Some(node) = &mut names.copied {
        node["spec"]["serviceDiscovery"] =
            json!({"awsCloudMap": {"namespaceName": "n", "serviceName": "web"}});
    }
    let refused = own(
        Provider::AppMesh,
        &router(),
        &names,
        &Split::by_weight(weight(20)),
    );
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

#[test]
fn the_controllers_word_counts() {
    let mut router = router();
    router["metadata"]["generation"] = json!(3);
    assert!(matches!(observe(&router), RouteObservation::NotYet { .. }));
    for (status, observed, expected) in [
        ("True", 3, "Programmed"),
        ("True", 2, "NotYet"),
        ("False", 3, "NotYet"),
    ] {
        router["status"] = json!({"observedGeneration": observed, "conditions": [
            {"type": "VirtualRouterActive", "status": status},
        ]});
        let found = format!("{:?}", observe(&router));
        assert!(found.starts_with(expected), "{status}: {found}");
    }
}

use bellwether_api::{matching::Match, traffic::Provider};
use serde_json::{Value, json};

use super::observe;
use crate::provider::{
    Names, RenderError, RouteObservation, Split,
    golden::{
        by_matches, check, cookies, headers, mirrored, named, names, rendered, value, weight,
    },
    own, render, renderer,
};

/// Discovered Upstreams, a Service itself, a delegate, a redirect.
fn virtual_service() -> Value {
    let discovered = |name: &str| json!({"name": name, "namespace": "gloo-system"});
    json!({
        "apiVersion": "gateway.solo.io/v1", "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "kept-label"}},
        "spec": {
            "sslConfig": {"secretRef": {"name": "kept-secret", "namespace": "shop"}},
            "virtualHost": {
                "domains": ["shop.example", "kept-domain"],
                "routes": [
                    {"name": "api", "matchers": [
                        {"prefix": "/api", "headers": [{"name": "x-tenant", "value": "a"}]},
                        {"exact": "/v1", "methods": ["GET"]},
                     ],
                     "routeAction": {"single": {"upstream": discovered("shop-web-80")}},
                     "options": {"timeout": "5s", "stagedTransformations": "kept-unknown"}},
                    {"matchers": [{"prefix": "/old"}], "redirectAction": {"pathRedirect": "/new"}},
                    {"matchers": [{"prefix": "/inner"}], "delegateAction": {"ref": {"name": "inner", "namespace": "shop"}}},
                    {"routeAction": {"multi": {"destinations": [
                        {"weight": 60, "destination": {"upstream": discovered("shop-web-80")},
                         "options": {"bufferPerRoute": {"disabled": true}}},
                        {"weight": 40, "destination": {"upstream": discovered("shop-other-80")}},
                    ]}}},
                ],
            },
        },
    })
}

/// Destinations by the Service, without a rule of another.
fn route_table() -> Value {
    json!({
        "apiVersion": "gateway.solo.io/v1", "kind": "RouteTable",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {"a": "kept-annotation"}},
        "spec": {"weight": 10, "routes": [
            {"matchers": [{"prefix": "/"}], "options": {"prefixRewrite": "/kept-rewrite"},
             "routeAction": {"single": {"kube": {"ref": {"name": "web", "namespace": "shop"}, "port": 80}}}},
        ]},
    })
}

fn upstream() -> Value {
    json!({
        "apiVersion": "gloo.solo.io/v1", "kind": "Upstream",
        "metadata": {"name": "shop-http", "namespace": "shop"},
        "spec": {
            "kube": {"serviceName": "web", "serviceNamespace": "shop", "servicePort": 80},
            "connectionConfig": {"maxRequestsPerConnection": 3},
            "discoveryMetadata": {"labels": {"app": "web"}},
        },
    })
}

/// Names, and a table that leads to an Upstream of the user's.
fn by_upstream() -> (Names, Value) {
    let names = Names {
        copied: Some(upstream()),
        ..names()
    };
    let mut table = route_table();
    table["spec"]["routes"][0]["routeAction"] =
        json!({"single": {"upstream": {"name": "shop-http"}}});
    (names, table)
}

#[test]
fn what_holds_for_every_provider() {
    let mut service = virtual_service();
    let routes = &mut service["spec"]["virtualHost"]["routes"];
    *routes = json!([routes[1].take(), routes[3].take()]);
    check(Provider::GlooVirtualService, &service);
    let mut table = route_table();
    table["spec"]["routes"][0]["routeAction"] =
        json!({"single": {"upstream": {"name": "shop-web-80", "namespace": "gloo-system"}}});
    check(Provider::GlooRouteTable, &table);
}

#[test]
fn golden() {
    let all_forms = by_matches(vec![
        Match {
            path: Some(value("^/api/beta")),
            method: Some("GET".into()),
            query_params: vec![
                named("debug", "=1"),
                named("v", "^2"),
                named("w", "~[0-9]+"),
            ],
            ..headers(&[
                ("X-User", "=insider"),
                ("user-agent", "~.*Firefox.*"),
                ("x-v", "^2."),
                ("x-none", "="),
            ])
        },
        cookies(&[("type", "=insider")]),
    ]);
    for (name, split) in [
        ("weight", Split::by_weight(weight(20))),
        ("matches", all_forms),
        ("mirror", mirrored(20, 50)),
    ] {
        let objects = rendered(Provider::GlooVirtualService, &virtual_service(), &split);
        insta::assert_json_snapshot!(format!("gloo_virtual_service_{name}"), objects);
    }
    let by = Split::by_weight(weight(20));
    let objects = rendered(Provider::GlooRouteTable, &route_table(), &by);
    insta::assert_json_snapshot!("gloo_route_table_weight", objects);
}

#[test]
fn an_upstream_of_the_user_is_made_like_for_the_canary() {
    let (names, table) = by_upstream();
    let split = mirrored(20, 50);
    let provider = Provider::GlooRouteTable;
    let mut objects = vec![render(provider, &table, &names, &split).expect("it can be split")];
    objects.extend(own(provider, &table, &names, &split).expect("it can be made"));
    insta::assert_json_snapshot!("gloo_route_table_upstream", objects);
    let renderer = renderer(provider).expect("it is supported");
    assert_eq!(
        renderer.observed_weight(&objects[0], &[], &names),
        Some(weight(20))
    );
    let mut other = names.clone();
    other.copied = Some(json!({
        "apiVersion": "gloo.solo.io/v1", "metadata": {"name": "shop-http", "namespace": "shop"},
        "spec": {"static": {"hosts": [{"addr": "example.com", "port": 80}]}},
    }));
    let refused = own(provider, &table, &other, &split);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

#[test]
fn what_cannot_be_joined_or_shadowed_is_refused_or_left_out() {
    let by = |item: Match| {
        let split = by_matches(vec![item]);
        render(
            Provider::GlooVirtualService,
            &virtual_service(),
            &names(),
            &split,
        )
    };
    let routes = |after: &Value| {
        after["spec"]["virtualHost"]["routes"]
            .as_array()
            .map(Vec::len)
    };
    let never = by(Match {
        path: Some(value("=/v2")),
        ..Match::default()
    });
    let never = never.expect("the route without matchers takes it");
    assert_eq!(routes(&never), Some(5));
    let unclear = by(Match {
        path: Some(value("~/[a-z]+")),
        ..Match::default()
    });
    assert!(
        matches!(unclear, Err(RenderError::Collision { .. })),
        "{unclear:?}"
    );
    let shadows = |table: &Value| {
        render(Provider::GlooRouteTable, table, &names(), &mirrored(0, 100)).map(drop)
    };
    let to_service = shadows(&route_table());
    assert!(
        matches!(to_service, Err(RenderError::Unsplittable { .. })),
        "{to_service:?}"
    );
    let mut shadowing = route_table();
    shadowing["spec"]["routes"][0]["options"]["shadowing"] = json!({"percentage": 1});
    assert!(shadows(&shadowing).is_err());
}

#[test]
fn gloos_word_counts() {
    let of = |status: Value| observe(&json!({"status": status}));
    let by = |state: Value| json!({"statuses": {"gloo-system": {"state": state, "reportedBy": "gateway"}}});
    for (status, expected) in [
        (json!({}), "NotYet"),
        (by(json!("Accepted")), "Programmed"),
        (by(json!("Rejected")), "Rejected"),
        (by(json!("Warning")), "NotYet"),
        (by(json!("Pending")), "NotYet"),
        (json!({"state": 1}), "Programmed"),
        (json!({"state": "Rejected", "reason": "r"}), "Rejected"),
        (
            json!({"statuses": {"a": {"state": "Accepted"}, "b": {"state": "Rejected"}}}),
            "Rejected",
        ),
    ] {
        let found: RouteObservation = of(status.clone());
        assert!(
            format!("{found:?}").starts_with(expected),
            "{status}: {found:?}"
        );
    }
}

use bellwether_api::{matching::Match, traffic::Provider};
use serde_json::{Value, json};

use crate::provider::{
    RenderError, Split,
    golden::{
        by_matches, check, cookies, headers, mirrored, named, names, rendered, value, weight,
    },
    own, render,
};

/// Several hosts, a route of its own priority, one to elsewhere, fields that are not known here.
fn ingress_route() -> Value {
    json!({
        "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "kept-label"}},
        "spec": {
            "entryPoints": ["web", "kept-entry-point"],
            "routes": [
                {"match": "Host(`shop.example`) || Host(`www.shop.example`)", "kind": "Rule",
                 "middlewares": [{"name": "kept-middleware"}],
                 "services": [{"name": "web", "port": 80, "passHostHeader": true}]},
                {"match": "Host(`api.shop.example`)", "kind": "Rule", "priority": 10,
                 "services": [{"name": "web", "port": 80, "passHostHeader": true, "weight": 3}, {"name": "other", "port": 80, "weight": 1}]},
                {"match": "Host(`other.example`)", "kind": "Rule", "services": [{"name": "other", "port": 80}]},
                {"match": "Host(`far.example`)", "kind": "Rule", "services": [{"name": "web", "namespace": "elsewhere", "port": 80}]},
            ],
            "tls": {"secretName": "kept-secret"},
        },
    })
}

fn ingress_route_tcp() -> Value {
    json!({
        "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRouteTCP",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"entryPoints": ["kept-entry-point"], "routes": [
            {"match": "HostSNI(`*`)", "services": [{"name": "web", "port": 5432, "proxyProtocol": {"version": 1}}]},
        ]},
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService",
        "metadata": {"name": "web-wrr", "namespace": "shop"},
        "spec": {"weighted": {
            "services": [{"name": "web", "port": 80}],
            "sticky": {"cookie": {"name": "kept-cookie"}},
        }},
    })
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::IngressRoute, &ingress_route());
    check(Provider::IngressRouteTcp, &ingress_route_tcp());
    check(Provider::TraefikService, &service());
}

#[test]
fn golden() {
    let all_forms = by_matches(vec![
        Match {
            path: Some(value("^/beta")),
            method: Some("GET".into()),
            query_params: vec![named("debug", "=1"), named("v", "~[0-9]+")],
            ..headers(&[
                ("x-user", "=ins`ider"),
                ("user-agent", "~.*Firefox.*"),
                ("x-v", "^2."),
            ])
        },
        cookies(&[("type", "=insider")]),
    ]);
    for (name, split) in [
        ("weight", Split::by_weight(weight(20))),
        ("matches", all_forms),
        ("mirror", mirrored(20, 50)),
    ] {
        let objects = rendered(Provider::IngressRoute, &ingress_route(), &split);
        insta::assert_json_snapshot!(format!("ingress_route_{name}"), objects);
    }
    let by = Split::by_weight(weight(20));
    let tcp = rendered(Provider::IngressRouteTcp, &ingress_route_tcp(), &by);
    insta::assert_json_snapshot!("ingress_route_tcp", tcp);
    let weighted = rendered(Provider::TraefikService, &service(), &mirrored(20, 50));
    insta::assert_json_snapshot!("traefik_service", weighted);
}

#[test]
fn an_arm_comes_right_before_its_route() {
    let split = by_matches(vec![headers(&[("x-user", "=insider")])]);
    let after = render(Provider::IngressRoute, &ingress_route(), &names(), &split)
        .expect("it can be split");
    let priority = |route: usize| after["spec"]["routes"][route]["priority"].as_u64();
    let own = ingress_route()["spec"]["routes"][0]["match"]
        .as_str()
        .map(|rule| rule.len() as u64 + 1);
    assert_eq!(priority(0), own, "the length of the rule is its priority");
    assert_eq!((priority(2), priority(3)), (Some(11), Some(10)));
}

#[test]
fn rules_of_version_2_and_mirrors_that_differ_are_refused() {
    let mut old = ingress_route();
    old["spec"]["routes"][0]["syntax"] = json!("v2");
    let split = by_matches(vec![headers(&[("x-user", "=insider")])]);
    let refused = render(Provider::IngressRoute, &old, &names(), &split);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
    let mut uneven = ingress_route();
    uneven["spec"]["routes"][1]["services"][0]["port"] = json!(8080);
    let refused = own(Provider::IngressRoute, &uneven, &names(), &mirrored(0, 100));
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

use bellwether_api::{
    number::Weight,
    reference::ObjectRef,
    traffic::{Provider, RuleRef},
};
use serde_json::{Value, json};

use crate::provider::{
    Names, RenderError, Split,
    golden::{by_matches, check, cookies, headers, names, rendered, weight},
    own, render, renderer,
};

/// Several hosts and paths, annotations that are copied and such that are not.
fn ingress() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": "web", "namespace": "shop", "labels": {"team": "kept-label"},
            "annotations": {
                "nginx.ingress.kubernetes.io/proxy-body-size": "8m",
                "cert-manager.io/cluster-issuer": "kept-issuer",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
        },
        "spec": {
            "ingressClassName": "nginx",
            "defaultBackend": {"service": {"name": "other", "port": {"number": 80}}},
            "tls": [{"hosts": ["shop.example"], "secretName": "shop-tls"}],
            "rules": [
                {"host": "shop.example", "http": {"paths": [
                    {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
                    {"path": "/other", "pathType": "Prefix", "backend": {"service": {"name": "other", "port": {"number": 80}}}},
                ]}},
                {"host": "other.example", "http": {"paths": [
                    {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "other", "port": {"number": 80}}}},
                ]}},
                {"host": "www.shop.example", "http": {"paths": [
                    {"path": "/", "pathType": "Exact", "backend": {"service": {"name": "web", "port": {"name": "http"}}}},
                ]}},
            ],
        },
    })
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::Nginx, &ingress());
}

#[test]
fn golden() {
    for (name, split) in [
        ("weight", Split::by_weight(weight(20))),
        (
            "header_exact",
            by_matches(vec![headers(&[("x-user", "=insider")])]),
        ),
        (
            "header_regex",
            by_matches(vec![headers(&[("User-Agent", "~.*Firefox.*")])]),
        ),
        (
            "header_any",
            by_matches(vec![
                headers(&[("x-user", "=insider")]),
                headers(&[("X-User", "^beta-")]),
            ]),
        ),
        ("cookie", by_matches(vec![cookies(&[("type", "=insider")])])),
    ] {
        let objects = rendered(Provider::Nginx, &ingress(), &split);
        assert_eq!(objects[0], ingress(), "the user's Ingress is never changed");
        insta::assert_json_snapshot!(format!("nginx_{name}"), objects);
    }
}

#[test]
fn a_canary_ingress_is_a_canary_from_its_first_write_to_its_last() {
    for percent in [1, 50, 100] {
        let made = own(
            Provider::Nginx,
            &ingress(),
            &names(),
            &Split::by_weight(weight(percent)),
        )
        .expect("it can be split");
        assert_eq!(
            made[0]["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary"],
            "true"
        );
    }
    let none = own(Provider::Nginx, &ingress(), &names(), &Split::default());
    assert_eq!(none, Ok(Vec::new()), "it is taken away whole");
}

#[test]
fn the_canary_ingress_is_named_after_the_users() {
    let target = ObjectRef {
        api_version: "networking.k8s.io/v1".into(),
        kind: "Ingress".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    };
    let renderer = renderer(Provider::Nginx).expect("it is supported");
    let own_targets = renderer.own_targets(&target, &names());
    assert_eq!(own_targets[0].name, "web-canary");
    let made = own(
        Provider::Nginx,
        &ingress(),
        &names(),
        &Split::by_weight(weight(1)),
    )
    .expect("it can be split");
    assert_eq!(made[0]["metadata"]["name"], "web-canary");
    assert_eq!(
        renderer.observed_weight(&ingress(), &[], &names()),
        Some(Weight::ZERO),
        "no canary Ingress is no weight"
    );
}

#[test]
fn what_one_header_cannot_say_is_refused() {
    for matches in [
        vec![headers(&[("a", "=1"), ("b", "=1")])],
        vec![headers(&[("a", "=1")]), headers(&[("b", "=1")])],
        vec![headers(&[("a", "=1")]), cookies(&[("b", "=1")])],
        vec![cookies(&[("a", "=1"), ("b", "=1")])],
    ] {
        let refused = render(Provider::Nginx, &ingress(), &names(), &by_matches(matches));
        assert!(
            matches!(refused, Err(RenderError::Lacking { .. })),
            "{refused:?}"
        );
    }
    let mut canary = ingress();
    canary["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary"] = json!("true");
    let by = Split::by_weight(weight(1));
    let refused = render(Provider::Nginx, &canary, &names(), &by);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

#[test]
fn only_the_rules_that_are_named_are_copied() {
    let named = Names {
        rules: vec![RuleRef::Index(2)],
        ..names()
    };
    let by = Split::by_weight(weight(20));
    let made = own(Provider::Nginx, &ingress(), &named, &by).expect("it can be split");
    let rules = made[0]["spec"]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0]["host"], "www.shop.example");
}

/// Whoever delivers the Ingress would take a copy of its marks for an object of its own, and prune it.
#[test]
fn marks_of_whoever_delivers_the_ingress_are_not_copied() {
    let mut ingress = ingress();
    let annotations = &mut ingress["metadata"]["annotations"];
    for mark in [
        "argocd.argoproj.io/tracking-id",
        "kustomize.toolkit.fluxcd.io/prune",
        "helm.toolkit.fluxcd.io/driftDetection",
        "meta.helm.sh/release-name",
    ] {
        annotations[mark] = json!("shop");
    }
    let by = Split::by_weight(weight(20));
    let made = own(Provider::Nginx, &ingress, &names(), &by).expect("it can be split");
    let copied = made[0]["metadata"]["annotations"].as_object();
    let copied: Vec<&String> = copied.expect("annotations").keys().collect();
    assert_eq!(
        copied,
        [
            "nginx.ingress.kubernetes.io/canary",
            "nginx.ingress.kubernetes.io/canary-weight",
            "nginx.ingress.kubernetes.io/proxy-body-size",
        ]
    );
    assert!(made[0]["metadata"].get("labels").is_none());
}

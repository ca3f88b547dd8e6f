use bellwether_api::{
    matching::Match,
    traffic::{Provider, RuleRef},
};
use serde_json::{Value, json};

use super::observe;
use crate::provider::{
    Names, RenderError, RouteObservation, Split,
    golden::{
        by_matches, check, cookies, headers, mirrored, named, names, rendered, sticky, value,
        weight,
    },
    own, render, renderer,
};

/// Several hosts and gateways, hosts of destinations in every form, a delegate, a redirect.
fn virtual_service() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "kept-label"}},
        "spec": {
            "hosts": ["shop.example", "web"], "gateways": ["mesh", "kept-gateway"],
            "http": [
                {"name": "api", "match": [{"name": "m", "uri": {"prefix": "/api"}}, {"headers": {"x-tenant": {"exact": "a"}}}],
                 "timeout": "5s", "retries": {"attempts": 3}, "somethingNew": "kept-unknown",
                 "route": [{"destination": {"host": "web.shop.svc.cluster.local", "port": {"number": 80}}, "headers": {"response": {"add": {"x": "kept-header"}}}}]},
                {"name": "moved", "match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new"}},
                {"name": "inner", "match": [{"uri": {"prefix": "/inner"}}], "delegate": {"name": "inner"}},
                {"route": [
                    {"destination": {"host": "web"}, "weight": 60},
                    {"destination": {"host": "other"}, "weight": 40},
                ]},
            ],
        },
    })
}

fn connections() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "db", "namespace": "shop", "annotations": {"a": "kept-annotation"}},
        "spec": {
            "hosts": ["db.example"],
            "tcp": [{"match": [{"port": 5432}], "route": [{"destination": {"host": "web.shop", "port": {"number": 5432}}}]}],
            "tls": [{"match": [{"sniHosts": ["db.example"]}], "route": [{"destination": {"host": "web"}}]}],
        },
    })
}

/// A rule that has no condition of its own.
fn plain() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "kept-label"}},
        "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]},
    })
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::VirtualService, &plain());
}

#[test]
fn golden() {
    let all_forms = by_matches(vec![
        Match {
            path: Some(value("^/api/beta")),
            method: Some("GET".into()),
            query_params: vec![named("debug", "=1"), named("v", "^2")],
            port: Some(8443),
            source_labels: [("app".to_owned(), "tester".to_owned())].into(),
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
        ("mirror", mirrored(20, 50)),
        ("sticky", sticky(20)),
    ] {
        let objects = rendered(Provider::VirtualService, &virtual_service(), &split);
        insta::assert_json_snapshot!(format!("virtual_service_{name}"), objects);
    }
    let by = Split::by_weight(weight(20));
    let objects = rendered(Provider::VirtualService, &connections(), &by);
    insta::assert_json_snapshot!("virtual_service_connections", objects);
}

#[test]
fn a_destination_is_found_in_every_form_of_its_host() {
    for (namespace, host, found) in [
        ("shop", "web", true),
        ("edge", "web", false),
        ("edge", "web.shop", true),
        ("edge", "web.shop.svc", true),
        ("edge", "web.shop.svc.cluster.local", true),
        ("edge", "web.other.svc.cluster.local", false),
        ("shop", "web-2", false),
        ("shop", "web.shop.example", false),
    ] {
        let mut object = plain();
        object["metadata"]["namespace"] = json!(namespace);
        object["spec"]["http"][0]["route"][0]["destination"]["host"] = json!(host);
        let by = Split::by_weight(weight(20));
        let after = render(Provider::VirtualService, &object, &names(), &by);
        assert_eq!(after.is_ok(), found, "{host} in {namespace}");
        if let Ok(after) = after {
            assert_eq!(
                after["spec"]["http"][0]["route"][1]["destination"]["host"],
                host.replacen("web", "web-canary", 1)
            );
        }
    }
}

#[test]
fn subsets_and_matches_on_connections_are_refused() {
    let mut subset = plain();
    subset["spec"]["http"][0]["route"][0]["destination"]["subset"] = json!("v1");
    let by = Split::by_weight(weight(20));
    let refused = render(Provider::VirtualService, &subset, &names(), &by);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
    let split = by_matches(vec![headers(&[("x", "=1")])]);
    let refused = render(Provider::VirtualService, &connections(), &names(), &split);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

#[test]
fn only_the_routes_that_are_named_are_split() {
    let named = Names {
        rules: vec![RuleRef::Name("api".into())],
        ..names()
    };
    let by = Split::by_weight(weight(20));
    let after =
        render(Provider::VirtualService, &virtual_service(), &named, &by).expect("it can be split");
    assert_eq!(
        after["spec"]["http"][3],
        virtual_service()["spec"]["http"][3]
    );
    assert_ne!(
        after["spec"]["http"][0],
        virtual_service()["spec"]["http"][0]
    );
}

/// The joined condition; `None` = the route is left out.
fn joined(base: Value, item: Match) -> Result<Option<Value>, RenderError> {
    let mut object = plain();
    object["spec"]["http"][0]["match"] = json!([base]);
    let split = by_matches(vec![item]);
    let after = render(Provider::VirtualService, &object, &names(), &split)?;
    let routes = after["spec"]["http"].as_array().expect("routes");
    Ok((routes.len() == 2).then(|| routes[0]["match"][0].clone()))
}

#[test]
fn conditions_are_joined() {
    let path = |form: &str| Match {
        path: Some(value(form)),
        ..Match::default()
    };
    let uri = |kind: &str, value: &str| json!({"uri": {kind: value}});
    for (base, item, expected) in [
        (
            uri("prefix", "/"),
            path("~/v[0-9]"),
            Some(uri("regex", "/v[0-9]")),
        ),
        (
            uri("prefix", "/a"),
            path("^/a/b"),
            Some(uri("prefix", "/a/b")),
        ),
        (
            uri("prefix", "/a/b"),
            path("^/a"),
            Some(uri("prefix", "/a/b")),
        ),
        (
            uri("prefix", "/a"),
            path("=/a/b"),
            Some(uri("exact", "/a/b")),
        ),
        (
            uri("exact", "/a/b"),
            path("^/a"),
            Some(uri("exact", "/a/b")),
        ),
        (uri("exact", "/a"), path("=/b"), None),
        (uri("prefix", "/a"), path("^/b"), None),
        (uri("regex", "/a.*"), path("^/"), Some(uri("regex", "/a.*"))),
        (
            json!({"port": 80}),
            Match {
                port: Some(81),
                ..Match::default()
            },
            None,
        ),
        (
            json!({"method": {"exact": "GET"}}),
            Match {
                method: Some("POST".into()),
                ..Match::default()
            },
            None,
        ),
        (
            json!({"headers": {"a": {"exact": "1"}}}),
            headers(&[("A", "=2")]),
            None,
        ),
    ] {
        let found = joined(base.clone(), item.clone()).expect("it can be joined");
        assert_eq!(found, expected, "{base} and {item:?}");
    }
    for (base, item) in [
        (uri("regex", "/a.*"), path("^/a")),
        (
            json!({"headers": {"a": {"prefix": "1"}}}),
            headers(&[("a", "=1")]),
        ),
    ] {
        let refused = joined(base, item);
        assert!(
            matches!(refused, Err(RenderError::Collision { .. })),
            "{refused:?}"
        );
    }
}

/// Policies, and a subset by labels that the canary's pods need not have.
fn destination_rule(host: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "users-label"}},
        "spec": {
            "host": host,
            "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 100}}},
            "subsets": [{
                "name": "v1", "labels": {"version": "v1"},
                "trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}},
            }],
        },
    })
}

fn with_subset() -> Value {
    let mut object = plain();
    object["apiVersion"] = json!("networking.istio.io/v1");
    object["kind"] = json!("VirtualService");
    object["spec"]["http"][0]["route"][0]["destination"]["subset"] = json!("v1");
    object
}

#[test]
fn a_destination_rule_holds_for_the_canary_too() {
    let with_rule = Names {
        copied: Some(destination_rule("web.shop.svc.cluster.local")),
        ..names()
    };
    let by = Split::by_weight(weight(20));
    let (provider, object) = (Provider::VirtualService, with_subset());
    let route = render(provider, &object, &with_rule, &by).expect("its subset is known");
    let mut objects = vec![route];
    objects.extend(own(provider, &object, &with_rule, &by).expect("it can be copied"));
    insta::assert_json_snapshot!("virtual_service_subset", objects);
    let found = renderer(provider).expect("it is supported");
    let target = found.own_targets(&target(), &with_rule);
    assert_eq!(
        target
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>(),
        [objects[1]["metadata"]["name"].as_str().expect("a name")]
    );
    assert!(found.names_own(), "routes name its subsets");
    let none = own(provider, &object, &with_rule, &Split::default());
    assert_eq!(none, Ok(Vec::new()), "it is taken away whole");
}

fn target() -> bellwether_api::reference::ObjectRef {
    bellwether_api::reference::ObjectRef {
        api_version: "networking.istio.io/v1".into(),
        kind: "VirtualService".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    }
}

#[test]
fn a_destination_rule_of_another_host_or_without_the_subset_is_refused() {
    let by = Split::by_weight(weight(20));
    let other = Names {
        copied: Some(destination_rule("other")),
        ..names()
    };
    let refused = own(Provider::VirtualService, &plain(), &other, &by);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
    let mut rule = destination_rule("web");
    rule["spec"]["subsets"][0]["name"] = json!("v2");
    let without = Names {
        copied: Some(rule),
        ..names()
    };
    let refused = render(Provider::VirtualService, &with_subset(), &without, &by);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_status_counts_where_there_is_one() {
    let mut object = plain();
    object["metadata"]["generation"] = json!(3);
    assert_eq!(observe(&object), RouteObservation::Programmed);
    object["status"] = json!({"observedGeneration": 2});
    assert!(matches!(observe(&object), RouteObservation::NotYet { .. }));
    object["status"] = json!({"observedGeneration": 3, "validationMessages": [
        {"type": {"code": "IST0101"}, "level": "ERROR", "documentationUrl": "https://istio.io/IST0101"},
    ]});
    assert!(matches!(
        observe(&object),
        RouteObservation::Rejected { why } if why.contains("IST0101")
    ));
}

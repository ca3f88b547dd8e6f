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
    render,
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
        insta::assert_json_snapshot!(format!("virtual_service_{name}"), objects[0]);
    }
    let by = Split::by_weight(weight(20));
    let objects = rendered(Provider::VirtualService, &connections(), &by);
    insta::assert_json_snapshot!("virtual_service_connections", objects[0]["spec"]);
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

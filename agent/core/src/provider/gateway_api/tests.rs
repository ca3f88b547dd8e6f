use bellwether_api::{
    matching::Match,
    number::Weight,
    traffic::{Provider, RuleRef},
};
use serde_json::{Value, json};

use super::observe;
use crate::provider::{
    Names, RenderError, RouteObservation, Split,
    golden::{
        announced, by_matches, check, cookies, headers, mirrored, named, names, rendered, sticky,
        value, weight,
    },
    render, renderer,
};

/// Several rules, two parents, filters, timeouts, fields that are not known here.
fn route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "shop", "generation": 4, "labels": {"team": "kept-label"}},
        "spec": {
            "parentRefs": [{"name": "outer", "namespace": "gateway"}, {"name": "inner", "sectionName": "http"}],
            "hostnames": ["shop.example", "www.shop.example"],
            "rules": [
                {"name": "all", "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                 "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "kept-filter"}]}}],
                 "timeouts": {"request": "10s"}, "somethingNew": {"a": "kept-unknown"},
                 "backendRefs": [{"name": "web", "port": 80, "filters": [{"type": "ExtensionRef", "extensionRef": {"group": "example.com", "kind": "Filter", "name": "kept-backend"}}]}]},
                {"backendRefs": [{"name": "web", "port": 80, "weight": 3}, {"name": "other", "port": 80, "weight": 1}]},
                {"backendRefs": [{"name": "other", "port": 80}]},
                {"backendRefs": [{"name": "web", "namespace": "elsewhere", "port": 80}]},
                {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]},
            ],
        },
    })
}

/// One plain rule of the apex.
fn plain() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
    })
}

fn split(object: &Value, split: &Split) -> Value {
    render(Provider::HttpRoute, object, &names(), split).expect("it can be split")
}

fn observed(object: &Value, names: &Names) -> Option<Weight> {
    renderer(Provider::HttpRoute)
        .expect("it is supported")
        .observed_weight(object, &[], names)
}

fn backends(route: &Value, rule: usize) -> Vec<(String, Option<u64>)> {
    route["spec"]["rules"][rule]["backendRefs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|b| {
            (
                b["name"].as_str().unwrap_or("").to_owned(),
                b["weight"].as_u64(),
            )
        })
        .collect()
}

fn weighted(backends: &[(&str, u64)]) -> Vec<(String, Option<u64>)> {
    backends
        .iter()
        .map(|(name, weight)| ((*name).to_owned(), Some(*weight)))
        .collect()
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::HttpRoute, &route());
    check(Provider::HttpRoute, &{
        let mut one = plain();
        one["metadata"]["labels"] = json!({"a": "kept-label"});
        one
    });
}

#[test]
fn golden() {
    for (name, split) in [
        ("announced", announced()),
        ("weight", Split::by_weight(weight(20))),
        ("full", Split::by_weight(weight(100))),
        (
            "matches",
            by_matches(vec![
                Match {
                    path: Some(value("^/beta")),
                    method: Some("GET".into()),
                    query_params: vec![named("debug", "=1"), named("v", "~[0-9]+")],
                    ..headers(&[
                        ("x-user", "=insider"),
                        ("user-agent", "~.*Firefox.*"),
                        ("x-v", "^2."),
                    ])
                },
                cookies(&[("type", "=insider")]),
            ]),
        ),
        ("mirror", mirrored(20, 50)),
        ("sticky", sticky(20)),
    ] {
        let objects = rendered(Provider::HttpRoute, &route(), &split);
        insta::assert_json_snapshot!(format!("http_route_{name}"), objects);
    }
}

#[test]
fn every_rule_of_the_apex_is_split_and_nothing_else_changes() {
    let after = split(&route(), &Split::by_weight(weight(20)));
    assert_eq!(
        backends(&after, 0),
        weighted(&[("web", 80), ("web-canary", 20)])
    );
    assert_eq!(
        backends(&after, 1),
        weighted(&[("web", 240), ("web-canary", 60), ("other", 100)])
    );
    let mut stripped = after.clone();
    for rule in 0..2 {
        stripped["spec"]["rules"][rule]["backendRefs"] =
            route()["spec"]["rules"][rule]["backendRefs"].clone();
    }
    assert_eq!(
        stripped,
        route(),
        "matches, filters, timeouts and unknown fields survive"
    );
}

#[test]
fn large_weights_stay_within_the_limit_of_the_api() {
    let mut route = route();
    route["spec"]["rules"][1]["backendRefs"][0]["weight"] = json!(1_000_000);
    let after = split(&route, &Split::by_weight(weight(50)));
    assert_eq!(
        backends(&after, 1),
        weighted(&[("web", 1_000_000), ("web-canary", 1_000_000), ("other", 2)])
    );
}

#[test]
fn rules_that_disagree_have_no_weight() {
    let mut uneven = split(&route(), &Split::by_weight(weight(20)));
    uneven["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(90);
    assert_eq!(observed(&uneven, &names()), None, "rules disagree");
    let absent = Names {
        apex: "absent".into(),
        ..names()
    };
    assert_eq!(observed(&route(), &absent), None, "no such backend");
}

#[test]
fn only_the_rules_that_are_named_are_split() {
    for (rule, untouched) in [(RuleRef::Name("all".into()), 1), (RuleRef::Index(1), 0)] {
        let named = Names {
            rules: vec![rule],
            ..names()
        };
        let by = Split::by_weight(weight(20));
        let after = render(Provider::HttpRoute, &route(), &named, &by).expect("it can be split");
        assert_eq!(
            after["spec"]["rules"][untouched],
            route()["spec"]["rules"][untouched]
        );
        assert_eq!(observed(&after, &named), Some(weight(20)));
    }
    for rule in [
        RuleRef::Index(2),
        RuleRef::Index(9),
        RuleRef::Name("nil".into()),
    ] {
        let named = Names {
            rules: vec![rule.clone()],
            ..names()
        };
        let refused = render(
            Provider::HttpRoute,
            &route(),
            &named,
            &Split::by_weight(weight(20)),
        );
        assert!(
            matches!(refused, Err(RenderError::UnknownRule { rule: ref found, .. }) if *found == rule),
            "{refused:?}"
        );
    }
}

/// The conditions of the first rule, after joining `item` with `base`; `None` = the rule is left
/// out.
fn joined(base: Value, item: Match) -> Result<Option<Value>, RenderError> {
    let mut route = plain();
    route["spec"]["rules"][0]["matches"] = json!([base]);
    let after = render(
        Provider::HttpRoute,
        &route,
        &names(),
        &by_matches(vec![item]),
    )?;
    let rules = after["spec"]["rules"].as_array().expect("rules");
    Ok((rules.len() == 2).then(|| rules[0]["matches"][0].clone()))
}

fn path(form: &str) -> Match {
    Match {
        path: Some(value(form)),
        ..Match::default()
    }
}

#[test]
fn a_match_takes_no_requests_of_another_backends_rule() {
    let rule = |path: &str, service: &str| {
        json!({"matches": [{"path": {"type": "PathPrefix", "value": path}}],
               "backendRefs": [{"name": service, "port": 80}]})
    };
    let route = |other: &str| {
        let mut route = plain();
        route["spec"]["rules"] = json!([rule("/", "web"), rule("/api", other)]);
        route
    };
    let split = by_matches(vec![path("^/api/new")]);
    let error = render(Provider::HttpRoute, &route("api"), &names(), &split).expect_err("refused");
    assert!(matches!(error, RenderError::Overtaking { .. }), "{error}");
    // Both rules lead to the workload that is tested.
    assert!(render(Provider::HttpRoute, &route("web"), &names(), &split).is_ok());
    let elsewhere = by_matches(vec![path("^/new")]);
    assert!(render(Provider::HttpRoute, &route("api"), &names(), &elsewhere).is_ok());
}

#[test]
fn a_path_is_joined_with_the_rules_own() {
    let own = |kind: &str, value: &str| json!({"path": {"type": kind, "value": value}});
    for (base, item, expected) in [
        (
            own("PathPrefix", "/"),
            path("~/v[0-9]+"),
            Some(own("RegularExpression", "^(?:/v[0-9]+)$")),
        ),
        (
            own("PathPrefix", "/shop"),
            path("^/shop/beta"),
            Some(own("PathPrefix", "/shop/beta")),
        ),
        (
            own("PathPrefix", "/shop/beta"),
            path("^/shop"),
            Some(own("PathPrefix", "/shop/beta")),
        ),
        (
            own("PathPrefix", "/shop"),
            path("=/shop"),
            Some(own("Exact", "/shop")),
        ),
        (
            own("Exact", "/shop/x"),
            path("^/shop/"),
            Some(own("Exact", "/shop/x")),
        ),
        (own("PathPrefix", "/shop"), path("^/shopping"), None),
        (own("Exact", "/a"), path("=/b"), None),
        (own("Exact", "/a"), path("^/"), Some(own("Exact", "/a"))),
        (json!({}), path("=/b"), Some(own("Exact", "/b"))),
    ] {
        let found = joined(base.clone(), item.clone()).expect("it can be joined");
        assert_eq!(found, expected, "{base} and {item:?}");
    }
    let collision = joined(own("PathPrefix", "/shop"), path("~/.*"));
    assert!(
        matches!(collision, Err(RenderError::Collision { .. })),
        "{collision:?}"
    );
}

#[test]
fn headers_are_joined_with_the_rules_own() {
    let own = json!({"headers": [{"name": "x-tenant", "value": "a"}]});
    let both = joined(own.clone(), headers(&[("x-user", "=b")])).expect("it can be joined");
    assert_eq!(
        both,
        Some(json!({"headers": [
            {"name": "x-tenant", "value": "a"},
            {"type": "Exact", "name": "x-user", "value": "b"},
        ]}))
    );
    let same = joined(own.clone(), headers(&[("X-Tenant", "=a")])).expect("it can be joined");
    assert_eq!(same, Some(own.clone()));
    let never = joined(own.clone(), headers(&[("X-Tenant", "=b")])).expect("it can be joined");
    assert_eq!(never, None);
    let unclear = joined(own, headers(&[("X-Tenant", "~.*")]));
    assert_eq!(
        unclear,
        Err(RenderError::Collision {
            subject: "header X-Tenant".into()
        })
    );
    let method = json!({"method": "GET"});
    let post = Match {
        method: Some("POST".into()),
        ..Match::default()
    };
    assert_eq!(joined(method, post), Ok(None));
}

#[test]
fn the_limits_of_the_api_are_kept_before_it_is_asked() {
    let mut many = plain();
    many["spec"]["rules"] = json!(vec![many["spec"]["rules"][0].clone(); 9]);
    let split = by_matches(vec![headers(&[("x", "=1")])]);
    let refused = render(Provider::HttpRoute, &many, &names(), &split);
    assert_eq!(
        refused,
        Err(RenderError::TooMany {
            what: "rules",
            count: 18,
            limit: 16
        })
    );
    let mut wide = plain();
    let paths: Vec<Value> = (0..33)
        .map(|n| json!({"path": {"value": format!("/{n}")}}))
        .collect();
    wide["spec"]["rules"][0]["matches"] = json!(paths);
    let two = by_matches(vec![headers(&[("x", "=1")]), headers(&[("x", "=2")])]);
    assert_eq!(
        render(Provider::HttpRoute, &wide, &names(), &two),
        Err(RenderError::TooMany {
            what: "matches in one rule",
            count: 66,
            limit: 64
        })
    );
}

#[test]
fn a_route_of_another_namespace_names_the_services_namespace() {
    let mut far = plain();
    far["metadata"]["namespace"] = json!("edge");
    let by = Split::by_weight(weight(20));
    assert!(matches!(
        render(Provider::HttpRoute, &far, &names(), &by),
        Err(RenderError::NoBackend { .. })
    ));
    far["spec"]["rules"][0]["backendRefs"][0]["namespace"] = json!("shop");
    let after = split(&far, &by);
    assert_eq!(
        after["spec"]["rules"][0]["backendRefs"][1],
        json!({"name": "web-canary", "namespace": "shop", "port": 80, "weight": 20})
    );
}

fn reported(accepted: (&str, i64), resolved: (&str, i64)) -> Value {
    let conditions = json!([
        {"type": "Accepted", "status": accepted.0, "observedGeneration": accepted.1, "reason": "A"},
        {"type": "ResolvedRefs", "status": resolved.0, "observedGeneration": resolved.1,
         "reason": "BackendNotFound", "message": "no Service"},
    ]);
    json!([
        {"parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "outer", "namespace": "gateway"},
         "conditions": conditions},
        {"parentRef": {"name": "inner", "namespace": "shop", "sectionName": "http"},
         "conditions": conditions},
    ])
}

#[test]
fn a_route_is_programmed_when_every_parent_speaks_of_this_generation() {
    let mut route = route();
    let mut seen = |parents: Value| {
        route["status"] = json!({"parents": parents});
        observe(&route)
    };
    assert_eq!(
        seen(reported(("True", 4), ("True", 4))),
        RouteObservation::Programmed
    );
    for (parents, part) in [
        (reported(("True", 3), ("True", 4)), "generation 3 of 4"),
        (reported(("True", 4), ("True", 3)), "generation 3 of 4"),
        (reported(("Unknown", 4), ("True", 4)), "Unknown"),
        (
            json!([reported(("True", 4), ("True", 4))[0]]),
            "parent inner: no controller",
        ),
        (
            json!([reported(("True", 4), ("True", 4))[1]]),
            "parent outer: no controller",
        ),
        (json!([]), "no controller"),
    ] {
        match seen(parents) {
            RouteObservation::NotYet { why } => assert!(why.contains(part), "{why}"),
            other => panic!("{part}: {other:?}"),
        }
    }
    match seen(reported(("True", 4), ("False", 4))) {
        RouteObservation::Rejected { why } => assert!(why.contains("BackendNotFound"), "{why}"),
        other => panic!("{other:?}"),
    }
}

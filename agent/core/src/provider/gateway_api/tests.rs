use bellwether_api::number::Weight;
use serde_json::{Value, json};

use super::{observe, observed_weight, render};
use crate::provider::RouteObservation;

fn weight(percent: u8) -> Weight {
    Weight::new(percent).expect("a weight")
}

/// Several rules, two parents, filters, timeouts, fields that are not known here.
fn route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "shop", "generation": 4, "labels": {"team": "shop"}},
        "spec": {
            "parentRefs": [{"name": "outer", "namespace": "gateway"}, {"name": "inner", "sectionName": "http"}],
            "hostnames": ["shop.example"],
            "rules": [
                {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                 "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "1"}]}}],
                 "timeouts": {"request": "10s"}, "somethingNew": {"a": 1},
                 "backendRefs": [{"name": "web", "port": 80, "filters": [{"type": "ExtensionRef"}]}]},
                {"backendRefs": [{"name": "web", "port": 80, "weight": 3}, {"name": "other", "port": 80, "weight": 1}]},
                {"backendRefs": [{"name": "other", "port": 80}]},
                {"backendRefs": [{"name": "web", "namespace": "elsewhere", "port": 80}]},
                {"filters": [{"type": "RequestRedirect"}]},
            ],
        },
    })
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

fn named(backends: &[(&str, u64)]) -> Vec<(String, Option<u64>)> {
    backends
        .iter()
        .map(|(name, weight)| ((*name).to_owned(), Some(*weight)))
        .collect()
}

#[test]
fn every_rule_of_the_apex_is_split_and_nothing_else_changes() {
    let split = render(&route(), "web", "web-canary", weight(20));
    assert_eq!(
        backends(&split, 0),
        named(&[("web", 80), ("web-canary", 20)])
    );
    assert_eq!(
        backends(&split, 1),
        named(&[("web", 240), ("web-canary", 60), ("other", 100)])
    );
    for rule in 2..5 {
        assert_eq!(
            split["spec"]["rules"][rule],
            route()["spec"]["rules"][rule],
            "rule {rule}"
        );
    }
    let copy = &split["spec"]["rules"][0]["backendRefs"][1];
    assert_eq!(copy["port"], 80);
    assert_eq!(copy["filters"], json!([{"type": "ExtensionRef"}]));
    let mut stripped = split.clone();
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
fn weight_0_is_the_users_route_and_weight_100_keeps_both_backends() {
    assert_eq!(
        render(&route(), "web", "web-canary", Weight::ZERO).to_string(),
        route().to_string()
    );
    let full = render(&route(), "web", "web-canary", Weight::FULL);
    assert_eq!(
        backends(&full, 0),
        named(&[("web", 0), ("web-canary", 100)])
    );
}

#[test]
fn large_weights_stay_within_the_limit_of_the_api() {
    let mut route = route();
    route["spec"]["rules"][1]["backendRefs"][0]["weight"] = json!(1_000_000);
    let split = render(&route, "web", "web-canary", weight(50));
    assert_eq!(
        backends(&split, 1),
        named(&[("web", 1_000_000), ("web-canary", 1_000_000), ("other", 2)])
    );
}

#[test]
fn the_weight_is_read_back() {
    for percent in 0..=100 {
        let split = render(&route(), "web", "web-canary", weight(percent));
        assert_eq!(
            observed_weight(&split, "web", "web-canary"),
            Some(weight(percent))
        );
    }
    let mut uneven = render(&route(), "web", "web-canary", weight(20));
    uneven["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(90);
    assert_eq!(
        observed_weight(&uneven, "web", "web-canary"),
        None,
        "rules disagree"
    );
    assert_eq!(
        observed_weight(&route(), "absent", "absent-canary"),
        None,
        "no such backend"
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

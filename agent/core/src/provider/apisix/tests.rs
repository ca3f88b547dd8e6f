use bellwether_api::{matching::Match, traffic::Provider};
use serde_json::{Value, json};

use super::observe;
use crate::provider::{
    RouteObservation, Split,
    golden::{by_matches, check, cookies, headers, named, rendered, value, weight},
};

fn route() -> Value {
    json!({
        "apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "kept-label"}},
        "spec": {"http": [
            {"name": "all", "priority": 2, "websocket": true,
             "match": {"hosts": ["shop.example", "www.shop.example"], "paths": ["/*"],
                       "exprs": [{"subject": {"scope": "Header", "name": "x-tenant"}, "op": "Equal", "value": "a"}]},
             "plugins": [{"name": "kept-plugin", "enable": true}],
             "backends": [{"serviceName": "web", "servicePort": 80, "resolveGranularity": "service"}]},
            {"name": "shared", "match": {"paths": ["/shared"], "methods": ["GET", "POST"]},
             "backends": [{"serviceName": "web", "servicePort": "http", "weight": 30}, {"serviceName": "other", "servicePort": 80, "weight": 10}]},
            {"name": "else", "match": {"paths": ["/else"]}, "backends": [{"serviceName": "other", "servicePort": 80}]},
        ]},
    })
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::ApisixRoute, &route());
}

#[test]
fn golden() {
    let all_forms = by_matches(vec![
        Match {
            path: Some(value("^/beta")),
            method: Some("POST".into()),
            query_params: vec![named("debug", "=1")],
            ..headers(&[
                ("x-user", "=insider"),
                ("user-agent", "~.*Firefox.*"),
                ("x-v", "^2."),
            ])
        },
        cookies(&[("type", "=insider"), ("age", "~[0-9]+")]),
        Match {
            method: Some("PUT".into()),
            ..Match::default()
        },
    ]);
    for (name, split) in [
        ("weight", Split::by_weight(weight(20))),
        ("matches", all_forms),
    ] {
        let objects = rendered(Provider::ApisixRoute, &route(), &split);
        insta::assert_json_snapshot!(format!("apisix_route_{name}"), objects);
    }
}

#[test]
fn the_controllers_word_counts() {
    let mut route = route();
    route["metadata"]["generation"] = json!(3);
    assert!(matches!(observe(&route), RouteObservation::NotYet { .. }));
    for (kind, status, observed, expected) in [
        ("ResourcesAvailable", "True", 3, "Programmed"),
        ("Accepted", "True", 3, "Programmed"),
        ("Accepted", "True", 2, "NotYet"),
        ("Accepted", "False", 3, "Rejected"),
    ] {
        route["status"] = json!({"conditions": [
            {"type": kind, "status": status, "observedGeneration": observed, "reason": "R", "message": "m"},
        ]});
        let found = format!("{:?}", observe(&route));
        assert!(found.starts_with(expected), "{kind} {status}: {found}");
    }
}

use bellwether_api::{matching::Match, traffic::Provider};
use serde_json::{Value, json};

use super::observe;
use crate::provider::{
    RenderError, RouteObservation, Split,
    golden::{
        announced, by_matches, check, cookies, headers, mirrored, named, names, rendered, value,
        weight,
    },
    render,
};

fn proxy() -> Value {
    json!({
        "apiVersion": "projectcontour.io/v1", "kind": "HTTPProxy",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "kept-label"}},
        "spec": {
            "virtualhost": {"fqdn": "shop.example", "tls": {"secretName": "kept-secret"}},
            "includes": [{"name": "kept-include"}],
            "routes": [
                {"conditions": [{"prefix": "/"}, {"header": {"name": "x-tenant", "exact": "a"}}],
                 "timeoutPolicy": {"response": "5s"}, "somethingNew": "kept-unknown",
                 "services": [{"name": "web", "port": 80, "protocol": "h2c"}]},
                {"services": [{"name": "web", "port": 80}, {"name": "other", "port": 80}]},
                {"conditions": [{"prefix": "/else"}], "services": [{"name": "other", "port": 80}]},
            ],
        },
    })
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::HttpProxy, &proxy());
}

#[test]
fn golden() {
    let all_forms = by_matches(vec![
        Match {
            path: Some(value("^/beta")),
            query_params: vec![
                named("debug", "=1"),
                named("v", "^2"),
                named("w", "~[0-9]+"),
            ],
            ..headers(&[
                ("x-user", "=insider"),
                ("user-agent", "~.*Firefox.*"),
                ("x-v", "^2."),
            ])
        },
        cookies(&[("type", "=insider")]),
    ]);
    for (name, split) in [
        ("announced", announced()),
        ("weight", Split::by_weight(weight(20))),
        ("matches", all_forms),
        ("mirror", mirrored(20, 50)),
    ] {
        let objects = rendered(Provider::HttpProxy, &proxy(), &split);
        insta::assert_json_snapshot!(format!("http_proxy_{name}"), objects);
    }
}

#[test]
fn what_cannot_be_joined_is_refused_or_left_out() {
    let by = |item: Match| {
        render(
            Provider::HttpProxy,
            &proxy(),
            &names(),
            &by_matches(vec![item]),
        )
    };
    let routes = |after: Value| after["spec"]["routes"].as_array().map(Vec::len);
    let never = by(headers(&[("X-Tenant", "=b")])).expect("it can be split");
    assert_eq!(routes(never), Some(4), "only the route without conditions");
    let unclear = by(headers(&[("X-Tenant", "~.*")]));
    assert!(
        matches!(unclear, Err(RenderError::Collision { .. })),
        "{unclear:?}"
    );
    let mut mirroring = proxy();
    mirroring["spec"]["routes"][0]["services"] = json!([
        {"name": "web", "port": 80},
        {"name": "other", "port": 80, "mirror": true},
    ]);
    let refused = render(Provider::HttpProxy, &mirroring, &names(), &mirrored(0, 100));
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
    let after = render(
        Provider::HttpProxy,
        &mirroring,
        &names(),
        &Split::by_weight(weight(20)),
    )
    .expect("it can be split");
    assert_eq!(
        after["spec"]["routes"][0]["services"][2],
        json!({"name": "other", "port": 80, "mirror": true}),
        "the user's own mirror stays"
    );
}

#[test]
fn contours_word_counts() {
    let mut proxy = proxy();
    proxy["metadata"]["generation"] = json!(3);
    assert!(matches!(observe(&proxy), RouteObservation::NotYet { .. }));
    for (status, observed, expected) in [
        ("True", 3, "Programmed"),
        ("True", 2, "NotYet"),
        ("False", 3, "Rejected"),
    ] {
        proxy["status"] = json!({"description": "d", "conditions": [
            {"type": "Valid", "status": status, "observedGeneration": observed},
        ]});
        let found = format!("{:?}", observe(&proxy));
        assert!(found.starts_with(expected), "{status}: {found}");
    }
}

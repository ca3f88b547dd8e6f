use bellwether_api::{matching::Match, traffic::Provider};
use serde_json::{Value, json};

use crate::provider::{
    RenderError, Split,
    golden::{
        by_matches, check, cookies, headers, mirrored, named, names, rendered, value, weight,
    },
    own, render,
};

/// Two ports, one of them without a name, in a mesh of its own.
fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "web", "namespace": "shop",
            "labels": {"team": "kept-label", "kuma.io/mesh": "kept-mesh"},
        },
        "spec": {
            "selector": {"app": "web"},
            "ports": [
                {"name": "http", "port": 80, "targetPort": 8080, "appProtocol": "http"},
                {"port": 8081, "targetPort": "admin", "appProtocol": "http"},
            ],
        },
    })
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::Kuma, &service());
}

#[test]
fn golden() {
    let all_forms = by_matches(vec![
        Match {
            path: Some(value("^/beta")),
            method: Some("GET".into()),
            query_params: vec![named("debug", "=1"), named("v", "~[0-9]+")],
            ..headers(&[("x-user", "=insider"), ("X-V", "^2.")])
        },
        cookies(&[("type", "=insider")]),
    ]);
    for (name, split) in [
        ("weight", Split::by_weight(weight(20))),
        ("matches", all_forms),
        ("mirror", mirrored(20, 50)),
    ] {
        let objects = rendered(Provider::Kuma, &service(), &split);
        assert_eq!(objects[0], service(), "the user's Service is never changed");
        insta::assert_json_snapshot!(format!("mesh_service_{name}"), objects);
    }
}

#[test]
fn another_service_or_one_without_ports_is_refused() {
    let by = Split::by_weight(weight(20));
    let mut other = service();
    other["metadata"]["name"] = json!("other");
    let refused = render(Provider::Kuma, &other, &names(), &by);
    assert!(
        matches!(refused, Err(RenderError::NoBackend { .. })),
        "{refused:?}"
    );
    let mut closed = service();
    closed["spec"]["ports"] = json!([]);
    let refused = own(Provider::Kuma, &closed, &names(), &by);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

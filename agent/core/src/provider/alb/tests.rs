use bellwether_api::traffic::Provider;
use serde_json::{Value, json};

use crate::provider::{
    RenderError, Split,
    golden::{check, names, rendered, weight},
    render,
};

/// A plain backend, and other hosts.
fn plain() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {"alb.ingress.kubernetes.io/scheme": "kept-scheme"}},
        "spec": {"ingressClassName": "alb", "rules": [
            {"host": "shop.example", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
            ]}},
            {"host": "www.shop.example", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
                {"path": "/other", "pathType": "Prefix", "backend": {"service": {"name": "other", "port": {"number": 80}}}},
            ]}},
        ]},
    })
}

/// An action that the user wrote.
fn action() -> Value {
    let mut ingress = plain();
    ingress["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.forward"] = json!(
        r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web","servicePort":"80","weight":3},{"serviceName":"other","servicePort":"80","weight":1}],"targetGroupStickinessConfig":{"enabled":true}}}"#
    );
    for rule in 0..2 {
        ingress["spec"]["rules"][rule]["http"]["paths"][0]["backend"]["service"] =
            json!({"name": "forward", "port": {"name": "use-annotation"}});
    }
    ingress
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::Alb, &plain());
    check(Provider::Alb, &action());
}

#[test]
fn golden() {
    let by = Split::by_weight(weight(20));
    let objects = rendered(Provider::Alb, &plain(), &by);
    insta::assert_json_snapshot!("alb_plain", objects);
    let objects = rendered(Provider::Alb, &action(), &by);
    insta::assert_json_snapshot!("alb_action", objects);
}

#[test]
fn two_ports_need_two_actions() {
    let mut uneven = plain();
    uneven["spec"]["rules"][1]["http"]["paths"][0]["backend"]["service"]["port"] =
        json!({"number": 8080});
    let refused = render(
        Provider::Alb,
        &uneven,
        &names(),
        &Split::by_weight(weight(20)),
    );
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

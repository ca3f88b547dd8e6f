use bellwether_api::traffic::{Provider, RuleRef};
use serde_json::{Value, json};

use crate::provider::{
    Names, RenderError, Split,
    golden::{check, names, rendered, weight},
    render,
};

fn ingress() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {"zalando.org/skipper-filter": "kept-filter"}},
        "spec": {"rules": [
            {"host": "shop.example", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
                {"path": "/other", "pathType": "Prefix", "backend": {"service": {"name": "other", "port": {"number": 80}}}},
            ]}},
            {"host": "www.shop.example", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
            ]}},
        ]},
    })
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::Skipper, &ingress());
    let mut weighted = ingress();
    weighted["metadata"]["annotations"]["zalando.org/backend-weights"] =
        json!(r#"{"web": 60, "other": 40}"#);
    check(Provider::Skipper, &weighted);
}

#[test]
fn golden() {
    let by = Split::by_weight(weight(20));
    let objects = rendered(Provider::Skipper, &ingress(), &by);
    insta::assert_json_snapshot!("skipper_weight", objects);
}

#[test]
fn single_rules_are_refused() {
    let named = Names {
        rules: vec![RuleRef::Index(0)],
        ..names()
    };
    let by = Split::by_weight(weight(20));
    let refused = render(Provider::Skipper, &ingress(), &named, &by);
    assert!(
        matches!(refused, Err(RenderError::Unsplittable { .. })),
        "{refused:?}"
    );
}

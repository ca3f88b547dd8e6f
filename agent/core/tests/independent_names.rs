//! Workload, Service and route are each told by their own name.

use std::collections::BTreeSet;

use bellwether_agent_core::{
    analysis::{QueryTarget, SeriesSet, Side, queries},
    canary_copy::{canary_deployment, canary_service},
    effective::{Governed, GovernedRoute, effective},
    machine::{CanaryWant, Overlay, ServicePin},
    names::canary_name,
    provider::{Names, Split},
    settled::TemplateVersion,
};
use bellwether_api::{
    analysis::Metric, duration::Dur, number::Weight, reference::ObjectRef, traffic::Provider,
};
use serde_json::{Value, json};

const GATEWAY: &str = "gateway.networking.k8s.io/v1";

fn objects() -> Vec<Value> {
    let meta = |name: &str| json!({"name": name, "namespace": "shop"});
    vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("checkout-v1"),
            "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "checkout"}},
                "template": {"metadata": {"labels": {"app": "checkout"}}, "spec": {"image": "new"}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta("basket"),
            "spec": {"selector": {"app": "checkout"}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": GATEWAY, "kind": "HTTPRoute", "metadata": meta("entry"),
            "spec": {"rules": [{"backendRefs": [{"name": "basket", "port": 80}]}]}}),
    ]
}

#[test]
fn names_of_workload_service_and_route_are_independent() {
    let target = |api_version: &str, kind: &str, name: &str| ObjectRef {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: Some("shop".into()),
        name: name.into(),
    };
    let workload = target("apps/v1", "Deployment", "checkout-v1");
    let old = json!({"metadata": {"labels": {"app": "checkout"}}, "spec": {"image": "old"}});
    let overlay = Overlay {
        paused: true,
        resumed: false,
        pins: vec![ServicePin {
            service: "basket".into(),
            hash: "h1".into(),
        }],
        template: TemplateVersion::Old,
        replicas: None,
        split: Split::by_weight(Weight::new(25).expect("a weight")),
        canary: Some(CanaryWant { replicas: 1 }),
        in_place: bellwether_agent_core::machine::InPlaceWant::default(),
        replicas_over: None,
        least_replicas: None,
        new_pods: None,
        revisions: bellwether_agent_core::machine::RevisionsWant::default(),
    };
    let routes = [GovernedRoute {
        provider: Provider::HttpRoute,
        target: target(GATEWAY, "HTTPRoute", "entry"),
        names: Names {
            namespace: "shop".into(),
            apex: "basket".into(),
            canary: canary_name("basket"),
            rules: Vec::new(),
            copied: None,
        },
    }];
    let governed = Governed {
        workload: &workload,
        old_template: Some(&old),
        routes: &routes,
        adapter: None,
        copy_adapter: None,
        overlay: &overlay,
    };
    let held = effective(&objects(), &[governed]);
    assert_eq!(held[0]["spec"]["template"], old);
    assert_eq!(held[1]["spec"]["selector"]["pod-template-hash"], "h1");
    assert_eq!(
        held[2]["spec"]["rules"][0]["backendRefs"],
        json!([
            {"name": "basket", "port": 80, "weight": 75},
            {"name": "basket-canary", "port": 80, "weight": 25},
        ])
    );
    let copy = canary_deployment(&objects()[0], "run-1", 1).expect("a copy");
    assert_eq!(copy["metadata"]["name"], "checkout-v1-canary");
    let service = canary_service(&objects()[1], "run-1").expect("a Service");
    assert_eq!(service["metadata"]["name"], "basket-canary");
}

#[test]
fn each_version_is_measured_by_the_name_that_its_series_carry() {
    let metric = Metric {
        name: "request-success-rate".into(),
        ..Metric::default()
    };
    for (series, named, not_named) in [
        (SeriesSet::TraefikGateway, "basket-canary", "checkout"),
        (SeriesSet::Contour, "basket-canary", "checkout"),
        (SeriesSet::Application, "checkout-v1-canary", "basket"),
        (SeriesSet::Istio, "checkout-v1-canary", "basket"),
    ] {
        let target = QueryTarget {
            series,
            namespace: "shop".into(),
            workload: "checkout-v1".into(),
            service: "basket".into(),
            port: Some(80),
            route: "entry".into(),
            copied: String::new(),
            canary_addresses: BTreeSet::new(),
            side: Side::Canary,
            in_place: false,
            per_node: false,
            revisions: None,
        };
        let made = queries(&metric, &target, Dur::from_secs(60), 0).expect("built in");
        assert!(
            made.value.contains(named) && !made.value.contains(not_named),
            "{series:?}: {}",
            made.value
        );
    }
}

use bellwether_api::{number::Weight, traffic::Provider};
use serde_json::{Value, json};

use super::{Service, held};
use crate::provider::{
    Renderer as _, RouteObservation, Split,
    golden::{check, names, rendered, weight},
};

fn service(traffic: Value) -> Value {
    let mut service = json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "kept-label"}},
        "spec": {"template": {
            "metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "kept-scale"}},
            "spec": {"containerConcurrency": 50, "containers": [{"image": "kept-image", "ports": [{"containerPort": 8080}]}]},
        }},
    });
    if !traffic.is_null() {
        service["spec"]["traffic"] = traffic;
    }
    service
}

fn tagged() -> Value {
    json!([
        {"latestRevision": true, "percent": 100, "tag": "kept-newest"},
        {"revisionName": "web-00001", "latestRevision": false, "percent": 0, "tag": "kept-first"},
    ])
}

#[test]
fn what_holds_for_every_provider() {
    for traffic in [
        Value::Null,
        json!([{"latestRevision": true, "percent": 100}]),
        tagged(),
    ] {
        check(Provider::Knative, &service(traffic));
    }
}

#[test]
fn golden() {
    for (name, object, percent) in [
        ("weight", service(Value::Null), 20),
        ("weight_beside_tags", service(tagged()), 20),
        ("everything", service(tagged()), 100),
    ] {
        let objects = rendered(
            Provider::Knative,
            &object,
            &Split::by_weight(weight(percent)),
        );
        insta::assert_json_snapshot!(name, objects);
    }
    insta::assert_json_snapshot!("held", [held(&service(tagged()), &names(), Weight::ZERO)]);
}

#[test]
fn requests_are_held_before_any_share_is_given() {
    let held = held(&service(Value::Null), &names(), Weight::ZERO);
    let targets = json!([{"revisionName": "web", "latestRevision": false, "percent": 100}]);
    assert_eq!(held["spec"]["traffic"], targets);
    let seen = Service.observed_weight(&held, &[], &names());
    assert_eq!(seen, Some(Weight::ZERO));
}

#[test]
fn a_share_of_a_revision_that_nobody_knows_is_no_share() {
    let foreign = json!([
        {"revisionName": "web", "percent": 50},
        {"revisionName": "somebody-elses", "percent": 50},
    ]);
    let seen = Service.observed_weight(&service(foreign), &[], &names());
    assert_eq!(seen, None);
}

#[test]
fn a_share_is_in_force_once_the_status_says_so() {
    let with = |observed: i64, routes: &str, in_force: Value| {
        let mut service = held(&service(tagged()), &names(), weight(30));
        service["metadata"]["generation"] = json!(4);
        service["status"] = json!({
            "observedGeneration": observed,
            "conditions": [{"type": "RoutesReady", "status": routes, "message": "the ingress is made"}],
            "traffic": in_force,
        });
        Service.observe(&service)
    };
    let both = json!([
        {"revisionName": "web-canary", "latestRevision": false, "percent": 30},
        {"revisionName": "web", "latestRevision": false, "percent": 70},
        {"revisionName": "web-00001", "tag": "kept-first"},
    ]);
    let before = json!([{"revisionName": "web", "latestRevision": true, "percent": 100}]);
    assert_eq!(with(4, "True", both.clone()), RouteObservation::Programmed);
    let not_yet = |seen: RouteObservation, says: &str| {
        let RouteObservation::NotYet { why } = seen else {
            panic!("{seen:?}");
        };
        assert!(why.contains(says), "{why}");
    };
    let mut unsaid = service(Value::Null);
    let everything = json!([{"revisionName": "web", "latestRevision": true, "percent": 100}]);
    unsaid["status"] = json!({"conditions": [{"type": "RoutesReady", "status": "True"}],
        "traffic": everything});
    assert_eq!(Service.observe(&unsaid), RouteObservation::Programmed);
    not_yet(with(3, "True", both.clone()), "generation 3 of 4");
    not_yet(with(4, "Unknown", both), "the ingress is made");
    not_yet(with(4, "True", before), "status.traffic");
}

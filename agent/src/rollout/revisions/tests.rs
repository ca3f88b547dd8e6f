use bellwether_api::number::Weight;
use serde_json::json;

use super::*;

fn service(created: &str, ready: &str, configured: &str) -> Value {
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "generation": 3},
        "spec": {
            "template": {},
            "traffic": [
                {"revisionName": "web-00001", "latestRevision": false, "percent": 80},
                {"revisionName": "web-00002", "latestRevision": false, "percent": 20},
            ],
        },
        "status": {
            "observedGeneration": 3,
            "latestCreatedRevisionName": created,
            "latestReadyRevisionName": ready,
            "conditions": [
                {"type": "ConfigurationsReady", "status": configured, "message": "why it is not"},
                {"type": "RoutesReady", "status": "True"},
                {"type": "Ready", "status": configured},
            ],
            "traffic": [
                {"revisionName": "web-00001", "latestRevision": false, "percent": 80},
                {"revisionName": "web-00002", "latestRevision": false, "percent": 20},
            ],
        },
    })
}

#[test]
fn a_revision_counts_only_once_its_configuration_is_ready() {
    let seen = |created, ready, configured| view(&service(created, ready, configured), None);
    let good = seen("web-00002", "web-00002", "True");
    assert!(good.is_ready && good.trouble.is_empty() && !good.has_all);
    let making = seen("web-00002", "web-00001", "Unknown");
    assert!(!making.is_ready && making.trouble.is_empty(), "{making:?}");
    let broken = seen("web-00002", "web-00001", "False");
    assert_eq!(
        (broken.is_ready, broken.trouble.as_str()),
        (false, "why it is not")
    );
    assert!(!view(&json!({}), None).is_ready);
    assert!(!view(&json!({}), None).has_all);
}

#[test]
fn the_newest_revision_has_all_only_when_the_status_says_so() {
    let mut all = service("web-00002", "web-00002", "True");
    all["spec"]["traffic"] = json!([{"latestRevision": true, "percent": 100}]);
    let newest = json!([{"revisionName": "web-00002", "latestRevision": true, "percent": 100}]);
    let older = json!([{"revisionName": "web-00001", "latestRevision": true, "percent": 100}]);
    for (in_force, expected) in [(newest, true), (older, false), (json!([]), false)] {
        all["status"]["traffic"] = in_force;
        assert_eq!(view(&all, None).has_all, expected, "{all}");
    }
}

#[test]
fn the_workload_is_a_route_while_a_run_shares_its_requests() {
    let target = ObjectRef {
        api_version: "serving.knative.dev/v1".into(),
        kind: "Service".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    };
    let object = service("web-00002", "web-00002", "True");
    let none = Overlay::none(TemplateVersion::New);
    assert_eq!(route(&target, Some(&object), &none), None);
    let shares = Overlay {
        revisions: RevisionsWant {
            old: Some("web-00001".into()),
            new: Some("web-00002".into()),
        },
        ..none
    };
    let seen = route(&target, Some(&object), &shares).expect("a route");
    assert_eq!(seen.weight, Weight::new(20));
    assert_eq!(seen.observation, RouteObservation::Programmed);
    let missing = route(&target, None, &shares).expect("a route");
    assert!(missing.is_missing && missing.weight.is_none());
}

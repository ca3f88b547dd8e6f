use bellwether_api::{number::Weight, reference::ObjectRef, traffic::Provider};
use serde_json::{Value, json};

use super::{Governed, GovernedRoute, effective};
use crate::{
    machine::{CanaryWant, Overlay, ServicePin},
    provider::{Names, Split},
    settled::TemplateVersion,
};

fn rendered() -> Vec<Value> {
    let meta = |name: &str| json!({"name": name, "namespace": "shop"});
    vec![
        json!({"kind": "Deployment", "metadata": meta("web"),
            "spec": {"replicas": 5, "template": {"spec": {"image": "web:2"}}}}),
        json!({"kind": "Deployment", "metadata": meta("other"), "spec": {"template": {}}}),
        json!({"kind": "Service", "metadata": meta("web"), "spec": {"selector": {"app": "web"}}}),
        json!({"kind": "Service", "metadata": meta("other"), "spec": {"selector": {"app": "o"}}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "HTTPRoute", "metadata": meta("web"),
            "spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}}),
        json!({"apiVersion": "policy.linkerd.io/v1beta3", "kind": "HTTPRoute", "metadata": meta("web"),
            "spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}}),
        json!({"kind": "Service", "metadata": {"name": "web", "namespace": "elsewhere"},
            "spec": {"selector": {"app": "web"}}}),
    ]
}

fn applied(overlay: &Overlay) -> Vec<Value> {
    let workload = ObjectRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    };
    let route = |provider: Provider| GovernedRoute {
        provider,
        target: ObjectRef {
            api_version: provider.api_version().into(),
            kind: provider.kind().into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        },
        names: Names {
            namespace: "shop".into(),
            apex: "web".into(),
            canary: "web-canary".into(),
            ..Names::default()
        },
    };
    let governed = Governed {
        workload: &workload,
        old_template: Some(&json!({"spec": {"image": "web:1"}})),
        // The Service of the second is pinned too.
        routes: &[route(Provider::HttpRoute), route(Provider::Kuma)],
        overlay,
    };
    effective(&rendered(), &[governed])
}

#[test]
fn a_run_touches_what_it_names_and_nothing_else() {
    let overlay = Overlay {
        paused: true,
        pins: vec![ServicePin {
            service: "web".into(),
            hash: "h1".into(),
        }],
        template: TemplateVersion::Old,
        replicas: Some(3),
        split: Split::by_weight(Weight::new(30).expect("a weight")),
        canary: Some(CanaryWant { replicas: 2 }),
    };
    let mut expected = rendered();
    expected[0]["spec"]["template"] = json!({"spec": {"image": "web:1"}});
    expected[0]["spec"]["paused"] = json!(true);
    expected[0]["spec"]["replicas"] = json!(3);
    expected[2]["spec"]["selector"]["pod-template-hash"] = json!("h1");
    expected[4]["spec"]["rules"][0]["backendRefs"] = json!([
        {"name": "web", "port": 80, "weight": 70}, {"name": "web-canary", "port": 80, "weight": 30},
    ]);
    assert_eq!(applied(&overlay), expected);
}

#[test]
fn without_a_run_everything_is_as_the_user_wrote_it() {
    let bytes = |objects: &[Value]| serde_json::to_string(objects).expect("objects are JSON");
    let after = applied(&Overlay::none(TemplateVersion::New));
    assert_eq!(bytes(&after), bytes(&rendered()));
    assert_eq!(bytes(&effective(&rendered(), &[])), bytes(&rendered()));
}

#[test]
fn a_failed_revision_stays_held() {
    let held = applied(&Overlay::none(TemplateVersion::Old));
    assert_eq!(
        held[0]["spec"]["template"],
        json!({"spec": {"image": "web:1"}})
    );
    assert_eq!(held[1..], rendered()[1..]);
}

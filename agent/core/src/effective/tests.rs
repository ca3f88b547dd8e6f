use bellwether_api::{
    number::Weight, reference::ObjectRef, traffic::Provider, workload_adapter::WorkloadAdapter,
};
use serde_json::{Value, json};

use super::{Governed, GovernedRoute, HeldWhole, effective};
use crate::{
    machine::{CanaryWant, InPlaceWant, Overlay, RevisionsWant, ServicePin},
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
        adapter: None,
        copy_adapter: None,
        overlay,
    };
    effective(&rendered(), &[governed])
}

#[test]
fn a_run_touches_what_it_names_and_nothing_else() {
    let overlay = Overlay {
        paused: true,
        resumed: false,
        pins: vec![ServicePin {
            service: "web".into(),
            hash: "h1".into(),
        }],
        template: TemplateVersion::Old,
        replicas: Some(3),
        replicas_over: None,
        least_replicas: None,
        split: Split::by_weight(Weight::new(30).expect("a weight")),
        canary: Some(CanaryWant { replicas: 2 }),
        in_place: InPlaceWant::default(),
        new_pods: None,
        revisions: RevisionsWant::default(),
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
fn a_run_that_resumes_its_workload_says_so_to_whoever_paused_it_too() {
    let overlay = Overlay {
        resumed: true,
        ..Overlay::none(TemplateVersion::New)
    };
    let mut expected = rendered();
    expected[0]["spec"]["paused"] = json!(false);
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

/// What is applied of a workload of `kind` whose spec, beside template and replicas, is `spec`.
fn held(kind: &str, adapter: &WorkloadAdapter, spec: Value, overlay: &Overlay) -> Value {
    let workload = ObjectRef {
        api_version: "v1".into(),
        kind: kind.into(),
        namespace: Some("shop".into()),
        name: "db".into(),
    };
    let mut object = json!({"kind": kind, "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"replicas": 10, "template": {"spec": {"image": "db:2"}}}});
    for (key, value) in spec.as_object().expect("fields").clone() {
        object["spec"][key] = value;
    }
    let governed = Governed {
        workload: &workload,
        old_template: Some(&json!({"spec": {"image": "db:1"}})),
        routes: &[],
        adapter: Some(adapter),
        copy_adapter: None,
        overlay,
    };
    let applied = effective(&[object.clone()], &[governed]);
    if *overlay == Overlay::none(TemplateVersion::New) {
        assert_eq!(applied[0].to_string(), object.to_string(), "byte by byte");
    }
    applied[0]["spec"].clone()
}

#[test]
fn a_partition_stands_where_the_kind_has_it() {
    let at_six = Overlay {
        in_place: InPlaceWant {
            partition: Some(6),
            replaces: None,
        },
        ..Overlay::none(TemplateVersion::New)
    };
    let known = |api_version, kind| WorkloadAdapter::known(api_version, kind).expect("known");
    let table = [
        (
            "StatefulSet",
            known("apps/v1", "StatefulSet"),
            json!({}),
            json!({"updateStrategy": {"rollingUpdate": {"partition": 6}}}),
        ),
        (
            "StatefulSet",
            known("apps/v1", "StatefulSet"),
            json!({"updateStrategy": {"type": "RollingUpdate",
                "rollingUpdate": {"partition": 2, "maxUnavailable": 3}}}),
            json!({"updateStrategy": {"type": "RollingUpdate",
                "rollingUpdate": {"partition": 6, "maxUnavailable": 3}}}),
        ),
        (
            "CloneSet",
            known("apps.kruise.io/v1alpha1", "CloneSet"),
            json!({"updateStrategy": {"type": "InPlaceIfPossible", "maxUnavailable": "20%"}}),
            json!({"updateStrategy": {"type": "InPlaceIfPossible", "maxUnavailable": "20%",
                "partition": 6}}),
        ),
        (
            "Shard",
            WorkloadAdapter::of_partition("/spec/held"),
            json!({"held": null}),
            json!({"held": 6}),
        ),
    ];
    for (kind, adapter, spec, expected) in table {
        let applied = held(kind, &adapter, spec.clone(), &at_six);
        for (key, value) in expected.as_object().expect("fields") {
            assert_eq!(applied[key], *value, "{kind}");
        }
        assert_eq!(applied["template"], json!({"spec": {"image": "db:2"}}));
        let back = Overlay {
            in_place: InPlaceWant {
                partition: Some(0),
                replaces: Some("db-1".into()),
            },
            ..Overlay::none(TemplateVersion::Old)
        };
        let applied = held(kind, &adapter, spec.clone(), &back);
        assert_eq!(applied["template"], json!({"spec": {"image": "db:1"}}));
        held(kind, &adapter, spec, &Overlay::none(TemplateVersion::New));
    }
}

#[test]
fn a_service_of_knative_keeps_to_revisions_and_its_namesake_is_left_alone() {
    let meta = json!({"name": "web", "namespace": "shop"});
    let knative = json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": meta, "spec": {"template": {"spec": {"image": "web:2"}}}});
    let namesake = json!({"apiVersion": "v1", "kind": "Service", "metadata": meta,
        "spec": {"selector": {"app": "web"}}});
    let workload = ObjectRef {
        api_version: "serving.knative.dev/v1".into(),
        kind: "Service".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    };
    let adapter = WorkloadAdapter::known("serving.knative.dev/v1", "Service").expect("known");
    let old = json!({"spec": {"image": "web:1"}});
    let laid = |overlay: &Overlay| {
        let governed = Governed {
            workload: &workload,
            old_template: Some(&old),
            routes: &[],
            adapter: Some(&adapter),
            copy_adapter: None,
            overlay,
        };
        effective(&[knative.clone(), namesake.clone()], &[governed])
    };
    let want = |new: Option<&str>| RevisionsWant {
        old: Some("web-00001".into()),
        new: new.map(str::to_owned),
    };
    let mut overlay = Overlay {
        revisions: want(None),
        ..Overlay::none(TemplateVersion::New)
    };
    let first = laid(&overlay);
    assert_eq!(
        first[0]["spec"],
        json!({"template": {"spec": {"image": "web:2"}}, "traffic": [
            {"revisionName": "web-00001", "latestRevision": false, "percent": 100},
        ]}),
        "no request comes to the new revision when it is made"
    );
    assert_eq!(first[1], namesake);
    overlay.revisions = want(Some("web-00002"));
    overlay.split = Split::by_weight(Weight::new(30).expect("a weight"));
    assert_eq!(
        laid(&overlay)[0]["spec"]["traffic"],
        json!([
            {"revisionName": "web-00001", "latestRevision": false, "percent": 70},
            {"revisionName": "web-00002", "latestRevision": false, "percent": 30},
        ])
    );
    let back = Overlay {
        template: TemplateVersion::Old,
        split: Split::default(),
        ..overlay
    };
    assert_eq!(laid(&back)[0]["spec"]["template"], old);
    let none = laid(&Overlay::none(TemplateVersion::New));
    assert_eq!(none, [knative, namesake], "at the end it is the user's");
}

#[test]
fn a_daemon_set_beside_its_copy_is_held_by_on_delete_and_pinned_by_its_revision() {
    let object = |api_version: &str, kind: &str, spec: Value| {
        json!({"apiVersion": api_version, "kind": kind, "spec": spec,
            "metadata": {"name": "log", "namespace": "shop"}})
    };
    let strategy = json!({"rollingUpdate": {"maxUnavailable": 2}});
    let spec = json!({"template": {"spec": {"image": "log:2"}}, "updateStrategy": strategy});
    let rendered = [
        object("apps/v1", "DaemonSet", spec),
        object("v1", "Service", json!({"selector": {"app": "log"}})),
    ];
    let workload = ObjectRef {
        api_version: "apps/v1".into(),
        kind: "DaemonSet".into(),
        namespace: Some("shop".into()),
        name: "log".into(),
    };
    let overlay = Overlay {
        paused: true,
        pins: vec![ServicePin {
            service: "log".into(),
            hash: "h1".into(),
        }],
        ..Overlay::none(TemplateVersion::Old)
    };
    let governed = Governed {
        workload: &workload,
        old_template: Some(&json!({"spec": {"image": "log:1"}})),
        routes: &[],
        adapter: None,
        copy_adapter: None,
        overlay: &overlay,
    };
    let mut expected = rendered.clone();
    expected[0]["spec"] = json!({
        "template": {"spec": {"image": "log:1"}},
        "updateStrategy": {"type": "OnDelete", "rollingUpdate": {"maxUnavailable": 2}},
    });
    expected[1]["spec"]["selector"]["controller-revision-hash"] = json!("h1");
    assert_eq!(effective(&rendered, &[governed]), expected);
}

#[test]
fn a_kind_that_an_adapter_tells_of_is_held_and_pinned_where_that_says() {
    let object = |api_version: &str, kind: &str, spec: Value| {
        json!({"apiVersion": api_version, "kind": kind, "spec": spec,
            "metadata": {"name": "web", "namespace": "shop"}})
    };
    let spec = json!({"template": {"spec": {"image": "web:2"}}, "update": {"order": "Descending"},
        "replicas": 5, "version": "2"});
    let rendered = [
        object("example.dev/v1", "Ring", spec),
        object("v1", "Service", json!({"selector": {"app": "web"}})),
        // Of another group, with the same kind and name.
        object("other.dev/v1", "Ring", json!({"template": {}})),
    ];
    let workload = ObjectRef {
        api_version: "example.dev/v1".into(),
        kind: "Ring".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    };
    let adapter: WorkloadAdapter = serde_json::from_value(json!({
        "paused": "/spec/update/paused", "revisionLabel": "example.dev/revision",
    }))
    .expect("an adapter");
    let old = json!({"spec": {"image": "web:1"}});
    let old_spec =
        json!({"template": old, "replicas": 3, "version": "1", "update": {"order": "Descending"}});
    let laid = |overlay: &Overlay| {
        let governed = Governed {
            workload: &workload,
            old_template: Some(&old),
            routes: &[],
            adapter: None,
            copy_adapter: Some(HeldWhole {
                adapter: &adapter,
                old_spec: Some(&old_spec),
            }),
            overlay,
        };
        effective(&rendered, &[governed])
    };
    let held = Overlay {
        paused: true,
        pins: vec![ServicePin {
            service: "web".into(),
            hash: "v1".into(),
        }],
        ..Overlay::none(TemplateVersion::Old)
    };
    let mut expected = rendered.clone();
    expected[0]["spec"] = json!({
        "template": {"spec": {"image": "web:1"}},
        "update": {"order": "Descending", "paused": true},
        // Whatever may make new pods stays old, but for the size.
        "version": "1", "replicas": 5,
    });
    expected[1]["spec"]["selector"]["example.dev/revision"] = json!("v1");
    assert_eq!(laid(&held), expected);
    let resumed = Overlay {
        resumed: true,
        ..Overlay::none(TemplateVersion::New)
    };
    let mut expected = rendered.clone();
    expected[0]["spec"]["update"]["paused"] = json!(false);
    assert_eq!(laid(&resumed), expected);
    let back = laid(&Overlay::none(TemplateVersion::New));
    assert_eq!(back, rendered, "at the end it is the user's");
}

#[test]
fn a_kind_of_another_group_that_is_named_as_a_daemon_set_is_paused_where_its_adapter_says() {
    let rendered = [json!({"apiVersion": "example.dev/v1", "kind": "DaemonSet",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": {}}})];
    let workload = ObjectRef {
        api_version: "example.dev/v1".into(),
        kind: "DaemonSet".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    };
    let adapter = json!({"paused": "/spec/still", "revisionLabel": "version"});
    let adapter: WorkloadAdapter = serde_json::from_value(adapter).expect("an adapter");
    let overlay = Overlay {
        paused: true,
        ..Overlay::none(TemplateVersion::New)
    };
    let governed = Governed {
        workload: &workload,
        old_template: None,
        routes: &[],
        adapter: None,
        copy_adapter: Some(HeldWhole {
            adapter: &adapter,
            old_spec: None,
        }),
        overlay: &overlay,
    };
    let applied = effective(&rendered, &[governed]);
    assert_eq!(applied[0]["spec"], json!({"template": {}, "still": true}));
}

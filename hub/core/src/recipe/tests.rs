use serde_json::{Value, json};

use super::*;

fn spec(component: Value) -> ApplicationSpec {
    serde_json::from_value(json!({
        "destination": {"fleet": "all"},
        "targetNamespace": "shop",
        "components": [component],
    }))
    .expect("a spec")
}

fn recipe(component: Value) -> Recipe {
    let spec = spec(component);
    Recipe::of("shop", &spec, &spec.components[0], "sha256:00").expect("a recipe")
}

fn chart(change: impl FnOnce(&mut Value)) -> Value {
    let mut component = json!({"name": "web", "helm": {
        "repository": "oci://registry.example/charts", "chart": "web", "version": "1.0.0",
        "values": {"replicas": 2, "image": {"tag": "v1"}},
    }});
    change(&mut component);
    component
}

#[test]
fn what_a_chart_sees_is_part_of_its_recipe() {
    let before = recipe(chart(|_| {}));
    assert_eq!(before.release_name, "shop-web");
    assert_eq!(before.namespace, "shop");
    assert!(before.include_crds && before.hooks);
    for change in [
        json!({"values": {"replicas": 3}}),
        json!({"releaseName": "other"}),
        json!({"includeCRDs": false}),
        json!({"hooks": false}),
    ] {
        let changed = recipe(chart(|component| {
            for (key, value) in change.as_object().expect("fields") {
                component["helm"][key] = value.clone();
            }
        }));
        assert_ne!(before.digest(), changed.digest(), "{change}");
    }
    let moved = recipe(chart(|component| {
        component["targetNamespace"] = json!("other")
    }));
    assert_ne!(before.digest(), moved.digest());
}

#[test]
fn a_version_that_means_the_same_files_is_the_same_recipe() {
    let before = recipe(chart(|_| {}));
    let renamed = recipe(chart(|component| {
        component["helm"]["version"] = json!("~1.0")
    }));
    assert_eq!(before.digest(), renamed.digest());
    let source = |component: Value| source_digest(&spec(component).components[0]);
    assert_ne!(
        source(chart(|_| {})),
        source(chart(
            |component| component["helm"]["version"] = json!("~1.0")
        ))
    );
    assert_eq!(
        source(chart(|_| {})),
        source(chart(|component| component["helm"]["values"] = json!({}))),
        "values are no part of what is fetched"
    );
}

#[test]
fn values_of_a_cluster_lie_over_those_of_the_chart() {
    let facts = RenderFacts {
        values: json!({"image": {"tag": "v2", "pull": "Always"}, "replicas": null})
            .as_object()
            .expect("values")
            .clone(),
        ..RenderFacts::default()
    };
    let values = facts.values_over(&recipe(chart(|_| {})));
    assert_eq!(
        Value::Object(values),
        json!({"image": {"tag": "v2", "pull": "Always"}, "replicas": null})
    );
    assert_ne!(facts.digest(), RenderFacts::default().digest());
}

#[test]
fn values_of_secrets_lie_in_their_order_under_those_that_are_written() {
    let map = |value: Value| value.as_object().expect("values").clone();
    let mut own = recipe(chart(|_| {}));
    let before = own.digest();
    own.values_from = vec![SecretValues {
        secret: "web".to_owned(),
        key: "values.yaml".to_owned(),
        version: Uuid::from_u128(1),
    }];
    assert_ne!(own.digest(), before, "a recipe tells which values it has");
    let full = own.with_secret_values(&[
        map(json!({"replicas": 9, "db": {"user": "a", "password": "hunter2"}})),
        map(json!({"db": {"user": "b"}})),
    ]);
    assert_eq!(
        Value::Object(full.values),
        json!({"replicas": 2, "image": {"tag": "v1"}, "db": {"user": "b", "password": "hunter2"}})
    );
    let shown = serde_json::to_string(&own).expect("JSON");
    assert!(!shown.contains("hunter2"), "{shown}");
    own.values_from[0].version = Uuid::from_u128(2);
    let other = own.digest();
    own.values_from[0].version = Uuid::from_u128(1);
    assert_ne!(own.digest(), other, "another value is another recipe");
}

#[test]
fn what_a_source_is_opened_with_is_part_of_the_source() {
    let source = |component: Value| source_digest(&spec(component).components[0]);
    let open = source(chart(|_| {}));
    let private = |name: &str| {
        source(chart(|component| {
            component["helm"]["credentialsRef"] = json!({"name": name});
        }))
    };
    assert_ne!(open, private("a"));
    assert_ne!(private("a"), private("b"));
}

#[test]
fn inline_manifests_have_no_recipe() {
    let spec = spec(json!({"name": "web", "manifests": []}));
    assert_eq!(Recipe::of("shop", &spec, &spec.components[0], "x"), None);
    assert_eq!(source_digest(&spec.components[0]), None);
}

#[test]
fn a_union_has_every_object_once_and_keeps_twins_of_one_rendering() {
    let object = |name: &str, data: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    let first = vec![object("a", "1"), object("a", "2")];
    let second = vec![object("a", "3"), object("b", "4")];
    assert_eq!(
        union([first.as_slice(), second.as_slice()]),
        vec![object("a", "1"), object("a", "2"), object("b", "4")]
    );
}

#[test]
fn hooks_of_tests_do_not_matter() {
    let hook = |events: &[&str]| RenderedHook {
        name: "x".to_owned(),
        kind: "Job".to_owned(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        file: String::new(),
        weight: 0,
        delete_policies: Vec::new(),
        object: None,
    };
    assert!(hook(&["test", "pre-upgrade"]).matters());
    assert!(!hook(&["test"]).matters());
    assert!(hook(&["pre-delete"]).matters());
}

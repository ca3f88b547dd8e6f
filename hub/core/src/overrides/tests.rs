use std::collections::BTreeMap;

use bellwether_api::{
    application::ApplicationSpec, cluster_template::ClusterValues, overrides::Override,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{OverrideFault, in_cluster, try_clusters};
use crate::placement::ClusterFacts;

fn objects() -> Vec<Value> {
    vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 3, "template": {"spec": {
                "initContainers": [{"name": "wait", "image": "r:5000/tools/wait:1"}],
                "containers": [{"name": "web", "image": "r:5000/shop/web:1", "args": ["--port=80"]},
                    {"name": "log", "image": "busybox@sha256:aa"}]}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "web", "namespace": "edge"},
            "spec": {"rules": [{"host": "svc.ink"}]}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"},
            "data": {"app.yaml": "region: none\nsize: 1\n"}}),
    ]
}

fn overrides(value: Value) -> Vec<Override> {
    serde_json::from_value(value).expect("overrides")
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// The objects in a cluster `sit-1` of the environment sit and the region eu.
fn there(value: Value) -> Result<Vec<Value>, OverrideFault> {
    let overrides = overrides(value);
    let labels = labels(&[("env", "sit"), ("region", "eu")]);
    let cluster = ClusterValues {
        name: "sit-1",
        labels: &labels,
    };
    in_cluster(&overrides, cluster, "web", "shop", &objects())
        .map(|done| done.objects)
        .map_err(|error| error.source)
}

/// What differs from the objects without overrides, as (object, pointer, value there).
fn differences(value: Value) -> Vec<(String, String, Value)> {
    fn walk(at: String, before: &Value, after: &Value, found: &mut Vec<(String, Value)>) {
        match (before, after) {
            _ if before == after => {}
            (Value::Object(old), Value::Object(new)) => {
                let keys: std::collections::BTreeSet<&String> =
                    old.keys().chain(new.keys()).collect();
                for key in keys {
                    let null = Value::Null;
                    walk(
                        format!("{at}/{key}"),
                        old.get(key).unwrap_or(&null),
                        new.get(key).unwrap_or(&null),
                        found,
                    );
                }
            }
            (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    walk(format!("{at}/{index}"), old, new, found);
                }
            }
            _ => found.push((at, after.clone())),
        }
    }
    let plain = there(json!([])).expect("nothing is overridden");
    let changed = there(value).expect("it fits");
    let mut all = Vec::new();
    for (before, after) in plain.iter().zip(&changed) {
        let mut found = Vec::new();
        walk(String::new(), before, after, &mut found);
        let kind = before["kind"].as_str().unwrap_or_default();
        all.extend(
            found
                .into_iter()
                .map(|(at, value)| (kind.to_owned(), at, value)),
        );
    }
    all
}

fn one(kind: &str, at: &str, value: Value) -> Vec<(String, String, Value)> {
    vec![(kind.to_owned(), at.to_owned(), value)]
}

#[test]
fn each_form_changes_exactly_its_field() {
    let web = json!({"kind": "Deployment", "name": "web"});
    let containers = "/spec/template/spec/containers";
    for (form, expected) in [
        (
            json!({"replicas": [{"target": web, "count": 5}]}),
            one("Deployment", "/spec/replicas", json!(5)),
        ),
        (
            json!({"images": [{"name": "r:5000/shop/web", "newTag": "{{ cluster.labels.env }}-2"}]}),
            one(
                "Deployment",
                &format!("{containers}/0/image"),
                json!("r:5000/shop/web:sit-2"),
            ),
        ),
        (
            json!({"images": [{"name": "busybox", "newName": "mirror/busybox"}]}),
            one(
                "Deployment",
                &format!("{containers}/1/image"),
                json!("mirror/busybox@sha256:aa"),
            ),
        ),
        (
            json!({"images": [{"name": "r:5000/tools/wait", "digest": "sha256:bb"}]}),
            one(
                "Deployment",
                "/spec/template/spec/initContainers/0/image",
                json!("r:5000/tools/wait@sha256:bb"),
            ),
        ),
        (
            json!({"args": [{"target": web, "container": "web", "append": ["--region={{ cluster.labels.region }}"]}]}),
            one(
                "Deployment",
                &format!("{containers}/0/args"),
                json!(["--port=80", "--region=eu"]),
            ),
        ),
        (
            json!({"args": [{"target": web, "container": "log", "command": ["sh"]}]}),
            one(
                "Deployment",
                &format!("{containers}/1/command"),
                json!(["sh"]),
            ),
        ),
        (
            json!({"patches": [{"target": {"kind": "Ingress"}, "jsonPatch": [
            {"op": "replace", "path": "/spec/rules/0/host", "value": "svc-{{ cluster.labels.env }}.ink"}]}]}),
            one("Ingress", "/spec/rules/0/host", json!("svc-sit.ink")),
        ),
        (
            json!({"patches": [{"target": {"kind": "Service"}, "merge": {"spec": {"clusterIP": "10.96.7.7"}}}]}),
            one("Service", "/spec/clusterIP", json!("10.96.7.7")),
        ),
        (
            json!({"patches": [{"target": web, "strategic": {"spec": {"template": {"spec": {"containers": [
            {"name": "log", "image": "log:{{ cluster.labels.env }}"}]}}}}}]}),
            one(
                "Deployment",
                &format!("{containers}/1/image"),
                json!("log:sit"),
            ),
        ),
        (
            json!({"patches": [{"target": {"kind": "ConfigMap"}, "text": {"path": "/data/app.yaml",
            "replace": [{"from": "region: none", "to": "region: {{ cluster.labels.region }}"}]}}]}),
            one(
                "ConfigMap",
                "/data/app.yaml",
                json!("region: eu\nsize: 1\n"),
            ),
        ),
    ] {
        let mut override_ = form.clone();
        override_["name"] = json!("sit");
        assert_eq!(differences(json!([override_])), expected, "{form}");
    }
}

#[test]
fn labels_are_those_of_objects_and_not_of_pods() {
    let found = differences(json!([{"name": "a", "labels": {"env": "{{ cluster.labels.env }}"}}]));
    assert_eq!(found.len(), 4);
    assert!(
        found
            .iter()
            .all(|(_, at, value)| at == "/metadata/labels" && *value == json!({"env": "sit"})),
        "{found:?}"
    );
}

#[test]
fn what_is_removed_is_not_there_and_the_rest_is() {
    let left = there(json!([{"name": "a", "remove": [
        {"kind": "Ingress", "namespace": "edge"}, {"kind": "Service", "namespace": "elsewhere"}]}]));
    let kinds: Vec<String> = left
        .expect("it fits")
        .iter()
        .map(|object| object["kind"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds, ["Deployment", "Service", "ConfigMap"]);
}

#[test]
fn an_override_of_other_clusters_or_components_changes_nothing() {
    let replicas = json!([{"target": {"kind": "Deployment"}, "count": 9}]);
    for scope in [
        json!({"selector": {"matchLabels": {"env": "prod"}}}),
        json!({"clusters": ["prod-1"]}),
        json!({"clusters": ["prod-1"], "selector": {"matchLabels": {"env": "sit"}}}),
        json!({"components": ["db"]}),
    ] {
        let mut one = scope.clone();
        one["name"] = json!("a");
        one["replicas"] = replicas.clone();
        assert_eq!(differences(json!([one])), [], "{scope}");
    }
}

#[test]
fn what_does_not_fit_says_where_and_why() {
    let web = json!({"kind": "Deployment", "name": "web"});
    for (form, expected) in [
        (
            json!({"args": [{"target": web, "args": ["x"]}]}),
            "Deployment web: it has several containers (web, log); name one",
        ),
        (
            json!({"args": [{"target": web, "container": "wob", "args": ["x"]}]}),
            "Deployment web: it has no container \"wob\"; there are web, log",
        ),
        (
            json!({"args": [{"target": {"kind": "Service"}, "args": ["x"]}]}),
            "Service web: it has no containers",
        ),
        (
            json!({"patches": [{"target": {"kind": "ConfigMap"}, "text": {"path": "/data/b", "replace": [{"from": "a", "to": "b"}]}}]}),
            "ConfigMap web: there is no text at \"/data/b\"",
        ),
        (
            json!({"patches": [{"target": {"kind": "ConfigMap"}, "text": {"path": "/data/app.yaml", "replace": [{"from": "zone", "to": "b"}]}}]}),
            "ConfigMap web: \"zone\" does not stand in the text at \"/data/app.yaml\"",
        ),
        (
            json!({"patches": [{"target": web, "merge": {"metadata": {"name": "wob"}}}]}),
            "Deployment web would become another object; apiVersion, kind, name and namespace stay",
        ),
        (
            json!({"labels": {"zone": "{{ cluster.labels.zone }}"}}),
            "failed to fill in \"{{ cluster.labels.zone }}\": cluster \"sit-1\" lacks a label that it asks for",
        ),
    ] {
        let mut override_ = form.clone();
        override_["name"] = json!("a");
        let error = there(json!([override_])).expect_err("it does not fit");
        assert_eq!(error.to_string(), expected, "{form}");
    }
    let error = there(
        json!([{"name": "a", "patches": [{"target": web, "jsonPatch": [
        {"op": "replace", "path": "/spec/paused", "value": true}]}]}]),
    )
    .expect_err("the field is not there");
    assert!(error.to_string().starts_with("Deployment web: "), "{error}");
}

fn cluster(name: &str, env: &str) -> ClusterFacts {
    ClusterFacts {
        id: Uuid::nil(),
        name: name.to_owned(),
        labels: labels(&[("env", env)]),
        metrics: None,
        traffic: Vec::new(),
        scheduling: std::sync::Arc::default(),
    }
}

#[test]
fn clusters_in_which_the_same_holds_are_tried_once() {
    let clusters: Vec<ClusterFacts> = (0..50)
        .map(|number| {
            cluster(
                &format!("c{number}"),
                if number % 2 == 0 { "sit" } else { "prod" },
            )
        })
        .collect();
    let spec = |to: &str| -> ApplicationSpec {
        serde_json::from_value(json!({
            "destination": {"clusters": ["c1"]},
            "components": [{"name": "web", "manifests": objects()}],
            "overrides": [{"name": "a", "selector": {"matchLabels": {"env": "prod"}}, "labels": {"a": to}}],
        }))
        .expect("an application")
    };
    assert_eq!(try_clusters(&spec("b"), &clusters).len(), 2);
    assert_eq!(
        try_clusters(&spec("{{ cluster.name }}"), &clusters).len(),
        50
    );
    let missing = try_clusters(&spec("{{ cluster.labels.zone }}"), &clusters);
    assert_eq!(missing.iter().filter(|tried| tried.is_err()).count(), 25);
}

proptest! {
    /// Whatever the order of what is written: the last that holds wins.
    #[test]
    fn the_last_that_holds_wins(counts in proptest::collection::vec((0u32..9, any::<bool>()), 1..8)) {
        let list: Vec<Value> = counts
            .iter()
            .enumerate()
            .map(|(index, (count, here))| json!({
                "name": format!("o{index}"),
                "selector": {"matchLabels": {"env": if *here { "sit" } else { "prod" }}},
                "replicas": [{"target": {"kind": "Deployment"}, "count": count}],
            }))
            .collect();
        let expected = counts
            .iter()
            .filter(|(_, here)| *here)
            .map(|(count, _)| *count)
            .next_back()
            .unwrap_or(3);
        let objects = there(Value::from(list)).expect("it fits");
        prop_assert_eq!(&objects[0]["spec"]["replicas"], &json!(expected));
    }
}

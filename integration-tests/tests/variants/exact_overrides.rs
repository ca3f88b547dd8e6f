//! One record over eight clusters: what is live differs where overrides say, and nowhere else.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::suite::Case;
use serde_json::{Value, json};

use crate::stage::{LIMIT, Members};

pub const TOGETHER: &[Case<Members>] = &[(
    "control_plane_live_objects_differ_exactly_where_overrides_say",
    "exact",
    exact,
)];

/// What differs from the cluster without overrides: values by object and JSON pointer; `Null` = it has
/// none there.
type Differences = BTreeMap<String, Value>;

fn exact(members: &Members) -> Result<()> {
    let names = members.names();
    members
        .cli
        .apply(&documents(members, names[6], names[7]).to_string())?;
    members.wait_ended(&members.name, 1, RunPhase::Succeeded, LIMIT)?;
    let mut live = Vec::new();
    for cluster in &names {
        live.push(written(members, cluster)?);
    }
    let expected = expected();
    ensure!(expected.len() == names.len(), "one for each cluster");
    for ((cluster, objects), expected) in names.iter().zip(&live).zip(expected) {
        let mut found = Differences::new();
        compare("", &live[0], objects, &mut found);
        ensure!(
            found == expected,
            "{cluster} differs in {found:#?}\nand should in {expected:#?}"
        );
    }
    explained(members, names[4])
}

/// The command line tells of the same fields by whom they were set.
fn explained(members: &Members, cluster: &str) -> Result<()> {
    let told = members
        .cli
        .run(&["explain", &members.name, "--cluster", cluster])?;
    let is_told = |field: &str, by: &str| {
        let mut lines = told.lines();
        lines.any(|line| line.contains(field) && line.contains(by))
    };
    ensure!(
        is_told("/spec/replicas", "us-2") && is_told("/data/region", "everywhere"),
        "{told}"
    );
    Ok(())
}

/// The first cluster is one that no override but the first names. `seventh` and `eighth` are named.
fn documents(members: &Members, seventh: &str, eighth: &str) -> Value {
    let names = members.names();
    let us = json!({"matchLabels": {"region": "us"}});
    let overrides = json!([
        {"name": "everywhere", "patches": [{"target": {"kind": "ConfigMap", "name": "settings"},
            "merge": {"data": {"region": "{{ cluster.labels.region }}"}}}]},
        {"name": "image", "clusters": [names[1]], "images": [
            {"name": "bellwether.local/demo", "newTag": "v2"}]},
        {"name": "marks", "clusters": [names[2]], "labels": {"tenant": "blue"},
            "annotations": {"example.com/cluster": "of blue"}},
        {"name": "us", "selector": us, "replicas": [{"target": {"kind": "Deployment"}, "count": 2}]},
        {"name": "us-2", "selector": us, "clusters": [names[4]],
            "replicas": [{"target": {"kind": "Deployment"}, "count": 3}],
            "args": [{"target": {"kind": "Deployment"}, "append": ["--more"]}]},
        {"name": "text", "clusters": [names[5]], "patches": [
            {"target": {"kind": "ConfigMap", "name": "settings"}, "text": {"path": "/data/app.yaml",
                "replace": [{"from": "level: debug", "to": "level: warn"}]}}]},
        {"name": "pointers", "clusters": [seventh], "patches": [
            {"target": {"kind": "Service", "name": "web"}, "jsonPatch": [
                {"op": "replace", "path": "/spec/ports/0/port", "value": 8080},
                {"op": "test", "path": "/spec/ports/0/port", "value": 8080}]}]},
        {"name": "fewer", "clusters": [eighth], "remove": [{"kind": "ConfigMap", "name": "spare"}]},
    ]);
    let manifests = json!([
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "exact"}},
            "template": {"metadata": {"labels": {"app": "exact"}}, "spec": {"containers": [
                {"name": "web", "image": "bellwether.local/demo:v1", "args": ["--serve"]}]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "exact"}, "ports": [{"port": 80}]}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
            "data": {"region": "none", "app.yaml": "level: debug\nname: web\n"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "spare"}},
    ]);
    json!({
        "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
        "metadata": {"name": members.name, "namespace": "default"},
        "spec": {
            "destination": {"fleet": "breadth"}, "targetNamespace": members.name,
            "waves": [{"name": "all", "maxConcurrent": "100%"}], "overrides": overrides,
            "components": [{"name": "web", "manifests": manifests}],
        },
    })
}

/// What each cluster, in its order, has otherwise than the first.
fn expected() -> Vec<Differences> {
    let all = |pairs: &[(&str, Value)]| -> Differences {
        let pairs = pairs.iter().cloned();
        pairs.map(|(at, value)| (at.to_owned(), value)).collect()
    };
    let image = "/Deployment~web/spec/template/spec/containers/0/image";
    let argument = "/Deployment~web/spec/template/spec/containers/0/args/1";
    let replicas = "/Deployment~web/spec/replicas";
    let us = ("/ConfigMap~settings/data/region", json!("us"));
    let ap = ("/ConfigMap~settings/data/region", json!("ap"));
    let mut marks = Differences::new();
    for object in [
        "ConfigMap~settings",
        "ConfigMap~spare",
        "Deployment~web",
        "Service~web",
    ] {
        // The Deployment has annotations already: those of its controller are not looked at.
        marks.insert(
            format!("/{object}/metadata/labels"),
            json!({"tenant": "blue"}),
        );
        let annotations = json!({"example.com/cluster": "of blue"});
        marks.insert(format!("/{object}/metadata/annotations"), annotations);
    }
    vec![
        Differences::new(),
        all(&[(image, json!("bellwether.local/demo:v2"))]),
        marks,
        all(&[us.clone(), (replicas, json!(2))]),
        all(&[
            us.clone(),
            (replicas, json!(3)),
            (argument, json!("--more")),
        ]),
        all(&[
            us,
            (replicas, json!(2)),
            (
                "/ConfigMap~settings/data/app.yaml",
                json!("level: warn\nname: web\n"),
            ),
        ]),
        all(&[
            ap.clone(),
            ("/Service~web/spec/ports/0/port", json!(8080)),
            ("/Service~web/spec/ports/0/targetPort", json!(8080)),
        ]),
        all(&[ap, ("/ConfigMap~spare", Value::Null)]),
    ]
}

/// What was written of the objects of a cluster, by kind and name: without what its API server and its
/// controllers put there.
fn written(members: &Members, cluster: &str) -> Result<Value> {
    let mut found = json!({});
    for (kind, name) in [
        ("Deployment", "web"),
        ("Service", "web"),
        ("ConfigMap", "settings"),
        ("ConfigMap", "spare"),
    ] {
        let Some(mut object) = members.read(cluster, kind, name)? else {
            continue;
        };
        let map = object.as_object_mut().context("an object")?;
        map.remove("status");
        let metadata = map.get_mut("metadata").and_then(Value::as_object_mut);
        let metadata = metadata.context("metadata")?;
        metadata.retain(|key, _| {
            ["name", "namespace", "labels", "annotations"].contains(&key.as_str())
        });
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove("deployment.kubernetes.io/revision");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        if kind == "Service" {
            let spec = object["spec"].as_object_mut().context("a spec")?;
            spec.retain(|key, _| !key.starts_with("clusterIP"));
        }
        found[format!("{kind}~{name}")] = object;
    }
    Ok(found)
}

fn compare(at: &str, base: &Value, other: &Value, found: &mut Differences) {
    match (base, other) {
        (Value::Object(base), Value::Object(other)) => {
            let keys = base.keys().chain(other.keys());
            for key in keys {
                let at = format!("{at}/{key}");
                let none = &Value::Null;
                let (base, other) = (base.get(key), other.get(key));
                compare(&at, base.unwrap_or(none), other.unwrap_or(none), found);
            }
        }
        (Value::Array(base), Value::Array(other)) => {
            for index in 0..base.len().max(other.len()) {
                let at = format!("{at}/{index}");
                let none = &Value::Null;
                let (base, other) = (base.get(index), other.get(index));
                compare(&at, base.unwrap_or(none), other.unwrap_or(none), found);
            }
        }
        _ if base == other => {}
        _ => {
            found.insert(at.to_owned(), other.clone());
        }
    }
}

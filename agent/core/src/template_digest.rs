//! What makes a revision of a governed workload: its pod template and the configuration it uses.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Annotation on a ConfigMap or Secret that takes it out of the revision when it is `disabled`.
pub const TRACK_CONFIG_ANNOTATION: &str = "bellwether.dev/track-config";

/// Returns the hex SHA-256 of the Deployment's pod template and of every ConfigMap and Secret that
/// the template refers to and `objects` hold (same namespace, not opted out). A run starts when it
/// differs from that of the last finished bundle; a failed one is held until it changes.
#[must_use]
pub fn template_digest(deployment: &Value, objects: &[Value]) -> String {
    let namespace = deployment.pointer("/metadata/namespace");
    let template = deployment.pointer("/spec/template").unwrap_or(&Value::Null);
    let mut wanted = BTreeSet::new();
    referenced(template, &mut wanted);
    let mut configuration: Vec<(String, Value)> = objects
        .iter()
        .filter(|object| object.pointer("/metadata/namespace") == namespace)
        .filter_map(|object| {
            let kind = object.get("kind").and_then(Value::as_str)?;
            let name = object.pointer("/metadata/name").and_then(Value::as_str)?;
            let tracked = object
                .pointer("/metadata/annotations")
                .and_then(|annotations| annotations.get(TRACK_CONFIG_ANNOTATION))
                .and_then(Value::as_str)
                != Some("disabled");
            (tracked && wanted.contains(&(kind.to_owned(), name.to_owned())))
                .then(|| (format!("{kind}/{name}"), content(object)))
        })
        .collect();
    configuration.sort_by(|a, b| a.0.cmp(&b.0));
    let digested = json!({"template": template, "configuration": configuration});
    hex::encode(Sha256::digest(digested.to_string().as_bytes()))
}

fn content(object: &Value) -> Value {
    json!([
        object.get("data"),
        object.get("stringData"),
        object.get("binaryData")
    ])
}

/// Collects the names of ConfigMaps and Secrets wherever a pod template can name them: volumes
/// (projected ones too), `envFrom`, `env[].valueFrom` and image pull secrets.
fn referenced(value: &Value, into: &mut BTreeSet<(String, String)>) {
    let mut add = |kind: &str, name: Option<&Value>| {
        if let Some(name) = name.and_then(Value::as_str) {
            into.insert((kind.to_owned(), name.to_owned()));
        }
    };
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match key.as_str() {
                    "configMap" | "configMapRef" | "configMapKeyRef" => {
                        add("ConfigMap", inner.get("name"));
                    }
                    "secretRef" | "secretKeyRef" => add("Secret", inner.get("name")),
                    "secret" => {
                        add("Secret", inner.get("secretName"));
                        add("Secret", inner.get("name"));
                    }
                    _ => {}
                }
            }
            for inner in fields.values() {
                referenced(inner, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| referenced(item, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(image: &str) -> Value {
        json!({
            "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 3, "template": {"spec": {
                "containers": [{"name": "web", "image": image,
                    "envFrom": [{"configMapRef": {"name": "env"}}],
                    "env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}]}],
                "volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "files"}}]}},
                    {"name": "s", "secret": {"secretName": "cert"}}],
            }}},
        })
    }

    fn object(kind: &str, name: &str, value: &str) -> Value {
        json!({"kind": kind, "metadata": {"name": name, "namespace": "shop"}, "data": {"k": value}})
    }

    #[test]
    fn template_and_used_configuration_make_the_revision() {
        let all = |value: &str| {
            vec![
                object("ConfigMap", "env", value),
                object("ConfigMap", "unused", value),
            ]
        };
        let first = template_digest(&deployment("web:1"), &all("a"));
        assert_ne!(first, template_digest(&deployment("web:2"), &all("a")));
        assert_ne!(first, template_digest(&deployment("web:1"), &all("b")));
        for (kind, name) in [
            ("Secret", "key"),
            ("ConfigMap", "files"),
            ("Secret", "cert"),
        ] {
            let digest =
                |value| template_digest(&deployment("web:1"), &[object(kind, name, value)]);
            assert_ne!(digest("a"), digest("b"), "{kind}/{name}");
        }
    }

    #[test]
    fn everything_else_does_not() {
        let digest = template_digest(&deployment("web:1"), &[]);
        let mut scaled = deployment("web:1");
        scaled["spec"]["replicas"] = json!(9);
        scaled["metadata"]["labels"] = json!({"team": "shop"});
        let unused = object("ConfigMap", "unused", "a");
        let mut foreign = object("ConfigMap", "env", "a");
        foreign["metadata"]["namespace"] = json!("other");
        let mut untracked = object("ConfigMap", "env", "a");
        untracked["metadata"]["annotations"] = json!({TRACK_CONFIG_ANNOTATION: "disabled"});
        assert_eq!(
            digest,
            template_digest(&scaled, &[unused, foreign, untracked])
        );
    }

    #[test]
    fn the_order_of_objects_does_not_matter() {
        let (one, two) = (
            object("ConfigMap", "env", "a"),
            object("Secret", "key", "b"),
        );
        assert_eq!(
            template_digest(&deployment("web:1"), &[one.clone(), two.clone()]),
            template_digest(&deployment("web:1"), &[two, one])
        );
    }
}

//! What makes a revision of a governed workload: its pod template and the configuration it uses.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::tracked_config::{Revision, content, tracked};

/// Returns the hex SHA-256 of the workload's pod template and of every ConfigMap and Secret that the
/// template refers to and the revision's objects hold (same namespace, not opted out). A run starts
/// when it differs from that of the last finished bundle; a failed one is held until it changes.
#[must_use]
pub fn template_digest(revision: &Revision<'_>) -> String {
    let template = revision
        .workload
        .and_then(|workload| workload.pointer("/spec/template"))
        .unwrap_or(&Value::Null);
    let configuration: Vec<(String, Value)> = tracked(revision)
        .into_iter()
        .map(|object| {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
            let (kind, name) = (text("/kind"), text("/metadata/name"));
            let named = format!("{}/{}", kind.unwrap_or_default(), name.unwrap_or_default());
            (named, content(object))
        })
        .collect();
    let digested = json!({"template": template, "configuration": configuration});
    hex::encode(Sha256::digest(digested.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use bellwether_api::rollout::TRACK_CONFIG_ANNOTATION;

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
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"},
            "data": {"k": value}})
    }

    fn digest_of(workload: &Value, objects: &[Value]) -> String {
        let objects: Vec<&Value> = objects.iter().collect();
        template_digest(&Revision {
            workload: Some(workload),
            objects: &objects,
            default_namespace: "shop",
        })
    }

    #[test]
    fn template_and_used_configuration_make_the_revision() {
        let all = |value: &str| {
            vec![
                object("ConfigMap", "env", value),
                object("ConfigMap", "unused", value),
            ]
        };
        let first = digest_of(&deployment("web:1"), &all("a"));
        assert_ne!(first, digest_of(&deployment("web:2"), &all("a")));
        assert_ne!(first, digest_of(&deployment("web:1"), &all("b")));
        for (kind, name) in [
            ("Secret", "key"),
            ("ConfigMap", "files"),
            ("Secret", "cert"),
        ] {
            let digest = |value| digest_of(&deployment("web:1"), &[object(kind, name, value)]);
            assert_ne!(digest("a"), digest("b"), "{kind}/{name}");
        }
    }

    #[test]
    fn everything_else_does_not() {
        let digest = digest_of(&deployment("web:1"), &[]);
        let mut scaled = deployment("web:1");
        scaled["spec"]["replicas"] = json!(9);
        scaled["metadata"]["labels"] = json!({"team": "shop"});
        let unused = object("ConfigMap", "unused", "a");
        let mut foreign = object("ConfigMap", "env", "a");
        foreign["metadata"]["namespace"] = json!("other");
        let mut untracked = object("ConfigMap", "env", "a");
        untracked["metadata"]["annotations"] = json!({TRACK_CONFIG_ANNOTATION: "disabled"});
        assert_eq!(digest, digest_of(&scaled, &[unused, foreign, untracked]));
    }

    #[test]
    fn the_order_of_objects_does_not_matter() {
        let (one, two) = (
            object("ConfigMap", "env", "a"),
            object("Secret", "key", "b"),
        );
        assert_eq!(
            digest_of(&deployment("web:1"), &[one.clone(), two.clone()]),
            digest_of(&deployment("web:1"), &[two, one])
        );
    }
}

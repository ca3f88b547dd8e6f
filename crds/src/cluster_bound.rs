//! Fields that mean something in one cluster alone (decision C39): an address that is taken, a uid
//! of an object elsewhere.

use serde_json::Value;

/// Fields of metadata that an API server writes.
const METADATA: [&str; 9] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Names the fields of an object that are bound to one cluster, as JSON pointers; empty = none.
/// A Service whose `clusterIP` is `None` is headless wherever it is.
#[must_use]
pub fn bound_fields(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if object.get("status").is_some() {
        found.push("/status".to_owned());
    }
    if let Some(metadata) = object.get("metadata").and_then(Value::as_object) {
        let has = |key: &str| metadata.get(key).is_some_and(|value| !value.is_null());
        let written = METADATA.into_iter().filter(|key| has(key));
        found.extend(written.map(|key| format!("/metadata/{key}")));
    }
    if !is_service(object) {
        return found;
    }
    let Some(spec) = object.get("spec").and_then(Value::as_object) else {
        return found;
    };
    for key in ["clusterIP", "clusterIPs", "healthCheckNodePort"] {
        if spec.get(key).is_some_and(is_address) {
            found.push(format!("/spec/{key}"));
        }
    }
    let ports = spec.get("ports").and_then(Value::as_array);
    for (index, port) in ports.into_iter().flatten().enumerate() {
        if port.get("nodePort").is_some_and(|port| !port.is_null()) {
            found.push(format!("/spec/ports/{index}/nodePort"));
        }
    }
    found
}

/// Takes the fields of [`bound_fields`] away.
pub fn strip(object: &mut Value) {
    for pointer in bound_fields(object) {
        let Some((parent, key)) = pointer.rsplit_once('/') else {
            continue;
        };
        if let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.remove(key);
        }
    }
}

fn is_service(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Service")
        && object.get("apiVersion").and_then(Value::as_str) == Some("v1")
}

/// An address that a cluster gave; `None` and the empty text are none.
fn is_address(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() && text != "None",
        Value::Array(items) => items.iter().any(is_address),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{bound_fields, strip};

    #[test]
    fn what_one_cluster_gave_is_taken_away_and_nothing_else() {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "labels": {"a": "b"}, "uid": "7", "resourceVersion": "9",
                "ownerReferences": [{"uid": "1"}], "creationTimestamp": null},
            "spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
                "ports": [{"port": 80, "nodePort": 30080}, {"port": 81}], "selector": {"app": "web"}},
            "status": {"loadBalancer": {}},
        });
        assert_eq!(
            bound_fields(&service),
            [
                "/status",
                "/metadata/ownerReferences",
                "/metadata/resourceVersion",
                "/metadata/uid",
                "/spec/clusterIP",
                "/spec/clusterIPs",
                "/spec/ports/0/nodePort",
            ]
        );
        strip(&mut service);
        assert_eq!(
            service,
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "labels": {"a": "b"}, "creationTimestamp": null},
                "spec": {"type": "NodePort", "ports": [{"port": 80}, {"port": 81}],
                    "selector": {"app": "web"}},
            })
        );
        assert_eq!(bound_fields(&service), Vec::<String>::new());
    }

    #[test]
    fn a_headless_service_and_fields_of_other_kinds_stay() {
        for object in [
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
                "spec": {"clusterIP": "None", "clusterIPs": ["None"]}}),
            json!({"apiVersion": "example.com/v1", "kind": "Service", "metadata": {"name": "x"},
                "spec": {"clusterIP": "10.0.0.1"}}),
            Value::Null,
        ] {
            assert_eq!(bound_fields(&object), Vec::<String>::new(), "{object}");
        }
    }
}

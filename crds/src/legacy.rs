//! Objects in versions of their API that no API server takes any more, as they are written today.

use serde_json::{Map, Value, json};

/// Returns an object in today's version: an Ingress of `extensions/v1beta1` or
/// `networking.k8s.io/v1beta1` becomes one of `networking.k8s.io/v1`, whose paths are of type
/// Prefix where they say none. Every other object is returned as it is.
#[must_use]
pub fn normalised(object: &Value) -> Value {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let is_old = matches!(
        text("apiVersion"),
        Some("extensions/v1beta1" | "networking.k8s.io/v1beta1")
    );
    let mut out = object.clone();
    if !is_old || text("kind") != Some("Ingress") {
        return out;
    }
    out["apiVersion"] = json!("networking.k8s.io/v1");
    let Some(spec) = out.get_mut("spec").and_then(Value::as_object_mut) else {
        return out;
    };
    if let Some(backend) = spec.remove("backend") {
        spec.insert("defaultBackend".to_owned(), backend_of(backend));
    }
    let rules = spec.get_mut("rules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        let paths = rule
            .pointer_mut("/http/paths")
            .and_then(Value::as_array_mut);
        for path in paths.into_iter().flatten() {
            if let Some(path) = path.as_object_mut() {
                one_path(path);
            }
        }
    }
    out
}

fn one_path(path: &mut Map<String, Value>) {
    path.entry("pathType").or_insert_with(|| json!("Prefix"));
    // A path of type Prefix must be there; it was all paths when it was left out.
    path.entry("path").or_insert_with(|| json!("/"));
    if let Some(backend) = path.remove("backend") {
        path.insert("backend".to_owned(), backend_of(backend));
    }
}

/// A backend of today; one that is none of the old form stays.
fn backend_of(backend: Value) -> Value {
    let Some(name) = backend.get("serviceName") else {
        return backend;
    };
    let port = match backend.get("servicePort") {
        Some(Value::String(name)) => json!({"name": name}),
        Some(number) => json!({"number": number}),
        None => json!({}),
    };
    json!({"service": {"name": name, "port": port}})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::normalised;

    #[test]
    fn an_old_ingress_becomes_one_of_today() {
        for version in ["extensions/v1beta1", "networking.k8s.io/v1beta1"] {
            let old = json!({
                "apiVersion": version, "kind": "Ingress",
                "metadata": {"name": "web", "annotations": {"kubernetes.io/ingress.class": "nginx"}},
                "spec": {
                    "backend": {"serviceName": "other", "servicePort": 80},
                    "rules": [{"host": "shop.example", "http": {"paths": [
                        {"backend": {"serviceName": "web", "servicePort": "http"}},
                        {"path": "/x", "pathType": "Exact", "backend": {"serviceName": "web", "servicePort": 80}},
                        {"path": "/y", "backend": {"resource": {"kind": "Bucket", "name": "b"}}},
                    ]}}],
                },
            });
            assert_eq!(
                normalised(&old),
                json!({
                    "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                    "metadata": {"name": "web", "annotations": {"kubernetes.io/ingress.class": "nginx"}},
                    "spec": {
                        "defaultBackend": {"service": {"name": "other", "port": {"number": 80}}},
                        "rules": [{"host": "shop.example", "http": {"paths": [
                            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"name": "http"}}}},
                            {"path": "/x", "pathType": "Exact", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
                            {"path": "/y", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "b"}}},
                        ]}}],
                    },
                })
            );
        }
    }

    #[test]
    fn what_is_of_today_stays() {
        for object in [
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"rules": [{"http": {"paths": [{}]}}]}}),
            json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "spec": {"backend": 1}}),
        ] {
            assert_eq!(normalised(&object), object);
        }
    }
}

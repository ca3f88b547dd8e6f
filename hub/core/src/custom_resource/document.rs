//! A custom resource as the document that its user would apply.

use bellwether_api::{
    API_VERSION,
    custom_resource::{ADOPT, MANAGER, RECORD_DELETION},
    document::Kind,
};
use serde_json::{Map, Value};

/// Annotations that say how the custom resource is handled, not what the record is. The first holds the
/// whole object once more, with whatever is secret in it.
const LEFT_OUT: [&str; 3] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    ADOPT,
    RECORD_DELETION,
];

/// Makes the document of a custom resource of this kind: what its user wrote, without what API servers and
/// the hub add. Fields that nobody knows stay, so that they are refused by name.
#[must_use]
pub fn document(kind: Kind, object: &Value) -> Value {
    let mut fields: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
    fields.remove("status");
    let given = fields.remove("metadata").unwrap_or_default();
    let mut metadata = Map::new();
    for name in ["name", "namespace", "labels", "annotations"] {
        if let Some(value) = given.get(name) {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
    }
    fields.insert("metadata".to_owned(), Value::Object(metadata));
    fields.insert("apiVersion".to_owned(), Value::from(API_VERSION));
    fields.insert("kind".to_owned(), Value::from(kind.name()));
    Value::Object(fields)
}

/// Tells whether an update changes anything of what a user writes, annotations that say how it is handled
/// among it; the hub's own writes do not.
#[must_use]
pub fn is_written_by_user(old: &Value, new: &Value) -> bool {
    let written = |object: &Value| {
        let mut fields: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
        fields.remove("status");
        let given = fields.remove("metadata").unwrap_or_default();
        let own = |name: &str| given.get(name).cloned();
        (fields, own("labels"), own("annotations"))
    };
    written(old) != written(new)
}

/// Names who wrote a custom resource last, by its managed fields: `custom-resource:MANAGER`, without the
/// manager where that is not known.
#[must_use]
pub fn author(object: &Value) -> String {
    let entries = object.pointer("/metadata/managedFields");
    let newest = entries
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_none())
        .filter(|entry| entry["manager"] != MANAGER)
        .filter_map(|entry| {
            let manager = entry["manager"].as_str()?;
            // RFC 3339 in UTC, in whole seconds: as text in the order of time.
            Some((entry["time"].as_str().unwrap_or_default(), manager))
        })
        .max_by_key(|(time, _)| *time);
    match newest {
        Some((_, manager)) if !manager.is_empty() => format!("custom-resource:{manager}"),
        _ => "custom-resource".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_what_the_user_wrote_and_nothing_else() {
        let object = json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "Fleet",
            "metadata": {
                "name": "all", "uid": "u", "resourceVersion": "7", "generation": 2,
                "finalizers": ["bellwether.dev/record"], "managedFields": [],
                "labels": {"team": "sre"},
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "{\"secret\":1}",
                    "bellwether.dev/adopt": "Always", "bellwether.dev/record-deletion": "Orphan",
                    "bellwether.dev/allow-removal": "3",
                },
            },
            "spec": {"selector": {}, "selectr": {}},
            "speck": 1,
            "status": {"clusters": 3},
        });
        assert_eq!(
            document(Kind::Fleet, &object),
            json!({
                "apiVersion": "bellwether.dev/v1alpha1", "kind": "Fleet",
                "metadata": {
                    "name": "all", "labels": {"team": "sre"},
                    "annotations": {"bellwether.dev/allow-removal": "3"},
                },
                "spec": {"selector": {}, "selectr": {}},
                "speck": 1,
            })
        );
    }

    #[test]
    fn the_hubs_own_writes_are_told_from_a_users() {
        let old = json!({"metadata": {"name": "all", "labels": {"a": "1"}}, "spec": {}});
        let mut new = old.clone();
        new["metadata"]["finalizers"] = json!(["bellwether.dev/record"]);
        new["status"] = json!({"clusters": 1});
        assert!(!is_written_by_user(&old, &new));
        for (path, value) in [
            ("/metadata/labels/a", json!("2")),
            ("/spec", json!({"x": 1})),
        ] {
            let mut changed = new.clone();
            *changed.pointer_mut(path).expect("it is there") = value;
            assert!(is_written_by_user(&old, &changed), "{path}");
        }
    }

    #[test]
    fn the_author_is_who_wrote_last() {
        let entry = |manager: &str, time: &str| json!({"manager": manager, "time": time});
        let mut status = entry("other-controller", "2026-01-09T00:00:00Z");
        status["subresource"] = json!("status");
        let object = json!({"metadata": {"managedFields": [
            entry("flux", "2026-01-02T00:00:00Z"),
            entry("kubectl-edit", "2026-01-03T00:00:00Z"),
            entry("bellwether-hub", "2026-01-04T00:00:00Z"),
            status,
        ]}});
        assert_eq!(author(&object), "custom-resource:kubectl-edit");
        assert_eq!(author(&json!({"metadata": {}})), "custom-resource");
    }
}

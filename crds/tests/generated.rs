//! The generated files are those that the types give.

#[path = "../examples/generate-crds.rs"]
#[expect(dead_code, reason = "its main is for the example")]
mod generate;

use std::fs;

use serde_json::Value;

#[test]
fn generated_files_are_fresh() {
    for (path, text) in generate::files() {
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{} is stale; run make generate",
            path.display()
        );
    }
}

/// What an API server refuses in a structural schema, or warns of.
#[test]
fn definitions_are_structural() {
    for (plural, definition) in bellwether_api::schema::custom_resource_definitions() {
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        check(&plural, schema);
    }
}

/// An API server must neither drop what is misspelt in a mirrored record nor write into it: the hub says
/// what was meant, and fills defaults in.
#[test]
fn mirrored_kinds_keep_what_is_wrong_and_get_no_defaults() {
    let definitions = bellwether_api::schema::mirrored_definitions();
    let kinds: Vec<&Value> = definitions
        .iter()
        .map(|one| &one["spec"]["names"]["kind"])
        .collect();
    assert_eq!(
        kinds,
        [
            "Fleet",
            "MetricTemplate",
            "AlertProvider",
            "Application",
            "Rollout",
            "Repository"
        ]
    );
    for definition in &definitions {
        let version = &definition["spec"]["versions"][0];
        assert_eq!(version["subresources"]["status"], serde_json::json!({}));
        let root = &version["schema"]["openAPIV3Schema"];
        keeps_unknown("", root);
        let conditions = &root["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-map-keys"][0], "type");
    }
}

fn keeps_unknown(path: &str, schema: &Value) {
    assert!(schema.get("default").is_none(), "{path} has a default");
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let is_condition = path == ".status.conditions[]";
        assert!(
            is_condition || schema["x-kubernetes-preserve-unknown-fields"] == true,
            "{path} loses what is misspelt"
        );
        for (name, inner) in properties {
            keeps_unknown(&format!("{path}.{name}"), inner);
        }
    }
    for (field, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(field) {
            keeps_unknown(&format!("{path}{mark}"), inner);
        }
    }
}

fn check(path: &str, schema: &Value) {
    let schema = schema
        .as_object()
        .unwrap_or_else(|| panic!("{path} is an object"));
    for keyword in ["$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "const"] {
        assert!(!schema.contains_key(keyword), "{path} has {keyword}");
    }
    let int_or_string = schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
    let kind = schema.get("type").and_then(Value::as_str);
    // A value of any type is only accepted with this word.
    let any = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    assert!(int_or_string || any || kind.is_some(), "{path} has no type");
    assert_ne!(kind, Some("number"), "{path} is a float");
    if let Some(format) = schema.get("format").and_then(Value::as_str) {
        assert!(
            ["int32", "int64", "uuid", "date-time"].contains(&format),
            "{path} has the format {format}"
        );
    }
    let nullable = schema.get("nullable") == Some(&Value::Bool(true));
    assert!(
        !nullable || !schema.contains_key("enum"),
        "{path} would refuse null"
    );
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties");
    assert!(
        properties.is_none() || additional.is_none(),
        "{path} is an object and a map"
    );
    assert_ne!(
        additional,
        Some(&Value::Bool(false)),
        "{path} forbids more properties"
    );
    let preserves = schema.contains_key("x-kubernetes-preserve-unknown-fields");
    let described = properties.is_some() || additional.is_some() || preserves;
    assert!(
        kind != Some("object") || described,
        "{path} would lose every field"
    );
    for (name, inner) in properties.into_iter().flatten() {
        check(&format!("{path}.{name}"), inner);
    }
    if let Some(inner) = additional {
        check(&format!("{path}{{}}"), inner);
    }
    if kind == Some("array") {
        check(&format!("{path}[]"), &schema["items"]);
    }
}

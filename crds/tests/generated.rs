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
            "{} is stale; run cargo run -p bellwether-api --example generate-crds",
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
            ["int32", "int64", "uuid"].contains(&format),
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

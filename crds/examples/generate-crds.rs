//! Writes `crds/yaml/` and `docs/reference/fields.md` from the types:
//! `cargo run -p bellwether-api --example generate-crds`.

use std::{fmt::Write as _, fs, path::PathBuf};

use bellwether_api::{document::Kind, schema};
use serde_json::Value;

fn main() {
    for (path, text) in files() {
        let folder = path.parent().expect("every file stands in a folder");
        fs::create_dir_all(folder).expect("the folder can be made");
        fs::write(&path, text).expect("the file can be written");
    }
}

/// Returns every generated file with its text.
pub fn files() -> Vec<(PathBuf, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<(PathBuf, String)> = schema::custom_resource_definitions()
        .into_iter()
        .map(|(plural, definition)| {
            let yaml = serde_saphyr::to_string(&definition).expect("JSON is YAML");
            let text = format!("# Generated from the types in crds/src; do not edit.\n{yaml}");
            (root.join("yaml").join(format!("{plural}.yaml")), text)
        })
        .collect();
    files.push((root.join("../docs/reference/fields.md"), reference()));
    files
}

fn reference() -> String {
    let mut text = String::from(
        "# Fields\n\n\
         Generated from the types in crds/src; do not edit.\n\n\
         Every document has `apiVersion: bellwether.dev/v1alpha1`, `kind`, and `metadata` with `name`,\n\
         `namespace` (Application, Rollout and MetricTemplate), `labels`, `annotations` and `resourceVersion`. Unknown\n\
         fields are refused. **Required** fields have no default; a field without a default may be\n\
         left out.\n",
    );
    for kind in Kind::ALL {
        let spec = schema::spec_schema(kind);
        let description = one_line(&spec["description"]);
        write!(text, "\n## {kind}\n\n{description}\n\n").expect("a String takes everything");
        text.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
        rows(&mut text, "spec", spec);
    }
    text
}

fn rows(text: &mut String, path: &str, schema: &Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let default = match &field["default"] {
            _ if required.contains(&Value::from(name.as_str())) => "**required**".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            Value::String(default) => format!("`{default}`"),
            default => format!("`{default}`"),
        };
        let (suffix, inner) = match field.get("items") {
            Some(items) => ("[]", items),
            None => ("", field),
        };
        let kind = type_of(field);
        let meaning = one_line(&field["description"]);
        writeln!(
            text,
            "| `{path}{suffix}` | {kind} | {default} | {meaning} |"
        )
        .expect("a String takes everything");
        // A Rollout has its own table.
        if name != "rollout" {
            rows(text, &format!("{path}{suffix}"), inner);
        }
    }
}

fn type_of(field: &Value) -> String {
    let is_duration = field["pattern"] == bellwether_api::duration::PATTERN;
    let is_number = field["pattern"] == bellwether_api::number::NUM_PATTERN;
    let is_count = field["pattern"] == bellwether_api::number::INT_OR_PERCENT_PATTERN;
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return values.join(" / ");
    }
    if is_count {
        return "integer or percentage".to_owned();
    }
    if !field["x-kubernetes-int-or-string"].is_null() {
        return "integer or string".to_owned();
    }
    match field["type"].as_str().unwrap_or_default() {
        "string" if is_duration => "duration".to_owned(),
        "string" if is_number => "decimal string".to_owned(),
        "integer" if field["maximum"] == 100 => "integer, 0 to 100".to_owned(),
        "array" => format!("list of {}", type_of(&field["items"])),
        "object" if !field["additionalProperties"].is_null() => "map of strings".to_owned(),
        other => other.to_owned(),
    }
}

fn one_line(description: &Value) -> String {
    let text = description.as_str().unwrap_or_default();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

//! What the definitions of mirrored kinds have beyond their fields: a status, columns, and room for
//! what is wrong.

use serde_json::{Value, json};

use crate::document::Kind;

const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// Makes the definition of a kind one whose objects the hub mirrors.
pub(super) fn make_mirrored(kind: Kind, definition: &mut Value) {
    if let Some(schema) = definition.pointer_mut(SCHEMA) {
        without_defaults(schema);
        with_unknown_fields(schema);
        schema["properties"]["status"] = status();
    }
    definition["spec"]["names"]["categories"] = json!(["bellwether"]);
    if let Some(version) = definition.pointer_mut("/spec/versions/0") {
        version["subresources"] = json!({"status": {}});
        version["additionalPrinterColumns"] = columns(kind);
    }
}

/// The hub fills in defaults; the object stays what its user wrote.
fn without_defaults(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.remove("default");
    children(fields).for_each(without_defaults);
}

/// An API server takes unknown fields away, often without a word. They are kept, so that the hub can
/// refuse them and say which one is near.
fn with_unknown_fields(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    if fields.contains_key("properties") {
        fields.insert(
            "x-kubernetes-preserve-unknown-fields".to_owned(),
            Value::Bool(true),
        );
    }
    children(fields).for_each(with_unknown_fields);
}

/// The schemas within a schema.
fn children(schema: &mut serde_json::Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    schema.iter_mut().flat_map(|(key, value)| {
        let found: Vec<&mut Value> = match (key.as_str(), value) {
            ("properties", Value::Object(fields)) => fields.values_mut().collect(),
            ("items" | "additionalProperties", one) => vec![one],
            _ => Vec::new(),
        };
        found
    })
}

fn status() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "What the hub knows of the record, written by the hub alone.",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "observedGeneration": {
                "type": "integer", "format": "int64",
                "description": "The generation of this object that the status speaks of.",
            },
            "conditions": {
                "type": "array",
                "description": "Ready, Reconciling and Stalled, then what else there is to know.",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
                    "properties": {
                        "type": text("What it says."),
                        "status": text("True, False or Unknown."),
                        "lastTransitionTime": {
                            "type": "string", "format": "date-time",
                            "description": "Since when the status is what it is.",
                        },
                        "reason": text("A CamelCase word."),
                        "message": text("A sentence for people."),
                    },
                },
            },
        },
    })
}

fn columns(kind: Kind) -> Value {
    let column =
        |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    let ready = |field: &str| format!(".status.conditions[?(@.type==\"Ready\")].{field}");
    let own: &[(&str, &str, &str)] = match kind {
        Kind::Application | Kind::Rollout => &[
            ("State", "string", ".status.state"),
            ("Version", "string", ".status.version"),
            ("Done", "integer", ".status.done"),
            ("Clusters", "integer", ".status.total"),
        ],
        Kind::Fleet => &[("Clusters", "integer", ".status.clusters")],
        Kind::Repository => &[("Revision", "string", ".status.revision")],
        Kind::MetricTemplate | Kind::AlertProvider | Kind::Cluster => &[],
    };
    let mut columns: Vec<Value> = own
        .iter()
        .map(|(name, kind, path)| column(name, kind, path))
        .collect();
    columns.push(column("Ready", "string", &ready("status")));
    columns.push(column("Reason", "string", &ready("reason")));
    let mut message = column("Message", "string", &ready("message"));
    message["priority"] = json!(1);
    columns.push(message);
    columns.push(column("Age", "date", ".metadata.creationTimestamp"));
    json!(columns)
}

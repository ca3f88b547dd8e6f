//! The schemas of every kind: one source for the custom resource definitions, for the check of
//! documents and for the reference pages.

mod custom_resources;

use std::{collections::BTreeMap, sync::LazyLock};

use kube::CustomResourceExt;
use serde_json::{Map, Value};

use crate::{
    alert_provider::AlertProvider, application::Application, cluster::Cluster, custom_resource,
    document::Kind, fleet::Fleet, metric_template::MetricTemplate, repository::Repository,
    rollout::Rollout, sync_record::SyncRecord, track::RolloutTrack,
};

/// Returns the custom resource definition of every kind, by plural name, as an API server takes
/// them: structural, without floats and without formats that it does not know.
#[must_use]
pub fn custom_resource_definitions() -> BTreeMap<String, Value> {
    let mut definitions = definitions();
    definitions.values_mut().for_each(replace_nullable_enum);
    for kind in custom_resource::KINDS {
        if let Some(definition) = definitions.get_mut(kind.plural()) {
            custom_resources::make_mirrored(kind, definition);
        }
    }
    definitions
}

/// Returns the custom resource definitions of the kinds that the hub mirrors, in the order in which
/// they are installed.
#[must_use]
pub fn mirrored_definitions() -> Vec<Value> {
    let mut all = custom_resource_definitions();
    custom_resource::KINDS
        .into_iter()
        .filter_map(|kind| all.remove(kind.plural()))
        .collect()
}

fn definitions() -> BTreeMap<String, Value> {
    let definitions = [
        AlertProvider::crd(),
        Application::crd(),
        Cluster::crd(),
        Fleet::crd(),
        MetricTemplate::crd(),
        Repository::crd(),
        Rollout::crd(),
        RolloutTrack::crd(),
        SyncRecord::crd(),
    ];
    definitions
        .into_iter()
        .map(|definition| {
            let plural = definition.spec.names.plural.clone();
            let mut value =
                serde_json::to_value(definition).expect("a definition has string keys only");
            make_acceptable(&mut value);
            describe(&mut value);
            (plural, value)
        })
        .collect()
}

/// An API server compares null with the enum of a nullable field, and no enum can hold null there.
/// A pattern says the same and is not compared with null.
fn replace_nullable_enum(value: &mut Value) {
    match value {
        Value::Object(schema) => {
            let nullable = schema.get("nullable") == Some(&Value::Bool(true));
            if nullable && let Some(Value::Array(values)) = schema.remove("enum") {
                let words: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                schema.insert(
                    "pattern".to_owned(),
                    format!("^({})$", words.join("|")).into(),
                );
            }
            schema.values_mut().for_each(replace_nullable_enum);
        }
        Value::Array(items) => items.iter_mut().for_each(replace_nullable_enum),
        _ => {}
    }
}

/// Returns the schema of the kind's `spec`: that of its custom resource definition, with every enum
/// as an enum.
#[must_use]
pub fn spec_schema(kind: Kind) -> &'static Value {
    static SCHEMAS: LazyLock<BTreeMap<Kind, Value>> = LazyLock::new(|| {
        let definitions = definitions();
        Kind::ALL
            .into_iter()
            .map(|kind| {
                let spec = definitions[kind.plural()]
                    .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
                    .expect("every kind has a spec");
                (kind, spec.clone())
            })
            .collect()
    });
    &SCHEMAS[&kind]
}

/// Puts the description of the spec at the top, where `kubectl explain` looks first.
fn describe(definition: &mut Value) {
    let schema = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema");
    let Some(schema) = schema else { return };
    if let Some(text) = schema.pointer("/properties/spec/description").cloned() {
        schema["description"] = text;
    }
}

/// Rewrites what schemars writes and an API server warns of or refuses.
fn make_acceptable(value: &mut Value) {
    match value {
        Value::Object(schema) => {
            replace_unsigned_format(schema);
            if schema.get("x-kubernetes-int-or-string").is_some() {
                schema.remove("type");
            }
            schema.values_mut().for_each(make_acceptable);
        }
        Value::Array(items) => items.iter_mut().for_each(make_acceptable),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().and_then(whole_number)
                && number.is_f64()
            {
                *value = Value::from(whole);
            }
        }
        _ => {}
    }
}

/// Unsigned formats are unknown to API servers; a maximum says the same.
fn replace_unsigned_format(schema: &mut Map<String, Value>) {
    let maximum: Option<i64> = match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => Some(i64::from(u8::MAX)),
        Some("uint16") => Some(i64::from(u16::MAX)),
        Some("uint32") => Some(i64::from(u32::MAX)),
        Some("uint64" | "uint") => None,
        _ => return,
    };
    schema.insert("format".to_owned(), Value::from("int64"));
    if let Some(maximum) = maximum {
        schema
            .entry("maximum")
            .or_insert_with(|| Value::from(maximum));
    }
}

fn whole_number(value: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked before"
    )]
    (value.fract() == 0.0 && value.abs() < 9.0e15).then_some(value as i64)
}

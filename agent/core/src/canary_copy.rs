//! The objects that a run creates: a copy of the user's workload, and a Service in front of it.

mod adapted;
mod per_node;

use bellwether_api::rollout::{PortRef, ServiceMetadata};
use serde_json::{Map, Value, json};

use crate::names::{RUN_LABEL, canary_name, cut};

pub use adapted::canary_adapted;
pub use per_node::canary_daemon_set;

/// Label that names what the copy is a copy of.
pub const CANARY_OF_LABEL: &str = "bellwether.dev/canary-of";
/// Annotation that says to people what the object is.
pub const PURPOSE_ANNOTATION: &str = "bellwether.dev/purpose";

/// An object of the bundle that cannot be copied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CanaryCopyError {
    /// A field without which there is nothing to copy is missing.
    #[error("failed to copy {object}: {field} is missing or of another type")]
    Field {
        /// `Kind/name`.
        object: String,
        /// The field's path.
        field: &'static str,
    },
}

/// Builds the canary Deployment from the user's Deployment as the granted bundle renders it:
/// the new template with the label [`RUN_LABEL`] in selector and pods. Owner references, finalizers,
/// status, the user's own labels and annotations of the object are not copied.
///
/// # Errors
/// Fails when the Deployment has no name, selector or template.
pub fn canary_deployment(
    deployment: &Value,
    run_label: &str,
    replicas: u32,
) -> Result<Value, CanaryCopyError> {
    let name = name_of(deployment)?;
    let (selector, template) = labelled(deployment, run_label)?;
    let mut spec = Map::new();
    spec.insert("replicas".to_owned(), json!(replicas));
    spec.insert("selector".to_owned(), Value::Object(selector));
    spec.insert("template".to_owned(), template);
    // One old ReplicaSet is plenty for a copy that lives as long as a run.
    spec.insert("revisionHistoryLimit".to_owned(), json!(1));
    for key in ["minReadySeconds", "progressDeadlineSeconds"] {
        if let Some(value) = deployment.pointer(&format!("/spec/{key}")) {
            spec.insert(key.to_owned(), value.clone());
        }
    }
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata_of(deployment, name, run_label),
        "spec": spec,
    }))
}

/// The selector and the template of a workload with the label of the run in both.
fn labelled(
    workload: &Value,
    run_label: &str,
) -> Result<(Map<String, Value>, Value), CanaryCopyError> {
    let mut selector = object_at(workload, "/spec/selector", "spec.selector")?.clone();
    let mut template =
        Value::Object(object_at(workload, "/spec/template", "spec.template")?.clone());
    selector
        .entry("matchLabels")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(|| field(workload, "spec.selector.matchLabels"))?
        .insert(RUN_LABEL.to_owned(), json!(run_label));
    // A template may carry no metadata at all only if its selector is empty, which the API server
    // refuses, but nothing here may panic on it.
    let metadata = template
        .as_object_mut()
        .and_then(|template| {
            template
                .entry("metadata")
                .or_insert_with(|| json!({}))
                .as_object_mut()
        })
        .ok_or_else(|| field(workload, "spec.template.metadata"))?;
    metadata
        .entry("labels")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(|| field(workload, "spec.template.metadata.labels"))?
        .insert(RUN_LABEL.to_owned(), json!(run_label));
    Ok((selector, template))
}

/// Builds the canary Service from the apex Service: the same ports, selecting by [`RUN_LABEL`]
/// alone. Addresses, node ports, the type, labels and annotations of the apex are not copied.
///
/// # Errors
/// Fails when the Service has no name or no ports.
pub fn canary_service(service: &Value, run_label: &str) -> Result<Value, CanaryCopyError> {
    service_like(service, run_label, json!({RUN_LABEL: run_label}))
}

/// Builds the Service of the new version's pods where no copy is made, from the apex Service: as
/// [`canary_service`], but selecting what the apex selects whose label `key` says `revision`.
///
/// # Errors
/// Fails when the Service has no name, selector or ports.
pub fn revision_service(
    service: &Value,
    run_label: &str,
    (key, revision): (&str, &str),
) -> Result<Value, CanaryCopyError> {
    let mut selector = object_at(service, "/spec/selector", "spec.selector")?.clone();
    selector.insert(key.to_owned(), json!(revision));
    service_like(service, run_label, Value::Object(selector))
}

fn service_like(
    service: &Value,
    run_label: &str,
    selector: Value,
) -> Result<Value, CanaryCopyError> {
    let name = name_of(service)?;
    let ports = service
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .filter(|ports| !ports.is_empty())
        .ok_or_else(|| field(service, "spec.ports"))?;
    let ports: Vec<Value> = ports
        .iter()
        .map(|port| {
            let mut port = port.clone();
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
            port
        })
        .collect();
    let mut spec = Map::new();
    spec.insert("type".to_owned(), json!("ClusterIP"));
    spec.insert("ports".to_owned(), json!(ports));
    spec.insert("selector".to_owned(), selector);
    for key in [
        "sessionAffinity",
        "sessionAffinityConfig",
        "internalTrafficPolicy",
        "ipFamilies",
        "ipFamilyPolicy",
    ] {
        if let Some(value) = service.pointer(&format!("/spec/{key}")) {
            spec.insert(key.to_owned(), value.clone());
        }
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata_of(service, name, run_label),
        "spec": spec,
    }))
}

/// Adds the labels and annotations that a plan gives to the run's own Service. What tells the Service apart
/// stays.
pub fn add_metadata(service: &mut Value, words: &ServiceMetadata) {
    for (key, words) in [
        ("labels", &words.labels),
        ("annotations", &words.annotations),
    ] {
        let Some(own) = service["metadata"][key].as_object_mut() else {
            continue;
        };
        for (key, value) in words {
            own.entry(key.clone()).or_insert_with(|| json!(value));
        }
    }
}

/// Returns the number of a Service's port; `None` when the Service has no such port.
#[must_use]
pub fn port_number(service: &Value, port: &PortRef) -> Option<u16> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array)?;
    let number = |entry: &Value| entry.get("port").and_then(Value::as_u64);
    let found = ports.iter().find(|entry| match port {
        PortRef::Number(wanted) => number(entry) == Some(u64::from(*wanted)),
        PortRef::Name(wanted) => entry.get("name").and_then(Value::as_str) == Some(wanted.as_str()),
    })?;
    number(found).and_then(|number| u16::try_from(number).ok())
}

/// Tells whether a Service's selector matches the pods that a Deployment's template makes, with the
/// label of the run on top. A pin of ours in the selector is not looked at.
#[must_use]
pub fn selects_canary(service: &Value, deployment: &Value, run_label: &str) -> bool {
    let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object) else {
        return false;
    };
    let mut wanted = selector
        .iter()
        .filter(|(key, _)| *key != crate::names::HASH_LABEL)
        .peekable();
    if wanted.peek().is_none() {
        return false;
    }
    let labels = deployment.pointer("/spec/template/metadata/labels");
    wanted.all(|(key, value)| {
        (key == RUN_LABEL && value == run_label)
            || labels.and_then(|labels| labels.get(key)) == Some(value)
    })
}

pub(crate) fn metadata_of(original: &Value, name: &str, run_label: &str) -> Value {
    let mut metadata = json!({
        "name": canary_name(name),
        "labels": {
            "app.kubernetes.io/managed-by": "bellwether",
            RUN_LABEL: run_label,
            CANARY_OF_LABEL: cut(name),
        },
        "annotations": {
            PURPOSE_ANNOTATION:
                format!("temporary copy of {name} that tests a release; removed when its run ends"),
        },
    });
    if let Some(namespace) = original.pointer("/metadata/namespace") {
        metadata["namespace"] = namespace.clone();
    }
    metadata
}

fn name_of(object: &Value) -> Result<&str, CanaryCopyError> {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .ok_or_else(|| field(object, "metadata.name"))
}

fn object_at<'a>(
    object: &'a Value,
    pointer: &str,
    path: &'static str,
) -> Result<&'a Map<String, Value>, CanaryCopyError> {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .ok_or_else(|| field(object, path))
}

fn field(object: &Value, path: &'static str) -> CanaryCopyError {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("?")
    };
    CanaryCopyError::Field {
        object: format!("{}/{}", text("/kind"), text("/metadata/name")),
        field: path,
    }
}

#[cfg(test)]
mod tests;

//! The ConfigMaps and Secrets that a governed pod template uses and that the application delivers.
//!
//! While a run tests a release, the user's own objects keep their old contents, so that no pod of the
//! old version reads new ones, and the canary's pods use copies. Image pull Secrets and the
//! credentials of storage drivers are nothing that a version reads: they are not tracked.

use std::{collections::BTreeSet, fmt};

use bellwether_api::rollout::{TRACK_CONFIG_ANNOTATION, TRACK_CONFIG_DISABLED};
use serde_json::{Value, json};

use crate::{canary_copy::metadata_of, names::canary_name};

/// Tokens are made by the cluster and bound to the name of their Secret.
const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";

/// A governed workload in one release, and what that release delivers beside it.
#[derive(Clone, Debug)]
pub struct Revision<'a> {
    /// The workload; absent = the release has none.
    pub workload: Option<&'a Value>,
    /// Every object of the release.
    pub objects: &'a [&'a Value],
    /// The namespace of objects that name none.
    pub default_namespace: &'a str,
}

/// A ConfigMap or Secret whose content a release changes, of those that the workload uses.
#[derive(Clone, PartialEq)]
pub struct ConfigChange {
    /// `ConfigMap` or `Secret`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// As the release before has it; absent = it has none.
    pub old: Option<Value>,
    /// As the release has it; absent = it has none any more.
    pub new: Option<Value>,
}

/// Names alone: contents are not for logs.
impl fmt::Debug for ConfigChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ConfigChange({}/{})", self.kind, self.name)
    }
}

/// Lists the objects that the workload uses and whose change is a change of the version, sorted by
/// kind and name.
#[must_use]
pub fn tracked<'a>(revision: &Revision<'a>) -> Vec<&'a Value> {
    let uses = revision.workload.map(uses).unwrap_or_default();
    uses.iter()
        .filter_map(|(kind, name)| find(revision, kind, name))
        .filter(|object| is_tracked(object))
        .collect()
}

/// What of an object a version reads.
#[must_use]
pub fn content(object: &Value) -> Value {
    json!([
        object.get("data"),
        object.get("stringData"),
        object.get("binaryData")
    ])
}

/// Lists what a release changes in the configuration of its workload, sorted by kind and name. An
/// object that is new and that the old version does not know is no change: nobody else reads it.
#[must_use]
pub fn changes(old: &Revision<'_>, new: &Revision<'_>) -> Vec<ConfigChange> {
    let of_old = old.workload.map(uses).unwrap_or_default();
    let of_new = new.workload.map(uses).unwrap_or_default();
    let change = |(kind, name): &(String, String)| {
        let (was, is) = (find(old, kind, name), find(new, kind, name));
        let key = (kind.clone(), name.clone());
        let counts = match (was, is) {
            (None, None) => false,
            (None, Some(is)) => is_tracked(is) && of_old.contains(&key),
            (Some(was), None) => is_tracked(was) && of_new.contains(&key),
            (Some(was), Some(is)) => is_tracked(is) && content(was) != content(is),
        };
        counts.then(|| ConfigChange {
            kind: key.0,
            name: key.1,
            old: was.cloned(),
            new: is.cloned(),
        })
    };
    of_old.union(&of_new).filter_map(change).collect()
}

/// Lets a canary's pod template use the copies of what changes.
pub fn use_copies(template: &mut Value, changes: &[ConfigChange]) {
    for place in places(template) {
        let changed = changes
            .iter()
            .any(|change| (change.kind.as_str(), &change.name) == (place.kind, &place.name));
        if changed && let Some(name) = template.pointer_mut(&place.pointer) {
            *name = json!(canary_name(&place.name));
        }
    }
}

/// The copy of a ConfigMap or Secret for the canary's pods; `None` = the release has none any more.
#[must_use]
pub fn copy(change: &ConfigChange, run_label: &str) -> Option<Value> {
    let object = change.new.as_ref()?;
    let mut copy = json!({
        "apiVersion": "v1",
        "kind": change.kind,
        "metadata": metadata_of(object, &change.name, run_label),
    });
    for key in ["data", "stringData", "binaryData", "type"] {
        if let Some(value) = object.get(key) {
            copy[key] = value.clone();
        }
    }
    Some(copy)
}

fn is_tracked(object: &Value) -> bool {
    let annotation = object
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(TRACK_CONFIG_ANNOTATION))
        .and_then(Value::as_str);
    annotation != Some(TRACK_CONFIG_DISABLED)
        && object.get("type").and_then(Value::as_str) != Some(TOKEN_TYPE)
}

fn find<'a>(revision: &Revision<'a>, kind: &str, name: &str) -> Option<&'a Value> {
    let namespace = namespace_in(revision.workload?, revision.default_namespace);
    revision.objects.iter().copied().find(|object| {
        object.get("apiVersion").and_then(Value::as_str) == Some("v1")
            && object.get("kind").and_then(Value::as_str) == Some(kind)
            && object.pointer("/metadata/name").and_then(Value::as_str) == Some(name)
            && namespace_in(object, revision.default_namespace) == namespace
    })
}

fn namespace_in<'a>(object: &'a Value, default: &'a str) -> &'a str {
    object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or(default)
}

fn uses(workload: &Value) -> BTreeSet<(String, String)> {
    let template = workload.pointer("/spec/template").unwrap_or(&Value::Null);
    places(template)
        .into_iter()
        .map(|place| (place.kind.to_owned(), place.name))
        .collect()
}

/// A place of a pod template that names a ConfigMap or Secret.
struct Place {
    kind: &'static str,
    name: String,
    /// Where the name stands, from the template on.
    pointer: String,
}

const BY_ENVIRONMENT: [(&str, &str, &str); 4] = [
    ("envFrom", "configMapRef", "ConfigMap"),
    ("envFrom", "secretRef", "Secret"),
    ("env", "valueFrom/configMapKeyRef", "ConfigMap"),
    ("env", "valueFrom/secretKeyRef", "Secret"),
];

const BY_VOLUME: [(&str, &str); 2] = [
    ("configMap/name", "ConfigMap"),
    ("secret/secretName", "Secret"),
];

const BY_PROJECTION: [(&str, &str); 2] =
    [("configMap/name", "ConfigMap"), ("secret/name", "Secret")];

fn places(template: &Value) -> Vec<Place> {
    let mut places = Vec::new();
    let mut look = |kind: &'static str, pointer: String| {
        if let Some(name) = template.pointer(&pointer).and_then(Value::as_str) {
            let name = name.to_owned();
            places.push(Place {
                kind,
                name,
                pointer,
            });
        }
    };
    for list in ["/spec/initContainers", "/spec/containers"] {
        for container in items(template, list) {
            for (field, source, kind) in BY_ENVIRONMENT {
                for entry in items(template, &format!("{container}/{field}")) {
                    look(kind, format!("{entry}/{source}/name"));
                }
            }
        }
    }
    for volume in items(template, "/spec/volumes") {
        for (source, kind) in BY_VOLUME {
            look(kind, format!("{volume}/{source}"));
        }
        for projection in items(template, &format!("{volume}/projected/sources")) {
            for (source, kind) in BY_PROJECTION {
                look(kind, format!("{projection}/{source}"));
            }
        }
    }
    places
}

/// The pointers of a list's items; none when there is no list.
fn items(value: &Value, list: &str) -> Vec<String> {
    let count = value
        .pointer(list)
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    (0..count).map(|index| format!("{list}/{index}")).collect()
}

#[cfg(test)]
mod tests;

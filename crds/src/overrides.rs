//! What differs from cluster to cluster within one release.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::selector::Selector;

/// The fields of a pod's spec that hold containers.
pub const CONTAINER_LISTS: [&str; 2] = ["containers", "initContainers"];

/// Fields that make an object the one that it is, as JSON pointers.
pub const IDENTITY: [&str; 4] = [
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
];

/// Returns an image without its tag and digest. A colon before the last slash is a registry's port.
#[must_use]
pub fn image_name(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let start = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[start..].find(':') {
        Some(colon) => &image[..start + colon],
        None => image,
    }
}

/// A change of an application's objects in some of its clusters. Overrides are applied in the order
/// in which they stand, so that a later one wins; within one, `values`, `images`, `args`, `replicas`,
/// `patches`, `labels`, `annotations` and `remove` follow each other in this order. Texts may use
/// `{{ cluster.name }}` and `{{ cluster.labels.KEY }}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    /// Unique within the application.
    pub name: String,
    /// The clusters by label; with neither `selector` nor `clusters` it holds in every cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// The clusters by name; with `selector` those that are both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// The components whose objects change; empty = all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Values of charts and parameters of plugins, laid over those of the component as Helm lays a file
    /// of values over another: maps are merged, `null` takes a value away, everything else is replaced.
    /// They are what the component is rendered with, before anything else here is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "object_schema")]
    pub values: Option<Value>,
    /// Images of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageOverride>,
    /// Commands and arguments of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<ArgsOverride>,
    /// Numbers of pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicasOverride>,
    /// Any other fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<PatchOverride>,
    /// Labels of every object; pod templates and selectors keep theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of every object; pod templates keep theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Objects that the cluster does not get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<Target>,
}

/// Objects of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The API group; absent = whatever group has the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
    /// The name; absent = every object of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The namespace; absent = whatever namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Another image for the containers, init containers among them, that use this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageOverride {
    /// The image as it is written, without tag and digest.
    pub name: String,
    /// The image instead; absent = the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_name: Option<String>,
    /// The tag; it takes the place of tag and digest. Absent = as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_tag: Option<String>,
    /// The digest, `sha256:…`; it takes the place of tag and digest. Excludes `newTag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Another command or other arguments of containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgsOverride {
    /// The workloads.
    pub target: Target,
    /// The container's name; absent = the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The command instead; absent = as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The arguments instead; absent = as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Arguments that follow those that there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub append: Vec<String>,
}

/// Another number of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplicasOverride {
    /// The workloads.
    pub target: Target,
    /// Their number of pods, `spec.replicas`.
    pub count: u32,
}

/// A change of any fields of objects: exactly one of `jsonPatch`, `merge`, `strategic`, `text`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchOverride {
    /// The objects; not Secrets, whose contents stand in no other object.
    pub target: Target,
    /// Operations of RFC 6902, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json_patch: Vec<JsonPatchOperation>,
    /// A merge patch of RFC 7386: maps are merged, lists are replaced, `null` takes a field away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "object_schema")]
    pub merge: Option<Value>,
    /// A strategic merge patch, as `kubectl patch` makes it: as `merge`, but items of lists are found by
    /// the key that their kind says, such as a container's `name`. `$patch: delete`, `$patch: replace` and
    /// `$retainKeys` are read. For kinds of Kubernetes itself alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "object_schema")]
    pub strategic: Option<Value>,
    /// Words inside a text, such as a file in a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextPatch>,
}

/// One operation of RFC 6902.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JsonPatchOperation {
    /// What is done.
    pub op: JsonPatchOp,
    /// Where, as a JSON pointer.
    pub path: String,
    /// Where from, for `move` and `copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value, for `add`, `replace` and `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_schema")]
    pub value: Option<Value>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum JsonPatchOp {
    /// Puts a value there; in a list before what is there, `-` at its end.
    Add,
    /// Takes the value away.
    Remove,
    /// Puts a value in the place of what is there.
    Replace,
    /// Takes a value from one place to another.
    Move,
    /// Puts a value of one place at another as well.
    Copy,
    /// Fails the override unless the value is there.
    Test,
}

/// Words inside a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextPatch {
    /// The text, as a JSON pointer such as `/data/application.yaml`.
    pub path: String,
    /// What is replaced, in this order.
    pub replace: Vec<TextReplacement>,
}

/// One replacement inside a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextReplacement {
    /// What stands there, letter by letter, at least once.
    pub from: String,
    /// What stands there instead, everywhere.
    pub to: String,
}

fn object_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn any_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

impl Override {
    /// Tells whether it holds in the cluster with this name and these labels.
    #[must_use]
    pub fn holds_in(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        (self.clusters.is_empty() || self.clusters.iter().any(|one| one == name))
            && self
                .selector
                .as_ref()
                .is_none_or(|selector| selector.matches(labels))
    }

    /// Tells whether it changes objects of this component.
    #[must_use]
    pub fn concerns(&self, component: &str) -> bool {
        self.components.is_empty() || self.components.iter().any(|one| one == component)
    }
}

impl Target {
    /// Tells whether it means this object. An object without a namespace of its own is in
    /// `namespace`.
    #[must_use]
    pub fn is(&self, object: &Value, namespace: &str) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let group = text("/apiVersion")
            .and_then(|version| version.split_once('/'))
            .map_or("", |(group, _)| group);
        let lives_in = text("/metadata/namespace")
            .filter(|written| !written.is_empty())
            .unwrap_or(namespace);
        text("/kind") == Some(self.kind.as_str())
            && self.group.as_deref().is_none_or(|wanted| wanted == group)
            && self
                .name
                .as_deref()
                .is_none_or(|wanted| text("/metadata/name") == Some(wanted))
            && self
                .namespace
                .as_deref()
                .is_none_or(|wanted| wanted == lives_in)
    }

    /// The target as people read it: `Deployment shop/web`, `every Service`.
    #[must_use]
    pub fn label(&self) -> String {
        let kind = match self.group.as_deref() {
            Some(group) if !group.is_empty() => format!("{}.{group}", self.kind),
            _ => self.kind.clone(),
        };
        let place = self
            .namespace
            .as_deref()
            .map_or_else(String::new, |namespace| format!("{namespace}/"));
        match self.name.as_deref() {
            Some(name) => format!("{kind} {place}{name}"),
            None if place.is_empty() => format!("every {kind}"),
            None => format!("every {kind} in {}", place.trim_end_matches('/')),
        }
    }
}

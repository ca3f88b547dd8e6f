//! Kinds that a release brings itself, by CustomResourceDefinitions among its objects.

use bellwether_api::sync_policy::group_of;
use serde_json::Value;

/// A kind that a CustomResourceDefinition of a release defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtKind {
    /// Name of the CustomResourceDefinition.
    pub definition: String,
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The versions that are served.
    pub versions: Vec<String>,
    /// Whether its objects lie in namespaces.
    pub namespaced: bool,
}

/// Tells whether an object is a CustomResourceDefinition.
#[must_use]
pub fn is_definition(api_version: &str, kind: &str) -> bool {
    kind == "CustomResourceDefinition" && group_of(api_version) == "apiextensions.k8s.io"
}

/// Finds the kinds that objects define.
#[must_use]
pub fn brought_kinds<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Vec<BroughtKind> {
    objects.into_iter().filter_map(brought).collect()
}

/// Finds the kind of an object among those that are brought.
#[must_use]
pub fn brought_kind<'a>(
    kinds: &'a [BroughtKind],
    api_version: &str,
    kind: &str,
) -> Option<&'a BroughtKind> {
    let (group, version) = api_version.split_once('/')?;
    kinds.iter().find(|one| {
        one.group == group
            && one.kind == kind
            && one.versions.iter().any(|served| served == version)
    })
}

fn brought(object: &Value) -> Option<BroughtKind> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    if !is_definition(text("/apiVersion")?, text("/kind")?) {
        return None;
    }
    let versions = object.pointer("/spec/versions").and_then(Value::as_array);
    let served = versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("served") != Some(&Value::Bool(false)))
        .filter_map(|version| version.get("name")?.as_str().map(str::to_owned));
    Some(BroughtKind {
        definition: text("/metadata/name")?.to_owned(),
        group: text("/spec/group")?.to_owned(),
        kind: text("/spec/names/kind")?.to_owned(),
        versions: served.collect(),
        namespaced: text("/spec/scope") != Some("Cluster"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(scope: &str) -> Value {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": scope, "names": {"kind": "Widget"},
                "versions": [{"name": "v1", "served": true}, {"name": "v0", "served": false}]}})
    }

    #[test]
    fn only_the_very_kinds_that_are_served_are_brought() {
        let objects = [
            definition("Namespaced"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
        ];
        let kinds = brought_kinds(&objects);
        for (api_version, kind, brings) in [
            ("example.com/v1", "Widget", true),
            ("example.com/v0", "Widget", false),
            ("example.com/v1", "Gadget", false),
            ("other.com/v1", "Widget", false),
            ("v1", "Widget", false),
        ] {
            let found = brought_kind(&kinds, api_version, kind);
            assert_eq!(found.is_some(), brings, "{api_version} {kind}");
        }
        assert_eq!(kinds[0].definition, "widgets.example.com");
    }

    #[test]
    fn the_scope_says_whether_objects_lie_in_namespaces() {
        for (scope, namespaced) in [("Namespaced", true), ("Cluster", false)] {
            assert_eq!(
                brought_kinds(&[definition(scope)])[0].namespaced,
                namespaced
            );
        }
    }
}

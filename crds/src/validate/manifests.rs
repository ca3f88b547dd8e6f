//! Checks of the objects that components bring, which have no schema here.

use std::collections::BTreeMap;

use serde_json::Value;

use super::finding::Findings;
use crate::{
    application::{ApplicationSpec, Component},
    cluster_bound::bound_fields,
    document::FieldPath,
    import::System,
    installation,
    rollout::{TRACK_CONFIG_ANNOTATION, TRACK_CONFIG_DISABLED},
};

/// The namespace of objects for which nobody names one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// One object of an application, with its own names at hand.
#[derive(Clone, Debug)]
pub struct Manifest<'a> {
    /// The component that brings it.
    pub component: &'a str,
    /// Where it stands in the application.
    pub path: FieldPath,
    /// Group and version; empty when it has none.
    pub api_version: &'a str,
    /// The kind; empty when it has none.
    pub kind: &'a str,
    /// The namespace: its own, else the component's, else the application's, else `default`. For
    /// objects without namespaces it means nothing.
    pub namespace: &'a str,
    /// The name; empty when it has none.
    pub name: &'a str,
    /// The whole object.
    pub object: &'a Value,
}

impl Manifest<'_> {
    /// Returns the API group; empty for the core group. An Ingress counts as one of today's group,
    /// which it becomes ([`crate::legacy::normalised`]).
    #[must_use]
    pub fn group(&self) -> &str {
        match self.api_version.split_once('/') {
            Some(("extensions", _)) if self.kind == "Ingress" => "networking.k8s.io",
            Some((group, _)) => group,
            None => "",
        }
    }

    /// Tells whether the object is of this group and kind and has this namespace and name.
    #[must_use]
    pub fn is(&self, group: &str, kind: &str, namespace: &str, name: &str) -> bool {
        (self.group(), self.kind, self.namespace, self.name) == (group, kind, namespace, name)
    }

    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.object.pointer(pointer)
    }
}

/// Returns every object of an application, in the order in which they are written.
#[must_use]
pub fn manifests_of(spec: &ApplicationSpec) -> Vec<Manifest<'_>> {
    let components = FieldPath::spec().key("components");
    let mut manifests = Vec::new();
    for (index, component) in spec.components.iter().enumerate() {
        let path = components.index(index).key("manifests");
        for (object_index, object) in component.manifests.iter().flatten().enumerate() {
            manifests.push(manifest(spec, component, path.index(object_index), object));
        }
    }
    manifests
}

/// Returns objects that stand in no component, each as one of its component.
pub(super) fn hooks_of<'a>(
    spec: &'a ApplicationSpec,
    hooks: &'a BTreeMap<String, Vec<Value>>,
) -> impl Iterator<Item = Manifest<'a>> {
    let path = FieldPath::spec().key("components");
    let components = spec.components.iter().enumerate();
    components.flat_map(move |(index, component)| {
        let own = hooks.get(&component.name).into_iter().flatten();
        let path = path.index(index);
        own.map(move |object| manifest(spec, component, path.clone(), object))
    })
}

fn manifest<'a>(
    spec: &'a ApplicationSpec,
    component: &'a Component,
    path: FieldPath,
    object: &'a Value,
) -> Manifest<'a> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    Manifest {
        component: &component.name,
        path,
        api_version: text("/apiVersion").unwrap_or_default(),
        kind: text("/kind").unwrap_or_default(),
        namespace: text("/metadata/namespace")
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or_else(|| namespace_of(spec, component)),
        name: text("/metadata/name").unwrap_or_default(),
        object,
    }
}

/// Returns the namespace of a component's objects that name none.
pub(super) fn namespace_of<'a>(spec: &'a ApplicationSpec, component: &'a Component) -> &'a str {
    let named = component
        .target_namespace
        .as_deref()
        .or(spec.target_namespace.as_deref());
    named.unwrap_or(DEFAULT_NAMESPACE)
}

/// Checks every object of an application.
pub(super) fn check(findings: &mut Findings, spec: &ApplicationSpec) {
    let mut seen: BTreeMap<(&str, &str, &str, &str), FieldPath> = BTreeMap::new();
    let manifests = manifests_of(spec);
    for manifest in &manifests {
        one(findings, manifest);
        if manifest.name.is_empty() || manifest.kind.is_empty() {
            continue;
        }
        let key = (
            manifest.group(),
            manifest.kind,
            manifest.namespace,
            manifest.name,
        );
        if let Some(first) = seen.get(&key) {
            findings.error(
                &manifest.path,
                format!(
                    "{} {} stands twice; the first is {first}",
                    manifest.kind, manifest.name
                ),
            );
        } else {
            seen.insert(key, manifest.path.clone());
        }
    }
}

/// A word that means nothing would track what its user wanted left alone.
fn track_config(findings: &mut Findings, manifest: &Manifest<'_>) {
    let annotation = manifest
        .at("/metadata/annotations")
        .and_then(|annotations| annotations.get(TRACK_CONFIG_ANNOTATION));
    let at = || {
        let metadata = manifest.path.key("metadata");
        metadata.key("annotations").key(TRACK_CONFIG_ANNOTATION)
    };
    let configures = matches!(
        (manifest.group(), manifest.kind),
        ("", "ConfigMap" | "Secret")
    );
    match annotation {
        None => {}
        Some(_) if !configures => findings.error(
            &at(),
            format!(
                "only a ConfigMap or a Secret is tracked; take it off this {}",
                manifest.kind
            ),
        ),
        Some(value) if value.as_str() != Some(TRACK_CONFIG_DISABLED) => findings.error(
            &at(),
            format!(
                "its only value is {TRACK_CONFIG_DISABLED:?}; leave it out to track the object"
            ),
        ),
        Some(_) => {}
    }
}

/// What one cluster gave an object is none of the others' business.
fn bound(findings: &mut Findings, manifest: &Manifest<'_>) {
    let fields = bound_fields(manifest.object);
    if fields.is_empty() {
        return;
    }
    findings.warn(
        &manifest.path,
        format!(
            "{} {}: {} mean something in one cluster alone and are left out; an override sets them \
             where they are meant",
            manifest.kind,
            manifest.name,
            fields.join(", ")
        ),
    );
}

fn one(findings: &mut Findings, manifest: &Manifest<'_>) {
    let metadata = manifest.path.key("metadata");
    for (value, path) in [
        (manifest.api_version, manifest.path.key("apiVersion")),
        (manifest.kind, manifest.path.key("kind")),
        (manifest.name, metadata.key("name")),
    ] {
        if value.is_empty() {
            findings.error(
                &path,
                "an object needs this field, a text that is not empty",
            );
        }
    }
    if let Some(namespace) = manifest.at("/metadata/namespace")
        && !namespace.is_string()
    {
        findings.error(&metadata.key("namespace"), "a namespace is a text");
    }
    if manifest.at("/metadata/generateName").is_some() {
        findings.error(
            &metadata.key("generateName"),
            "an object that is kept needs a fixed name, not generateName",
        );
    }
    if manifest.kind.ends_with("List") && manifest.at("/items").is_some_and(Value::is_array) {
        findings.error(&manifest.path, "write the items of the list one by one");
    }
    track_config(findings, manifest);
    bound(findings, manifest);
    if let Some(system) = System::of_group(manifest.group()) {
        findings.error(
            &manifest.path.key("apiVersion"),
            format!(
                "a {} of {} is translated where a chart or a repository brings it, and not \
                 inline; `bellwether import` prints the Rollout that it becomes",
                manifest.kind,
                system.name()
            ),
        );
    }
    if installation::is_own_name(
        manifest.api_version,
        manifest.kind,
        manifest.namespace,
        manifest.name,
    ) {
        let why = installation::said(manifest.kind, manifest.name);
        findings.error(&metadata.key("name"), why);
    }
    if manifest.group() == crate::GROUP {
        findings.error(
            &manifest.path.key("apiVersion"),
            format!(
                "a {} is read by the hub; it is its own document, not an object for member clusters",
                manifest.kind
            ),
        );
    }
}

//! What a component is rendered from, and what a rendering gave: all of it pinned and by digest.

mod cluster_values;

use std::collections::BTreeSet;

use bellwether_api::{
    application::{ApplicationSpec, Component},
    secret::HubSecretRef,
    source::{GitSource, RenderedSource},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    chart_hooks::is_test,
    release::{DEFAULT_TARGET_NAMESPACE, canonical_json},
};

pub(crate) use cluster_values::filled;
pub use cluster_values::{ValuesError, ValuesOverride, values_in, values_overrides};

/// Everything that a rendering is made from but the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipe {
    /// What renders it.
    pub kind: RecipeKind,
    /// Digest of the fetched files, or of a plugin's program with its schema, `sha256:…`.
    pub artifact: String,
    /// The folder of them; empty = their root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Values of a chart or parameters of a plugin, a map.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
    /// Values of a chart that secrets hold, by their versions: what they are stands nowhere in a recipe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_from: Vec<SecretValues>,
    /// What a chart sees as the release's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub release_name: String,
    /// What a chart sees as the release's namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Whether a chart's folder of definitions is delivered.
    #[serde(default)]
    pub include_crds: bool,
    /// Whether a chart's hooks are run.
    #[serde(default)]
    pub hooks: bool,
    /// Images that a kustomization replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Value>,
    /// Patches that a kustomization makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Value>,
    /// Who calls a program for what; absent for any other kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginCall>,
}

/// A program that the hub's operator registered is called for a component; its parameters are the
/// recipe's values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginCall {
    /// The name under which it is registered.
    pub name: String,
    /// The application's name.
    pub application: String,
    /// The component's name.
    pub component: String,
}

/// Values of a chart in a secret that the hub keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretValues {
    /// The secret's name.
    pub secret: String,
    /// The key.
    pub key: String,
    /// Names the value: another one has another version, which says nothing of it.
    pub version: Uuid,
}

/// What renders a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RecipeKind {
    /// Helm's engine.
    Helm,
    /// Kustomize.
    Kustomize,
    /// Nothing: the files are the objects.
    Manifests,
    /// A program that the hub's operator registered.
    Plugin,
}

impl RecipeKind {
    /// Tells whether clusters may have values of their own.
    #[must_use]
    pub const fn takes_values(self) -> bool {
        matches!(self, Self::Helm | Self::Plugin)
    }
}

/// What a rendering is made for: equal facts get the same objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderFacts {
    /// The cluster's version, such as `v1.33.2`.
    pub kubernetes_version: String,
    /// What it serves, sorted: `apps/v1`, and `apps/v1/Deployment` where its agent says kinds.
    pub api_versions: Vec<String>,
    /// Values of this cluster alone, laid over the recipe's.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
    /// Version of the program that renders: a newer one renders anew what was not rendered yet, and
    /// leaves alone what was.
    pub renderer: String,
}

/// What a component's objects were rendered from, for people and for the digest of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderedFrom {
    /// The artifact as people read it: a version, a commit.
    pub revision: String,
    /// What it is rendered from.
    pub recipe: Recipe,
}

/// What one rendering gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rendering {
    /// The objects, in the order in which they are applied.
    pub objects: Vec<Value>,
    /// Objects that the chart wants run at some moment; they are not among `objects`.
    #[serde(default)]
    pub hooks: Vec<RenderedHook>,
    /// What differed when the same was rendered twice, as `Secret/web /data/password`.
    #[serde(default)]
    pub unsettled: Vec<String>,
    /// What the chart says to its user; empty = nothing.
    #[serde(default)]
    pub notes: String,
}

/// An object that a chart wants run at some moment, as it was rendered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderedHook {
    /// The object's name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The moments, as Helm names them.
    pub events: Vec<String>,
    /// The chart's file that it comes from; empty = not known.
    #[serde(default)]
    pub file: String,
    /// Lower ones run first.
    #[serde(default)]
    pub weight: i64,
    /// When its object is deleted, as Helm names it; empty = before the next one is made.
    #[serde(default)]
    pub delete_policies: Vec<String>,
    /// The object; absent in renderings of a version that ran no hooks.
    #[serde(default)]
    pub object: Option<Value>,
}

impl RenderedHook {
    /// Tells whether leaving it out leaves something out: tests are never run.
    #[must_use]
    pub fn matters(&self) -> bool {
        self.events.iter().any(|event| !is_test(event))
    }
}

impl Recipe {
    /// Makes the recipe of a component whose source was fetched as `artifact`; absent for a
    /// component whose objects are written inline.
    #[must_use]
    pub fn of(
        application: &str,
        spec: &ApplicationSpec,
        component: &Component,
        artifact: &str,
    ) -> Option<Self> {
        let source = component.rendered_source()?;
        let namespace = component
            .target_namespace
            .as_deref()
            .or(spec.target_namespace.as_deref())
            .unwrap_or(DEFAULT_TARGET_NAMESPACE);
        let plain = |kind| Self {
            kind,
            artifact: artifact.to_owned(),
            path: String::new(),
            values: Map::new(),
            values_from: Vec::new(),
            release_name: String::new(),
            namespace: String::new(),
            include_crds: false,
            hooks: false,
            images: Vec::new(),
            patches: Vec::new(),
            plugin: None,
        };
        Some(match source {
            RenderedSource::Git(_) | RenderedSource::Oci(_) => plain(RecipeKind::Manifests),
            RenderedSource::Kustomize(source) => Self {
                path: source.path.clone().unwrap_or_default(),
                images: source.images.clone(),
                patches: source.patches.clone(),
                ..plain(RecipeKind::Kustomize)
            },
            RenderedSource::Helm(helm) => Self {
                values: map_of(helm.values.as_ref()),
                release_name: helm
                    .release_name
                    .clone()
                    .unwrap_or_else(|| format!("{application}-{}", component.name)),
                namespace: namespace.to_owned(),
                include_crds: helm.include_crds,
                hooks: helm.hooks,
                ..plain(RecipeKind::Helm)
            },
            RenderedSource::Plugin(source) => Self {
                values: map_of(source.params.as_ref()),
                namespace: namespace.to_owned(),
                plugin: Some(PluginCall {
                    name: source.name.clone(),
                    application: application.to_owned(),
                    component: component.name.clone(),
                }),
                ..plain(RecipeKind::Plugin)
            },
        })
    }

    /// Returns the recipe with the values that secrets hold, in the order of `values_from`: each lies
    /// over those before it, and what is written lies over all of them.
    #[must_use]
    pub fn with_secret_values(&self, secret: &[Map<String, Value>]) -> Self {
        let mut values = Map::new();
        for one in secret {
            lay_over(&mut values, one);
        }
        lay_over(&mut values, &self.values);
        Self {
            values,
            ..self.clone()
        }
    }

    /// Returns the recipe's digest.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(canonical_json(self)).into()
    }
}

fn map_of(values: Option<&Value>) -> Map<String, Value> {
    match values {
        Some(Value::Object(values)) => values.clone(),
        _ => Map::new(),
    }
}

impl RenderFacts {
    /// Returns the facts' digest.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(canonical_json(self)).into()
    }

    /// Returns the recipe's values with the cluster's own over them, as Helm lays values over
    /// values: maps are merged, null takes a value away, all else is replaced.
    #[must_use]
    pub fn values_over(&self, recipe: &Recipe) -> Map<String, Value> {
        let mut values = recipe.values.clone();
        lay_over(&mut values, &self.values);
        values
    }
}

pub(crate) fn lay_over(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(over)) => lay_over(inner, over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Returns the digest of a source as it is written: another one is fetched anew. Absent = nothing is
/// fetched for it.
#[must_use]
pub fn source_digest(component: &Component) -> Option<[u8; 32]> {
    #[derive(Serialize)]
    struct Written<'a> {
        repository: Option<&'a str>,
        chart: Option<&'a str>,
        version: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        credentials_ref: Option<&'a HubSecretRef>,
        git: Option<&'a GitSource>,
        oci: Option<&'a bellwether_api::source::OciSource>,
    }
    let mut written = Written {
        repository: None,
        chart: None,
        version: None,
        credentials_ref: None,
        git: None,
        oci: None,
    };
    match component.rendered_source()? {
        RenderedSource::Helm(helm) => {
            written.repository = helm.repository.as_deref();
            written.chart = helm.chart.as_deref();
            written.version = helm.version.as_deref();
            written.credentials_ref = helm.credentials_ref.as_ref();
            written.git = helm.git.as_ref();
        }
        RenderedSource::Git(source) => written.git = Some(source),
        RenderedSource::Oci(source) => written.oci = Some(source),
        RenderedSource::Kustomize(source) => {
            written.git = source.git.as_ref();
            written.oci = source.oci.as_ref();
        }
        RenderedSource::Plugin(_) => return None,
    }
    Some(Sha256::digest(canonical_json(&written)).into())
}

/// Returns every object that some cluster gets, each once, as the first that renders it has it.
#[must_use]
pub fn union<'a>(renderings: impl IntoIterator<Item = &'a [Value]>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let mut objects = Vec::new();
    for rendering in renderings {
        // One rendering may hold an object twice, which is refused elsewhere: it must stay seen.
        let before = seen.clone();
        for object in rendering {
            let key = identity(object);
            if !before.contains(&key) {
                seen.insert(key);
                objects.push(object.clone());
            }
        }
    }
    objects
}

fn identity(object: &Value) -> [String; 4] {
    let text = |pointer: &str| {
        let found = object.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let version = text("/apiVersion");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    [
        group.to_owned(),
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name"),
    ]
}

#[cfg(test)]
mod tests;
